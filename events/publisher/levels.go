package publisher

// Of a compacted topic consumers who come later see only the last value of a
// key. When a SKU's level may be sent by two nodes (its actor has moved, and
// the log it left is still being published; or a dead node's log is read by
// another) the older could come last. Then the newest is sent again, after the
// older is known to be out, until none newer has appeared while it was sent.

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
)

const (
	levelsEvery = 250 * time.Millisecond
	// levelsAtOnce bounds the levels of one round, and maxLevels those that wait.
	levelsAtOnce = 512
	maxLevels    = 200_000
)

// levels is the streams whose newest level is to be sent again. Guarded by the
// publisher's mutex.
type levels struct {
	waiting map[entity.Address]*level
	order   []*level
	full    bool
}

type level struct {
	addr entity.Address
	// seq is the newest record that is known of.
	seq uint64
	// after are what has to be published before.
	after []place
	// spans wait for it, one a log.
	spans map[entity.Epoch]*span
	// changed: something was added since it was begun.
	changed bool
	// begin is seq as of when the round began, and sent the record whose level
	// was sent in it: these and total are the sender's own.
	begin uint64
	sent  uint64
	total *span
}

func newLevels() levels { return levels{waiting: make(map[entity.Address]*level)} }

// settle notes a stream whose newest level is to be sent, once what is at a
// place (if any) is published. It reports whether s, if any, waits for that.
func (l *levels) settle(addr entity.Address, seq uint64, after place, s *span) (waits bool) {
	if groupOf(addr.Kind) != "stock" {
		return false
	}
	v := l.waiting[addr]
	if v == nil {
		if s == nil && len(l.waiting) >= maxLevels {
			l.full = true
			return false
		}
		v = &level{addr: addr, seq: seq, spans: make(map[entity.Epoch]*span)}
		l.waiting[addr] = v
		l.order = append(l.order, v)
	}
	v.seq, v.changed = max(v.seq, seq), true
	if after != (place{}) {
		v.after = append(v.after, after)
	}
	if s == nil || v.spans[s.epoch] != nil {
		return false // of a log, what is above the first that waits waits with it
	}
	v.spans[s.epoch] = s
	return true
}

// keepLevels sends the levels that wait until ctx ends.
func (g *group) keepLevels(ctx context.Context) {
	ticker := time.NewTicker(levelsEvery)
	defer ticker.Stop()
	for failed := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := g.sendLevels(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			g.p.logger.Error("stock levels cannot be read and are tried again", slog.Any("error", err))
		}
		failed = err != nil
	}
}

// sendLevels sends a round of levels and waits until they are acknowledged.
func (g *group) sendLevels(ctx context.Context) error {
	g.p.mu.Lock()
	n := len(g.levels.waiting)
	if g.levels.full {
		g.levels.full = false
		g.p.logger.Error("too many stock levels wait to be sent again: those of SKUs that moved beyond them can be old ones until they change", slog.Int("limit", maxLevels))
	}
	g.p.mu.Unlock()
	if n == 0 {
		return nil
	}
	if err := g.refreshMarks(ctx); err != nil {
		return err
	}
	round := g.dueLevels()
	defer g.putBack(round)
	for _, v := range round {
		if err := g.sendLevel(ctx, v); err != nil {
			return err
		}
	}
	for _, v := range round {
		if v.total == nil {
			continue
		}
		if err := g.until(ctx, func() bool { return v.total.open <= 0 }); err != nil {
			return err
		}
		newest, err := g.newest(ctx, v.addr, v.sent)
		if err != nil {
			return err
		}
		g.levelSent(v, newest)
	}
	return nil
}

// dueLevels takes those out of the line whose turn it is.
func (g *group) dueLevels() []*level {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	var due, later []*level
	for _, v := range g.levels.order {
		ahead := len(v.after)
		if len(due) < levelsAtOnce {
			v.after = slices.DeleteFunc(v.after, func(at place) bool { return g.published(at.epoch, at.position) })
		}
		// What waits for the level must not wait for what the level waits for: that may be the same.
		if len(due) == levelsAtOnce || ahead > 0 && len(v.after) == ahead && len(v.spans) == 0 {
			later = append(later, v)
			continue
		}
		v.changed, v.total, v.begin = false, nil, v.seq
		due = append(due, v)
	}
	g.levels.order = later
	return due
}

// putBack puts those into the line again that are not done.
func (g *group) putBack(round []*level) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	for _, v := range round {
		if g.levels.waiting[v.addr] == v {
			g.levels.order = append(g.levels.order, v)
		}
	}
}

// sendLevel queues the newest level of a stream.
func (g *group) sendLevel(ctx context.Context, v *level) error {
	rec, err := g.newest(ctx, v.addr, v.begin)
	if err != nil || rec == nil {
		return err
	}
	if err := g.until(ctx, func() bool { return g.queued < g.limit }); err != nil {
		return err
	}
	var newest []cloudevents.Message
	if rec.Verify() == nil { // else its log's reader says so
		for _, m := range g.mapped(nil, rec) {
			if g.p.topics[m.Topic].compacted {
				newest = append(newest, m)
			}
		}
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	v.sent, v.total = rec.Seq, &span{group: g, addr: v.addr, seq: rec.Seq, open: len(newest)}
	g.p.push(newest, v.total, time.Now())
	g.p.wakeSender()
	return nil
}

// levelSent takes in that a level is acknowledged: it is done if it is still
// the newest, nothing was added meanwhile, and nothing older can still come.
func (g *group) levelSent(v *level, newest *entity.Record) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if newest != nil && newest.Seq > v.sent {
		v.seq = newest.Seq
		return
	}
	if v.changed {
		return
	}
	for _, s := range v.spans {
		s.settle()
	}
	clear(v.spans)
	if len(v.after) == 0 {
		delete(g.levels.waiting, v.addr)
	}
	g.p.progressed()
}

// newest reads a stream's last record, given one that is there: it gallops
// forth, then halves. Nil: there is none.
func (g *group) newest(ctx context.Context, addr entity.Address, seq uint64) (*entity.Record, error) {
	last, err := g.record(ctx, addr, seq)
	if err != nil || last == nil {
		return nil, err
	}
	beyond := uint64(0)
	for step := uint64(1); beyond == 0; step *= 2 {
		rec, err := g.record(ctx, addr, last.Seq+step)
		switch {
		case err != nil:
			return nil, err
		case rec == nil:
			beyond = last.Seq + step
		default:
			last = rec
		}
	}
	for beyond-last.Seq > 1 {
		at := last.Seq + (beyond-last.Seq)/2
		rec, err := g.record(ctx, addr, at)
		switch {
		case err != nil:
			return nil, err
		case rec == nil:
			beyond = at
		default:
			last = rec
		}
	}
	return last, nil
}
