package publisher

// Publishing again what was published: for a consumer that has lost its data,
// or a topic that was deleted. A replay only repeats: what is not published yet
// comes by itself, and first occurrences stay in order.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/persistence"
)

// Replay says what is published again: everything of one kind, of one key if it
// is given, from a version and from a time on.
type Replay struct {
	Kind, Key   string
	FromVersion uint64
	// SinceMs is in Unix milliseconds; 0: from the start.
	SinceMs int64
}

// Rows lists the keys of a kind.
type Rows interface {
	ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error)
}

// ErrTooManyReplays: others are running.
var ErrTooManyReplays = errors.New("too many replays are running")

const (
	// ReplayRate bounds how many events a second are published again, all
	// replays of a node together.
	ReplayRate = 5000
	maxReplays = 4
	replayPage = 500
	// replayKept is how long the result of a replay waits for whoever asked.
	replayKept = 10 * time.Minute
)

// Replayer publishes again. A replay goes on when the one who asked for it does
// not wait any more; whoever asks for the same again is told how far it is.
type Replayer struct {
	p    *Publisher
	rows Rows
	rate int

	ctx  context.Context //nolint:containedctx // ends with Close, not with a caller
	stop context.CancelFunc
	work sync.WaitGroup

	mu   sync.Mutex
	jobs map[Replay]*replaying
	// next is when the next event may be published again.
	next time.Time
}

// replaying is one replay under way. Guarded by the replayer's mutex, but for
// total.
type replaying struct {
	total    *span
	n        int
	err      error
	done     chan struct{}
	finished time.Time
}

// NewReplayer returns a replayer of what p publishes. Close must be called.
func NewReplayer(p *Publisher, rows Rows, rate int) *Replayer {
	ctx, stop := context.WithCancel(context.Background())
	return &Replayer{p: p, rows: rows, rate: rate, ctx: ctx, stop: stop, jobs: make(map[Replay]*replaying)}
}

// Close ends all replays.
func (r *Replayer) Close() {
	r.stop()
	r.work.Wait()
}

