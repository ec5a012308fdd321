// Package sqlite keeps everything in SQLite files in one directory: the
// embedded default, for one process at a time. It implements persistence.Store.
//
// Append commits to an append-only table and remembers in memory where each
// stream's newest records are; index.db is brought up to date behind it. Why:
// docs/decisions/0010.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"

	"stampede/actors/entity"
	"stampede/persistence"
)

// readers is how many reads of one file run at the same time.
const readers = 4

// mergeEvery is after how many records index.db is brought up to date.
const mergeEvery = 32 << 10

// Store is a data directory that this process has open. It owns the lock, all
// connections and three goroutines (the merger of index.db, the checkpointer of
// journal.db and the writer of cache.db), which end with Close.
type Store struct {
	dir  string
	lock *flock.Flock

	// writer is the token of whoever may write to journal.db; what follows is its.
	writer  chan struct{}
	journal *conn
	// lookup reads index.db for the fence.
	lookup  *conn
	appends appends
	// hash is streamHash; tests make streams collide.
	hash func(kind, id string) int64
	// commit ends a transaction of Append; tests make it fail.
	commit func() error

	tail         *tail
	known        *known
	merger       *merger
	checkpointer *checkpointer
	cache        *cache

	records *pool
	index   *pool
	views   *pool

	// repaired names the files that were made anew when the directory was opened.
	repaired []string
	// committed is the newest transaction of Append that journal.db has.
	committed atomic.Int64
	// failed is why no more writes are taken, once the files can no longer be trusted.
	failed atomic.Pointer[error]
	closed chan struct{}
	once   sync.Once
}

var _ persistence.Store = (*Store)(nil)

// Open opens the data directory, creating it if needed. It wraps
// persistence.ErrInUse when another process has it.
func Open(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, mergeEvery, streamHash)
}

func open(ctx context.Context, dir string, mergeEvery int, hash func(kind, id string) int64) (_ *Store, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// A commit waits for the data, not for the file's timestamps. The switch is
	// one for the process; where there is none, fsync it is.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("data directory %s: lock: %w", dir, err)
	}
	if !got {
		return nil, fmt.Errorf("%s: %w", dir, persistence.ErrInUse)
	}

	s := &Store{dir: dir, lock: lock, hash: hash, writer: make(chan struct{}, 1), closed: make(chan struct{})}
	s.records = newPool(filepath.Join(dir, journalFile), readers, s.closed)
	s.index = newPool(filepath.Join(dir, indexFile), readers, s.closed)
	s.views = newPool(filepath.Join(dir, cacheFile), readers, s.closed)
	defer func() {
		if err != nil {
			err = fmt.Errorf("data directory %s: %w", dir, err)
			err = errors.Join(err, s.closeFiles())
		}
	}()
	if err := s.openFiles(mergeEvery); err != nil {
		return nil, err
	}
	s.writer <- struct{}{}
	s.known.learning.Go(s.learn)
	s.merger.start()
	s.checkpointer.start()
	s.cache.start()
	return s, nil
}

// openFiles opens the three files and makes sure that they belong together.
func (s *Store) openFiles(mergeEvery int) (err error) {
	s.journal, err = dial(filepath.Join(s.dir, journalFile), "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-8192")
	if err != nil {
		return err
	}
	if err := expectDurable(s.journal); err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	s.commit = func() error { _, err := s.journal.exec("COMMIT"); return err }
	if err := migrate(s.journal, journalFile, journalSchema); err != nil {
		return err
	}
	identity, err := s.identity()
	if err != nil {
		return err
	}
	s.tail, s.known = newTail(mergeEvery), newKnown()
	if s.merger, err = openMerger(s, identity); err != nil {
		return err
	}
	if identity, err = s.identity(); err != nil { // opening the index may have changed it
		return err
	}
	if s.lookup, err = dial(filepath.Join(s.dir, indexFile), "query_only=1", "cache_size=-8192"); err != nil {
		return err
	}
	if s.checkpointer, err = openCheckpointer(s); err != nil {
		return err
	}
	s.cache, err = openCache(s, identity)
	return err
}

// Repaired names the files that Open found missing, foreign or damaged and made
// anew from the journal: worth a line in the log.
func (s *Store) Repaired() []string { return s.repaired }

