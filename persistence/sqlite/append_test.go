package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// TestFailedCommit: while the transaction is still open nothing was written;
// once SQLite has ended it, nobody knows.
func TestFailedCommit(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		commit func(s *Store) func() error
		want   error
	}{
		"transaction still open": {
			commit: func(*Store) func() error { return func() error { return broken } },
			want:   entity.ErrUnavailable,
		},
		"rolled back by SQLite": {
			commit: func(s *Store) func() error {
				return func() error {
					_, err := s.journal.exec("ROLLBACK")
					return errors.Join(broken, err)
				}
			},
			want: entity.ErrUnknownOutcome,
		},
		"written all the same": {
			commit: func(s *Store) func() error {
				return func() error {
					_, err := s.journal.exec("COMMIT")
					return errors.Join(broken, err)
				}
			},
			want: entity.ErrUnknownOutcome,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openForTest(t, dir, mergeEvery, streamHash)
			durable := sealedRecord("a", 1, 1)
			if err := s.Append(t.Context(), []*entity.Record{durable})[0]; err != nil {
				t.Fatal(err)
			}
			commit := s.commit
			s.commit = c.commit(s)
			other := sealedRecord("a", 1, 2)
			batch := []*entity.Record{sealedRecord("b", 1, 3), durable, other, sealedRecord("c", 1, 4)}
			errs := s.Append(t.Context(), batch)
			s.commit = commit
			for i, want := range []error{c.want, nil, entity.ErrFenced, c.want} {
				if want == nil && errs[i] != nil || want != nil && !errors.Is(errs[i], want) {
					t.Errorf("record %d: %v, want %v", i, errs[i], want)
				}
			}
			if name == "written all the same" {
				// What SQLite calls a failure and a crash then brings back.
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openForTest(t, dir, mergeEvery, streamHash)
			}
			for range 2 {
				errs = s.Append(t.Context(), []*entity.Record{batch[0], batch[3]})
				if err := errors.Join(errs...); err != nil {
					t.Errorf("appended again: %v", err)
				}
			}
			intact(t, s, []*entity.Record{durable, batch[0], batch[3]})
		})
	}
}

// TestContextEndsDuringCommit: Append returns, the transaction goes on.
func TestContextEndsDuringCommit(t *testing.T) {
	s := openForTest(t, t.TempDir(), mergeEvery, streamHash)
	commit, proceed, begun := s.commit, make(chan struct{}), make(chan struct{})
	s.commit = func() error {
		close(begun)
		<-proceed
		s.commit = commit
		return commit()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	r := sealedRecord("x", 1, 1)
	if err := s.Append(ctx, []*entity.Record{r})[0]; !errors.Is(err, entity.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("while it is being committed: %v", err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Append(waiting, []*entity.Record{sealedRecord("y", 1, 2)})[0]; !errors.Is(err, entity.ErrUnavailable) {
		t.Errorf("one that waits behind it: %v", err)
	}
	close(proceed)
	if err := s.Append(t.Context(), []*entity.Record{sealedRecord("y", 1, 2)})[0]; err != nil {
		t.Errorf("one after it: %v", err)
	}
	intact(t, s, []*entity.Record{r})
}

// TestFailedStore: after a failed sync nothing more is taken.
func TestFailedStore(t *testing.T) {
	s := openForTest(t, t.TempDir(), mergeEvery, streamHash)
	s.fail(errors.New("fsync: input/output error"))
	err := s.Append(t.Context(), []*entity.Record{sealedRecord("x", 1, 1)})[0]
	if !errors.Is(err, entity.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping")
	}
}

// TestMergeThatFails: selling goes on while index.db cannot be written, up to a
// bound, and all is well when it can be again.
func TestMergeThatFails(t *testing.T) {
	const every = 10
	s := openForTest(t, t.TempDir(), every, streamHash)
	if err := s.merger.conn.script("CREATE TRIGGER full BEFORE UPDATE ON indexed BEGIN SELECT RAISE(ABORT, 'disk full'); END"); err != nil {
		t.Fatal(err)
	}
	var all []*entity.Record
	var err error
	for position := uint64(1); position < 20*every; position++ {
		r := sealedRecord("hot", position, position)
		if err = s.Append(t.Context(), []*entity.Record{r})[0]; err != nil {
			break
		}
		all = append(all, r)
	}
	if !errors.Is(err, entity.ErrUnavailable) {
		t.Errorf("when too much waits to be merged: %v", err)
	}
	if len(all) < maxGenerations*every || len(all) > (maxGenerations+2)*every {
		t.Errorf("%d records were taken without a merge", len(all))
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping while index.db cannot be written")
	}
	heal(t, s)
	for s.merger.lastError() != nil {
		select {
		case <-s.merger.progress:
		case <-time.After(time.Minute):
			t.Fatal("no merge was tried again")
		}
	}
	next := sealedRecord("hot", uint64(len(all)+1), uint64(len(all)+1))
	if err := s.Append(t.Context(), []*entity.Record{next})[0]; err != nil {
		t.Fatalf("after index.db was healed: %v", err)
	}
	all = append(all, next)
	intact(t, s, all)
	if errs := s.Append(t.Context(), []*entity.Record{{Kind: "sku", ID: "x"}}); !errors.Is(errs[0], persistence.ErrInvalid) {
		t.Errorf("an invalid record: %v", errs[0])
	}
}

func heal(t *testing.T, s *Store) {
	t.Helper()
	c, err := dial(filepath.Join(s.dir, indexFile))
	if err == nil {
		err = errors.Join(c.script("DROP TRIGGER full"), c.close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
