package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"stampede/actors/entity"
	"stampede/persistence"
)

// testReadStream: exactly the records after a version, in order.
func testReadStream(t *testing.T, h Harness) {
	const n = 700
	s := h.Open(t)
	w := &writer{epoch: 1}
	all := w.stream("sku", "long", n)
	mustAppend(t, s, all...)
	mustAppend(t, s, w.stream("sku", "long2", 3)...)
	mustAppend(t, s, w.stream("sku", "lon", 3)...)
	for _, after := range []uint64{0, 1, 255, 256, 257, 511, 512, n - 1, n, n + 1, 1 << 62, 1<<64 - 1} {
		want := above(all, after)
		if after >= n {
			want = nil
		}
		sameRecords(t, fmt.Sprintf("after %d", after), readStream(t, s, "sku/long", after), want)
	}
}

// testReadStreamBack: exactly the records before a seq, newest first, whether
// or not the store has filed them away, also while more are written.
func testReadStreamBack(t *testing.T, h Harness) {
	const n = 700
	s := h.Open(t)
	w := &writer{epoch: 1}
	all := w.stream("sku", "long", n)
	mustAppend(t, s, all...)
	mustAppend(t, s, w.stream("sku", "long2", 3)...)
	mustAppend(t, s, w.stream("sku", "lon", 3)...)
	for _, before := range []uint64{0, 1, 2, 4, 5, 6, 255, 256, 257, n - 1, n, n + 1, 1 << 62, 1 << 63, 1<<64 - 1} {
		want := slices.Clone(all[:min(n, max(before, 1)-1)])
		slices.Reverse(want)
		sameRecords(t, fmt.Sprintf("before %d", before), collect(t, s.ReadStreamBack(testContext(t), "sku/long", before)), want)
	}
	sameRecords(t, "nothing", collect(t, s.ReadStreamBack(testContext(t), "sku/none", 1<<64-1)), nil)
	sameRecords(t, "no name", collect(t, s.ReadStreamBack(testContext(t), "", 1<<64-1)), nil)
	for range 50 { // a reader that loses interest leaves nothing behind
		for r, err := range s.ReadStreamBack(testContext(t), "sku/long", 1<<64-1) {
			expect(t, "read back", err, nil)
			if r.Seq != n {
				t.Fatalf("the newest record is %d, not %d", r.Seq, n)
			}
			break
		}
	}
	want := uint64(n)
	for r, err := range s.ReadStreamBack(testContext(t), "sku/long", n+1) {
		expect(t, "read back", err, nil)
		if r.Seq != want {
			t.Fatalf("record %d where %d was expected", r.Seq, want)
		}
		if want--; want%100 == 0 {
			mustAppend(t, s, w.record("sku", "long", n+(n-want)/100, "while reading"))
		}
	}
	if want != 0 {
		t.Errorf("the reader ended before record %d", want)
	}
}

// testReadBackWhileWriting: reading back has everything that was acknowledged
// before it began, and no gap.
func testReadBackWhileWriting(t *testing.T, h Harness) {
	const n = 120
	s := h.Open(t)
	ctx := testContext(t)
	var acknowledged atomic.Uint64
	failed := make(chan error, 1)
	go func() {
		w := &writer{epoch: 1}
		for seq := uint64(1); seq <= n; seq++ {
			batch := []*entity.Record{w.record("sku", "hot", seq, "x")}
			for i := range 5 {
				batch = append(batch, w.record("order", fmt.Sprintf("o-%d-%d", seq, i), 1, "x"))
			}
			if err := errors.Join(s.Append(ctx, batch)...); err != nil {
				failed <- err
				return
			}
			acknowledged.Store(seq)
		}
		failed <- nil
	}()
	for {
		before := acknowledged.Load()
		next := uint64(0)
		for r, err := range s.ReadStreamBack(ctx, "sku/hot", 1<<64-1) {
			expect(t, "read back", err, nil)
			if next == 0 && r.Seq < before {
				t.Fatalf("record %d was acknowledged, %d is the newest one read", before, r.Seq)
			}
			if next != 0 && r.Seq != next {
				t.Fatalf("record %d comes where %d was expected", r.Seq, next)
			}
			next = r.Seq - 1
		}
		if next != 0 || before == n {
			if next != 0 {
				t.Fatalf("the reader ended before record %d", next)
			}
			break
		}
		select {
		case err := <-failed:
			expect(t, "append", err, nil)
		default:
		}
	}
}

