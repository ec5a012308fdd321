package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
	"stampede/persistence"
)

// groupNames are the groups of topics in the order of their traffic. Each
// reads the logs for itself and has watermarks of its own: a topic that cannot
// be written holds up its group.
func groupNames() []string { return []string{"orders", "stock", "others"} }

// groupOf is the group that a kind's events belong to.
func groupOf(kind string) string {
	switch kind {
	case "order":
		return "orders"
	case "sku":
		return "stock"
	}
	return "others"
}

// GroupName is the name that the watermarks of a kind's group are kept under.
func GroupName(kind string) string { return ReaderName + "." + groupOf(kind) }

// gatherFor is how long a reader that has just taken little waits for more.
const (
	gatherFor    = 10 * time.Millisecond
	littleAtOnce = 64
)

// levelsShare is the part of a group's memory, on top, for levels that are not sure.
const levelsShare = 4

// group is the publisher's work on the logs for some of the topics. What it
// holds is guarded by the publisher's mutex.
type group struct {
	p      *Publisher
	name   string
	reader *events.Reader
	keeper *events.Keeper
	// limit bounds queued and held together.
	limit int

	trackers map[entity.Epoch]*tracker
	// queued is the bytes of the messages that were read and are not acknowledged.
	queued int
	// held is what the holds take in memory.
	held  int
	holds map[entity.Address]*hold
	// line is the holds that can be worked on, and look tells their workers.
	line []*hold
	look chan struct{}
	// marks are the watermarks as they were saved by any node, at marksAt.
	marks   map[entity.Epoch]uint64
	marksAt time.Time
	levels  levels
}

var _ events.Sink = (*group)(nil)

func newGroup(p *Publisher, name string) *group {
	g := &group{
		p: p, name: name, limit: p.cfg.Limits.PendingBytes / len(groupNames()),
		trackers: make(map[entity.Epoch]*tracker), holds: make(map[entity.Address]*hold), look: make(chan struct{}, 1),
		marks: make(map[entity.Epoch]uint64), levels: newLevels(),
	}
	log := p.cfg.Log
	log.Name = ReaderName + "." + name
	log.Source = p.cfg.Follow(log.Name)
	log.Watermarks = inherited{log.Watermarks}
	log.Wants = func(kind string) bool { return groupOf(kind) == name }
	g.reader = events.NewReader(log, events.NewReaderMetrics(p.cfg.Registerer, log.Name))
	g.keeper = events.NewKeeper(log)
	return g
}

// inherited is the watermarks of a group, with those of the time when there was
// one for all topics.
type inherited struct{ store }

// store is a name for what is embedded.
type store = persistence.Watermarks

// Watermarks implements persistence.Watermarks.
func (i inherited) Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error) {
	marks, err := i.store.Watermarks(ctx, reader)
	if err != nil {
		return nil, err
	}
	before, err := i.store.Watermarks(ctx, ReaderName)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(before)
	if out == nil {
		out = make(map[entity.Epoch]uint64, len(marks))
	}
	for epoch, mark := range marks {
		out[epoch] = max(out[epoch], mark)
	}
	return out, nil
}

// run reads the logs until ctx or the present log ends, and then waits, for a
// bounded time once ctx has ended, until what was read is acknowledged.
func (g *group) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { g.keeper.Run(background, g.watermarks) })
	work.Go(func() { g.catchUp(background) })
	work.Go(func() { g.keepLevels(background) })

	readErr := g.reader.Run(ctx, g)
	drainErr := g.drain(ctx)
	stop()
	work.Wait()

	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.p.cfg.Limits.DrainTimeout)
	defer cancel()
	return errors.Join(unlessStopped(readErr), drainErr, g.keeper.Save(saving, g.watermarks()))
}

// drain waits until nothing of what was read is open; once ctx has ended, no
// longer than Limits.DrainTimeout.
func (g *group) drain(ctx context.Context) error {
	var timeout <-chan time.Time
	stopped := ctx.Done()
	for {
		g.p.mu.Lock()
		open, moved := g.open(), g.p.moved
		g.p.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-moved:
		case <-stopped:
			stopped = nil
			timeout = time.After(g.p.cfg.Limits.DrainTimeout)
		case <-timeout:
			return fmt.Errorf("publisher: %d records of %s were not acknowledged in time; they are published after the next start", open, g.name)
		}
	}
}

// open counts the records that were read and are not published. Levels that are
// only to be sent a second time do not count: who waits for the end need not
// wait for them, and whoever adopts their log next sends them.
func (g *group) open() int {
	n := -g.levels.late
	for _, t := range g.trackers {
		n += t.open
	}
	return n
}

// Take implements events.Sink. It waits while too much is pending.
func (g *group) Take(ctx context.Context, epoch entity.Epoch, records []*entity.Record, upTo uint64) error {
	var messages []cloudevents.Message
	for _, rec := range records {
		messages = g.mapped(messages[:0], rec)
		if err := g.room(ctx, epoch); err != nil {
			return err
		}
		g.enqueue(rec, messages)
	}
	g.p.mu.Lock()
	g.tracker(epoch).upTo(upTo)
	g.p.progressed()
	g.p.mu.Unlock()
	g.p.wakeSender()
	if len(records) < littleAtOnce && epoch == g.p.cfg.Log.Epoch {
		_ = pause(ctx, gatherFor) // whoever reads on finds out that ctx has ended
	}
	return nil
}

