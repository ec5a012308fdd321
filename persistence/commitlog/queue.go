package commitlog

import (
	"fmt"
	"time"

	"stampede/actors/entity"
)

// recordOverheadBytes is what a record costs beside its texts and events.
const recordOverheadBytes = 160

func recordBytes(rec *entity.Record) int {
	return recordOverheadBytes + len(rec.Kind) + len(rec.ID) + len(rec.Events)
}

// commit is one call of Commit.
type commit struct {
	rec   *entity.Record
	done  func(error)
	size  int
	since time.Duration // when, after the log was opened
}

// queue is a first-in first-out ring that grows by doubling. Its owner bounds it.
type queue struct {
	ring []commit // its length is a power of two
	head int
	n    int
}

func (q *queue) push(c commit) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = c
	q.n++
}

func (q *queue) grow() {
	larger := make([]commit, max(64, 2*len(q.ring)))
	copied := copy(larger, q.ring[q.head:])
	copy(larger[copied:], q.ring[:q.head])
	q.ring, q.head = larger, 0
}

// peek is the first; the queue is not empty.
func (q *queue) peek() *commit { return &q.ring[q.head] }

// drop removes the first.
func (q *queue) drop() {
	q.ring[q.head] = commit{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
}

// refusals are made once: under overload they are handed out as fast as
// commits come in.
type refusals struct {
	closing, records, bytes, unresolved, unsettled error
	// unsent and undelivered answer what was queued when the store turned out
	// to be in trouble, or when Close ran out of time.
	unsent, undelivered error
}

func newRefusals(o *Options) refusals {
	bound := func(name string, value int) error {
		return fmt.Errorf("%w: commit log is at its bound of %s %d", entity.ErrOverloaded, name, value)
	}
	return refusals{
		closing:     fmt.Errorf("%w: commit log is closing", entity.ErrRetry),
		records:     bound("MaxPendingRecords", o.MaxPendingRecords),
		bytes:       bound("MaxPendingBytes", o.MaxPendingBytes),
		unresolved:  bound("MaxUnresolved", o.MaxUnresolved),
		unsettled:   bound("MaxUnsettled", ceilPowerOfTwo(max(64, o.MaxUnsettled))),
		unsent:      fmt.Errorf("%w: not sent, %d earlier outcomes are unknown", entity.ErrUnavailable, o.MaxUnresolved),
		undelivered: fmt.Errorf("%w: not sent, commit log was closed", entity.ErrUnavailable),
	}
}
