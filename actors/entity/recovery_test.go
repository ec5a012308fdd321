package entity

// What an activation makes of a snapshot and a journal, whole or not.

import (
	"context"
	"iter"
	"testing"
)

// damaged is a store whose snapshot makes Restore panic.
type damaged struct{ records []*Record }

func (damaged) LoadSnapshot(context.Context, string) (*Snapshot, error) {
	return &Snapshot{Kind: "till", ID: "a", Seq: 99, Version: 99}, nil
}
func (damaged) SaveSnapshot(context.Context, *Snapshot) error { return nil }
func (d damaged) ReadStream(_ context.Context, _ string, after uint64) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for _, r := range d.records {
			if r.Seq > after && !yield(r, nil) {
				return
			}
		}
	}
}

func TestSnapshotThatPanicsIsAsGoodAsNone(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.limits.SnapshotOnPassivationRecords = 1
		b.kind.Restore = func(string, []byte) (*till, error) { panic("boom") }
	})
	for range 3 {
		b.receive("a", 7, "EUR")
		b.written()
	}
	for _, rec := range b.records {
		rec.Checksum = rec.Sum()
	}
	c := newCore(b.kind, b.core.addr, &b.limits, host(b))
	if err := c.recoverFrom(t.Context(), damaged{b.records}); err != nil || c.state.sum != 21 || c.seq != 3 {
		t.Errorf("recovered %d of record %d: %v", c.state.sum, c.seq, err)
	}
}

// snapshotted is a store with one snapshot, which Restore turns into a sum.
type snapshotted struct {
	damaged
	snap Snapshot
}

func (s snapshotted) LoadSnapshot(context.Context, string) (*Snapshot, error) { return &s.snap, nil }

// TestFirstRecordSaysWhatItFollows: where the record before it is, also when
// only a snapshot was recovered; and no record after it says anything. A
// snapshot whose record the journal does not have is not used.
func TestFirstRecordSaysWhatItFollows(t *testing.T) {
	old := newBench(t, nil)
	for range 4 {
		old.receive("a", 7, "EUR")
		old.written()
	}
	for i, rec := range old.records {
		rec.Epoch, rec.Position = Epoch(40+i), uint64(1_000*(i+1))
		rec.Checksum = rec.Sum()
	}
	for name, c := range map[string]struct {
		seq   uint64
		sum   int64
		known int64 // the state after recovery
	}{
		"snapshot of the last record":      {4, 1_000, 1_000},
		"snapshot and a record":            {3, 1_000, 1_007},
		"snapshot of another history":      {9, 1_000, 28},
		"no records since the first chunk": {1, 1_000, 28},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(b *bench) {
				b.limits.SnapshotOnPassivationRecords = 1
				b.kind.Restore = func(string, []byte) (*till, error) { return &till{sum: c.sum}, nil }
			})
			store := snapshotted{damaged{old.records}, Snapshot{Kind: "till", ID: "a", Seq: c.seq, Version: c.seq}}
			if err := b.core.recoverFrom(t.Context(), store); err != nil || b.core.state.sum != c.known {
				t.Fatalf("recovered %d: %v", b.core.state.sum, err)
			}
			for i, want := range []place{{43, 4_000}, {}} {
				b.receive("b", 1, "EUR")
				rec := b.records[i]
				epoch, position := Follows(rec.Events)
				if (place{epoch, position}) != want {
					t.Errorf("record %d follows %d/%d, want %v", rec.Seq, epoch, position, want)
				}
				b.written()
			}
		})
	}
}
