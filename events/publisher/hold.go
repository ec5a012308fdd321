package publisher

// A stream is held when something of it has to be published before what was
// just read: the tail that another incarnation's log has beyond its watermark,
// after an actor has moved; or an event that the broker refuses. Nothing of a
// held stream is kept in memory but where it goes on: it is read from the
// journal, published in order, and let go when it has reached what waits.
// Other streams go on.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
)

const (
	// maxCatchUps bounds the streams of a group that are caught up at once.
	maxCatchUps = 8
	// holdBytes and holdSpanBytes are about what a hold, and what waits for it
	// in each log, take in memory.
	holdBytes     = 512
	holdSpanBytes = 192
	// parkFor and longestPark bound how long a refused event is left alone.
	parkFor     = 15 * time.Second
	longestPark = 10 * time.Minute
)

// errParked: the broker has refused an event of the stream meanwhile.
var errParked = errors.New("stream was parked")

// errShort: the journal does not show yet what is waited for.
var errShort = errors.New("stream ends before the record that waits")

// hold is a stream that is held. Guarded by the publisher's mutex.
type hold struct {
	addr entity.Address
	// from and upTo are the first and the last record that wait.
	from, upTo uint64
	// next is the record that is read next; 0: it is not known where to begin.
	next uint64
	// total is settled when all that waits is acknowledged: it is open for what
	// was queued, and for the reading. What waits for it is in its then.
	total *span
	// waits is the first span of each log that waits.
	waits map[entity.Epoch]*span
	bytes int
	// attempts is how often it has failed, parked whether the broker refuses
	// an event of it.
	attempts int
	parked   bool
	// parkings counts them: who reads the stream begins again.
	parkings int
	// active: in the line or being worked on; again: to be put there after that.
	active, again bool
}

// mustWait reports whether a record has to wait, and makes it: because its
// stream is held, or because what it follows is in another log and not known to
// be published. That what it follows is in the queue already is enough only for
// a record that has messages itself, which come after: one without would be
// settled, and vouch for what may never leave the queue.
func (g *group) mustWait(rec *entity.Record, s *span, silent bool) bool {
	h := g.holds[s.addr]
	if h == nil {
		epoch, position := entity.Follows(rec.Events)
		if rec.Seq == 1 || epoch == 0 || epoch == rec.Epoch || g.published(epoch, position) || !silent && g.queuedUpTo(epoch, position) {
			return false
		}
		h = g.newHold(s.addr, rec.Seq)
		g.enter(h)
	}
	h.upTo = max(h.upTo, rec.Seq)
	if h.next == 0 {
		h.from = min(h.from, rec.Seq)
	}
	g.wait(h, s)
	return true
}

func (g *group) newHold(addr entity.Address, seq uint64) *hold {
	h := &hold{addr: addr, from: seq, upTo: seq, total: &span{group: g, addr: addr, open: 1}, waits: make(map[entity.Epoch]*span)}
	g.holds[addr] = h
	g.p.metrics.held.Inc()
	g.charge(h, holdBytes)
	return h
}

func (g *group) charge(h *hold, bytes int) {
	h.bytes += bytes
	g.held += bytes
}

// wait keeps the watermark of the span's log below it until the hold is done.
// A log's first span is enough: those after it are above.
func (g *group) wait(h *hold, s *span) {
	t := g.tracker(s.epoch)
	if first := h.waits[s.epoch]; first != nil && first.position <= s.position {
		t.taken = max(t.taken, s.position)
		return
	}
	s.open = 1
	t.add(s)
	h.waits[s.epoch] = s
	h.total.then = append(h.total.then, s)
	g.charge(h, holdSpanBytes)
}

// enter puts a hold into the line of those to be worked on.
func (g *group) enter(h *hold) {
	if h.active {
		h.again = true
		return
	}
	h.active, h.again = true, false
	g.line = append(g.line, h)
	select {
	case g.look <- struct{}{}:
	default:
	}
}

// catchUp works on the held streams until ctx ends.
func (g *group) catchUp(ctx context.Context) {
	slots := make(chan struct{}, maxCatchUps)
	defer func() {
		for range maxCatchUps {
			slots <- struct{}{}
		}
	}()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		h := g.nextHold(ctx)
		if h == nil {
			<-slots
			return
		}
		go func() {
			defer func() { <-slots }()
			g.work(ctx, h)
		}()
	}
}

// nextHold waits for a hold to work on; nil: ctx has ended.
func (g *group) nextHold(ctx context.Context) *hold {
	for {
		g.p.mu.Lock()
		if len(g.line) > 0 {
			h := g.line[0]
			g.line[0] = nil
			g.line = g.line[1:]
			g.p.mu.Unlock()
			return h
		}
		g.p.mu.Unlock()
		select {
		case <-g.look:
		case <-ctx.Done():
			return nil
		}
	}
}

// work catches a held stream up, or puts it back into the line for later.
func (g *group) work(ctx context.Context, h *hold) {
	err := g.publishTail(ctx, h)
	g.p.wakeSender()
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	h.active = false
	switch {
	case ctx.Err() != nil || g.holds[h.addr] != h:
	case h.again:
		g.enter(h)
	case errors.Is(err, errParked): // it comes by itself
	case err != nil:
		if h.attempts++; h.attempts == saidAfter {
			g.p.logger.Error("what is left to publish of a stream cannot be read and is tried again", slog.String("stream", h.addr.Stream()), slog.Any("error", err))
		}
		g.later(h, g.p.backoff(h.attempts))
	}
}

