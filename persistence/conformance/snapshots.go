package conformance

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/persistence"
)

func sealedSnapshot(s *entity.Snapshot) *entity.Snapshot {
	s.Checksum = s.Sum()
	return s
}

func snapshot(seq uint64, state string) *entity.Snapshot {
	return sealedSnapshot(&entity.Snapshot{Kind: "sku", ID: "x", Seq: seq, Version: 2 * seq, State: []byte(state)})
}

func loads(t *testing.T, s persistence.Store, what string, want *entity.Snapshot) {
	t.Helper()
	got, err := s.LoadSnapshot(testContext(t), "sku/x")
	expect(t, what, err, nil)
	if diff := cmp.Diff(want, got, byBytes); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// testSnapshotNewest: an older snapshot never replaces a newer one.
func testSnapshotNewest(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	loads(t, s, "none", nil)
	for _, step := range []struct{ save, want *entity.Snapshot }{
		{snapshot(5, "five"), snapshot(5, "five")},
		{snapshot(4, "four"), snapshot(5, "five")},
		{snapshot(5, "five again"), snapshot(5, "five again")},
		{snapshot(6, "six"), snapshot(6, "six")},
		{snapshot(1, "one"), snapshot(6, "six")},
	} {
		expect(t, "save", s.SaveSnapshot(ctx, step.save), nil)
		loads(t, s, fmt.Sprintf("after %d", step.save.Seq), step.want)
	}
	other, err := s.LoadSnapshot(ctx, "sku/xx")
	expect(t, "another stream", err, nil)
	if other != nil {
		t.Errorf("another stream has %v", other)
	}
}

// testSnapshotCorrupt: a damaged snapshot is none, and does not stay in the way.
func testSnapshotCorrupt(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	expect(t, "save", s.SaveSnapshot(ctx, snapshot(9, "nine")), nil)
	h.Tamper(t, s).CorruptSnapshot("sku/x")
	loads(t, s, "damaged", nil)
	loads(t, s, "damaged, again", nil)
	expect(t, "save", s.SaveSnapshot(ctx, snapshot(3, "rebuilt")), nil)
	loads(t, s, "rebuilt", snapshot(3, "rebuilt"))
	wrong := snapshot(4, "never fitted")
	wrong.Checksum++
	expect(t, "save", s.SaveSnapshot(ctx, wrong), nil)
	loads(t, s, "one that never fitted", nil)
}

func testSnapshotSize(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	atLimit := snapshot(1, string(bytes.Repeat([]byte{0xfe}, persistence.MaxRecordBytes)))
	expect(t, "at the limit", s.SaveSnapshot(ctx, atLimit), nil)
	loads(t, s, "at the limit", atLimit)
	above := snapshot(2, string(make([]byte, persistence.MaxRecordBytes+1)))
	expect(t, "above the limit", s.SaveSnapshot(ctx, above), entity.ErrTooLarge)
	loads(t, s, "above the limit", atLimit)
	invalid := snapshot(2, "x")
	invalid.Kind = "a/b"
	expect(t, "an invalid name", s.SaveSnapshot(ctx, invalid), persistence.ErrInvalid)
}

func testSnapshotRace(t *testing.T, h Harness) {
	const n = 16
	s := h.Open(t)
	ctx := testContext(t)
	for round := range uint64(4) {
		var done sync.WaitGroup
		errs := make([]error, n)
		for i := range uint64(n) {
			done.Go(func() { errs[i] = s.SaveSnapshot(ctx, snapshot(round*n+i+1, fmt.Sprint(i))) })
		}
		done.Wait()
		for _, err := range errs {
			expect(t, "save", err, nil)
		}
		loads(t, s, "after the race", snapshot(round*n+n, fmt.Sprint(n-1)))
	}
}
