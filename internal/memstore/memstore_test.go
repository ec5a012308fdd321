package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/internal/memstore"
	"stampede/persistence"
)

func rec(id string, seq uint64, epoch entity.Epoch, position uint64) *entity.Record {
	r := &entity.Record{
		Kind: "sku", ID: id, Seq: seq, FirstVersion: seq, LastVersion: seq, Epoch: epoch, Position: position,
		Events: fmt.Appendf(nil, "%s-%d", id, seq),
	}
	r.Checksum = r.Sum()
	return r
}

func collect(t *testing.T, records func(func(*entity.Record, error) bool)) (all []*entity.Record) {
	t.Helper()
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestAppend(t *testing.T) {
	s := memstore.New()
	other := rec("a", 1, 2, 1)
	huge := rec("huge", 1, 1, 9)
	huge.Events = make([]byte, s.MaxRecordBytes()+1)
	for i, c := range []struct {
		record *entity.Record
		want   []error
	}{
		{rec("a", 1, 1, 1), nil},
		{rec("a", 1, 1, 1), nil}, // again
		{other, []error{entity.ErrFenced}},
		{rec("a", 2, 1, 3), nil},
		{rec("b", 1, 1, 2), nil}, // late
		{rec("c", 1, 1, 2), []error{entity.ErrFenced, persistence.ErrPositionTaken}},
		{huge, []error{entity.ErrTooLarge}},
		{rec("d", 1, 1, 0), []error{persistence.ErrInvalid}},
	} {
		errs := s.Append(t.Context(), []*entity.Record{c.record})
		if len(errs) != 1 || (errs[0] == nil) != (c.want == nil) {
			t.Errorf("append %d: %v, want %v", i, errs, c.want)
		}
		for _, want := range c.want {
			if !errors.Is(errs[0], want) {
				t.Errorf("append %d: %v, want %v", i, errs[0], want)
			}
		}
	}
	if diff := cmp.Diff([]*entity.Record{rec("a", 1, 1, 1), rec("b", 1, 1, 2), rec("a", 2, 1, 3)}, collect(t, s.ReadEpoch(t.Context(), 1, 0))); diff != "" {
		t.Errorf("epoch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]*entity.Record{rec("a", 2, 1, 3)}, collect(t, s.ReadStream(t.Context(), "sku/a", 1))); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"sku/a", "sku/b"}, s.Disk().Streams()); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsShared(t *testing.T) {
	s := memstore.New()
	r := rec("a", 1, 1, 1)
	s.Append(t.Context(), []*entity.Record{r})
	r.Events[0] = 'X'
	collect(t, s.ReadStream(t.Context(), "sku/a", 0))[0].Events[0] = 'Y'
	s.Disk().Stream("sku/a")[0].Events[0] = 'Z'
	s.Disk().Log(1)[0].Seq = 7
	if err := collect(t, s.ReadEpoch(t.Context(), 1, 0))[0].Verify(); err != nil {
		t.Error(err)
	}
}

// TestOneWinner races 64 writers of one sequence number.
func TestOneWinner(t *testing.T) {
	s := memstore.New()
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			err := s.Append(t.Context(), []*entity.Record{rec("a", 1, entity.Epoch(i+1), 1)})[0]
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, entity.ErrFenced):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || len(s.Disk().Stream("sku/a")) != 1 {
		t.Errorf("%d writers won", won.Load())
	}
}

func TestLongReads(t *testing.T) {
	s := memstore.New()
	for i := range uint64(1000) {
		s.Append(t.Context(), []*entity.Record{rec("a", i+1, 1, i+1)})
	}
	for _, after := range []uint64{0, 1, 255, 256, 257, 999, 1000, 5000} {
		got := collect(t, s.ReadEpoch(t.Context(), 1, after))
		if want := 1000 - int(min(after, 1000)); len(got) != want || want > 0 && got[0].Position != after+1 {
			t.Errorf("after %d: %d records, want %d", after, len(got), want)
		}
	}
}

func TestTampering(t *testing.T) {
	s := memstore.New()
	for i := range uint64(3) {
		s.Append(t.Context(), []*entity.Record{rec("a", i+1, 1, i+1)})
	}
	if !s.Disk().Tamper("sku/a", 2, func(r *entity.Record) { r.Events[0] ^= 1 }) || !s.Disk().Lose("sku/a", 1) || s.Disk().Lose("sku/a", 1) {
		t.Error("there is nothing to tamper with")
	}
	for _, got := range [][]*entity.Record{collect(t, s.ReadEpoch(t.Context(), 1, 0)), collect(t, s.ReadStream(t.Context(), "sku/a", 0))} {
		if len(got) != 2 || got[0].Seq != 2 || got[0].Verify() == nil || got[1].Verify() != nil {
			t.Errorf("read %v, want record 2, changed, and record 3", got)
		}
	}
}

func TestSnapshots(t *testing.T) {
	s := memstore.New()
	save := func(seq uint64) {
		t.Helper()
		snap := &entity.Snapshot{Kind: "sku", ID: "a", Seq: seq, Version: seq, State: []byte{byte(seq)}}
		snap.Checksum = snap.Sum()
		if err := s.SaveSnapshot(t.Context(), snap); err != nil {
			t.Fatal(err)
		}
	}
	load := func(want uint64) {
		t.Helper()
		snap, err := s.LoadSnapshot(t.Context(), "sku/a")
		if err != nil || (snap == nil) != (want == 0) || snap != nil && snap.Seq != want {
			t.Errorf("loaded %v, %v; want seq %d", snap, err, want)
		}
	}
	load(0)
	save(5)
	save(3)
	load(5)
	s.Disk().TamperSnapshot("sku/a", func(snap *entity.Snapshot) { snap.State[0]++ })
	load(0)
	save(3)
	load(3)
}

func TestViews(t *testing.T) {
	s := memstore.New()
	row := func(id string, version uint64, owner, state string, sort, wake int64) persistence.Row {
		return persistence.Row{Kind: "order", ID: id, Version: version, Owner: owner, State: state, SortMs: sort, WakeAtMs: wake, Body: []byte(id)}
	}
	rows := []persistence.Row{row("a", 2, "u", "NEW", 10, 50), row("b", 1, "u", "OLD", 20, 40), row("c", 1, "v", "NEW", 20, 60), row("d", 1, "u", "NEW", 30, 0)}
	if err := s.PutRows(t.Context(), append(rows, row("a", 1, "older", "", 99, 1), row("a", 2, "same", "", 99, 1))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query persistence.ListQuery
		want  string
	}{
		{persistence.ListQuery{Limit: 10}, "d c b a"},
		{persistence.ListQuery{Limit: 2}, "d c"},
		{persistence.ListQuery{Limit: 2, AfterSortMs: 20, AfterID: "c"}, "b a"},
		{persistence.ListQuery{Limit: 10, Owner: "u"}, "d b a"},
		{persistence.ListQuery{Limit: 10, Owner: "u", State: "NEW"}, "d a"},
		{persistence.ListQuery{Limit: 0}, ""},
	} {
		c.query.Kind = "order"
		list, err := s.ListRows(t.Context(), c.query)
		if got := ids(list); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v; want %q", c.query, got, err, c.want)
		}
	}
	due, err := s.DueRows(t.Context(), time.UnixMilli(50), 10)
	if got := ids(due); got != "b a" || err != nil {
		t.Errorf("due: %q, %v", got, err)
	}
	got, err := s.GetRows(t.Context(), "order", []string{"a", "nobody"})
	if diff := cmp.Diff(map[string]persistence.Row{"a": rows[0]}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func ids(rows []persistence.Row) (all string) {
	for i, r := range rows {
		if i > 0 {
			all += " "
		}
		all += r.ID
	}
	return all
}

func TestWatermarksSettingsAndEpochs(t *testing.T) {
	disk := memstore.NewDisk()
	a, b := disk.Open(), disk.Open()
	for i, s := range []*memstore.Store{a, b} {
		if epoch, err := s.OpenEpoch(t.Context(), "node"); epoch != entity.Epoch(i+1) || err != nil {
			t.Errorf("epoch %d, %v", epoch, err)
		}
	}
	if err := errors.Join(a.SaveWatermark(t.Context(), "r", 1, 7), b.SaveWatermark(t.Context(), "r", 1, 5), b.SaveWatermark(t.Context(), "r", 2, 1)); err != nil {
		t.Error(err)
	}
	marks, err := b.Watermarks(t.Context(), "r")
	if diff := cmp.Diff(map[entity.Epoch]uint64{1: 7, 2: 1}, marks); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, value := range []string{"first", "second"} {
		if got, err := a.Setting(t.Context(), "secret", []byte(value)); string(got) != "first" || err != nil {
			t.Errorf("setting is %q, %v", got, err)
		}
	}
}

func TestClosedAndEnded(t *testing.T) {
	disk := memstore.NewDisk()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	closed := disk.Open()
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	for name, use := range map[string]func(context.Context, *memstore.Store) error{
		"append": func(ctx context.Context, s *memstore.Store) error {
			return s.Append(ctx, []*entity.Record{rec("a", 1, 1, 1)})[0]
		},
		"ping":    func(ctx context.Context, s *memstore.Store) error { return s.Ping(ctx) },
		"rows":    func(ctx context.Context, s *memstore.Store) error { return s.PutRows(ctx, nil) },
		"setting": func(ctx context.Context, s *memstore.Store) error { _, err := s.Setting(ctx, "a", nil); return err },
		"read": func(ctx context.Context, s *memstore.Store) error {
			for _, err := range s.ReadEpoch(ctx, 1, 0) {
				return err
			}
			return nil
		},
	} {
		if err := use(ended, disk.Open()); !errors.Is(err, entity.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, err)
		}
		if err := use(t.Context(), closed); !errors.Is(err, entity.ErrUnavailable) || !errors.Is(err, persistence.ErrClosed) {
			t.Errorf("%s of a closed store: %v", name, err)
		}
	}
	if n := len(disk.Streams()); n != 0 {
		t.Errorf("%d streams were written", n)
	}
}
