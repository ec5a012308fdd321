package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/persistence"
)

func sameRow(t *testing.T, what string, got, want persistence.Row) {
	t.Helper()
	if diff := gocmp.Diff(want, got, byBytes); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func mustPut(t *testing.T, s persistence.Store, rows ...persistence.Row) {
	t.Helper()
	if err := s.PutRows(testContext(t), rows); err != nil {
		t.Fatalf("put rows: %v", err)
	}
}

func getRow(t *testing.T, s persistence.Store, kind, id string) persistence.Row {
	t.Helper()
	rows, err := s.GetRows(testContext(t), kind, []string{id, "no such row"})
	if err != nil || len(rows) != 1 {
		t.Fatalf("get row %s/%s: %v, %v", kind, id, rows, err)
	}
	return rows[id]
}

func list(t *testing.T, s persistence.Store, q persistence.ListQuery) []persistence.Row {
	t.Helper()
	rows, err := s.ListRows(testContext(t), q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return rows
}

func ids(rows []persistence.Row) string {
	var all []string
	for _, r := range rows {
		all = append(all, r.ID)
	}
	return strings.Join(all, " ")
}

// testRowVersions: a row is only ever replaced by a higher version of itself.
func testRowVersions(t *testing.T, h Harness) {
	s := h.Open(t)
	row := func(version uint64) persistence.Row {
		return persistence.Row{
			Kind: "order", ID: "o", Version: version, Owner: fmt.Sprint("owner", version), State: fmt.Sprint("state", version),
			SortMs: int64(version), WakeAtMs: int64(100 * version), Body: []byte(fmt.Sprint("body", version)), //nolint:gosec // small
		}
	}
	for _, step := range []struct{ put, want uint64 }{{3, 3}, {2, 3}, {3, 3}, {4, 4}, {1, 4}, {10, 10}} {
		mustPut(t, s, row(step.put))
		sameRow(t, fmt.Sprintf("after version %d", step.put), getRow(t, s, "order", "o"), row(step.want))
	}
	same := row(10)
	same.Body = []byte("the same version with another body")
	mustPut(t, s, same)
	sameRow(t, "after the same version", getRow(t, s, "order", "o"), row(10))
	mustPut(t, s, row(12), row(14), row(13), row(11))
	sameRow(t, "after several versions at once", getRow(t, s, "order", "o"), row(14))
	empty := persistence.Row{Kind: "sku", ID: "o", Version: 1}
	mustPut(t, s, empty)
	sameRow(t, "another kind, with nothing in it", getRow(t, s, "sku", "o"), empty)
	sameRow(t, "the first kind", getRow(t, s, "order", "o"), row(14))
	if l := list(t, s, persistence.ListQuery{Kind: "order", State: "state10", Limit: 5}); len(l) != 0 {
		t.Errorf("listed by a state that it has left: %v", l)
	}
}

// testRowRace: whatever the order in which versions arrive, the highest stays.
func testRowRace(t *testing.T, h Harness) {
	const writers, rows = 16, 12
	s := h.Open(t)
	ctx := testContext(t)
	random := seeded(t)
	errs := make([]error, writers)
	var done sync.WaitGroup
	for i := range writers {
		var batch []persistence.Row
		for _, j := range random.Perm(rows) {
			batch = append(batch, persistence.Row{Kind: "order", ID: fmt.Sprint("o", j), Version: uint64(i + 1), Owner: "c", SortMs: 1, Body: []byte{byte(i)}})
		}
		done.Go(func() { errs[i] = s.PutRows(ctx, batch) })
	}
	done.Wait()
	for _, err := range errs {
		expect(t, "put", err, nil)
	}
	all := list(t, s, persistence.ListQuery{Kind: "order", Owner: "c", Limit: 100})
	if len(all) != rows {
		t.Fatalf("%d rows, want %d: %s", len(all), rows, ids(all))
	}
	for _, r := range all {
		if r.Version != writers || r.Body[0] != writers-1 {
			t.Errorf("%s has version %d, want %d", r.ID, r.Version, writers)
		}
	}
}

// testRowBatches: batches of new rows, newer and older ones, some of them twice,
// some with another place in the lists and some tracked, end as if each row had
// been put by itself.
func testRowBatches(t *testing.T, h Harness) {
	const batches, ids = 12, 150
	s := h.Open(t)
	random := seeded(t)
	want := make(map[string]persistence.Row)
	changes := make(map[string]uint64)
	for range batches {
		var batch []persistence.Row
		for range random.IntN(120) + 1 {
			id := random.IntN(ids)
			r := persistence.Row{
				Kind: "order", ID: fmt.Sprint("o", id), Version: random.Uint64N(5) + 1, Owner: "ann", State: fmt.Sprint("S", random.IntN(3)),
				SortMs: 7, Tracked: id%40 == 0,
			}
			if random.IntN(30) == 0 {
				r.Owner, r.SortMs = "bob", 8
			}
			r.Body = []byte(fmt.Sprint(r.Version, r.Owner, r.State))
			batch = append(batch, r)
			if r.Version > want[r.ID].Version {
				if r.Tracked {
					changes[r.ID] = r.Version
				}
				r.Tracked = false
				want[r.ID] = r
			}
		}
		mustPut(t, s, batch...)
	}
	all := list(t, s, persistence.ListQuery{Kind: "order", Limit: ids + 1})
	if len(all) != len(want) {
		t.Errorf("%d rows, want %d", len(all), len(want))
	}
	for _, r := range all {
		sameRow(t, "row "+r.ID, r, want[r.ID])
	}
	for c, err := range s.Changes(testContext(t), "order", 0) {
		if err != nil {
			t.Fatalf("changes: %v", err)
		}
		if c.Version != changes[c.ID] {
			t.Errorf("change of %s: version %d, want %d", c.ID, c.Version, changes[c.ID])
		}
		delete(changes, c.ID)
	}
	if len(changes) > 0 {
		t.Errorf("not among the changes: %v", changes)
	}
}

// testPages: pages follow one another without a row twice or left out, also
// where many rows sort alike, and while rows are added in front.
func testPages(t *testing.T, h Harness) {
	const n = 157
	s := h.Open(t)
	random := seeded(t)
	var want []persistence.Row
	for i := range n {
		want = append(want, persistence.Row{
			Kind: "order", ID: fmt.Sprintf("id-%03d", i), Version: 1, Owner: []string{"ann", "bob"}[i%2], State: []string{"OPEN", "DONE", "GONE"}[i%3],
			SortMs: random.Int64N(4), Body: []byte{byte(i)},
		})
	}
	mustPut(t, s, want...)
	mustPut(t, s, persistence.Row{Kind: "product", ID: "id-000", Version: 1, Owner: "ann", State: "OPEN", SortMs: 2})
	slices.SortFunc(want, func(a, b persistence.Row) int {
		return cmp.Or(cmp.Compare(b.SortMs, a.SortMs), cmp.Compare(b.ID, a.ID))
	})
	added := 0
	for _, limit := range []int{1, 7, 50, n, 500} {
		for _, q := range []persistence.ListQuery{
			{},
			{Owner: "ann"},
			{State: "DONE"},
			{Owner: "bob", State: "OPEN"},
			{Owner: "nobody"},
		} {
			q.Kind, q.Limit = "order", limit
			var expected, got []persistence.Row
			for _, r := range want {
				if (q.Owner == "" || r.Owner == q.Owner) && (q.State == "" || r.State == q.State) {
					expected = append(expected, r)
				}
			}
			for {
				page := list(t, s, q)
				if len(page) > limit {
					t.Fatalf("%+v: %d rows", q, len(page))
				}
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				q.AfterSortMs, q.AfterID = page[limit-1].SortMs, page[limit-1].ID
				if limit == 50 {
					added++
					front := persistence.Row{Kind: "order", ID: fmt.Sprintf("new-%d", added), Version: 1, Owner: "ann", State: "NEW", SortMs: 10}
					mustPut(t, s, front)
					want = slices.Insert(want, 0, front)
					slices.SortFunc(want[:added], func(a, b persistence.Row) int { return cmp.Compare(b.ID, a.ID) })
				}
			}
			if diff := gocmp.Diff(expected, got, byBytes); diff != "" && len(expected)+len(got) > 0 {
				t.Fatalf("%+v (-want +got):\n%s", q, diff)
			}
		}
	}
}

// testFilters: a list has what fits all of its filters, as of each row's newest version.
func testFilters(t *testing.T, h Harness) {
	s := h.Open(t)
	mustPut(t, s,
		persistence.Row{Kind: "order", ID: "1", Version: 1, Owner: "ann", State: "OPEN", SortMs: 1},
		persistence.Row{Kind: "order", ID: "2", Version: 1, Owner: "ann", State: "DONE", SortMs: 2},
		persistence.Row{Kind: "order", ID: "3", Version: 1, Owner: "bob", State: "OPEN", SortMs: 3},
		persistence.Row{Kind: "order", ID: "4", Version: 1, Owner: "", State: "", SortMs: 4},
		persistence.Row{Kind: "order", ID: "5", Version: 1, Owner: "bob", State: "", SortMs: -5},
		persistence.Row{Kind: "product", ID: "6", Version: 1, State: "OPEN", SortMs: 6},
	)
	check := func(when string) {
		for _, c := range []struct {
			q    persistence.ListQuery
			want string
		}{
			{persistence.ListQuery{Kind: "order"}, "4 3 2 1 5"},
			{persistence.ListQuery{Kind: "order", Owner: "ann"}, "2 1"},
			{persistence.ListQuery{Kind: "order", Owner: "bob"}, "3 5"},
			{persistence.ListQuery{Kind: "order", State: "OPEN"}, "3 1"},
			{persistence.ListQuery{Kind: "order", Owner: "ann", State: "OPEN"}, "1"},
			{persistence.ListQuery{Kind: "order", Owner: "bob", State: "DONE"}, ""},
			{persistence.ListQuery{Kind: "product", State: "OPEN"}, "6"},
			{persistence.ListQuery{Kind: "none"}, ""},
		} {
			c.q.Limit = 100
			if got := ids(list(t, s, c.q)); got != c.want {
				t.Errorf("%s: %+v: %q, want %q", when, c.q, got, c.want)
			}
		}
	}
	check("first")
	// A row that changes its state moves from list to list.
	mustPut(t, s, persistence.Row{Kind: "order", ID: "1", Version: 2, Owner: "ann", State: "DONE", SortMs: 1})
	if got := ids(list(t, s, persistence.ListQuery{Kind: "order", Owner: "ann", State: "DONE", Limit: 9})); got != "2 1" {
		t.Errorf("after the change: %q, want %q", got, "2 1")
	}
	mustPut(t, s, persistence.Row{Kind: "order", ID: "1", Version: 3, Owner: "ann", State: "OPEN", SortMs: 1})
	check("after changing back")
}

// testDue: what has to be woken, earliest first.
func testDue(t *testing.T, h Harness) {
	s := h.Open(t)
	due := func(before int64, limit int) string {
		rows, err := s.DueRows(testContext(t), time.UnixMilli(before), limit)
		if err != nil {
			t.Fatalf("due rows: %v", err)
		}
		return ids(rows)
	}
	if got := due(1<<40, 10); got != "" {
		t.Errorf("due in an empty store: %q", got)
	}
	mustPut(t, s,
		persistence.Row{Kind: "sku", ID: "c", Version: 1, WakeAtMs: 300},
		persistence.Row{Kind: "order", ID: "a", Version: 1, WakeAtMs: 100, Body: []byte("body")},
		persistence.Row{Kind: "sku", ID: "never", Version: 1},
		persistence.Row{Kind: "order", ID: "b", Version: 1, WakeAtMs: 200},
		persistence.Row{Kind: "sku", ID: "negative", Version: 1, WakeAtMs: -1},
	)
	for _, c := range []struct {
		before int64
		limit  int
		want   string
	}{{99, 10, ""}, {100, 10, "a"}, {299, 10, "a b"}, {300, 10, "a b c"}, {1 << 50, 2, "a b"}, {1 << 50, 0, ""}, {0, 10, ""}, {-5, 10, ""}} {
		if got := due(c.before, c.limit); got != c.want {
			t.Errorf("due at %d, at most %d: %q, want %q", c.before, c.limit, got, c.want)
		}
	}
	mustPut(t, s,
		persistence.Row{Kind: "order", ID: "a", Version: 2},
		persistence.Row{Kind: "sku", ID: "c", Version: 2, WakeAtMs: 50},
		persistence.Row{Kind: "sku", ID: "never", Version: 2, WakeAtMs: 400},
	)
	if got := due(1000, 10); got != "c b never" {
		t.Errorf("after the changes: %q, want %q", got, "c b never")
	}
}

func testRowLimits(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := testContext(t)
	for _, c := range []struct {
		row  persistence.Row
		want error
	}{
		{persistence.Row{Kind: "sku", ID: "x", Version: 1, Body: make([]byte, persistence.MaxRecordBytes+1)}, entity.ErrTooLarge},
		{persistence.Row{Kind: "sku", ID: strings.Repeat("x", persistence.MaxStreamBytes), Version: 1}, entity.ErrTooLarge},
		{persistence.Row{Kind: "sku", ID: "x", Version: 1, Owner: strings.Repeat("x", persistence.MaxStreamBytes+1)}, entity.ErrTooLarge},
		{persistence.Row{Kind: "a/b", ID: "x", Version: 1}, persistence.ErrInvalid},
		{persistence.Row{Kind: "sku", ID: "x", Version: 1 << 63}, persistence.ErrInvalid},
		{persistence.Row{Kind: "sku", ID: "x", Version: 1, State: "\xff"}, persistence.ErrInvalid},
	} {
		expect(t, "an invalid row", s.PutRows(ctx, []persistence.Row{{Kind: "sku", ID: "good", Version: 1}, c.row}), c.want)
	}
	if got := list(t, s, persistence.ListQuery{Kind: "sku", Limit: 10}); len(got) != 0 {
		t.Errorf("rows of refused batches: %s", ids(got))
	}
	var rows []persistence.Row
	for i := range persistence.MaxListRows + 10 {
		rows = append(rows, persistence.Row{Kind: "sku", ID: fmt.Sprint(i), Version: 1, SortMs: int64(i)})
	}
	mustPut(t, s, rows...)
	for limit, want := range map[int]int{0: 0, -1: 0, 1: 1, persistence.MaxListRows: persistence.MaxListRows, 1 << 30: persistence.MaxListRows} {
		if got := list(t, s, persistence.ListQuery{Kind: "sku", Limit: limit}); len(got) != want {
			t.Errorf("limit %d: %d rows, want %d", limit, len(got), want)
		}
	}
}
