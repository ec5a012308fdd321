package sqlite

// Bringing index.db up to date, behind the commits: many places at once, in
// their order, touch each of its pages once instead of once a record.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stampede/actors/entity"
)

const (
	// placeRows is how many places one INSERT takes.
	placeRows = 64
	// mergeRetry is how long a failed merge waits for its next try.
	mergeRetry = time.Second
)

// merger writes index.db. Its goroutine is the only one that does.
type merger struct {
	s    *Store
	conn *conn
	// work has the generation to merge; at most one exists.
	work chan *generation
	// progress is signalled after each try.
	progress chan struct{}
	// durable is the newest row of appends that index.db has, synced.
	durable atomic.Int64
	err     atomic.Pointer[error]
	done    sync.WaitGroup
}

func (m *merger) start() { m.done.Go(m.run) }

// stop merges what is left, so that the next Open has nothing to do, and ends.
// The caller holds the writer's token.
func (m *merger) stop() {
	close(m.work)
	m.done.Wait()
	if m.lastError() == nil {
		if g := m.s.tail.freeze(true); g != nil {
			err := m.merge(g)
			_ = err // the table appends still has it
		}
	}
}

func (m *merger) run() {
	for g := range m.work {
		for m.merge(g) != nil {
			select {
			case <-m.s.closed:
				return
			case <-time.After(mergeRetry):
			}
		}
	}
}

// poke hands a frozen generation over; nil is none. It never blocks, because
// no generation is frozen before the one before it is merged.
func (m *merger) poke(g *generation) {
	if g != nil {
		m.work <- g
	}
}

func (m *merger) merge(g *generation) error {
	places := slices.Clone(g.places)
	slices.SortFunc(places, comparePlaces)
	err := m.conn.transact(func() error {
		if err := m.insert(places); err != nil {
			return err
		}
		_, err := m.conn.exec("UPDATE indexed SET upto = ?", g.upto)
		return err
	})
	if err != nil {
		m.err.Store(&err)
	} else {
		m.err.Store(nil)
		m.durable.Store(g.upto)
		m.s.tail.merged()
	}
	select {
	case m.progress <- struct{}{}:
	default:
	}
	return err
}

func (m *merger) insert(places []place) error {
	const insert = "INSERT OR IGNORE INTO streams (hash, seq, id) VALUES "
	many, one := insert+placeholders(placeRows, 3), insert+placeholders(1, 3)
	args := make([]driver.Value, 0, 3*placeRows)
	for rest := places; len(rest) > 0; {
		n, sql := placeRows, many
		if len(rest) < placeRows {
			n, sql = 1, one
		}
		args = args[:0]
		for _, p := range rest[:n] {
			args = append(args, p.hash, p.seq, p.id)
		}
		if _, err := m.conn.exec(sql, args...); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// lastError is why the last try failed, or nil.
func (m *merger) lastError() error {
	if err := m.err.Load(); err != nil {
		return *err
	}
	return nil
}

// awaitMerge holds the writer back while the tail is full.
func (s *Store) awaitMerge(ctx context.Context) error {
	for s.tail.full() {
		if g := s.tail.freeze(false); g != nil {
			s.merger.poke(g)
			return nil
		}
		if err := s.merger.lastError(); err != nil {
			return fmt.Errorf("%w: %d records wait for %s: %w", entity.ErrUnavailable, maxGenerations*s.tail.every, indexFile, err)
		}
		select {
		case <-s.merger.progress:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", entity.ErrUnavailable, ctx.Err())
		}
	}
	return nil
}
