package events

// How the logs of dead incarnations are read: which ones, how far, and until
// when.

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/persistence"
)

// Cluster says which logs of others are this node's to read.
type Cluster interface {
	// Orphans returns those of the incarnations that are gone for good and that
	// this node is to adopt. It is asked again and again, from several
	// goroutines, and answers at once. That two nodes adopt one log does no
	// harm: what is done twice is repeated, never lost.
	Orphans(epochs []persistence.EpochInfo) []entity.Epoch
}

// Steady is a Cluster that can say that its answer has not changed.
type Steady interface {
	Cluster
	// Steady returns the version of the view that Orphans goes by, and whether its
	// answers change with that version alone, not with time.
	Steady() (view uint64, ok bool)
}

// Alone is the incarnation of a cluster of one: all older ones are gone.
type Alone entity.Epoch

// Orphans implements Cluster.
func (a Alone) Orphans(epochs []persistence.EpochInfo) []entity.Epoch {
	var older []entity.Epoch
	for _, e := range epochs {
		if e.Epoch < entity.Epoch(a) {
			older = append(older, e.Epoch)
		}
	}
	return older
}

// JoinWithin is how long an incarnation may be known to the journal and not to
// the cluster before it counts as gone: it opens its log before it joins.
const JoinWithin = 15 * time.Second

// Members adopts by the cluster's view: of those that have the role Publisher
// the one with the highest score for an epoch (rendezvous hashing: a member
// that comes or goes moves only its own share).
type Members struct {
	self string
	view func() *members.View

	mu sync.Mutex
	// joined are the incarnations that were in a view; strangers when one that
	// was not was first seen, by this process's own clock.
	joined    map[entity.Epoch]bool
	strangers map[entity.Epoch]time.Time
}

// NewMembers returns what the member self adopts. view is the newest version of
// the cluster, nil while there is none: then nothing is adopted.
func NewMembers(self string, view func() *members.View) *Members {
	return &Members{self: self, view: view, joined: make(map[entity.Epoch]bool), strangers: make(map[entity.Epoch]time.Time)}
}

// Orphans implements Cluster.
func (m *Members) Orphans(epochs []persistence.EpochInfo) []entity.Epoch {
	view := m.view()
	if view == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	alive := make(map[entity.Epoch]bool, len(view.Members))
	for i := range view.Members {
		if member := &view.Members[i]; member.Alive() {
			alive[member.Epoch] = true
			m.joined[member.Epoch] = true
		}
	}
	var mine []entity.Epoch
	for _, e := range epochs {
		if !alive[e.Epoch] && m.gone(e.Epoch) && adopter(view, e.Epoch) == m.self {
			mine = append(mine, e.Epoch)
		}
	}
	return mine
}

// gone reports whether an incarnation that is not in the view was there before,
// or had its time to join.
func (m *Members) gone(epoch entity.Epoch) bool {
	if m.joined[epoch] {
		return true
	}
	since, known := m.strangers[epoch]
	if !known {
		since = time.Now()
		m.strangers[epoch] = since
	}
	return time.Since(since) >= JoinWithin
}

