package commitlog

import (
	"context"
	"fmt"

	"stampede/actors/entity"
)

// Follower reads the log of its incarnation in order of position: every
// durable record exactly once. It holds no records of its own: what it has not
// read yet is in the log's memory, shared by all followers, or in the journal.
//
// It belongs to one goroutine; only Close may be called from another.
type Follower struct {
	log  *Log
	name string
	wake chan struct{} // holds one

	// Guarded by log.mu.
	position     uint64 // everything at or below was handed out
	waiting      bool
	closed       bool
	journalReads uint64
}

// Follow starts reading after a position. name is for metrics; followers
// should have one each. A follower that is not read must be closed: until then
// the log keeps records for it, within its bounds.
func (l *Log) Follow(name string, after uint64) *Follower {
	f := &Follower{log: l, name: name, wake: make(chan struct{}, 1), position: after}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers = append(l.followers, f)
	return f
}

// Close lets the log forget the follower. A waiting Next returns ErrClosed.
func (f *Follower) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	kept := f.log.followers[:0]
	for _, other := range f.log.followers {
		if other != f {
			kept = append(kept, other)
		}
	}
	clear(f.log.followers[len(kept):])
	f.log.followers = kept
	f.notify()
	f.log.releaseRead()
}

// Next waits until something is settled beyond what was handed out, and
// returns the durable records of it in order, within Options.FollowRecords and
// FollowBytes. Everything of this incarnation at or below upTo has now been
// handed out or was never written; records may be empty while upTo advances.
//
// The records are shared and must not be changed. Those that were read from
// the journal are not verified: whoever decodes them calls Record.Verify.
//
// After an error of the journal, or of ctx, Next can be called again and goes
// on where it was. It returns ErrClosed at the end of a closed log.
func (f *Follower) Next(ctx context.Context) (records []*entity.Record, upTo uint64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, f.position, err
		}
		records, upTo, found := f.poll()
		switch found {
		case inMemory:
			return records, upTo, nil
		case inJournal:
			return f.read(ctx, upTo)
		case atEnd:
			return nil, upTo, ErrClosed
		case nothingYet:
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
		}
	}
}

// where the next records are.
type where uint8

const (
	nothingYet where = iota
	inMemory
	inJournal // up to the returned position
	atEnd
)

func (f *Follower) poll() (records []*entity.Record, upTo uint64, found where) {
	l := f.log
	l.mu.Lock()
	defer l.mu.Unlock()
	f.waiting = false
	switch {
	case f.closed:
		return nil, f.position, atEnd
	case f.position >= l.tail.settled && l.ended:
		return nil, f.position, atEnd
	case f.position >= l.tail.settled:
		f.waiting = true
		return nil, f.position, nothingYet
	case f.position+1 < l.tail.low:
		f.journalReads++
		return nil, min(l.tail.settled, l.tail.low-1), inJournal
	}
	records = f.collect()
	l.releaseRead()
	return records, f.position, inMemory
}

// collect takes what is settled from memory, within bounds, and moves on.
func (f *Follower) collect() []*entity.Record {
	t, opts := &f.log.tail, &f.log.opts
	var records []*entity.Record
	bytes := 0
	for f.position < t.settled {
		if rec := t.at(f.position + 1); rec != nil {
			bytes += recordBytes(rec)
			if len(records) >= opts.FollowRecords || len(records) > 0 && bytes > opts.FollowBytes {
				break
			}
			if records == nil {
				records = make([]*entity.Record, 0, min(t.settled-f.position, uint64(opts.FollowRecords), uint64(t.records)))
			}
			records = append(records, rec)
		}
		f.position++
	}
	return records
}

// read takes what is at or below target from the journal, within bounds, and
// moves on. All of it is settled, so what the journal does not have was never
// written.
func (f *Follower) read(ctx context.Context, target uint64) ([]*entity.Record, uint64, error) {
	records, upTo, err := f.scan(ctx, target)
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.position = upTo
	f.log.releaseRead()
	if len(records) > 0 {
		return records, upTo, nil // an error comes again with the next call
	}
	return nil, upTo, err
}

func (f *Follower) scan(ctx context.Context, target uint64) (records []*entity.Record, upTo uint64, err error) {
	opts := &f.log.opts
	upTo = f.position
	bytes := 0
	for rec, err := range f.log.journal.ReadEpoch(ctx, f.log.epoch, upTo) {
		if err != nil {
			return records, upTo, fmt.Errorf("follower %q reads epoch %d after position %d: %w", f.name, f.log.epoch, upTo, err)
		}
		if rec.Position > target {
			break
		}
		if rec.Position <= upTo {
			// What came before it may have skipped something too.
			return nil, f.position, fmt.Errorf("follower %q reads epoch %d: %w", f.name, f.log.epoch, &entity.CorruptError{
				Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprintf("position %d comes after position %d", rec.Position, upTo),
			})
		}
		bytes += recordBytes(rec)
		if len(records) >= opts.FollowRecords || len(records) > 0 && bytes > opts.FollowBytes {
			return records, upTo, nil
		}
		records = append(records, rec)
		upTo = rec.Position
	}
	if err := ctx.Err(); err != nil {
		// The journal may have stopped early because of it.
		return records, upTo, err
	}
	return records, target, nil
}

// wakeFollowers is called when Settled has moved or the log has ended.
func (l *Log) wakeFollowers() {
	for _, f := range l.followers {
		if f.waiting {
			f.notify()
		}
	}
}

func (f *Follower) notify() {
	f.waiting = false
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// releaseRead lets go of what every follower has read.
func (l *Log) releaseRead() {
	if len(l.followers) == 0 {
		l.tail.release(l.position)
		return
	}
	read := l.followers[0].position
	for _, f := range l.followers[1:] {
		read = min(read, f.position)
	}
	l.tail.release(read)
}
