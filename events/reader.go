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
	"fmt"
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

// How an older log is handed over, and how a failing store is asked again.
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
	// Quiet is how long the logs of older incarnations must have shown nothing
	// new before the present one is begun: longer than a write of a process
	// that is gone can still take to appear. 0: they cannot grow any more,
	// because this process holds the lock of the store.
	Quiet  time.Duration
	Logger *slog.Logger
}

// Reader reads, in this order, what is left of the logs of all older
// incarnations, and the log of the present one. So of one stream older records
// come before newer ones. Records that fail their checksum are reported and
// left out.
//
// It belongs to the goroutine that calls Run.
type Reader struct {
	cfg     Config
	metrics *ReaderMetrics
	// done is how far each older incarnation was handed over, and beyond how many
	// records it has behind a gap above that.
	done   map[entity.Epoch]uint64
	beyond map[entity.Epoch]int
}

// NewReader returns a reader of the logs that cfg names.
func NewReader(cfg Config, metrics *ReaderMetrics) *Reader {
	return &Reader{cfg: cfg, metrics: metrics, done: make(map[entity.Epoch]uint64), beyond: make(map[entity.Epoch]int)}
}

// Run reads until ctx or the present log ends, or the sink refuses. It returns
// nil at the end of the log, else the reason.
func (r *Reader) Run(ctx context.Context, sink Sink) error {
	older, err := r.older(ctx)
	if err != nil {
		return err
	}
	if err := r.drainOlder(ctx, sink, older); err != nil {
		return err
	}
	return r.follow(ctx, sink)
}

// older lists the incarnations before the present one that are not finished.
func (r *Reader) older(ctx context.Context) ([]entity.Epoch, error) {
	var older []entity.Epoch
	err := r.persistently(ctx, "read incarnations and watermarks", func() error {
		marks, err := r.cfg.Watermarks.Watermarks(ctx, r.cfg.Name)
		if err != nil {
			return fmt.Errorf("watermarks of %s: %w", r.cfg.Name, err)
		}
		epochs, err := r.cfg.Journal.Epochs(ctx)
		if err != nil {
			return fmt.Errorf("incarnations: %w", err)
		}
		older = older[:0]
		for _, e := range epochs {
			if e.Epoch < r.cfg.Epoch && marks[e.Epoch] < Finished {
				older = append(older, e.Epoch)
				r.done[e.Epoch] = marks[e.Epoch]
			}
		}
		return nil
	})
	return older, err
}

// drainOlder hands over what the older logs have beyond their watermarks. While
// they can grow, a missing position may be of a write that is still on its way:
// what comes after it waits until nothing was new for Quiet.
func (r *Reader) drainOlder(ctx context.Context, sink Sink, older []entity.Epoch) error {
	if len(older) == 0 {
		return nil
	}
	if r.cfg.Quiet == 0 {
		if _, err := r.drainOnce(ctx, sink, older, true); err != nil {
			return err
		}
		return r.finish(ctx, sink, older)
	}
	lastNews := time.Now()
	for {
		news, err := r.drainOnce(ctx, sink, older, false)
		if err != nil {
			return err
		}
		if news {
			lastNews = time.Now()
		}
		if time.Since(lastNews) >= r.cfg.Quiet {
			_, err := r.drainOnce(ctx, sink, older, true)
			return err
		}
		if err := sleep(ctx, max(r.cfg.Quiet/4, time.Millisecond)); err != nil {
			return err
		}
	}
}

// drainOnce reads each older log once; gaps: also what comes after one.
func (r *Reader) drainOnce(ctx context.Context, sink Sink, older []entity.Epoch, gaps bool) (news bool, err error) {
	for _, epoch := range older {
		done, beyond := r.done[epoch], r.beyond[epoch]
		for {
			err := r.drain(ctx, sink, epoch, gaps)
			if err == nil {
				break
			}
			var refused *sinkError
			if errors.As(err, &refused) || ctx.Err() != nil {
				return false, err
			}
			r.cfg.Logger.Error("reading an older log failed and is tried again",
				slog.String("reader", r.cfg.Name), slog.Uint64("epoch", uint64(epoch)), slog.Any("error", err))
			if err := sleep(ctx, longestBackoff); err != nil {
				return false, err
			}
		}
		news = news || r.done[epoch] > done || r.beyond[epoch] > beyond
	}
	return news, nil
}

// drain hands over what one older log has beyond what was handed over before.
func (r *Reader) drain(ctx context.Context, sink Sink, epoch entity.Epoch, gaps bool) error {
	var chunk []*entity.Record
	bytes, beyond, last := 0, 0, r.done[epoch]
	for rec, err := range r.cfg.Journal.ReadEpoch(ctx, epoch, r.done[epoch]) {
		if err != nil {
			return errors.Join(err, r.hand(ctx, sink, epoch, chunk))
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
		if err := r.hand(ctx, sink, epoch, chunk); err != nil {
			return err
		}
		chunk, bytes = nil, 0
	}
	if err := ctx.Err(); err != nil {
		return err // the journal may have stopped early because of it
	}
	r.beyond[epoch] = beyond
	return r.hand(ctx, sink, epoch, chunk)
}

func (r *Reader) hand(ctx context.Context, sink Sink, epoch entity.Epoch, chunk []*entity.Record) error {
	if len(chunk) == 0 {
		return nil
	}
	upTo := chunk[len(chunk)-1].Position
	if err := sink.Take(ctx, epoch, r.verified(chunk), upTo); err != nil {
		return &sinkError{err}
	}
	r.done[epoch] = upTo
	return nil
}

func (r *Reader) finish(ctx context.Context, sink Sink, older []entity.Epoch) error {
	for _, epoch := range older {
		if err := sink.Take(ctx, epoch, nil, Finished); err != nil {
			return &sinkError{err}
		}
	}
	return nil
}

// follow hands over the present log.
func (r *Reader) follow(ctx context.Context, sink Sink) error {
	backoff := firstBackoff
	for {
		records, upTo, err := r.cfg.Source.Next(ctx)
		switch {
		case err == nil:
			backoff = firstBackoff
			if err := sink.Take(ctx, r.cfg.Epoch, r.verified(records), upTo); err != nil {
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

// verified leaves out the records that cannot be trusted, and says which.
func (r *Reader) verified(records []*entity.Record) []*entity.Record {
	for i, rec := range records {
		if err := rec.Verify(); err != nil {
			return r.withoutCorrupt(records, i)
		}
	}
	return records
}

func (r *Reader) withoutCorrupt(records []*entity.Record, first int) []*entity.Record {
	good := append([]*entity.Record(nil), records[:first]...)
	for _, rec := range records[first:] {
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
