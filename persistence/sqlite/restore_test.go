package sqlite

// What a journal.db that is older than the files beside it does to them.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stampede/actors/entity"
	"stampede/persistence"
)

// TestJournalPutBackWithinAnIncarnation: a copy of journal.db that was taken
// while its process ran. The incarnations do not tell that cache.db is newer.
func TestJournalPutBackWithinAnIncarnation(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir, 5, streamHash)
	if _, err := s.OpenEpoch(t.Context(), "only"); err != nil {
		t.Fatal(err)
	}
	early := fill(t, s, 3, 20)
	before := filepath.Join(dir, "before")
	if err := s.journal.script("VACUUM INTO '" + before + "'"); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3, 60)
	snap := &entity.Snapshot{Kind: "sku", ID: "s1", Seq: 60, Version: 60}
	snap.Checksum = snap.Sum()
	err := errors.Join(
		s.SaveSnapshot(t.Context(), snap),
		s.SaveWatermark(t.Context(), "views", 1, 180),
		s.PutRows(t.Context(), []persistence.Row{{Kind: "sku", ID: "s1", Version: 60}}),
		s.Close())
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, before, filepath.Join(dir, journalFile))
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
	if rows, err := s.GetRows(t.Context(), "sku", []string{"s1"}); err != nil || len(rows) != 0 {
		t.Errorf("rows of what never was: %v, %v", rows, err)
	}
}

// TestFilesOfAnotherHistory: a journal was put back and went on; then come the
// files of the history that was given up, with numbers that would fit.
func TestFilesOfAnotherHistory(t *testing.T) {
	for _, lost := range []string{"", indexFile} {
		t.Run("lost when put back: "+lost, func(t *testing.T) {
			dir, kept := t.TempDir(), t.TempDir()
			s := openForTest(t, dir, 5, streamHash)
			all := fill(t, s, 3, 20)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join(dir, journalFile), filepath.Join(kept, journalFile))
			s = openForTest(t, dir, 5, streamHash)
			fill(t, s, 3, 40)
			if err := errors.Join(s.SaveWatermark(t.Context(), "views", 1, 150), s.Close()); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{indexFile, cacheFile} {
				copyFile(t, filepath.Join(dir, name), filepath.Join(kept, name))
			}
			copyFile(t, filepath.Join(kept, journalFile), filepath.Join(dir, journalFile))
			if lost != "" {
				if err := removeDatabase(filepath.Join(dir, lost)); err != nil {
					t.Fatal(err)
				}
			}
			s = openForTest(t, dir, 5, streamHash)
			for i := range uint64(30) {
				all = append(all, sealedRecord(fmt.Sprint("other", i), 1, 61+i))
				if err := s.Append(t.Context(), all[len(all)-1:])[0]; err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{indexFile, cacheFile} {
				copyFile(t, filepath.Join(kept, name), filepath.Join(dir, name))
			}
			s = openForTest(t, dir, 5, streamHash)
			if got := s.Repaired(); !slices.Equal(got, []string{indexFile, cacheFile}) {
				t.Errorf("repaired %v", got)
			}
			intact(t, s, all)
			if marks, err := s.Watermarks(t.Context(), "views"); err != nil || len(marks) != 0 {
				t.Errorf("watermarks of another history: %v, %v", marks, err)
			}
		})
	}
}

// TestCacheStaysWithItsJournal: what belongs together is kept.
func TestCacheStaysWithItsJournal(t *testing.T) {
	dir := t.TempDir()
	for round := range uint64(3) {
		s := openForTest(t, dir, 5, streamHash)
		if len(s.Repaired()) != 0 {
			t.Errorf("round %d: repaired %v", round, s.Repaired())
		}
		errs := s.Append(t.Context(), []*entity.Record{sealedRecord("x", round+1, round+1)})
		if err := errors.Join(errs[0], s.SaveWatermark(t.Context(), "views", 1, round+1)); err != nil {
			t.Fatal(err)
		}
		marks, err := s.Watermarks(t.Context(), "views")
		if err != nil || marks[1] != round+1 {
			t.Errorf("round %d: watermarks %v, %v", round, marks, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogIsBoundedWithoutRecords: what is not a record is written to the log, too.
func TestLogIsBoundedWhileIdle(t *testing.T) {
	dir := t.TempDir()
	s := openForTest(t, dir, mergeEvery, streamHash)
	value := make([]byte, 32<<10)
	for i := range 1500 {
		if _, err := s.Setting(t.Context(), fmt.Sprint(i), value); err != nil {
			t.Fatal(err)
		}
	}
	log, err := fileSize(filepath.Join(dir, journalFile+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if log > 4*checkpointBytes {
		t.Errorf("the log has %d MiB after 47 MiB of settings", log>>20)
	}
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// TestDirectoriesAreSynced: each new directory is an entry of the one above it.
func TestDirectoriesAreSynced(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "data")
	want := []string{filepath.Join(top, "a", "b"), filepath.Join(top, "a"), top}
	if got := parentsToSync(dir); !slices.Equal(got, want) {
		t.Errorf("for a new directory %v, want %v", got, want)
	}
	if err := makeDir(dir); err != nil {
		t.Fatal(err)
	}
	if got := parentsToSync(dir); !slices.Equal(got, want[:1]) {
		t.Errorf("for one that is there %v, want %v", got, want[:1])
	}
}

// TestNotInItsMode: a file system may refuse the write-ahead log, and SQLite
// goes on without it and without an error; then a commit is not durable when it
// returns, because nobody syncs the directory that its rollback journal leaves.
func TestNotInItsMode(t *testing.T) {
	c, err := dial(filepath.Join(t.TempDir(), journalFile), "journal_mode=DELETE", "synchronous=FULL")
	if err != nil {
		t.Fatal(err)
	}
	if err := expectDurable(c); !errors.Is(err, persistence.ErrUnsafe) {
		t.Errorf("without a write-ahead log: %v", err)
	}
	if err := errors.Join(c.script("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"), expectDurable(c)); !errors.Is(err, persistence.ErrUnsafe) {
		t.Errorf("without a sync: %v", err)
	}
	if err := errors.Join(c.script("PRAGMA synchronous=FULL"), expectDurable(c), c.close()); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}
