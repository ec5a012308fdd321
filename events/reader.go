// Package events is the way out: what reads the journal's logs and hands their
// records on. The records of one incarnation of a node, in order of position,
// are its log; there is no second write and no mark to clear. Each reader (the
// publisher to Kafka, the projector of the views) keeps a watermark an
// incarnation: everything up to it is done.
//
// This package reads the logs and keeps the watermarks; what is done with the
// records is in publisher and views.
package events

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// Source yields the log of the present incarnation as it becomes durable.
type Source interface {
	// Next waits for records and returns them in order of position. Everything
	// of the incarnation at or below upTo has now been returned or was never
	// written. After an error it can be called again.
	Next(ctx context.Context) (records []*entity.Record, upTo uint64, err error)
}

// Journal is what of persistence.Journal the logs of older incarnations are
// read from.
type Journal interface {
	Epochs(ctx context.Context) ([]persistence.EpochInfo, error)
	ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error]
}

// Sink takes what a Reader reads.
type Sink interface {
	// Take takes records of an incarnation over, in order of position, and may
	// block: that is how a sink that cannot keep up slows its reader down.
	// Everything of the incarnation at or below upTo has been handed over with
	// this call or was never written. An error ends the reading.
	Take(ctx context.Context, epoch entity.Epoch, records []*entity.Record, upTo uint64) error
}

// Finished is the watermark of an incarnation whose log was read to its end
// and cannot grow: the last position that a store keeps.
const Finished uint64 = persistence.MaxPosition

// How an adopted log is handed over, and how a failing store is asked again.
const (
	chunkRecords   = 256
	chunkBytes     = 4 << 20
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = 5 * time.Second
)

// Config says which logs are read.
type Config struct {
	// Name is the name that the watermarks are kept under.
	Name       string
	Journal    Journal
	Watermarks persistence.Watermarks
	// Epoch is the present incarnation, and Source its log from the start.
	Epoch  entity.Epoch
	Source Source
	// Ended is the error of Source at the end of a closed log.
	Ended error
	// Cluster says which logs of others are this node's to read; nil: all older
	// ones, as in a cluster of one.
	Cluster Cluster
	// Quiet is how long an adopted log must have shown nothing new before a
	// missing position is taken for one that was never written: longer than a
	// write of a process that is gone can still take to appear. 0: it cannot
	// grow any more, because this process holds the lock of the store.
	Quiet time.Duration
	// Wants says which kinds are handed over; nil: all.
	Wants  func(kind string) bool
	Logger *slog.Logger
}

// Reader follows the log of the present incarnation from its start, and beside
// it reads the logs that this node has adopted to their ends (adopt.go). Of one
// log records come in order; of two logs of one stream in any: whoever needs
// them in order looks at what a record follows. Records that fail their
// checksum are reported and left out.
//
// It belongs to the goroutine that calls Run. The sink is called from two.
type Reader struct {
	cfg     Config
	metrics *ReaderMetrics
}

// NewReader returns a reader of the logs that cfg names.
func NewReader(cfg Config, metrics *ReaderMetrics) *Reader {
	if cfg.Cluster == nil {
		cfg.Cluster = Alone(cfg.Epoch)
	}
	return &Reader{cfg: cfg, metrics: metrics}
}

// Run reads until ctx or the present log ends, or the sink refuses. It returns
// nil at the end of the log, else the reason. Logs that cannot grow any more
// are read to their ends first; adopted ones that can are left to others.
func (r *Reader) Run(ctx context.Context, sink Sink) error {
	adopting, stop := context.WithCancel(ctx)
	defer stop()
	following, give := context.WithCancel(ctx)
	defer give()
	adopted := make(chan error, 1)
	go func() {
		err := r.adopt(adopting, sink)
		if refused := (*sinkError)(nil); errors.As(err, &refused) && adopting.Err() == nil {
			give() // the sink takes nothing any more
		}
		adopted <- err
	}()
	err := r.follow(following, sink)
	if r.cfg.Quiet > 0 || err != nil {
		stop()
	}
	adoptErr := <-adopted
	switch {
	case following.Err() != nil && ctx.Err() == nil:
		return adoptErr
	case err != nil:
		return err
	case adopting.Err() != nil && ctx.Err() == nil:
		return nil
	}
	return adoptErr
}

// follow hands over the present log.
func (r *Reader) follow(ctx context.Context, sink Sink) error {
	backoff := firstBackoff
	for {
		records, upTo, err := r.cfg.Source.Next(ctx)
		switch {
		case err == nil:
			backoff = firstBackoff
			if err := sink.Take(ctx, r.cfg.Epoch, r.wanted(records), upTo); err != nil {
				return &sinkError{err}
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case r.cfg.Ended != nil && errors.Is(err, r.cfg.Ended):
			return nil
		default:
			r.cfg.Logger.Error("reading the log failed and is tried again", slog.String("reader", r.cfg.Name), slog.Any("error", err))
			if err := sleep(ctx, backoff); err != nil {
				return err
			}
			backoff = min(2*backoff, longestBackoff)
		}
	}
}

// wanted leaves out the records of other kinds, and those that cannot be
// trusted, and says which.
func (r *Reader) wanted(records []*entity.Record) []*entity.Record {
	for i, rec := range records {
		if !r.wants(rec) || rec.Verify() != nil {
			return r.filtered(records, i)
		}
	}
	return records
}

func (r *Reader) wants(rec *entity.Record) bool { return r.cfg.Wants == nil || r.cfg.Wants(rec.Kind) }

func (r *Reader) filtered(records []*entity.Record, first int) []*entity.Record {
	good := append([]*entity.Record(nil), records[:first]...)
	for _, rec := range records[first:] {
		if !r.wants(rec) {
			continue
		}
		err := rec.Verify()
		if err == nil {
			good = append(good, rec)
			continue
		}
		r.metrics.corrupt.Inc()
		r.cfg.Logger.Error("a journal record is corrupt and was left out", slog.String("reader", r.cfg.Name),
			slog.Uint64("epoch", uint64(rec.Epoch)), slog.Uint64("position", rec.Position), slog.Any("error", err))
	}
	return good
}

// persistently repeats f until it succeeds or ctx ends.
func (r *Reader) persistently(ctx context.Context, what string, f func() error) error {
	backoff := firstBackoff
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.cfg.Logger.Error("the store failed and is tried again", slog.String("reader", r.cfg.Name), slog.String("operation", what), slog.Any("error", err))
		if err := sleep(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, longestBackoff)
	}
}

// sinkError marks an error of the sink, which ends the reading.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return "log sink: " + e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