// Replay begins a replay, or joins the same one, and waits until it is done or
// ctx ends. It returns how many events were published again so far. A replay
// whose end was told once is over: the same again is another one.
func (r *Replayer) Replay(ctx context.Context, what Replay) (n int, done bool, err error) {
	job, err := r.join(what)
	if err != nil {
		return 0, false, err
	}
	select {
	case <-job.done:
		done = true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if done && r.jobs[what] == job {
		delete(r.jobs, what)
	}
	return job.n, done, job.err
}

func (r *Replayer) join(what Replay) (*replaying, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := 0
	for other, job := range r.jobs {
		switch {
		case job.finished.IsZero():
			running++
		case time.Since(job.finished) > replayKept:
			delete(r.jobs, other)
		}
	}
	if job := r.jobs[what]; job != nil {
		return job, nil
	}
	if running >= maxReplays || r.ctx.Err() != nil {
		return nil, ErrTooManyReplays
	}
	g := r.p.group(groupOf(what.Kind))
	job := &replaying{done: make(chan struct{}), total: &span{group: g, open: 1}}
	r.jobs[what] = job
	r.work.Go(func() {
		err := r.run(r.ctx, g, what, job)
		r.mu.Lock()
		job.err, job.finished = err, time.Now()
		n := job.n
		r.mu.Unlock()
		close(job.done)
		log := r.p.logger.With(slog.String("kind", what.Kind), slog.String("key", what.Key), slog.Int("events", n))
		if err != nil {
			log.Warn("events were published again, but not all of them", slog.Any("error", err))
			return
		}
		log.Info("events were published again")
	})
	return job, nil
}

// run replays, and waits until all of it is acknowledged.
func (r *Replayer) run(ctx context.Context, g *group, what Replay, job *replaying) error {
	if err := g.until(ctx, func() bool { return len(r.p.topics) > 0 }); err != nil {
		return err
	}
	err := r.eachKey(ctx, what, func(key string) error {
		return r.stream(ctx, g, entity.Address{Kind: what.Kind, ID: key}, what, job)
	})
	g.p.mu.Lock()
	job.total.settle()
	g.p.mu.Unlock()
	g.p.wakeSender()
	return errors.Join(err, g.until(ctx, func() bool { return job.total.open <= 0 }))
}

// eachKey calls do with the replay's keys.
func (r *Replayer) eachKey(ctx context.Context, what Replay, do func(key string) error) error {
	if what.Key != "" {
		return do(what.Key)
	}
	q := persistence.ListQuery{Kind: what.Kind, Limit: replayPage}
	for {
		rows, err := r.rows.ListRows(ctx, q)
		if err != nil {
			return fmt.Errorf("list keys of %s: %w", what.Kind, err)
		}
		for i := range rows {
			if err := do(rows[i].ID); err != nil {
				return err
			}
		}
		if len(rows) < q.Limit {
			return nil
		}
		last := &rows[len(rows)-1]
		q.AfterSortMs, q.AfterID = last.SortMs, last.ID
	}
}

// stream replays what is published of one stream, in order.
func (r *Replayer) stream(ctx context.Context, g *group, addr entity.Address, what Replay, job *replaying) error {
	if err := g.refreshMarks(ctx); err != nil {
		return err
	}
	seq, err := g.seqOf(ctx, addr, what.FromVersion)
	if err != nil || seq == 0 {
		return err
	}
	some := false
	for rec, err := range g.p.cfg.Streams.ReadStream(ctx, addr.Stream(), seq-1) {
		if err != nil {
			return fmt.Errorf("read %s: %w", addr.Stream(), err)
		}
		if rec.Verify() != nil {
			continue // its log's reader has said so
		}
		more, err := r.record(ctx, g, rec, what, job)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		some = true
	}
	if some && addr.Kind == "sku" { // of its levels the newest is sent
		g.p.mu.Lock()
		g.levels.doubt(addr)
		g.p.mu.Unlock()
	}
	return ctx.Err()
}

// record publishes one record again; false: it is not published yet, and
// neither is what comes after it.
func (r *Replayer) record(ctx context.Context, g *group, rec *entity.Record, what Replay, job *replaying) (more bool, err error) {
	var again []cloudevents.Message
	for _, m := range g.mapped(nil, rec) {
		if m.Version >= what.FromVersion && m.AtMs >= what.SinceMs && !g.p.topics[m.Topic].compacted {
			again = append(again, m)
		}
	}
	if err := r.pace(ctx, len(again)); err != nil {
		return false, err
	}
	// What is live comes first: a replay gets half of the room.
	if err := g.until(ctx, func() bool { return g.queued < g.limit/2 }); err != nil {
		return false, err
	}
	g.p.mu.Lock()
	if g.holds[entity.Address{Kind: rec.Kind, ID: rec.ID}] != nil || !g.published(rec.Epoch, rec.Position) {
		g.p.mu.Unlock()
		return false, nil
	}
	job.total.open += len(again)
	g.p.push(again, job.total, rec, nil)
	g.p.mu.Unlock()
	g.p.wakeSender()
	r.mu.Lock()
	job.n += len(again)
	r.mu.Unlock()
	return true, nil
}

// pace waits until n more events may be published again.
func (r *Replayer) pace(ctx context.Context, n int) error {
	r.mu.Lock()
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait := r.next.Sub(now)
	r.next = r.next.Add(time.Duration(n) * time.Second / time.Duration(r.rate))
	r.mu.Unlock()
	if wait < time.Millisecond {
		return ctx.Err()
	}
	return pause(ctx, wait)
}

// seqOf is the record that holds an event version, or the first above it; 0:
// there is none.
func (g *group) seqOf(ctx context.Context, addr entity.Address, version uint64) (uint64, error) {
	newest, err := g.newest(ctx, addr)
	if err != nil || newest == nil || newest.LastVersion < version {
		return 0, err
	}
	low, high := uint64(0), min(newest.Seq, max(version, 1)) // a record has one event at least
	for high-low > 1 {
		at := low + (high-low)/2
		rec, err := g.record(ctx, addr, at)
		switch {
		case err != nil:
			return 0, err
		case rec == nil:
			return 0, errShort
		case rec.LastVersion < version:
			low = at
		default:
			high = at
		}
	}
	return high, nil
}

func (p *Publisher) group(name string) *group {
	for _, g := range p.groups {
		if g.name == name {
			return g
		}
	}
	return p.groups[len(p.groups)-1]
}