func (g *group) later(h *hold, d time.Duration) {
	time.AfterFunc(d, func() {
		g.p.mu.Lock()
		defer g.p.mu.Unlock()
		if g.holds[h.addr] == h {
			g.enter(h)
		}
	})
}

// publishTail queues what is not published of a held stream, in order, up to
// what waits. It ends the hold.
func (g *group) publishTail(ctx context.Context, h *hold) error {
	if err := g.refreshMarks(ctx); err != nil {
		return err
	}
	g.p.mu.Lock()
	next, from, parkings := h.next, h.from, h.parkings
	g.p.mu.Unlock()
	if next == 0 {
		var err error
		if next, err = g.locate(ctx, h.addr, from); err != nil {
			return err
		}
		g.p.mu.Lock()
		if h.parkings == parkings {
			h.next = next
		}
		g.p.mu.Unlock()
	}
	for rec, err := range g.p.cfg.Streams.ReadStream(ctx, h.addr.Stream(), next-1) {
		if err != nil {
			return fmt.Errorf("read %s: %w", h.addr.Stream(), err)
		}
		last, err := g.queueTail(ctx, h, rec, parkings)
		if err != nil || last {
			return err
		}
	}
	return errShort
}

// queueTail queues the next record of a held stream, and lets the stream go
// with the last of them.
func (g *group) queueTail(ctx context.Context, h *hold, rec *entity.Record, parkings int) (last bool, err error) {
	var messages []cloudevents.Message
	if err := rec.Verify(); err != nil {
		// Its log's reader leaves it out too, and counts it.
		g.p.logger.Error("a corrupt journal record was left out", slog.Any("error", err))
	} else {
		messages = g.mapped(nil, rec)
	}
	// What is held may fill the group's memory: only what is queued counts here, which always drains.
	if err := g.until(ctx, func() bool { return g.queued < g.limit }); err != nil {
		return false, err
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if h.parkings != parkings {
		return false, errParked
	}
	h.total.open += len(messages)
	h.next = rec.Seq + 1
	if h.total.atMs == 0 && len(messages) > 0 {
		h.total.atMs = messages[0].AtMs
	}
	g.p.push(messages, h.total, rec, nil)
	g.p.metrics.tails.Inc()
	if rec.Seq < h.upTo {
		return false, nil
	}
	delete(g.holds, h.addr)
	g.held -= h.bytes
	g.p.metrics.held.Dec()
	if h.parked {
		g.p.metrics.parked.Dec()
	}
	h.total.settle()
	g.p.progressed()
	return true, nil
}

// locate finds where publishing has to begin so that nothing before seq is left
// out: after a record that is known to be published. Publication in order means
// that all before it are; which of several such records is found only decides
// how many are repeated. The end is likely near: it gallops back, then halves.
func (g *group) locate(ctx context.Context, addr entity.Address, seq uint64) (uint64, error) {
	low, high := uint64(0), seq // low is published, high is not known to be
	for step := uint64(1); high > 1 && low == 0; step *= 2 {
		at := uint64(1)
		if high > step {
			at = high - step
		}
		done, err := g.isPublished(ctx, addr, at)
		switch {
		case err != nil:
			return 0, err
		case done:
			low = at
		default:
			high = at
		}
	}
	for high-low > 1 {
		at := low + (high-low)/2
		done, err := g.isPublished(ctx, addr, at)
		switch {
		case err != nil:
			return 0, err
		case done:
			low = at
		default:
			high = at
		}
	}
	return low + 1, nil
}

func (g *group) isPublished(ctx context.Context, addr entity.Address, seq uint64) (bool, error) {
	rec, err := g.record(ctx, addr, seq)
	if err != nil {
		return false, err
	}
	if rec == nil {
		return false, errShort
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	return g.published(rec.Epoch, rec.Position), nil
}

// park takes an event that the broker refuses, even without its data, out of
// the way of other keys, with all that comes after it of its key. They are
// tried again, slowly, until the broker takes them. The partition is not
// sending.
func (g *group) park(part *partition, it *item, err error) {
	h := g.holds[it.addr]
	if h == nil {
		h = g.newHold(it.addr, it.seq)
	}
	h.from, h.next = min(h.from, it.seq), 0
	refused := append([]*item{it}, part.remove(it.msg.Key)...)
	for _, one := range refused {
		h.upTo = max(h.upTo, one.seq)
		h.from = min(h.from, one.seq)
		g.giveUp(h, one)
	}
	h.attempts++
	h.parkings++
	if !h.parked {
		h.parked = true
		g.p.metrics.parked.Inc()
	}
	d := min(parkFor<<min(h.attempts-1, 10), longestPark)
	g.p.logger.Error("the broker refuses an event: its key waits, other keys go on", slog.String("topic", part.topic), slog.String("key", it.msg.Key),
		slog.Uint64("version", it.msg.Version), slog.Duration("again_in", d), slog.Any("error", err))
	g.later(h, d)
}

// giveUp takes an item out of the accounts. What it is part of stays open until
// the hold is done.
func (g *group) giveUp(h *hold, it *item) {
	g.release(it)
	if it.span == h.total {
		h.total.open--
		return
	}
	h.total.then = append(h.total.then, it.span)
	g.charge(h, holdSpanBytes)
}
