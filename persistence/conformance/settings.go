package conformance

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/persistence"
)

// testWatermarks: a watermark never goes back, whoever comes late.
func testWatermarks(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	save := func(reader string, epoch entity.Epoch, position uint64) {
		expect(t, "save watermark", s.SaveWatermark(ctx, reader, epoch, position), nil)
	}
	check := func(reader string, want map[entity.Epoch]uint64) {
		t.Helper()
		got, err := s.Watermarks(ctx, reader)
		expect(t, "watermarks", err, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("watermarks of %s (-want +got):\n%s", reader, diff)
		}
	}
	save("views", 1, 10)
	save("views", 1, 5)
	save("views", 2, 7)
	save("views2", 1, 3)
	save("publisher", 2, 0)
	check("views", map[entity.Epoch]uint64{1: 10, 2: 7})
	check("views2", map[entity.Epoch]uint64{1: 3})
	check("publisher", map[entity.Epoch]uint64{2: 0})
	save("views", 1, persistence.MaxPosition)
	save("views", 1, 11)
	check("views", map[entity.Epoch]uint64{1: persistence.MaxPosition, 2: 7})

	var done sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		done.Go(func() { errs[i] = s.SaveWatermark(ctx, "race", 3, uint64((i*37)%64+1)) }) //nolint:gosec // small
	}
	done.Wait()
	for _, err := range errs {
		expect(t, "save in a race", err, nil)
	}
	check("race", map[entity.Epoch]uint64{3: 64})
	expect(t, "an invalid reader", s.SaveWatermark(ctx, "a/b", 1, 1), persistence.ErrInvalid)
	expect(t, "an invalid position", s.SaveWatermark(ctx, "views", 1, 1<<63), persistence.ErrInvalid)
}

// testSettings: of 16 that set a value at once all see the same one, for good.
func testSettings(t *testing.T, h Harness) {
	const n = 16
	s := h.Open(t)
	ctx := testContext(t)
	for round := range 4 {
		name := fmt.Sprint("key ", round)
		values := make([]string, n)
		errs := make([]error, n)
		var done sync.WaitGroup
		for i := range n {
			done.Go(func() {
				value, err := s.Setting(ctx, name, []byte(fmt.Sprint("value ", i)))
				values[i], errs[i] = string(value), err
			})
		}
		done.Wait()
		for i := range n {
			expect(t, "setting", errs[i], nil)
			if values[i] != values[0] || !strings.HasPrefix(values[i], "value ") {
				t.Fatalf("one sees %q, another %q", values[0], values[i])
			}
		}
		again, err := s.Setting(ctx, name, nil)
		if err != nil || string(again) != values[0] {
			t.Errorf("later: %q, %v, want %q", again, err, values[0])
		}
	}
	if value, err := s.Setting(ctx, "empty", nil); err != nil || len(value) != 0 {
		t.Errorf("an empty value: %q, %v", value, err)
	}
	if value, err := s.Setting(ctx, "empty", []byte("late")); err != nil || len(value) != 0 {
		t.Errorf("an empty value is one as well: %q, %v", value, err)
	}
	_, err := s.Setting(ctx, "", []byte("x"))
	expect(t, "a setting without a name", err, persistence.ErrInvalid)
	_, err = s.Setting(ctx, "large", make([]byte, persistence.MaxRecordBytes+1))
	expect(t, "a large setting", err, entity.ErrTooLarge)
}

// testEpochs: each incarnation gets a number of its own, above all before it.
func testEpochs(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	began := time.Now()
	var all []entity.Epoch
	highest := entity.Epoch(0)
	for round := range 4 {
		epochs := make([]entity.Epoch, 16)
		errs := make([]error, len(epochs))
		var done sync.WaitGroup
		for i := range epochs {
			done.Go(func() { epochs[i], errs[i] = s.OpenEpoch(ctx, fmt.Sprintf("node %d.%d", round, i)) })
		}
		done.Wait()
		for _, err := range errs {
			expect(t, "open epoch", err, nil)
		}
		slices.Sort(epochs)
		if epochs[0] <= highest {
			t.Fatalf("epoch %d after %d", epochs[0], highest)
		}
		highest = epochs[len(epochs)-1]
		all = append(all, epochs...)
	}
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Fatalf("an epoch was handed out twice: %v", all)
	}
	infos, err := s.Epochs(ctx)
	expect(t, "epochs", err, nil)
	var listed []entity.Epoch
	nodes := make(map[string]bool)
	for _, info := range infos {
		listed = append(listed, info.Epoch)
		nodes[info.Node] = true
		if d := info.StartedAt.Sub(began); d < -time.Minute || d > timeout+time.Minute {
			t.Errorf("epoch %d started at %s, now it is %s", info.Epoch, info.StartedAt, began)
		}
	}
	if diff := cmp.Diff(all, listed); diff != "" {
		t.Errorf("epochs (-handed out +listed):\n%s", diff)
	}
	if len(nodes) != len(all) {
		t.Errorf("%d nodes in %d epochs", len(nodes), len(all))
	}
}

func testPing(t *testing.T, h Harness) {
	s := h.Open(t)
	expect(t, "ping", s.Ping(testContext(t)), nil)
}
