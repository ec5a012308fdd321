package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"stampede/actors/entity"
	"stampede/persistence"
)

// testFence: of 64 activations of one actor exactly one writes each record, and
// the loser's other records are not touched by it.
func testFence(t *testing.T, h Harness) {
	const writers, rounds = 64, 8
	s := h.Open(t)
	ctx := testContext(t)
	for round := range uint64(rounds) {
		contested := make([]*entity.Record, writers)
		results := make([][]error, writers)
		var ready, done sync.WaitGroup
		ready.Add(1)
		for i := range writers {
			w := &writer{epoch: entity.Epoch(i + 1), position: 10 * round}
			contested[i] = w.record("sku", "hot", round+1, fmt.Sprintf("writer %d", i))
			own := w.record("order", fmt.Sprintf("own-%d", i), round+1, "own")
			done.Go(func() {
				ready.Wait()
				results[i] = s.Append(ctx, []*entity.Record{contested[i], own})
			})
		}
		ready.Done()
		done.Wait()
		winner := -1
		for i, errs := range results {
			expect(t, "a writer's own record", errs[1], nil)
			if errs[0] != nil {
				expect(t, "a loser", errs[0], entity.ErrFenced)
				continue
			}
			if winner >= 0 {
				t.Fatalf("round %d: writers %d and %d both wrote", round, winner, i)
			}
			winner = i
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody wrote", round)
		}
		sameRecords(t, "the contested stream", readStream(t, s, "sku/hot", round), contested[winner:winner+1])
	}
}

// testMixedBatch: each record of a batch has a result of its own.
func testMixedBatch(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	durable := w.record("sku", "a", 1, "durable")
	theirs := w.record("sku", "b", 1, "theirs")
	mustAppend(t, s, durable, theirs)

	twice := w.record("sku", "twice", 1, "x")
	before := w.record("sku", "c", 1, "before")
	after := w.record("sku", "c", 2, "after")
	batch := []*entity.Record{
		before,
		durable,
		w.record("sku", "b", 1, "ours"),
		w.record("sku", "large", 1, strings.Repeat("x", s.MaxRecordBytes()+1)),
		w.record("a/kind", "id", 1, "x"),
		twice,
		changed(twice, func(r *entity.Record) { r.Events = []byte("y") }),
		twice,
		after,
	}
	want := []error{nil, nil, entity.ErrFenced, entity.ErrTooLarge, persistence.ErrInvalid, nil, entity.ErrFenced, nil, nil}
	errs := s.Append(testContext(t), batch)
	if len(errs) != len(want) {
		t.Fatalf("%d results for %d records", len(errs), len(batch))
	}
	for i := range want {
		expect(t, fmt.Sprintf("record %d of the batch", i), errs[i], want[i])
	}
	sameRecords(t, "c", readStream(t, s, "sku/c", 0), []*entity.Record{before, after})
	sameRecords(t, "b", readStream(t, s, "sku/b", 0), []*entity.Record{theirs})
	sameRecords(t, "twice", readStream(t, s, "sku/twice", 0), []*entity.Record{twice})
	sameRecords(t, "large", readStream(t, s, "sku/large", 0), nil)
}

// testRepeat: a record again is the same record; anything else in its place is fenced.
func testRepeat(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 7}
	all := w.stream("order", "x", 3)
	mustAppend(t, s, all...)
	for range 2 {
		for i, err := range s.Append(testContext(t), all) {
			expect(t, fmt.Sprintf("record %d again", i+1), err, nil)
		}
	}
	for what, other := range map[string]*entity.Record{
		"other events":       changed(all[1], func(r *entity.Record) { r.Events = []byte("other") }),
		"other wake-up":      changed(all[1], func(r *entity.Record) { r.WakeAtMs = 5 }),
		"other epoch":        changed(all[1], func(r *entity.Record) { r.Epoch = 8 }),
		"other position":     changed(all[1], func(r *entity.Record) { r.Position = 100 }),
		"older activation":   changed(all[1], func(r *entity.Record) { r.Epoch, r.Position = 1, 1 }),
		"the first record":   changed(all[0], func(r *entity.Record) { r.Position = 101 }),
		"the newest record":  changed(all[2], func(r *entity.Record) { r.Position = 102 }),
		"only the place":     func() *entity.Record { r := *all[1]; r.Position += 100; return &r }(),
		"another checksum":   func() *entity.Record { r := *all[1]; r.Checksum++; return &r }(),
		"another's identity": changed(all[1], func(r *entity.Record) { r.Epoch, r.Position, r.Events = 9, 9, nil }),
	} {
		expect(t, what, s.Append(testContext(t), []*entity.Record{other})[0], entity.ErrFenced)
	}
	sameRecords(t, "after all that", readStream(t, s, "order/x", 0), all)
	sameRecords(t, "the incarnation's log", readEpoch(t, s, 7, 0), all)
	sameRecords(t, "another incarnation's log", readEpoch(t, s, 8, 0), nil)
}

