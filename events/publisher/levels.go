package publisher

// Of a compacted topic consumers who come later see only the last value of a
// key. When a SKU's level can be sent by two nodes (its actor has moved, and
// the log it left is still being published; or a dead node's log is read by
// another) the older could come last.
//
// The rule that prevents it asks nothing of the other nodes: whoever has sent a
// level looks, once it is acknowledged, at the SKU's newest record, and if that
// is another one looks again; if it still is the newest, sends its level; until
// what was sent last was the newest when it was looked at, or a record was
// committed between two looks. Only then the place in the log that the level
// came from counts as published.
//
// Why the topic ends with the newest: take the last message of a SKU that it
// holds. Its sender has looked at the journal after that, and seen nothing
// newer, or there would be a message after the last. What was committed later,
// between two looks too, was sent later. A sender that died before it looked has
// left its log unmarked at that place, so whoever adopts the log sends the newest
// once more and looks. A SKU that is traded all the time is sure at the second
// look, or a node could not leave while it is.

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
)

const (
	// levelsEvery is how often levels are looked at that wait for something, and
	// levelsApart the least time between two rounds.
	levelsEvery = 250 * time.Millisecond
	levelsApart = 20 * time.Millisecond
	// levelsAtOnce bounds the levels of one round, levelReads how many streams
	// are read at once for it.
	levelsAtOnce = 1024
	levelReads   = 16
	// levelBytes is about what a SKU whose level is not sure takes in memory.
	levelBytes = 384
)

// levels is the SKUs of which it is not sure that the topic ends with the
// newest level. Guarded by the publisher's mutex.
type levels struct {
	// queued counts the levels that came from a log and wait in a queue or are
	// on their way.
	queued map[entity.Address]int
	unsure map[entity.Address]*level
	// late are the spans that wait for nothing but a level's second sending.
	late int
	// look tells the keeper that there is something to look at; holds one.
	look chan struct{}
}

// level is one such SKU.
type level struct {
	addr entity.Address
	// sent is the record whose level was acknowledged last; 0: none.
	sent uint64
	// queued: the newest level was read and is being sent.
	queued bool
	// spans wait until the level is sure: of a log the first is enough, those
	// after it are above. others are of no log.
	spans  map[entity.Epoch]*span
	others []*span
	// again is when the level is sent a second time; zero: it need not be.
	again time.Time
	// late: it waits for nothing but again.
	late bool
	// changes counts them: what was read before one proves nothing.
	changes int
	// seen is the newest record of the look before, as of seenChanges.
	seen        uint64
	seenChanges int
}

// look takes in what is the newest now. If it was committed after another look,
// itself later than everything that was sent, it needs nobody: who commits it
// sends its level, and later than all that.
func (v *level) look(newest uint64) outcome {
	before, changes := v.seen, v.seenChanges
	v.seen, v.seenChanges = newest, v.changes
	switch {
	case before == 0 || changes != v.changes:
		return lookAgain
	case newest > before:
		return passed
	default:
		return stands
	}
}

// outcome is what a look at a SKU whose newest record was not sent has found.
type outcome int

const (
	// lookAgain: it was the first since the last change.
	lookAgain outcome = iota
	// passed: the newest was committed after the look before.
	passed
	// stands: the newest is that of the look before.
	stands
)

func newLevels() levels {
	return levels{queued: make(map[entity.Address]int), unsure: make(map[entity.Address]*level), look: make(chan struct{}, 1)}
}

// bytes is about what the SKUs that are not sure take in memory.
func (l *levels) bytes() int { return len(l.unsure) * levelBytes }

// doubt notes that a SKU's level is not sure (any more).
func (l *levels) doubt(addr entity.Address) *level {
	v := l.unsure[addr]
	if v == nil {
		v = &level{addr: addr, spans: make(map[entity.Epoch]*span)}
		l.unsure[addr] = v
	}
	v.changes++
	l.setLate(v, false)
	select {
	case l.look <- struct{}{}:
	default:
	}
	return v
}

func (l *levels) setLate(v *level, late bool) {
	switch {
	case late && !v.late:
		l.late += len(v.spans)
	case !late && v.late:
		l.late -= len(v.spans)
	}
	v.late = late
}

// keep makes a span wait until the level is sure.
func (v *level) keep(s *span) {
	switch first := v.spans[s.epoch]; {
	case s.tracker == nil:
		v.others = append(v.others, s)
	case first == nil:
		v.spans[s.epoch] = s
	case first.position <= s.position:
		s.settle()
	default:
		v.spans[s.epoch] = s
		first.settle()
	}
}

// adopted takes the stock levels out of the messages of an adopted record: the
// newest is sent instead, which keeps the log's watermark below the record. And
// it is sent a second time, for what the dead node had on its way to the
// brokers can be stored as late as what it had on its way to the journal.
func (g *group) adopted(rec *entity.Record, messages []cloudevents.Message) []cloudevents.Message {
	kept := messages[:0]
	for i := range messages {
		if !g.p.topics[messages[i].Topic].compacted {
			kept = append(kept, messages[i])
		}
	}
	if len(kept) == len(messages) {
		return kept
	}
	addr := entity.Address{Kind: rec.Kind, ID: rec.ID}
	v := g.levels.doubt(addr)
	if g.p.cfg.Log.Quiet > 0 {
		v.again = time.Now().Add(g.p.cfg.Log.Quiet)
	}
	if v.spans[rec.Epoch] == nil {
		s := &span{group: g, addr: addr, seq: rec.Seq, epoch: rec.Epoch, position: rec.Position, open: 1}
		g.tracker(rec.Epoch).add(s)
		v.keep(s)
	}
	return kept
}

