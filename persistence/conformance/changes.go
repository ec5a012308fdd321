package conformance

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"stampede/persistence"
)

func changesSince(t *testing.T, s persistence.Store, kind string, mark uint64) (versions map[string]uint64, last uint64) {
	t.Helper()
	versions, last = make(map[string]uint64), mark
	before := uint64(0)
	for c, err := range s.Changes(testContext(t), kind, mark) {
		expect(t, "changes", err, nil)
		if c.Mark < before {
			t.Fatalf("mark %d comes after mark %d", c.Mark, before)
		}
		before = c.Mark
		versions[c.ID], last = c.Version, max(last, c.Mark)
	}
	return versions, last
}

// testChanges: what is put is a change, in order, with its newest version;
// what was refused, or is not tracked, is none.
func testChanges(t *testing.T, h Harness) {
	s := h.Open(t)
	mark, err := s.LastChange(testContext(t), "product")
	expect(t, "last change", err, nil)
	if got, _ := changesSince(t, s, "product", 0); len(got) != 0 || mark != 0 {
		t.Errorf("changes of nothing: %v, %d", got, mark)
	}
	tracked := func(id string, version uint64) persistence.Row {
		return persistence.Row{Kind: "product", ID: id, Version: version, SortMs: 1, State: "published", Body: []byte(id), Tracked: true}
	}
	mustPut(t, s, tracked("a", 3), tracked("b", 1), persistence.Row{Kind: "product", ID: "quiet", Version: 1}, persistence.Row{Kind: "sku", ID: "other", Version: 9, Tracked: true})
	mustPut(t, s, tracked("a", 2), tracked("c", 1))
	got, mark := changesSince(t, s, "product", 0)
	if fmt.Sprint(got) != "map[a:3 b:1 c:1]" {
		t.Errorf("changes: %v", got)
	}
	if last, err := s.LastChange(testContext(t), "product"); err != nil || last != mark {
		t.Errorf("the last change is %d, %v, want %d", last, err, mark)
	}
	mustPut(t, s, tracked("b", 4))
	if got, _ = changesSince(t, s, "product", mark); got["b"] != 4 {
		t.Errorf("since the mark: %v", got)
	}
	if got, _ = changesSince(t, s, "product", 0); fmt.Sprint(got) != "map[a:3 b:4 c:1]" {
		t.Errorf("all changes: %v", got)
	}
	for _, err := range s.Changes(testContext(t), "product", 0) {
		expect(t, "changes", err, nil)
		break // a reader that loses interest leaves nothing behind
	}
	rows, err := s.GetRows(testContext(t), "product", []string{"a"})
	expect(t, "get rows", err, nil)
	want := tracked("a", 3)
	want.Tracked = false
	sameRow(t, "a tracked row", rows["a"], want)
	if got := ids(list(t, s, persistence.ListQuery{Kind: "product", State: "published", Limit: 9})); got != "c b a" {
		t.Errorf("tracked rows in a list: %q", got)
	}
	// More than drivers read at once.
	var many []persistence.Row
	for i := range 2_100 {
		many = append(many, tracked(fmt.Sprintf("many-%d", i), 1))
	}
	for len(many) > 0 {
		n := min(1000, len(many))
		mustPut(t, s, many[:n]...)
		many = many[n:]
	}
	if got, _ := changesSince(t, s, "product", 0); len(got) != 2_103 {
		t.Errorf("%d changes of 2103 rows", len(got))
	}
}

// testChangesRace: who follows the marks while many write sees every row's last version.
func testChangesRace(t *testing.T, h Harness) {
	const writers, rowsEach, versions = 4, 5, 40
	s := h.Open(t)
	var group sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for v := uint64(1); v <= versions; v++ {
				var rows []persistence.Row
				for i := range rowsEach {
					if v == versions || random.IntN(2) == 0 {
						rows = append(rows, persistence.Row{Kind: "product", ID: fmt.Sprintf("%d-%d", w, i), Version: v, Tracked: true})
					}
				}
				if err := s.PutRows(testContext(t), rows); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	seen, mark := make(map[string]uint64), uint64(0)
	for over := false; !over; {
		select {
		case <-done:
			over = true // and one look more
		default:
		}
		var got map[string]uint64
		got, mark = changesSince(t, s, "product", mark)
		for id, v := range got {
			seen[id] = max(seen[id], v)
		}
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	for w := range writers {
		for i := range rowsEach {
			if id := fmt.Sprintf("%d-%d", w, i); seen[id] != versions {
				t.Errorf("row %s was seen at version %d, is at %d", id, seen[id], versions)
			}
		}
	}
}