// mapped is a record's messages: none of one that has no published form, which
// is said.
func (g *group) mapped(messages []cloudevents.Message, rec *entity.Record) []cloudevents.Message {
	messages, err := g.p.mapper.Map(messages, rec)
	if err != nil {
		g.p.metrics.unpublishable.Inc()
		g.p.logger.Error("a journal record has no published form and was left out", slog.Uint64("epoch", uint64(rec.Epoch)),
			slog.Uint64("position", rec.Position), slog.Any("error", err))
	}
	return messages
}

// room waits until there is room for another record. The levels that an adopted
// log leaves behind have a share of their own: they stay for a while, and the
// present log must not wait for that.
func (g *group) room(ctx context.Context, epoch entity.Epoch) error {
	share := g.limit / levelsShare
	return g.until(ctx, func() bool {
		levels := g.levels.bytes()
		if epoch != g.p.cfg.Log.Epoch && levels >= share {
			return false
		}
		return g.queued+g.held+max(0, levels-share) < g.limit
	})
}

// until waits until something is so, as of the publisher's mutex.
func (g *group) until(ctx context.Context, so func() bool) error {
	for {
		g.p.mu.Lock()
		done, moved := so(), g.p.moved
		g.p.mu.Unlock()
		if done {
			return nil
		}
		g.p.wakeSender()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enqueue puts the messages of one record into the queues of their partitions,
// unless something of its stream has to go first: then the record waits.
func (g *group) enqueue(rec *entity.Record, messages []cloudevents.Message) {
	s := &span{group: g, addr: entity.Address{Kind: rec.Kind, ID: rec.ID}, seq: rec.Seq, epoch: rec.Epoch, position: rec.Position}
	if len(messages) > 0 {
		s.atMs = messages[0].AtMs
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if rec.Epoch != g.p.cfg.Log.Epoch {
		messages = g.adopted(rec, messages)
	}
	if g.mustWait(rec, s, len(messages) == 0) {
		return
	}
	s.open = len(messages)
	g.tracker(rec.Epoch).add(s)
	g.p.push(messages, s, rec, nil)
}

// push puts messages of a record into the queues of their partitions. v is the
// level that they were read for, if they were.
func (p *Publisher) push(messages []cloudevents.Message, s *span, rec *entity.Record, v *level) {
	now := time.Now()
	for i := range messages {
		it := &item{msg: messages[i], size: messageBytes(&messages[i]), span: s, addr: entity.Address{Kind: rec.Kind, ID: rec.ID}, seq: rec.Seq, level: v}
		s.group.queued += it.size + itemBytes
		t := p.topics[it.msg.Topic]
		t.pending++
		if it.counted = t.compacted && v == nil; it.counted {
			s.group.levels.queued[it.addr]++
		}
		if replaced := p.partition(t, it.msg.Key).queue.push(it, now); replaced != nil {
			p.metrics.conflated.Inc()
			p.settleItem(replaced)
		}
	}
}

func (g *group) tracker(epoch entity.Epoch) *tracker {
	t := g.trackers[epoch]
	if t == nil {
		t = &tracker{}
		g.trackers[epoch] = t
	}
	return t
}

// watermarks is how far each incarnation's log is published.
func (g *group) watermarks() map[entity.Epoch]uint64 {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	marks := make(map[entity.Epoch]uint64, len(g.trackers))
	for epoch, t := range g.trackers {
		marks[epoch] = t.mark()
	}
	return marks
}

// marksFor is how long saved watermarks are believed to be the newest.
const marksFor = 100 * time.Millisecond

// refreshMarks reads the watermarks as all nodes have saved them.
func (g *group) refreshMarks(ctx context.Context) error {
	g.p.mu.Lock()
	fresh := time.Since(g.marksAt) < marksFor
	g.p.mu.Unlock()
	if fresh {
		return nil
	}
	marks, err := inherited{g.p.cfg.Log.Watermarks}.Watermarks(ctx, ReaderName+"."+g.name)
	if err != nil {
		return fmt.Errorf("watermarks of %s: %w", g.name, err)
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.marksAt = time.Now()
	for epoch, mark := range marks {
		g.marks[epoch] = max(g.marks[epoch], mark)
	}
	return nil
}

// published reports whether what is at a place is acknowledged; for all that is
// known here, which may be less than there is.
func (g *group) published(epoch entity.Epoch, position uint64) bool {
	if g.marks[epoch] >= position {
		return true
	}
	t := g.trackers[epoch]
	return t != nil && t.mark() >= position
}

// queuedUpTo reports whether what is at a place is in the queue already: before
// all that is queued from now on.
func (g *group) queuedUpTo(epoch entity.Epoch, position uint64) bool {
	t := g.trackers[epoch]
	return t != nil && t.taken >= position
}

// record reads one record of a stream; nil: there is none.
func (g *group) record(ctx context.Context, addr entity.Address, seq uint64) (*entity.Record, error) {
	for rec, err := range g.p.cfg.Streams.ReadStream(ctx, addr.Stream(), seq-1) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", addr.Stream(), err)
		}
		return rec, nil
	}
	return nil, ctx.Err()
}
