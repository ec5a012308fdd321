package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stampede/actors/entity"
	"stampede/persistence"
)

func sealedRecord(id string, seq, position uint64) *entity.Record {
	r := &entity.Record{Kind: "sku", ID: id, Seq: seq, Epoch: 1, Position: position, Events: fmt.Appendf(nil, "%s %d", id, seq)}
	r.Checksum = r.Sum()
	return r
}

// fill appends n records to each of some streams, in batches of ten.
func fill(t *testing.T, s *Store, streams, n int) (all []*entity.Record) {
	t.Helper()
	for seq := range n {
		for i := range streams {
			all = append(all, sealedRecord(fmt.Sprint("s", i), uint64(seq+1), uint64(len(all)+1)))
		}
	}
	for batch := range slices.Chunk(all, 10) {
		if err := errors.Join(s.Append(t.Context(), batch)...); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// intact fails unless every record is there and fences.
func intact(t *testing.T, s *Store, all []*entity.Record) {
	t.Helper()
	streams := make(map[string]uint64)
	for _, r := range all {
		streams[r.Stream()] = max(streams[r.Stream()], r.Seq)
	}
	for stream, last := range streams {
		next := uint64(1)
		for r, err := range s.ReadStream(t.Context(), stream, 0) {
			if err != nil || r.Seq != next || r.Verify() != nil {
				t.Fatalf("%s: record %d: %v, %v", stream, next, r, err)
			}
			next++
		}
		if next != last+1 {
			t.Fatalf("%s ends before record %d, want %d", stream, next, last+1)
		}
	}
	for i, r := range all {
		stale := *r
		stale.Epoch, stale.Position = 2, uint64(i+1)
		stale.Checksum = stale.Sum()
		errs := s.Append(t.Context(), []*entity.Record{r, &stale})
		if errs[0] != nil || !errors.Is(errs[1], entity.ErrFenced) {
			t.Fatalf("record %d of %s: again %v, by another activation %v", r.Seq, r.Stream(), errs[0], errs[1])
		}
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	openForTest(t, dir, mergeEvery, streamHash)
	_, err := Open(t.Context(), dir)
	if !errors.Is(err, persistence.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice by one process: %v", err)
	}

	c := &crash{t: t, dir: t.TempDir()}
	c.start()
	t.Cleanup(c.Kill)
	if errs := c.Append(t.Context(), []*entity.Record{sealedRecord("x", 1, 1)}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	_, err = Open(t.Context(), c.dir)
	if !errors.Is(err, persistence.ErrInUse) || !strings.Contains(err.Error(), c.dir) {
		t.Errorf("opened by another process: %v", err)
	}
	c.Kill()
	s := openForTest(t, c.dir, mergeEvery, streamHash)
	intact(t, s, []*entity.Record{sealedRecord("x", 1, 1)})
}

func TestDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), file); err == nil {
		t.Error("a file is opened as a directory")
	}
	foreign := t.TempDir()
	c, err := dial(filepath.Join(foreign, journalFile))
	if err == nil {
		err = errors.Join(c.script("CREATE TABLE theirs (x)"), c.close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), foreign); err == nil || !strings.Contains(err.Error(), "not a file of this program") {
		t.Errorf("somebody else's database: %v", err)
	}
	newer := t.TempDir()
	if err := openForTest(t, newer, mergeEvery, streamHash).Close(); err != nil {
		t.Fatal(err)
	}
	c, err = dial(filepath.Join(newer, journalFile))
	if err == nil {
		err = errors.Join(c.script(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion+1)), c.close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), newer); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a newer version's database: %v", err)
	}
	odd := filepath.Join(t.TempDir(), "a b?c%d#e'f")
	intact(t, openForTest(t, odd, mergeEvery, streamHash), nil)
	if _, err := os.Stat(filepath.Join(odd, journalFile)); err != nil {
		t.Errorf("a directory with an odd name: %v", err)
	}
}

// TestDurability: what is acknowledged was synced.
func TestDurability(t *testing.T) {
	s := openForTest(t, t.TempDir(), mergeEvery, streamHash)
	for name, c := range map[string]*conn{journalFile: s.journal, indexFile: s.merger.conn} {
		if n, _, err := c.one("PRAGMA synchronous"); err != nil || n != 2 {
			t.Errorf("%s: synchronous is %d, want FULL: %v", name, n, err)
		}
	}
}

// TestIndexIsMadeAnew: index.db follows from the journal, whatever became of it.
func TestIndexIsMadeAnew(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"untouched": func(*testing.T, string) {},
		"deleted": func(t *testing.T, dir string) {
			if err := removeDatabase(filepath.Join(dir, indexFile)); err != nil {
				t.Fatal(err)
			}
		},
		"overwritten": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, indexFile), []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"of another journal": func(t *testing.T, dir string) {
			other := t.TempDir()
			s := openForTest(t, other, 5, streamHash)
			fill(t, s, 3, 40)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join(other, indexFile), filepath.Join(dir, indexFile))
		},
		"put back from before": func(t *testing.T, dir string) {
			copyFile(t, filepath.Join(dir, "before"), filepath.Join(dir, indexFile))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openForTest(t, dir, 5, streamHash)
			fill(t, s, 7, 3)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join(dir, indexFile), filepath.Join(dir, "before"))
			s = openForTest(t, dir, 5, streamHash)
			all := fill(t, s, 7, 300)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir)
			s = openForTest(t, dir, 5, streamHash)
			if repaired := slices.Contains(s.Repaired(), indexFile); repaired != (name != "untouched") {
				t.Errorf("repaired: %v", s.Repaired())
			}
			intact(t, s, all)
		})
	}
}

