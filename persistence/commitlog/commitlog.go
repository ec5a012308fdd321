// Package commitlog is a node's group commit and the log that its readers
// follow. It packs the records of all the node's actors into few writes to a
// persistence.Journal, tells each actor what became of its own record, and
// hands the durable ones, in order of position, to the readers of the node's
// events. It knows no kind, no database and no broker.
package commitlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// ErrClosed is what Follower.Next returns when the log was closed and all that
// it could settle has been handed out.
var ErrClosed = errors.New("commit log is closed")

// Log implements entity.Log over a journal, for one incarnation of one node.
//
// A record goes through these stages:
//
//	queued → in flight → settled (durable, or surely never written)
//	                  ↘ unresolved → settled
//
// Positions 1, 2, 3, … are given in the order of queueing. A fixed number of
// writers take what is queued, as much as fits a batch, and append it: nothing
// is delayed to make batches larger, they grow by themselves while all writers
// are busy. A record whose outcome is unknown is answered at once and stays
// unresolved: the resolver appends it again, which is idempotent, until it is
// known whether it is in the journal. Settled is the largest position with
// nothing unsettled at or below it; followers see no further.
//
// Invariants, all guarded by mu:
//   - A stream has at most one record queued or in flight. A second one comes
//     from a second activation of the same actor and is fenced: were both sent
//     at once, an unordered store could write the later and lose the earlier.
//   - done is called once for every Commit, never with mu held.
//   - pendingRecords and pendingBytes count what is queued, in flight or
//     unresolved and never exceed their bounds (one oversized record excepted).
type Log struct {
	journal   persistence.Journal
	epoch     entity.Epoch
	opts      Options
	refusals  refusals
	maxEvents int
	opened    time.Time
	abort     context.CancelFunc // ends writers and resolver with work undone
	finished  chan struct{}      // closed when writers and resolver have ended
	look      chan struct{}      // tells the resolver to look; holds one

	mu             sync.Mutex
	work           sync.Cond // writers wait here for records
	queue          queue
	streams        map[stream]struct{}      // queued or in flight
	doubts         map[stream]int           // unresolved records
	settling       map[stream]chan struct{} // closed when the stream is in neither
	position       uint64                   // the last one given
	pendingRecords int
	pendingBytes   int
	unresolved     []*entity.Record // in the resolver's order, without those it is appending
	unresolvedN    int              // with those
	tail           tail
	followers      []*Follower
	idle           int  // writers waiting for records
	waking         bool // one of them was woken and has not looked yet
	writers        int  // not ended
	closing        bool
	aborted        bool
	ended          bool
	counts         counts
}

// stream is a stream's name without the cost of joining it.
type stream struct{ kind, id string }

func streamOf(rec *entity.Record) stream { return stream{rec.Kind, rec.ID} }

var _ entity.Log = (*Log)(nil)

// Open starts a new incarnation of node and the goroutines that write its
// records. They end with Close, not with ctx.
func Open(ctx context.Context, journal persistence.Journal, node string, o Options) (*Log, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("commit log options: %w", err)
	}
	epoch, err := journal.OpenEpoch(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("open epoch of node %q: %w", node, err)
	}
	l := &Log{
		journal:   journal,
		epoch:     epoch,
		opts:      o,
		refusals:  newRefusals(&o),
		maxEvents: journal.MaxRecordBytes(),
		opened:    time.Now(),
		finished:  make(chan struct{}),
		look:      make(chan struct{}, 1),
		streams:   make(map[stream]struct{}),
		doubts:    make(map[stream]int),
		settling:  make(map[stream]chan struct{}),
		tail:      newTail(&o),
		writers:   o.MaxInFlight,
	}
	l.work.L = &l.mu
	background, abort := context.WithCancel(context.WithoutCancel(ctx))
	l.abort = abort
	for range o.MaxInFlight {
		go l.write(background)
	}
	go l.resolve(background)
	return l, nil
}

// Epoch is the incarnation's number.
func (l *Log) Epoch() entity.Epoch { return l.epoch }

// Settled is the largest position such that everything at or below it is
// either durable or was surely never written.
func (l *Log) Settled() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.settled
}