// Steady implements Steady.
func (m *Members) Steady() (view uint64, ok bool) {
	v := m.view()
	if v == nil {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for epoch, since := range m.strangers {
		if !m.joined[epoch] && time.Since(since) < JoinWithin {
			return v.Version, false // its time to join is not over
		}
	}
	return v.Version, true
}

// adopter is the member that reads a dead incarnation's log; empty: none can.
func adopter(view *members.View, epoch entity.Epoch) string {
	best, highest := "", uint64(0)
	for i := range view.Members {
		member := &view.Members[i]
		if member.State != members.Up || !member.Is(members.Publisher) {
			continue
		}
		if score := score(member.ID, epoch); best == "" || score > highest {
			best, highest = member.ID, score
		}
	}
	return best
}

// score is FNV-1a of member and epoch behind the finalizer of MurmurHash3:
// without it, neighbouring epochs would have neighbouring scores.
func score(member string, epoch entity.Epoch) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", member, epoch) // a hash takes everything
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// lateTimes is how many times Quiet an adopted log is looked at, once it is
// quiet, before it is finished for good.
const lateTimes = 10

// adoption is an adopted log: how far it was handed over.
type adoption struct {
	done uint64
	// beyond is how many records were seen behind a gap.
	beyond int
	// news is when something new was last seen.
	news time.Time
	// next is when it is read again at the earliest.
	next time.Time
}

// adopt reads the logs that are this node's to adopt until ctx ends or the sink
// refuses. Those that cannot grow any more are read once.
func (r *Reader) adopt(ctx context.Context, sink Sink) error {
	logs := make(map[entity.Epoch]*adoption)
	var last asked
	for {
		if now := r.ask(); len(logs) > 0 || now.differs(last) {
			orphans, err := r.orphans(ctx, logs)
			if err != nil {
				return err
			}
			last = now
			for _, epoch := range orphans {
				if err := r.look(ctx, sink, epoch, logs[epoch]); err != nil {
					return err
				}
			}
		}
		if r.cfg.Quiet == 0 {
			return nil
		}
		if err := sleep(ctx, max(r.cfg.Quiet/4, time.Millisecond)); err != nil {
			return err
		}
	}
}

// askAgain is how long a steady cluster is believed to have left no new log: only
// one that never joined, and so has nothing in it, can be missed meanwhile.
const askAgain = JoinWithin

// asked is a look at the incarnations: when, and by which view.
type asked struct {
	at     time.Time
	view   uint64
	steady bool
}

func (r *Reader) ask() asked {
	now := asked{at: time.Now()}
	if c, ok := r.cfg.Cluster.(Steady); ok {
		now.view, now.steady = c.Steady()
	}
	return now
}

// differs reports that another look may show what the last one did not.
func (a asked) differs(last asked) bool {
	return !a.steady || !last.steady || a.view != last.view || a.at.Sub(last.at) >= askAgain
}

// orphans lists the logs to read, oldest first, and keeps logs in step with it.
func (r *Reader) orphans(ctx context.Context, logs map[entity.Epoch]*adoption) ([]entity.Epoch, error) {
	var orphans []entity.Epoch
	err := r.persistently(ctx, "read incarnations and watermarks", func() error {
		epochs, err := r.cfg.Journal.Epochs(ctx)
		if err != nil {
			return fmt.Errorf("incarnations: %w", err)
		}
		marks, err := r.cfg.Watermarks.Watermarks(ctx, r.cfg.Name)
		if err != nil {
			return fmt.Errorf("watermarks of %s: %w", r.cfg.Name, err)
		}
		unfinished := epochs[:0]
		for _, e := range epochs {
			if e.Epoch != r.cfg.Epoch && marks[e.Epoch] < Finished {
				unfinished = append(unfinished, e)
			}
		}
		orphans = r.cfg.Cluster.Orphans(unfinished)
		slices.Sort(orphans)
		for epoch := range logs {
			if !slices.Contains(orphans, epoch) {
				delete(logs, epoch) // finished, or another's
			}
		}
		for _, epoch := range orphans {
			if logs[epoch] == nil {
				logs[epoch] = &adoption{done: marks[epoch], news: time.Now()}
				r.cfg.Logger.Info("the log of an incarnation that is gone is read to its end", slog.String("reader", r.cfg.Name),
					slog.Uint64("epoch", uint64(epoch)), slog.Uint64("after", marks[epoch]))
			}
		}
		return nil
	})
	return orphans, err
}

// look hands over what an adopted log has that is new. While it can grow, a
// missing position may be of a write that is still on its way: what comes after
// it waits until nothing was new for Quiet. Then it is looked at a few times
// more before it is finished.
func (r *Reader) look(ctx context.Context, sink Sink, epoch entity.Epoch, log *adoption) error {
	if time.Now().Before(log.next) {
		return nil
	}
	quiet := time.Since(log.news) >= r.cfg.Quiet
	before := *log
	for {
		err := r.drain(ctx, sink, epoch, log, quiet)
		if err == nil {
			break
		}
		var refused *sinkError
		if errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
		r.cfg.Logger.Error("reading an adopted log failed and is tried again",
			slog.String("reader", r.cfg.Name), slog.Uint64("epoch", uint64(epoch)), slog.Any("error", err))
		if err := sleep(ctx, longestBackoff); err != nil {
			return err
		}
		if r.cfg.Quiet > 0 {
			return nil // the others have their turn
		}
	}
	switch {
	case log.done > before.done || log.beyond > before.beyond:
		log.news = time.Now()
		if r.cfg.Quiet > 0 {
			return nil
		}
	case !quiet:
		return nil
	case time.Since(log.news) < lateTimes*r.cfg.Quiet:
		log.next = time.Now().Add(r.cfg.Quiet)
		return nil
	}
	if err := sink.Take(ctx, epoch, nil, Finished); err != nil {
		return &sinkError{err}
	}
	return nil
}

// drain hands over what an adopted log has beyond what was handed over before;
// gaps: also what comes after one.
func (r *Reader) drain(ctx context.Context, sink Sink, epoch entity.Epoch, log *adoption, gaps bool) error {
	var chunk []*entity.Record
	bytes, beyond, last := 0, 0, log.done
	hand := func() error {
		if last == log.done {
			return nil
		}
		if err := sink.Take(ctx, epoch, r.wanted(chunk), last); err != nil {
			return &sinkError{err}
		}
		log.done = last
		return nil
	}
	for rec, err := range r.cfg.Journal.ReadEpoch(ctx, epoch, log.done) {
		if err != nil {
			return errors.Join(err, hand())
		}
		if !gaps && rec.Position != last+1 {
			beyond++
			continue
		}
		last = rec.Position
		chunk = append(chunk, rec)
		if bytes += len(rec.Events); len(chunk) < chunkRecords && bytes < chunkBytes {
			continue
		}
		if err := hand(); err != nil {
			return err
		}
		chunk, bytes = nil, 0
	}
	if err := ctx.Err(); err != nil {
		return err // the journal may have stopped early because of it
	}
	log.beyond = beyond
	return hand()
}
