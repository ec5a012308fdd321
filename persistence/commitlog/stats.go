package commitlog

import (
	"math/bits"
	"time"
)

// Stats is a snapshot of what a Log is doing and has done. Counts are since
// Open.
type Stats struct {
	// Records accepted and not settled, by where they are.
	Queued     int
	InFlight   int
	Unresolved int
	// PendingBytes is what all of those take.
	PendingBytes int
	// Retained is what memory holds for followers.
	RetainedRecords int
	RetainedBytes   int
	// Position is the last one given, Settled as Log.Settled.
	Position uint64
	Settled  uint64

	// Batches were appended, with Durable records in them, of DurableBytes.
	Batches      uint64
	Durable      uint64
	DurableBytes uint64
	// What callers were told otherwise.
	Fenced      uint64
	TooLarge    uint64
	Invalid     uint64
	Unavailable uint64
	Unknown     uint64
	Refused     uint64 // a bound was reached or the log was closing
	// What became of the unknown ones.
	ResolvedDurable uint64
	ResolvedLost    uint64

	// BatchRecords is the sizes of batches, AppendTime how long one Append
	// took, CommitTime how long from Commit to the answer.
	BatchRecords Histogram
	AppendTime   Histogram
	CommitTime   Histogram

	Followers []FollowerStats
}

// FollowerStats is how far one follower has come.
type FollowerStats struct {
	Name string
	// Position up to which everything was handed out.
	Position uint64
	// JournalReads is how often it was behind the memory.
	JournalReads uint64
}

// HistogramBuckets is the number of a Histogram's buckets.
const HistogramBuckets = 26

// Histogram counts values in buckets that double: bucket i holds those of at
// most 1<<i, the last one all others too. Durations are in microseconds.
type Histogram struct {
	Buckets [HistogramBuckets]uint64
	Count   uint64
	Sum     uint64
}

func (h *Histogram) observe(value uint64) {
	bucket := 0
	if value > 1 {
		bucket = min(bits.Len64(value-1), HistogramBuckets-1)
	}
	h.Buckets[bucket]++
	h.Count++
	h.Sum += value
}

func micros(d time.Duration) uint64 { return uint64(max(0, d.Microseconds())) } //nolint:gosec // not negative

// counts are the parts of Stats that nothing else keeps, guarded by Log.mu.
type counts struct {
	inFlight                               int
	batches, durable, durableBytes         uint64
	fenced, tooLarge, invalid              uint64
	unavailable, unknown                   uint64
	refused, resolvedDurable, resolvedLost uint64
	batchRecords, appendTime, commitTime   Histogram
}

func (c *counts) batch(records int, took time.Duration) {
	c.batches++
	c.batchRecords.observe(uint64(records)) //nolint:gosec // a length
	c.appendTime.observe(micros(took))
}

// outcome counts what a caller is told, after which time.
func (c *counts) outcome(o outcome, size int, took time.Duration) {
	c.commitTime.observe(micros(took))
	switch o {
	case durable:
		c.durable++
		c.durableBytes += uint64(size) //nolint:gosec // a length
	case fenced:
		c.fenced++
	case tooLarge:
		c.tooLarge++
	case invalid:
		c.invalid++
	case unavailable:
		c.unavailable++
	case unknown:
		c.unknown++
	}
}

// resolved counts what became of an unknown outcome.
func (c *counts) resolved(o outcome) {
	if o == durable {
		c.resolvedDurable++
	} else {
		c.resolvedLost++
	}
}

// Stats returns a consistent snapshot.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counts
	s := Stats{
		Queued: l.queue.n, InFlight: c.inFlight, Unresolved: l.unresolvedN, PendingBytes: l.pendingBytes,
		RetainedRecords: l.tail.records, RetainedBytes: l.tail.bytes,
		Position: l.position, Settled: l.tail.settled,
		Batches: c.batches, Durable: c.durable, DurableBytes: c.durableBytes,
		Fenced: c.fenced, TooLarge: c.tooLarge, Invalid: c.invalid, Unavailable: c.unavailable, Unknown: c.unknown, Refused: c.refused,
		ResolvedDurable: c.resolvedDurable, ResolvedLost: c.resolvedLost,
		BatchRecords: c.batchRecords, AppendTime: c.appendTime, CommitTime: c.commitTime,
		Followers: make([]FollowerStats, 0, len(l.followers)),
	}
	for _, f := range l.followers {
		s.Followers = append(s.Followers, FollowerStats{Name: f.name, Position: f.position, JournalReads: f.journalReads})
	}
	return s
}