// testPositionTaken: one place in the log holds one record.
func testPositionTaken(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 3}
	first := w.record("sku", "a", 1, "first")
	mustAppend(t, s, first)
	clash := changed(w.record("sku", "b", 1, "clash"), func(r *entity.Record) { r.Position = first.Position })
	good := w.record("sku", "c", 1, "good")
	errs := s.Append(testContext(t), []*entity.Record{clash, good})
	expect(t, "the clash", errs[0], persistence.ErrPositionTaken)
	expect(t, "the clash", errs[0], entity.ErrFenced)
	expect(t, "the other record", errs[1], nil)
	sameRecords(t, "b", readStream(t, s, "sku/b", 0), nil)
	sameRecords(t, "the log", readEpoch(t, s, 3, 0), []*entity.Record{first, good})

	one := w.record("sku", "d", 1, "one")
	other := changed(one, func(r *entity.Record) { r.ID = "e" })
	errs = s.Append(testContext(t), []*entity.Record{one, other})
	if won := count(errs, nil); won != 1 || !errors.Is(errors.Join(errs...), persistence.ErrPositionTaken) {
		t.Errorf("two records for one place in one batch: %v", errs)
	}
	// The place is free again for nobody, the stream is.
	expect(t, "b elsewhere", s.Append(testContext(t), []*entity.Record{w.record("sku", "b", 1, "later")})[0], nil)
}

// testSizeLimit: up to the limit a record is kept, above it it is not sent.
func testSizeLimit(t *testing.T, h Harness) {
	s := h.Open(t)
	if s.MaxRecordBytes() != persistence.MaxRecordBytes {
		t.Errorf("MaxRecordBytes is %d, the drivers agreed on %d", s.MaxRecordBytes(), persistence.MaxRecordBytes)
	}
	w := &writer{epoch: 1}
	atLimit := w.record("sku", strings.Repeat("i", persistence.MaxStreamBytes-len("sku/")), 1, string(bytes.Repeat([]byte{0xff}, s.MaxRecordBytes())))
	above := w.record("sku", "above", 1, strings.Repeat("x", s.MaxRecordBytes()+1))
	longName := w.record("sku", strings.Repeat("i", persistence.MaxStreamBytes-len("sku/")+1), 1, "x")
	small := w.record("sku", "small", 1, "")
	errs := s.Append(testContext(t), []*entity.Record{above, atLimit, longName, small})
	expect(t, "above the limit", errs[0], entity.ErrTooLarge)
	expect(t, "at the limit", errs[1], nil)
	expect(t, "a name above the limit", errs[2], entity.ErrTooLarge)
	expect(t, "a small one beside them", errs[3], nil)
	sameRecords(t, "at the limit", readStream(t, s, atLimit.Stream(), 0), []*entity.Record{atLimit})
	sameRecords(t, "the log", readEpoch(t, s, 1, 0), []*entity.Record{atLimit, small})
	sameRecords(t, "above the limit", readStream(t, s, "sku/above", 0), nil)
}

// testInvalid: what cannot be kept as it is is refused, and nothing else with it.
func testInvalid(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	var batch []*entity.Record
	for _, change := range []func(*entity.Record){
		func(r *entity.Record) { r.Kind = "" },
		func(r *entity.Record) { r.Kind = "a/b" },
		func(r *entity.Record) { r.ID = "" },
		func(r *entity.Record) { r.ID = "\xff\xfe" },
		func(r *entity.Record) { r.Seq = 0 },
		func(r *entity.Record) { r.Seq = 1 << 63 },
		func(r *entity.Record) { r.Epoch = 0 },
		func(r *entity.Record) { r.Epoch = persistence.MaxEpoch + 1 },
		func(r *entity.Record) { r.Position = 0 },
		func(r *entity.Record) { r.Position = persistence.MaxPosition + 1 },
	} {
		batch = append(batch, changed(w.record("sku", "x", 1, "x"), change))
	}
	extreme := sealed(&entity.Record{
		Kind: "sku", ID: "extreme", Seq: 1<<63 - 1, FirstVersion: 1<<64 - 1, LastVersion: 1<<64 - 1,
		Epoch: persistence.MaxEpoch, Position: persistence.MaxPosition, WakeAtMs: -1 << 63, Events: []byte{0},
	})
	errs := s.Append(testContext(t), append(batch, extreme))
	for i := range batch {
		expect(t, fmt.Sprintf("%+v", batch[i]), errs[i], persistence.ErrInvalid)
	}
	expect(t, "the extreme record", errs[len(batch)], nil)
	sameRecords(t, "the extreme record", readStream(t, s, "sku/extreme", 1<<63-2), []*entity.Record{extreme})
	sameRecords(t, "its log", readEpoch(t, s, persistence.MaxEpoch, persistence.MaxPosition-1), []*entity.Record{extreme})
	if errs := s.Append(testContext(t), nil); len(errs) != 0 {
		t.Errorf("no records have %d results", len(errs))
	}
}