// Commit implements entity.Log. Nobody may change rec after it, not even when
// done was called: followers read the same record. done must not block; it is
// called before Commit returns when the record is refused.
//
// Beyond the errors of entity.Log it answers entity.ErrRetry once Close was
// called, and persistence.ErrInvalid to a record that no store takes. entity.ErrFenced is also the answer to a second record of a stream
// while the first is queued or in flight.
func (l *Log) Commit(rec *entity.Record, done func(error)) {
	since := time.Since(l.opened)
	size := recordBytes(rec)
	l.mu.Lock()
	if err := l.admit(rec, size); err != nil {
		l.mu.Unlock()
		done(err)
		return
	}
	l.position++
	rec.Epoch, rec.Position = l.epoch, l.position
	l.pendingRecords++
	l.pendingBytes += size
	l.streams[streamOf(rec)] = struct{}{}
	l.queue.push(commit{rec: rec, done: done, size: size, since: since})
	l.wakeWriter()
	l.mu.Unlock()
}

// admit says why a record cannot be taken, and counts the refusal.
func (l *Log) admit(rec *entity.Record, size int) error {
	if len(rec.Events) > l.maxEvents {
		l.counts.tooLarge++
		return fmt.Errorf("%w: %s record %d has %d bytes of events, the store takes %d",
			entity.ErrTooLarge, rec.Stream(), rec.Seq, len(rec.Events), l.maxEvents)
	}
	if _, doubled := l.streams[streamOf(rec)]; doubled {
		l.counts.fenced++
		return fmt.Errorf("%w: %s has a record in flight on this node", entity.ErrFenced, rec.Stream())
	}
	err := l.full(size)
	if err != nil {
		l.counts.refused++
	}
	return err
}

// full names the bound that keeps the log from taking size more bytes.
func (l *Log) full(size int) error {
	switch {
	case l.closing:
		return l.refusals.closing
	case l.pendingRecords >= l.opts.MaxPendingRecords:
		return l.refusals.records
	case l.pendingRecords > 0 && l.pendingBytes+size > l.opts.MaxPendingBytes:
		return l.refusals.bytes
	case l.unresolvedN >= l.opts.MaxUnresolved:
		return l.refusals.unresolved
	case l.position-l.tail.settled >= l.tail.span():
		return l.refusals.unsettled
	}
	return nil
}

// wakeWriter wakes one idle writer, and another only when that one has looked:
// so a burst of commits becomes one batch rather than one batch a writer.
func (l *Log) wakeWriter() {
	if l.idle > 0 && !l.waking {
		l.waking = true
		l.work.Signal()
	}
}

// Close refuses new commits, appends what is queued and waits until every
// outcome is known. If ctx ends first, what was not sent is answered with
// entity.ErrUnavailable, what is in flight with entity.ErrUnknownOutcome, and
// the error says how many positions stay unsettled: a reader of the dead
// incarnation's log has to wait until late writes cannot come any more.
//
// Followers can go on reading after Close, to the end of what was settled. The
// journal has to stay open for them. Close may be called more than once.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closing = true
	l.work.Broadcast()
	l.mu.Unlock()
	l.nudgeResolver()
	select {
	case <-l.finished:
	case <-ctx.Done():
		l.mu.Lock()
		l.aborted = true
		l.mu.Unlock()
		l.abort()
		// An Append ends with its context, so this does not take long.
		<-l.finished
	}
	l.abort()
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.position - l.tail.settled; left > 0 {
		return fmt.Errorf("close commit log of epoch %d: %d records after position %d: %w",
			l.epoch, l.unresolvedN, l.tail.settled, entity.ErrUnknownOutcome)
	}
	return nil
}

// writerEnded is called by each writer as its last act.
func (l *Log) writerEnded() {
	l.mu.Lock()
	l.writers--
	l.mu.Unlock()
	l.nudgeResolver()
}

// resolverEnded is called by the resolver as its last act, after all writers:
// nothing can be settled from now on.
func (l *Log) resolverEnded() {
	l.mu.Lock()
	l.ended = true
	for s := range l.settling {
		l.tellSettled(s)
	}
	l.wakeFollowers()
	l.mu.Unlock()
	close(l.finished)
}