// TestJournalPutBack: a journal that is older than the files beside it.
func TestJournalPutBack(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir, 5, streamHash)
	if _, err := s.OpenEpoch(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	early := fill(t, s, 3, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(dir, journalFile), filepath.Join(dir, "before"))
	s = openForTest(t, dir, 5, streamHash)
	if _, err := s.OpenEpoch(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	snap := &entity.Snapshot{Kind: "sku", ID: "s1", Seq: 60, Version: 60}
	snap.Checksum = snap.Sum()
	fill(t, s, 3, 60)
	if err := errors.Join(s.SaveSnapshot(t.Context(), snap), s.SaveWatermark(t.Context(), "views", 1, 180), s.Close()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(dir, "before"), filepath.Join(dir, journalFile))
	s = openForTest(t, dir, 5, streamHash)
	if got := s.Repaired(); !slices.Equal(got, []string{indexFile, cacheFile}) {
		t.Errorf("repaired %v", got)
	}
	intact(t, s, early)
	if snap, err := s.LoadSnapshot(t.Context(), "sku/s1"); err != nil || snap != nil {
		t.Errorf("a snapshot of what never was: %v, %v", snap, err)
	}
	if marks, err := s.Watermarks(t.Context(), "views"); err != nil || len(marks) != 0 {
		t.Errorf("watermarks of what never was: %v, %v", marks, err)
	}
}

func TestCacheIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir, mergeEvery, streamHash)
	all := fill(t, s, 2, 10)
	if err := errors.Join(s.PutRows(t.Context(), []persistence.Row{{Kind: "sku", ID: "x", Version: 1}}), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, cacheFile), []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openForTest(t, dir, mergeEvery, streamHash)
	if got := s.Repaired(); !slices.Equal(got, []string{cacheFile}) {
		t.Errorf("repaired %v", got)
	}
	intact(t, s, all)
	if rows, err := s.GetRows(t.Context(), "sku", []string{"x"}); err != nil || len(rows) != 0 {
		t.Errorf("rows: %v, %v", rows, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBoundedFiles: the write-ahead log starts over, and what the table appends
// keeps for index.db goes once index.db has it.
func TestBoundedFiles(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir, 200, streamHash)
	payload := make([]byte, 64<<10)
	for position := uint64(1); position <= 1500; position++ {
		r := &entity.Record{Kind: "sku", ID: fmt.Sprint(position % 50), Seq: (position-1)/50 + 1, Epoch: 1, Position: position, Events: payload}
		r.Checksum = r.Sum()
		if err := s.Append(t.Context(), []*entity.Record{r})[0]; err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Stat(filepath.Join(dir, journalFile+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if log.Size() > 6*checkpointBytes {
		t.Errorf("the log has %d MiB after 94 MiB of records", log.Size()>>20)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openForTest(t, dir, 200, streamHash)
	var rows int64
	err = s.records.use(t.Context(), func(c *conn) (err error) {
		rows, _, err = c.one("SELECT count(*) FROM appends")
		return err
	})
	if err != nil || rows > 3*200+maxTrim {
		t.Errorf("the table appends has %d rows: %v", rows, err)
	}
}

// TestPlans: no list is sorted in memory or found by a scan.
func TestPlans(t *testing.T) {
	s := openForTest(t, t.TempDir(), mergeEvery, streamHash)
	type query struct {
		sql   string
		args  []driver.Value
		index string
	}
	queries := []query{{dueRows, []driver.Value{int64(1), int64(1)}, "views_due"}}
	for _, owner := range []string{"", "ann"} {
		for _, state := range []string{"", "OPEN"} {
			for _, after := range []string{"", "id"} {
				sql, args := listSQL(persistence.ListQuery{Kind: "order", Owner: owner, State: state, AfterID: after, Limit: 3})
				index := "views_all (kind=?"
				if state != "" {
					index = "views_state (kind=? AND state=?"
				}
				if owner != "" {
					index = "views_owner (kind=? AND owner=?"
				}
				queries = append(queries, query{sql, args, index})
			}
		}
	}
	for _, q := range queries {
		var plan []string
		err := s.views.use(context.Background(), func(c *conn) error {
			return c.query("EXPLAIN QUERY PLAN "+q.sql, func(row []driver.Value) bool {
				plan = append(plan, text(row[3]))
				return true
			}, q.args...)
		})
		if err != nil || len(plan) != 1 || !strings.HasPrefix(plan[0], "SEARCH views USING INDEX "+q.index) {
			t.Errorf("%s: %v, %v", q.sql, plan, err)
		}
	}
}
