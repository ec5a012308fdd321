package commitlog

import (
	"context"
	"log/slog"
	"time"

	"stampede/actors/entity"
)

// resolve is the one goroutine that finds out what became of records whose
// outcome is unknown, by appending them again: that is idempotent, so it ends
// with the record durable, or with another record in its place. Its owner is
// the Log; it ends when the log is closing and nothing is left to resolve, or
// with ctx, but never before the writers.
func (l *Log) resolve(ctx context.Context) {
	defer l.resolverEnded()
	pause := l.opts.ResolveMin
	limit := l.opts.MaxBatchRecords
	for l.awaitDoubt(ctx) {
		if !sleep(ctx, l.opts.Jitter(pause)) {
			continue // awaitDoubt waits for the writers
		}
		records := l.takeUnresolved(limit)
		resolved := l.settleAgain(records, l.append(ctx, records))
		if resolved == 0 {
			// One record that fails every batch it is in must not keep the
			// others from being resolved: smaller batches isolate it.
			pause = min(2*pause, l.opts.ResolveMax)
			limit = max(1, len(records)/2)
			continue
		}
		pause = l.opts.ResolveMin
		limit = min(2*limit, l.opts.MaxBatchRecords)
	}
}

// awaitDoubt waits until something is unresolved. It returns false when
// nothing will be, or when ctx has ended, and all writers have too.
func (l *Log) awaitDoubt(ctx context.Context) bool {
	for {
		l.mu.Lock()
		work := l.unresolvedN > 0 && ctx.Err() == nil
		over := l.writers == 0 && !work
		l.mu.Unlock()
		if over {
			return false
		}
		if work {
			return true
		}
		<-l.look
	}
}

func (l *Log) nudgeResolver() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// takeUnresolved takes records from the front, as many as fit a batch.
func (l *Log) takeUnresolved(limit int) []*entity.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(l.unresolved) && n < limit {
		bytes += recordBytes(l.unresolved[n])
		if n > 0 && bytes > l.opts.MaxBatchBytes {
			break
		}
		n++
	}
	// A copy: what follows it stays in the log's slice.
	taken := append([]*entity.Record(nil), l.unresolved[:n]...)
	clear(l.unresolved[:n])
	l.unresolved = l.unresolved[n:]
	return taken
}

// settleAgain notes the outcomes of records that were appended again, puts
// those that are still unknown at the back, and returns how many are not.
func (l *Log) settleAgain(records []*entity.Record, errs []error) int {
	l.mu.Lock()
	resolved := 0
	for i, rec := range records {
		o := classify(errs[i]).outcome
		// Not written this time says nothing about the first time.
		if o == unknown || o == unavailable {
			l.unresolved = append(l.unresolved, rec)
			continue
		}
		resolved++
		l.counts.resolved(o)
		l.settled(rec, recordBytes(rec), o)
		l.doubt(streamOf(rec), -1)
		l.tellSettled(streamOf(rec))
	}
	l.unresolvedN -= resolved
	left := l.unresolvedN
	l.advance()
	l.mu.Unlock()
	if left == 0 {
		l.opts.Logger.Info("outcomes of all commits are known again", slog.Uint64("epoch", uint64(l.epoch)))
	}
	return resolved
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