// identity is drawn once for a journal, so that files of another one are told apart.
func (s *Store) identity() (id []byte, err error) {
	fresh := make([]byte, 16)
	rand.Read(fresh) // never fails
	_, err = s.journal.exec("INSERT INTO identity (one, id) VALUES (1, ?) ON CONFLICT DO NOTHING", fresh)
	if err == nil {
		err = s.journal.query("SELECT id FROM identity", func(row []driver.Value) bool { id = blob(row[0]); return false })
	}
	return id, err
}

// fork gives the journal another identity: it was put back, so from here on its
// history is another one, and the numbers in files of the first would fit by
// chance only.
func (s *Store) fork() (id []byte, err error) {
	if _, err := s.journal.exec("DELETE FROM identity"); err != nil {
		return nil, err
	}
	return s.identity()
}

// Close waits for the writes that were begun, and closes the files.
func (s *Store) Close() error {
	err := persistence.ErrClosed
	s.once.Do(func() {
		close(s.closed)
		<-s.writer // kept: nobody writes any more
		s.cache.stop()
		s.checkpointer.stop()
		s.merger.stop()
		s.known.learning.Wait()
		err = s.closeFiles()
	})
	if errors.Is(err, persistence.ErrClosed) {
		return nil
	}
	return err
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, p := range []*pool{s.records, s.index, s.views} {
		errs = append(errs, p.close())
	}
	if s.merger != nil {
		errs = append(errs, s.merger.conn.close())
	}
	if s.checkpointer != nil {
		errs = append(errs, s.checkpointer.conn.close())
	}
	if s.cache != nil {
		errs = append(errs, s.cache.conn.close())
	}
	for _, c := range []*conn{s.lookup, s.journal} {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// Ping commits something, synced like a record.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := s.merger.lastError(); err != nil {
		return fmt.Errorf("%s cannot be brought up to date: %w", indexFile, err)
	}
	_, err := s.journal.exec("INSERT INTO pings (one, at) VALUES (1, unixepoch()) ON CONFLICT DO UPDATE SET at = excluded.at")
	s.wroteBeside(0, err)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", journalFile, entity.ErrUnavailable, err)
	}
	return nil
}

// wroteBeside deals with the end of a write to journal.db that is no Append: it
// makes the log longer too, and a failed sync means the same.
func (s *Store) wroteBeside(bytes int, err error) {
	s.checkpointer.wrote(int64(bytes))
	s.failIfUnsynced(err)
}

// acquire makes the caller the one writer of journal.db.
func (s *Store) acquire(ctx context.Context) error {
	select {
	case <-s.closed:
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, err)
	}
	select {
	case <-s.writer:
	case <-s.closed:
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, ctx.Err())
	}
	if failed := s.failed.Load(); failed != nil {
		s.release()
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, *failed)
	}
	return nil
}

func (s *Store) release() { s.writer <- struct{}{} }

// fail stops all further writes: what is on the disk may no longer be what
// SQLite believes it to be, and only opening the files again shows the truth.
func (s *Store) fail(err error) {
	err = fmt.Errorf("data directory %s takes no more writes until it is opened again: %w", s.dir, err)
	s.failed.CompareAndSwap(nil, &err)
}

// makeDir makes the directory and those above it, and syncs what each is in, so
// that it is there after a power failure.
func makeDir(dir string) error {
	parents := parentsToSync(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		f, err := os.Open(parent)
		if err != nil {
			return err
		}
		// Some file systems cannot sync a directory; then there is nothing more to do.
		syncErr := f.Sync()
		_ = syncErr
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// parentsToSync lists what dir is in, and what each directory above it is in
// that does not exist yet.
func parentsToSync(dir string) (parents []string) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		parents = append(parents, filepath.Dir(at))
		if _, err := os.Stat(filepath.Dir(at)); !errors.Is(err, os.ErrNotExist) {
			return parents
		}
	}
}

// one runs a query for a single number.
func (c *conn) one(sql string, args ...driver.Value) (n int64, found bool, err error) {
	err = c.query(sql, func(row []driver.Value) bool {
		n, found = number(row[0]), row[0] != nil
		return false
	}, args...)
	return n, found, err
}