// testReadEpoch: the log of an incarnation is in order of position, whatever
// the order of writing, with its holes.
func testReadEpoch(t *testing.T, h Harness) {
	const n = 900
	s := h.Open(t)
	random := seeded(t)
	w := &writer{epoch: 5}
	var want []*entity.Record
	for i := range n {
		r := w.record("order", fmt.Sprintf("o%d", i), 1, "x")
		if random.IntN(10) == 0 {
			w.position += random.Uint64N(1000)
		}
		want = append(want, r)
	}
	shuffled := make([]*entity.Record, n)
	for i, j := range random.Perm(n) {
		shuffled[i] = want[j]
	}
	mustAppend(t, s, shuffled...)
	mustAppend(t, s, (&writer{epoch: 4, position: 10}).stream("sku", "before", 5)...)
	mustAppend(t, s, (&writer{epoch: 6}).stream("sku", "after", 5)...)
	sameRecords(t, "the whole log", readEpoch(t, s, 5, 0), want)
	for range 10 {
		i := random.IntN(n)
		sameRecords(t, "from a position", readEpoch(t, s, 5, want[i].Position), want[i+1:])
		sameRecords(t, "from before a position", readEpoch(t, s, 5, want[i].Position-1), want[i:])
	}
	sameRecords(t, "from the end", readEpoch(t, s, 5, want[n-1].Position), nil)
	sameRecords(t, "from far behind it", readEpoch(t, s, 5, 1<<64-1), nil)
}

func testReadNothing(t *testing.T, h Harness) {
	s := h.Open(t)
	sameRecords(t, "a stream", readStream(t, s, "sku/none", 0), nil)
	sameRecords(t, "no name", readStream(t, s, "", 0), nil)
	sameRecords(t, "an epoch", readEpoch(t, s, 1, 0), nil)
	sameRecords(t, "an impossible epoch", readEpoch(t, s, 1<<32-1, 0), nil)
	ctx := testContext(t)
	if epochs, err := s.Epochs(ctx); err != nil || len(epochs) != 0 {
		t.Errorf("epochs of nobody: %v, %v", epochs, err)
	}
	if snap, err := s.LoadSnapshot(ctx, "sku/none"); err != nil || snap != nil {
		t.Errorf("a snapshot of nothing: %v, %v", snap, err)
	}
	if rows, err := s.GetRows(ctx, "order", []string{"none"}); err != nil || len(rows) != 0 {
		t.Errorf("rows of nothing: %v, %v", rows, err)
	}
	if rows, err := s.GetRows(ctx, "order", nil); err != nil || len(rows) != 0 {
		t.Errorf("no rows: %v, %v", rows, err)
	}
	if rows, err := s.ListRows(ctx, persistence.ListQuery{Kind: "order", Limit: 10}); err != nil || len(rows) != 0 {
		t.Errorf("a list of nothing: %v, %v", rows, err)
	}
	expect(t, "put no rows", s.PutRows(ctx, nil), nil)
	if marks, err := s.Watermarks(ctx, "nobody"); err != nil || len(marks) != 0 {
		t.Errorf("watermarks of nobody: %v, %v", marks, err)
	}
}

// testReadStopped: a reader that loses interest leaves nothing behind, however
// often; one that dawdles does not hold the writers up.
func testReadStopped(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	mustAppend(t, s, w.stream("sku", "x", 600)...)
	for range 50 {
		for _, err := range s.ReadStream(testContext(t), "sku/x", 0) {
			expect(t, "read stream", err, nil)
			break
		}
		for _, err := range s.ReadEpoch(testContext(t), 1, 0) {
			expect(t, "read epoch", err, nil)
			break
		}
	}
	n := 0
	for _, err := range s.ReadStream(testContext(t), "sku/x", 0) {
		expect(t, "read stream", err, nil)
		if n++; n == 3 {
			mustAppend(t, s, w.record("sku", "y", 1, "while reading"))
			sameRecords(t, "another stream, while reading", readStream(t, s, "sku/y", 1), nil)
		}
	}
	if n < 600 {
		t.Errorf("read %d of 600 records", n)
	}
}

