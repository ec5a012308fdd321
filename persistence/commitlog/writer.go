package commitlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// batch is what one writer has in flight. It is the writer's own and reused:
// a journal must not keep the slice that it was given after Append returned.
type batch struct {
	commits []commit
	records []*entity.Record // those of commits
	results []result         // in the same order
	bytes   int
	refusal error // if set, nothing is sent and this is the answer
}

// result is what became of one record, and what its caller is told.
type result struct {
	outcome outcome
	err     error
}

// outcome is what is known of a record after it was appended.
type outcome uint8

const (
	durable outcome = iota
	fenced
	tooLarge
	invalid
	unavailable
	unknown
)

// classify reads an error of Journal.Append. Everything that does not say
// surely that nothing was written, such as the end of a context, leaves the
// outcome unknown.
func classify(err error) result {
	switch {
	case err == nil:
		return result{outcome: durable}
	case errors.Is(err, entity.ErrUnknownOutcome):
		return result{unknown, err}
	case errors.Is(err, entity.ErrFenced):
		return result{fenced, err}
	case errors.Is(err, entity.ErrTooLarge):
		return result{tooLarge, err}
	case errors.Is(err, persistence.ErrInvalid):
		return result{invalid, err}
	case errors.Is(err, entity.ErrUnavailable):
		return result{unavailable, err}
	default:
		return result{unknown, fmt.Errorf("%w: %w", entity.ErrUnknownOutcome, err)}
	}
}

// write is one writer: a slot for one batch in flight.
func (l *Log) write(ctx context.Context) {
	defer l.writerEnded()
	var b batch
	for l.take(&b) {
		began := time.Since(l.opened)
		l.send(ctx, &b)
		l.settle(&b, began)
		b.answer()
	}
}

// send appends the batch, unless it is refused, and notes the results.
func (l *Log) send(ctx context.Context, b *batch) {
	if b.refusal != nil {
		for range b.records {
			b.results = append(b.results, result{unavailable, b.refusal})
		}
		return
	}
	for _, rec := range b.records {
		rec.Checksum = rec.Sum()
	}
	for _, err := range l.append(ctx, b.records) {
		b.results = append(b.results, classify(err))
	}
}

// take waits for records and moves what fits into the batch. It returns false
// when the log is closing and the queue empty.
func (l *Log) take(b *batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queue.n == 0 {
		if l.closing {
			return false
		}
		l.idle++
		l.work.Wait()
		l.idle--
		l.waking = false
		// What woke it is often the first of many: callers that can run now
		// commit now, and one batch of theirs is better than several.
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
	for l.queue.n > 0 && len(b.commits) < l.opts.MaxBatchRecords {
		c := l.queue.peek()
		if len(b.commits) > 0 && b.bytes+c.size > l.opts.MaxBatchBytes {
			break
		}
		b.commits = append(b.commits, *c)
		b.records = append(b.records, c.rec)
		b.bytes += c.size
		l.queue.drop()
	}
	switch {
	case l.aborted:
		b.refusal = l.refusals.undelivered
	case l.unresolvedN >= l.opts.MaxUnresolved:
		b.refusal = l.refusals.unsent
	}
	l.counts.inFlight += len(b.commits)
	if l.queue.n > 0 {
		l.wakeWriter()
	}
	return true
}

// append sends records within the time that an Append gets.
func (l *Log) append(ctx context.Context, records []*entity.Record) []error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.AppendTimeout)
	defer cancel()
	errs := l.journal.Append(ctx, records)
	if len(errs) == len(records) {
		return errs
	}
	err := fmt.Errorf("%w: journal gave %d results for %d records", entity.ErrUnknownOutcome, len(errs), len(records))
	errs = make([]error, len(records))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// settle notes what became of the batch, before anyone is told: whoever is
// told that a record is durable finds it settled unless an earlier one is not.
func (l *Log) settle(b *batch, began time.Duration) {
	now := time.Since(l.opened)
	l.mu.Lock()
	before := l.unresolvedN
	for i := range b.commits {
		c, o := &b.commits[i], b.results[i].outcome
		delete(l.streams, streamOf(c.rec))
		l.counts.outcome(o, c.size, now-c.since)
		if o == unknown {
			l.unresolved = append(l.unresolved, c.rec)
			l.unresolvedN++
			l.doubt(streamOf(c.rec), 1)
			continue
		}
		l.settled(c.rec, c.size, o)
		l.tellSettled(streamOf(c.rec))
	}
	l.counts.inFlight -= len(b.commits)
	if b.refusal == nil {
		l.counts.batch(len(b.commits), now-began)
	}
	l.advance()
	doubtful := l.unresolvedN
	l.mu.Unlock()
	if doubtful > before {
		l.nudgeResolver()
		if before == 0 {
			l.opts.Logger.Warn("outcomes of commits are unknown, resolving them",
				slog.Uint64("epoch", uint64(l.epoch)), slog.Int("records", doubtful))
		}
	}
}

// settled notes the final outcome of one record.
func (l *Log) settled(rec *entity.Record, size int, o outcome) {
	l.pendingRecords--
	l.pendingBytes -= size
	l.tail.resolve(rec.Position)
	if o != durable {
		return
	}
	if len(l.followers) > 0 {
		l.tail.retain(rec, size)
	} else {
		l.tail.release(rec.Position)
	}
}

// advance moves Settled as far as it goes and tells followers.
func (l *Log) advance() {
	if l.tail.advance() {
		l.wakeFollowers()
	}
}

// answer tells every caller, and empties the batch for the next round.
func (b *batch) answer() {
	for i := range b.commits {
		b.commits[i].done(b.results[i].err)
		if b.results[i].outcome == unknown {
			// A driver that gave up on a write may still be reading the slice.
			b.records = nil
		}
	}
	clear(b.commits)
	clear(b.records)
	clear(b.results)
	*b = batch{commits: b.commits[:0], records: b.records[:0], results: b.results[:0]}
}
