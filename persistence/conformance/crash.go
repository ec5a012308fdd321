package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"stampede/actors/entity"
)

// testCrashBetween: what was acknowledged is there after SIGKILL, and the fence
// with it.
func testCrashBetween(t *testing.T, h Harness) {
	c := h.Crash(t)
	w := &writer{epoch: 1}
	var all, hot []*entity.Record
	for round := range 3 {
		for i := range 40 {
			r := w.record("sku", "hot", uint64(len(hot)+1), fmt.Sprint(round, i))
			hot = append(hot, r)
			batch := []*entity.Record{r, w.record("order", fmt.Sprintf("o-%d-%d", round, i), 1, "x")}
			mustAppend(t, c, batch...)
			all = append(all, batch...)
		}
		c.Kill()
		s := c.Restart()
		sameRecords(t, "the hot stream", readStream(t, s, "sku/hot", 0), hot)
		sameRecords(t, "the log", readEpoch(t, s, 1, 0), all)
		mustAppend(t, c, all...)
		stale := &writer{epoch: 2, position: 1000 * uint64(round)} //nolint:gosec // small
		for _, r := range all {
			err := c.Append(testContext(t), []*entity.Record{stale.record(r.Kind, r.ID, r.Seq, "stale")})[0]
			expect(t, "another activation after the restart", err, entity.ErrFenced)
		}
	}
}

// testCrashDuring: the process is killed while batches are on their way. What
// was acknowledged is there; what was surely not written is not; what is unknown
// becomes known by appending it again.
func testCrashDuring(t *testing.T, h Harness) {
	const writers, rounds = 4, 2
	c := h.Crash(t)
	random := seeded(t)
	for round := range rounds {
		epoch := entity.Epoch(round + 1)
		killAfter := int64(20 + random.IntN(60))
		var batches atomic.Int64
		kill := make(chan struct{})
		var position atomic.Uint64
		results := make([]map[*entity.Record]error, writers)
		var done sync.WaitGroup
		for i := range writers {
			results[i] = make(map[*entity.Record]error)
			done.Go(func() {
				for n := uint64(1); ; n++ {
					batch := make([]*entity.Record, 10)
					for j := range batch {
						w := &writer{epoch: epoch, position: position.Add(1) - 1}
						batch[j] = w.record("order", fmt.Sprintf("o-%d-%d-%d-%d", round, i, n, j), 1, "x")
					}
					stream := fmt.Sprintf("hot-%d-%d", round, i)
					batch[0] = (&writer{epoch: epoch, position: position.Add(1) - 1}).record("sku", stream, n, "x")
					failed := false
					for j, err := range c.Append(context.Background(), batch) {
						results[i][batch[j]] = err
						failed = failed || err != nil
					}
					if failed {
						return
					}
					if batches.Add(1) == killAfter {
						close(kill)
					}
				}
			})
		}
		<-kill
		c.Kill()
		done.Wait()
		settleCrash(t, c, epoch, results)
	}
}

// settleCrash compares what was answered before the crash with what is there.
func settleCrash(t *testing.T, c Crash, epoch entity.Epoch, results []map[*entity.Record]error) {
	t.Helper()
	s := c.Restart()
	stored := make(map[uint64]*entity.Record)
	for _, r := range readEpoch(t, s, epoch, 0) {
		expect(t, "a stored record", r.Verify(), nil)
		stored[r.Position] = r
	}
	var unknown []*entity.Record
	acknowledged, total := 0, 0
	for _, answers := range results {
		for r, err := range answers {
			total++
			switch _, there := stored[r.Position]; {
			case err == nil:
				acknowledged++
				if !there {
					t.Errorf("record %d of %s was acknowledged and is lost", r.Seq, r.Stream())
				}
			case errors.Is(err, entity.ErrUnknownOutcome):
				unknown = append(unknown, r)
			case !errors.Is(err, entity.ErrUnavailable):
				t.Errorf("record %d of %s: %v", r.Seq, r.Stream(), err)
			case there:
				t.Errorf("record %d of %s is there; the answer was: %v", r.Seq, r.Stream(), err)
			}
		}
	}
	mustAppend(t, c, unknown...)
	mustAppend(t, c, unknown...)
	log := readEpoch(t, s, epoch, 0)
	written := make(map[uint64]bool, len(log))
	for _, r := range log {
		if written[r.Position] {
			t.Errorf("position %d is there twice", r.Position)
		}
		written[r.Position] = true
	}
	for _, r := range unknown {
		if !written[r.Position] {
			t.Errorf("record %d of %s is still not there", r.Seq, r.Stream())
		}
		got := readStream(t, s, r.Stream(), r.Seq-1)
		if len(got) == 0 || got[0].Checksum != r.Checksum {
			t.Errorf("record %d of %s cannot be read", r.Seq, r.Stream())
		}
	}
	t.Logf("epoch %d: %d records, %d acknowledged, %d unknown", epoch, total, acknowledged, len(unknown))
	if acknowledged == 0 {
		t.Error("nothing was acknowledged, so nothing was tested")
	}
}