func testReadCanceled(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	mustAppend(t, s, w.stream("sku", "x", 600)...)
	for what, read := range map[string]func(ctx context.Context, yield func(*entity.Record, error) bool){
		"stream": func(ctx context.Context, yield func(*entity.Record, error) bool) {
			s.ReadStream(ctx, "sku/x", 0)(yield)
		},
		"stream back": func(ctx context.Context, yield func(*entity.Record, error) bool) {
			s.ReadStreamBack(ctx, "sku/x", 1<<64-1)(yield)
		},
		"epoch": func(ctx context.Context, yield func(*entity.Record, error) bool) { s.ReadEpoch(ctx, 1, 0)(yield) },
	} {
		ctx, cancel := context.WithCancel(testContext(t))
		records, failures := 0, 0
		read(ctx, func(_ *entity.Record, err error) bool {
			if err != nil {
				expect(t, what, err, context.Canceled)
				failures++
				return true
			}
			records++
			cancel()
			return true
		})
		cancel()
		// What was read ahead may still come, the end of the data may not.
		if failures != 1 || records >= 600 {
			t.Errorf("%s: %d records and %d errors after a cancel", what, records, failures)
		}
	}
}

// testReadWhileWriting: a read has everything that was acknowledged before it
// began, and no gap.
func testReadWhileWriting(t *testing.T, h Harness) {
	const n = 400
	s := h.Open(t)
	ctx := testContext(t)
	var acknowledged atomic.Uint64
	failed := make(chan error, 1)
	go func() {
		w := &writer{epoch: 1}
		for seq := uint64(1); seq <= n; seq++ {
			batch := []*entity.Record{w.record("sku", "hot", seq, "x")}
			for i := range 5 {
				batch = append(batch, w.record("order", fmt.Sprintf("o-%d-%d", seq, i), 1, "x"))
			}
			if err := errors.Join(s.Append(ctx, batch)...); err != nil {
				failed <- err
				return
			}
			acknowledged.Store(seq)
		}
		failed <- nil
	}()
	for reads := 0; ; reads++ {
		before := acknowledged.Load()
		after := before / 2
		last := after
		for _, r := range readStream(t, s, "sku/hot", after) {
			if r.Seq != last+1 {
				t.Fatalf("record %d follows record %d", r.Seq, last)
			}
			last = r.Seq
		}
		if last < before {
			t.Fatalf("record %d was acknowledged, %d is the last one read", before, last)
		}
		if before == n {
			t.Logf("%d reads", reads)
			break
		}
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
}

// testNastyIDs: an id is any text; none reads another's records.
func testNastyIDs(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	w := &writer{epoch: 1}
	ids := []string{
		"a", "A", "a ", " a", "a.b", "a.b.c", ".", "..", "$set", "$where", "a$b", "a/b", "a/", "/a", "/", "//",
		"a/0000000000000000001", "a/0000000000000000002", "a/00000000000000000001", "a/00000000000000000002", "a/00000000000000000001/00000000000000000001",
		"a/0000000000000000001/0000000000000000001", "0", "00000000000000000001", "-1", "%", "%00", "_", "a%", "a_", "'", "\"", "`", "';DROP TABLE records;--", "\\", "\\0", "{}", "[1]", "null",
		"a\x00", "a\x00b", "\x00", "\n", "a\tb", "é", "e\u0301", "ß", "ẞ", "ſ", "İ", "日本語", "🛒", "\U0010ffff", "\ufeffbom", "a\u200b",
		strings.Repeat("x", 900), strings.Repeat("x", 901), strings.Repeat("語", 300),
	}
	want := make(map[string][]*entity.Record)
	var all []*entity.Record
	for _, id := range ids {
		want[id] = w.stream("sku", id, 3)
		all = append(all, want[id]...)
	}
	mustAppend(t, s, all...)
	// An owner and a state share a bound.
	state := func(id string) string { return id[:len(id)*min(1, 500/len(id))] }
	var rows []persistence.Row
	for i, id := range ids {
		sameRecords(t, fmt.Sprintf("%q", id), readStream(t, s, "sku/"+id, 0), want[id])
		sameRecords(t, fmt.Sprintf("%q after 2", id), readStream(t, s, "sku/"+id, 2), want[id][2:])
		back := collect(t, s.ReadStreamBack(ctx, "sku/"+id, 4))
		slices.Reverse(back)
		sameRecords(t, fmt.Sprintf("%q from its end", id), back, want[id])
		snap := sealedSnapshot(&entity.Snapshot{Kind: "sku", ID: id, Seq: 3, Version: 6, State: []byte(id)})
		expect(t, "save snapshot", s.SaveSnapshot(ctx, snap), nil)
		rows = append(rows, persistence.Row{Kind: "sku", ID: id, Version: uint64(i + 1), Owner: id, State: state(id), SortMs: 1, Body: []byte(id)})
		if _, err := s.Setting(ctx, id, []byte(id)); err != nil {
			t.Errorf("setting %q: %v", id, err)
		}
	}
	expect(t, "put rows", s.PutRows(ctx, rows), nil)
	got, err := s.GetRows(ctx, "sku", ids)
	expect(t, "get rows", err, nil)
	for i, id := range ids {
		if snap, err := s.LoadSnapshot(ctx, "sku/"+id); err != nil || snap == nil || string(snap.State) != id || snap.ID != id {
			t.Errorf("snapshot of %q: %v, %v", id, snap, err)
		}
		sameRow(t, id, got[id], rows[i])
		list, err := s.ListRows(ctx, persistence.ListQuery{Kind: "sku", Owner: id, State: state(id), Limit: 100})
		if err != nil || len(list) != 1 || list[0].ID != id {
			t.Errorf("rows of owner %q: %v, %v", id, list, err)
		}
		if value, err := s.Setting(ctx, id, []byte("other")); err != nil || string(value) != id {
			t.Errorf("setting %q: %q, %v", id, value, err)
		}
	}
	for i, err := range s.Append(ctx, all) {
		expect(t, fmt.Sprintf("%q again", all[i].ID), err, nil)
	}
}

// testGap: a missing record is seen by the reader as one.
func testGap(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	all := w.stream("sku", "x", 5)
	mustAppend(t, s, all...)
	h.Tamper(t, s).DeleteRecord("sku/x", 3)
	sameRecords(t, "with a gap", readStream(t, s, "sku/x", 0), []*entity.Record{all[0], all[1], all[3], all[4]})
	// The store does not judge: an actor that leaves a gap is kept as it is.
	beyond := w.record("sku", "x", 9, "beyond")
	mustAppend(t, s, beyond)
	sameRecords(t, "with two gaps", readStream(t, s, "sku/x", 4), []*entity.Record{all[4], beyond})
	// A record for a gap is one like any other.
	mustAppend(t, s, w.record("sku", "x", 7, "between"))
	expect(t, "another one there", s.Append(testContext(t), []*entity.Record{w.record("sku", "x", 7, "other")})[0], entity.ErrFenced)
}

// testChecksum: a damaged record is handed to the reader, who can tell.
func testChecksum(t *testing.T, h Harness) {
	s := h.Open(t)
	w := &writer{epoch: 1}
	all := w.stream("sku", "x", 3)
	mustAppend(t, s, all...)
	h.Tamper(t, s).CorruptRecord("sku/x", 2)
	got := readStream(t, s, "sku/x", 0)
	if len(got) != 3 {
		t.Fatalf("%d records, want 3", len(got))
	}
	for i, r := range got {
		var want error
		if i == 1 {
			want = entity.ErrCorrupt
		}
		expect(t, fmt.Sprintf("record %d", i+1), r.Verify(), want)
	}
	for _, r := range readEpoch(t, s, 1, 1)[:1] {
		expect(t, "in the log", r.Verify(), entity.ErrCorrupt)
	}
}