// testCanceled: a batch that is given up before it is sent is surely not written.
func testCanceled(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	records := w.stream("sku", "x", 5)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	for i, err := range s.Append(ctx, records) {
		expect(t, fmt.Sprintf("record %d", i), err, entity.ErrUnavailable)
		expect(t, fmt.Sprintf("record %d", i), err, context.Canceled)
	}
	sameRecords(t, "after that", readStream(t, s, "sku/x", 0), nil)
	mustAppend(t, s, records...)
	sameRecords(t, "and later", readStream(t, s, "sku/x", 0), records)
}

func testClosed(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	mustAppend(t, s, w.record("sku", "x", 1, "x"))
	expect(t, "close", s.Close(), nil)
	expect(t, "close again", s.Close(), nil)
	ctx := testContext(t)
	expect(t, "append", s.Append(ctx, w.stream("sku", "y", 1))[0], entity.ErrUnavailable)
	expect(t, "append", s.Append(ctx, w.stream("sku", "y", 1))[0], persistence.ErrClosed)
	expect(t, "ping", s.Ping(ctx), persistence.ErrClosed)
	_, err := s.LoadSnapshot(ctx, "sku/x")
	expect(t, "load snapshot", err, persistence.ErrClosed)
	expect(t, "put rows", s.PutRows(ctx, []persistence.Row{{Kind: "sku", ID: "x", Version: 1}}), persistence.ErrClosed)
	_, err = s.OpenEpoch(ctx, "n")
	expect(t, "open epoch", err, persistence.ErrClosed)
	reads := 0
	for _, err := range s.ReadStream(ctx, "sku/x", 0) {
		expect(t, "read stream", err, persistence.ErrClosed)
		reads++
	}
	if reads != 1 {
		t.Errorf("reading from a closed store yields %d times, want one error", reads)
	}
}

// testModel appends random batches, with repeats and clashes, and compares each
// result and the final contents with a map.
func testModel(t *testing.T, h Harness) {
	s := h.Open(t)
	random := seeded(t)
	type key struct {
		id  string
		seq uint64
	}
	written := make(map[key]*entity.Record)
	var given []*entity.Record
	w := &writer{epoch: 1}
	for range 60 {
		var batch []*entity.Record
		var want []error
		for range 1 + random.IntN(40) {
			r := w.record("sku", fmt.Sprint("s", random.IntN(12)), 1+random.Uint64N(40), fmt.Sprint(random.Uint64()))
			if len(given) > 0 && random.IntN(4) == 0 {
				r = given[random.IntN(len(given))]
			}
			given = append(given, r)
			k := key{r.ID, r.Seq}
			var expected error
			if have := written[k]; have == nil {
				written[k] = r
			} else if have != r {
				expected = entity.ErrFenced
			}
			batch, want = append(batch, r), append(want, expected)
		}
		for i, err := range s.Append(testContext(t), batch) {
			if want[i] == nil && err != nil || want[i] != nil && !errors.Is(err, want[i]) {
				// A batch is not ordered: which of two records of the batch won is
				// the store's choice, so the model follows it.
				if !settle(t, s, batch, i, func(r *entity.Record) { written[key{r.ID, r.Seq}] = r }) {
					t.Fatalf("record %d of %s: %v, want %v", batch[i].Seq, batch[i].Stream(), err, want[i])
				}
			}
		}
	}
	total := 0
	for i := range 12 {
		id := fmt.Sprint("s", i)
		var want []*entity.Record
		for seq := uint64(1); seq <= 40; seq++ {
			if r := written[key{id, seq}]; r != nil {
				want = append(want, r)
			}
		}
		sameRecords(t, id, readStream(t, s, "sku/"+id, 0), want)
		sameRecords(t, id, readStream(t, s, "sku/"+id, 20), above(want, 20))
		total += len(want)
	}
	if log := readEpoch(t, s, 1, 0); len(log) != total {
		t.Errorf("the log has %d records, the streams %d", len(log), total)
	}
}

// settle tells the model which of two records with one key in a batch is
// stored. It returns false if the batch has only one with that key.
func settle(t *testing.T, s persistence.Store, batch []*entity.Record, i int, store func(*entity.Record)) bool {
	t.Helper()
	rivals := 0
	for _, r := range batch {
		if r.ID == batch[i].ID && r.Seq == batch[i].Seq {
			rivals++
		}
	}
	if rivals < 2 {
		return false
	}
	for _, stored := range readStream(t, s, batch[i].Stream(), batch[i].Seq-1)[:1] {
		for _, r := range batch {
			if r.Checksum == stored.Checksum && r.ID == stored.ID && r.Seq == stored.Seq {
				store(r)
				return true
			}
		}
	}
	return false
}

func above(records []*entity.Record, seq uint64) []*entity.Record {
	for i, r := range records {
		if r.Seq > seq {
			return records[i:]
		}
	}
	return nil
}

func count(errs []error, want error) int {
	n := 0
	for _, err := range errs {
		if errors.Is(err, want) {
			n++
		}
	}
	return n
}
