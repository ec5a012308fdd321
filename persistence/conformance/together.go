package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
)

// testReadTogether: streams that many ask for at once are each read as if they
// were alone: those that are not there, those that are, long ones, one that has
// lost its beginning, and those whose names begin like another's. Some readers
// give up on the way.
func testReadTogether(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	want := map[string][]*entity.Record{}
	keep := func(id string, records []*entity.Record) {
		mustAppend(t, s, records...)
		want["order/"+id] = records
	}
	for i := range 40 {
		want[fmt.Sprintf("order/none-%d", i)] = nil
		keep(fmt.Sprintf("one-%d", i), w.stream("order", fmt.Sprintf("one-%d", i), 1))
	}
	for i := range 3 {
		keep(fmt.Sprintf("long-%d", i), w.stream("order", fmt.Sprintf("long-%d", i), 300))
	}
	keep("without", w.stream("order", "without", 3))
	h.Tamper(t, s).DeleteRecord("order/without", 1)
	want["order/without"] = want["order/without"][1:]
	for _, id := range []string{"a/0000000000000000001", "a/b", "a/", "a.b", "a0"} {
		keep(id, w.stream("order", id, 1))
	}
	want["order/a"] = nil

	ctx := testContext(t)
	var readers sync.WaitGroup
	for round := range 4 {
		for stream, records := range want {
			gone, giveUp := context.WithCancel(ctx)
			readers.Go(func() {
				for _, err := range s.ReadStream(gone, stream, 0) {
					if err != nil && gone.Err() == nil {
						t.Errorf("%s, by one who has not given up: %v", stream, err)
					}
				}
			})
			readers.Go(func() {
				var got []*entity.Record
				for r, err := range s.ReadStream(ctx, stream, 0) {
					if err != nil {
						t.Errorf("round %d: %s: %v", round, stream, err)
						return
					}
					got = append(got, r)
				}
				if diff := cmp.Diff(records, got, byBytes); diff != "" && len(got)+len(records) > 0 {
					t.Errorf("round %d: %s (-want +got):\n%s", round, stream, diff)
				}
			})
			giveUp()
		}
		readers.Wait()
	}
}
