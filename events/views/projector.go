// Package views keeps the rows that lists are read from: it follows the log
// and folds its records into persistence.Views. A row lags its journal by a
// moment and can be rebuilt from it; what must be exact is asked of the actor.
package views

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/persistence"
)

// ReaderName is the name that the projector's watermarks are kept under.
const ReaderName = "views"

// Streams is what rows are rebuilt from.
type Streams interface {
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error]
}

// Config is what a projector is made of.
type Config struct {
	Views   persistence.Views
	Streams Streams
	// Log says which logs are read. Its Name is set by the projector.
	Log        events.Config
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	// CachedRows bounds the aggregates that are kept in memory between
	// batches. Default 8,192.
	CachedRows int
	// Pause is the least time between two small batches, so that several
	// records of an aggregate become one write, and a transaction carries many;
	// while much is going on it is twice as long. Default 200 ms.
	Pause time.Duration
}

const (
	defaultCachedRows = 8192
	defaultPause      = 200 * time.Millisecond
	// smallBatch: below so many records a batch is followed by a pause, and from
	// busyBatch on by one of busyPauses times its length: where much is going on,
	// larger batches share more pages of the lists' indexes.
	smallBatch     = 3072
	busyBatch      = 512
	busyPauses     = 2
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = 5 * time.Second
	saveTimeout    = 5 * time.Second
)

// Projector folds records into rows. Run owns its goroutines; of its state only
// progress and lag are touched by others.
//
// A row is only ever replaced by one of a higher version, so records that come
// again change nothing. A record that does not follow its row (because another
// incarnation's log is read at another pace) makes the row be read again and,
// if need be, rebuilt from its stream.
type Projector struct {
	cfg      Config
	kinds    map[string]kind
	reader   *events.Reader
	keeper   *events.Keeper
	progress *events.Progress
	metrics  *metrics
	rows     *simplelru.LRU[string, *cached]

	// taking has its one place taken by the Take that folds: there are several
	// logs, and a store that fails is waited for while it is held.
	taking chan struct{}

	mu sync.Mutex
	// oldestMs is when the oldest event happened that is not in its row yet; 0: none.
	oldestMs int64
}

// cached is a row as it is in the store or about to be.
type cached struct {
	kind, id  string
	version   uint64
	wakeAtMs  int64
	aggregate aggregate
}

var _ events.Sink = (*Projector)(nil)

// New returns a projector.
func New(cfg Config) (*Projector, error) {
	if cfg.CachedRows == 0 {
		cfg.CachedRows = defaultCachedRows
	}
	if cfg.Pause == 0 {
		cfg.Pause = defaultPause
	}
	cfg.Log.Name = ReaderName
	rows, err := simplelru.NewLRU[string, *cached](cfg.CachedRows, nil)
	if err != nil {
		return nil, fmt.Errorf("views: %w", err)
	}
	p := &Projector{
		cfg:      cfg,
		kinds:    kinds(),
		reader:   events.NewReader(cfg.Log, events.NewReaderMetrics(cfg.Registerer, ReaderName)),
		keeper:   events.NewKeeper(cfg.Log),
		progress: events.NewProgress(),
		rows:     rows,
		taking:   make(chan struct{}, 1),
	}
	p.metrics = newMetrics(cfg.Registerer, p)
	return p, nil
}

// Run projects until ctx ends or the present log ends. It returns nil then,
// with the watermarks saved, else the reason. It must be called once.
func (p *Projector) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { p.keeper.Run(background, p.progress.Marks) })
	err := p.reader.Run(ctx, p)
	stop()
	work.Wait()
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	saveErr := p.keeper.Save(saving, p.progress.Marks())
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // being told to stop is no failure
	}
	return errors.Join(err, saveErr)
}

// WaitFor waits until the rows show the present log up to and including position.
func (p *Projector) WaitFor(ctx context.Context, position uint64) error {
	if err := p.progress.WaitFor(ctx, p.cfg.Log.Epoch, position); err != nil {
		return fmt.Errorf("views: %w", err)
	}
	return nil
}

// Lag is the age of the oldest event that was read and is not in its row.
func (p *Projector) Lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oldestMs == 0 {
		return 0
	}
	return max(0, time.Since(time.UnixMilli(p.oldestMs)))
}

// Take implements events.Sink: when it returns, the rows are stored.
func (p *Projector) Take(ctx context.Context, epoch entity.Epoch, records []*entity.Record, upTo uint64) error {
	if err := p.take(ctx, epoch, records, upTo); err != nil {
		return err
	}
	switch n := len(records); {
	case n < busyBatch:
		pause(ctx, p.cfg.Pause)
	case n < smallBatch:
		pause(ctx, busyPauses*p.cfg.Pause)
	}
	return nil
}

func (p *Projector) take(ctx context.Context, epoch entity.Epoch, records []*entity.Record, upTo uint64) error {
	select {
	case p.taking <- struct{}{}:
		defer func() { <-p.taking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(records) > 0 {
		p.setOldest(time.Now().UnixMilli())
	}
	b := &batch{p: p, touched: make(map[string]*cached)}
	err := p.persistently(ctx, "read rows", func() error { return b.load(ctx, records) })
	if err != nil {
		return err
	}
	for _, rec := range records {
		if err := b.fold(ctx, rec); err != nil {
			return err
		}
	}
	rows := b.finished()
	err = p.persistently(ctx, "write rows", func() error { return p.put(ctx, rows) })
	if err != nil {
		return err
	}
	p.setOldest(0)
	p.progress.Advance(epoch, upTo)
	return nil
}

func (p *Projector) put(ctx context.Context, rows []persistence.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if err := p.cfg.Views.PutRows(ctx, rows); err != nil {
		return fmt.Errorf("put %d rows: %w", len(rows), err)
	}
	for i := range rows {
		p.metrics.written.WithLabelValues(rows[i].Kind).Inc()
	}
	return nil
}

func (p *Projector) setOldest(ms int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldestMs = ms
}

// persistently repeats f until it succeeds or ctx ends.
func (p *Projector) persistently(ctx context.Context, what string, f func() error) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, longestBackoff) {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if backoff == firstBackoff {
			p.cfg.Logger.Error("the views fall behind: the store failed and is tried again", slog.String("operation", what), slog.Any("error", err))
		}
		p.metrics.failures.Inc()
		pause(ctx, backoff)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
