package commitlog

import (
	"math/bits"

	"stampede/actors/entity"
)

// tail is the end of the log: which positions are resolved, and the durable
// records that followers read from memory. It belongs to a Log and is guarded
// by its mutex.
//
// Invariants:
//   - Every position at or below settled is resolved; settled+1 is not.
//   - Bit p of resolved, modulo its length, is set when p > settled is
//     resolved. No position is further than span() beyond settled.
//   - Every durable, resolved record with a position at or above low is in
//     slots, at position modulo length, so low..low+len(slots)-1 is covered;
//     nothing below low is. A follower whose next position is below low reads
//     the journal. low may be beyond settled: bounds win over convenience.
type tail struct {
	settled  uint64
	resolved []uint64

	low      uint64
	slots    []*entity.Record
	records  int
	bytes    int
	maxBytes int
}

func newTail(o *Options) tail {
	return tail{
		resolved: make([]uint64, ceilPowerOfTwo(max(64, o.MaxUnsettled))/64),
		low:      1,
		slots:    make([]*entity.Record, ceilPowerOfTwo(o.MaxRetainedRecords)),
		maxBytes: o.MaxRetainedBytes,
	}
}

// span is how far positions may be beyond settled.
func (t *tail) span() uint64 { return uint64(len(t.resolved)) * 64 }

func (t *tail) word(position uint64) *uint64 {
	return &t.resolved[position/64&uint64(len(t.resolved)-1)]
}

// resolve notes that the outcome of position is known.
func (t *tail) resolve(position uint64) { *t.word(position) |= 1 << (position % 64) }

// advance moves settled over all that is resolved, up to 64 positions a step,
// and reports whether it moved.
func (t *tail) advance() bool {
	from := t.settled
	for {
		next := t.settled + 1
		word, offset := t.word(next), next%64
		run := uint64(bits.TrailingZeros64(^(*word >> offset))) //nolint:gosec // 0..64
		*word &^= (1<<run - 1) << offset
		t.settled += run
		if run < 64-offset {
			return t.settled > from
		}
	}
}

// retain keeps a durable record for followers, at the expense of the oldest.
func (t *tail) retain(rec *entity.Record, size int) {
	position := rec.Position
	if position < t.low {
		return
	}
	if length := uint64(len(t.slots)); position >= t.low+length {
		t.release(position - length)
	}
	t.slots[t.index(position)] = rec
	t.records++
	t.bytes += size
	for t.bytes > t.maxBytes {
		t.release(t.low)
	}
}

// at is the record at a position at or above low; nil if it is not durable.
func (t *tail) at(position uint64) *entity.Record {
	rec := t.slots[t.index(position)]
	if rec == nil || rec.Position != position {
		return nil
	}
	return rec
}

// release lets go of everything at or below position.
func (t *tail) release(position uint64) {
	for t.low <= position {
		if t.records == 0 {
			t.low = position + 1
			return
		}
		slot := &t.slots[t.index(t.low)]
		if *slot != nil {
			t.records--
			t.bytes -= recordBytes(*slot)
			*slot = nil
		}
		t.low++
	}
}

func (t *tail) index(position uint64) uint64 { return position & uint64(len(t.slots)-1) }