// levelSent takes in that a level is acknowledged.
func (g *group) levelSent(it *item) {
	g.release(it)
	l := &g.levels
	v := l.unsure[it.addr]
	switch {
	case v == nil && (g.p.cfg.Log.Quiet == 0 || l.queued[it.addr] > 0):
		// Nobody else writes logs; or another level of the SKU comes after this
		// one, from a log that is unmarked until that one is sure.
		it.span.settle()
		return
	case v == nil:
		v = l.doubt(it.addr)
	default:
		l.doubt(it.addr)
	}
	v.sent = it.seq
	if l.queued[it.addr] > 0 {
		it.span.settle()
		return
	}
	v.keep(it.span)
}

// keepLevels makes levels sure until ctx ends.
func (g *group) keepLevels(ctx context.Context) {
	ticker := time.NewTicker(levelsEvery)
	defer ticker.Stop()
	for failed := false; ; {
		select {
		case <-ticker.C:
		case <-g.levels.look:
		case <-ctx.Done():
			return
		}
		err := g.lookAtLevels(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			g.p.logger.Error("stock levels cannot be read and are tried again", slog.Any("error", err))
		}
		failed = err != nil
		if pause(ctx, levelsApart) != nil {
			return
		}
	}
}

// looking is a level that is looked at in a round, as of its changes then. err
// is why its stream cannot be read.
type looking struct {
	level   *level
	changes int
	newest  *entity.Record
	err     error
}

// lookAtLevels compares what was sent last with the newest records. A stream
// that cannot be read keeps nothing but its own level from being sure.
func (g *group) lookAtLevels(ctx context.Context) error {
	for {
		round, more := g.unsureLevels(time.Now())
		if len(round) == 0 {
			return nil
		}
		var reading errgroup.Group
		reading.SetLimit(levelReads)
		for i := range round {
			reading.Go(func() error {
				round[i].newest, round[i].err = g.newest(ctx, round[i].level.addr)
				return round[i].err
			})
		}
		unread := reading.Wait()
		for i := range round {
			if round[i].err != nil {
				continue
			}
			if err := g.looked(ctx, round[i]); err != nil {
				return err
			}
		}
		g.p.wakeSender()
		if unread != nil || !more {
			return unread
		}
	}
}

// unsureLevels lists those that can be looked at now, and whether there are more.
func (g *group) unsureLevels(now time.Time) (round []looking, more bool) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	for addr, v := range g.levels.unsure {
		// What is on its way, or held, comes by itself.
		if v.queued || g.levels.queued[addr] > 0 || g.holds[addr] != nil || v.late && now.Before(v.again) {
			continue
		}
		if len(round) == levelsAtOnce {
			return round, true
		}
		round = append(round, looking{level: v, changes: v.changes})
	}
	return round, false
}

// looked lets a level go that is sure, and sends the newest otherwise.
func (g *group) looked(ctx context.Context, at looking) error {
	messages := g.newestLevel(at.newest)
	if err := g.until(ctx, func() bool { return g.queued < g.limit }); err != nil {
		return err
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	v, l := at.level, &g.levels
	if v.changes != at.changes || l.queued[v.addr] > 0 || g.holds[v.addr] != nil {
		return nil // it is looked at again: what was queued meanwhile is tracked by its log, and is not replaced
	}
	due := !time.Now().Before(v.again)
	own := g.p.cfg.Log.Epoch
	// Then the newest comes by itself after all that was sent, from a log that is unmarked until then.
	coming := at.newest != nil && at.newest.Epoch == own && at.newest.Position > g.tracker(own).taken
	send := len(messages) > 0 && !coming && (v.sent < at.newest.Seq || due && !v.again.IsZero())
	found := passed // if there is no level to send, the log's reader says why
	if send {
		found = v.look(at.newest.Seq)
	}
	switch {
	case found == lookAgain:
		return nil
	case found == stands:
		if due {
			v.again = time.Time{}
		}
		v.queued = true
		l.setLate(v, false)
		g.p.metrics.levelsAgain.Inc()
		g.p.push(messages, &span{group: g, addr: v.addr, seq: at.newest.Seq, open: len(messages)}, at.newest, v)
		return nil
	case !due:
		v.seen = 0 // what is seen before it is due proves nothing then
		v.settle(func(e entity.Epoch) bool { return e == own })
		l.setLate(v, true)
		g.p.progressed()
		return nil
	}
	delete(l.unsure, v.addr)
	l.setLate(v, false)
	v.settle(func(entity.Epoch) bool { return true })
	g.p.progressed()
	return nil
}

// settle lets go of the spans that wait for the level, those of logs as which says.
func (v *level) settle(which func(entity.Epoch) bool) {
	for epoch, s := range v.spans {
		if which(epoch) {
			delete(v.spans, epoch)
			s.settle()
		}
	}
	for _, s := range v.others {
		s.settle()
	}
	v.others = nil
}

// newestLevel is the level of a SKU's newest record; none if it cannot be read.
func (g *group) newestLevel(rec *entity.Record) []cloudevents.Message {
	if rec == nil || rec.Verify() != nil {
		return nil
	}
	var out []cloudevents.Message
	for _, m := range g.mapped(nil, rec) {
		if g.p.topics[m.Topic].compacted {
			out = append(out, m)
		}
	}
	return out
}

// newest reads a stream's last record. Nil: there is none.
func (g *group) newest(ctx context.Context, addr entity.Address) (*entity.Record, error) {
	for rec, err := range g.p.cfg.Streams.ReadStreamBack(ctx, addr.Stream(), math.MaxUint64) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", addr.Stream(), err)
		}
		return rec, nil
	}
	return nil, ctx.Err()
}
