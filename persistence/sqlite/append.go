package sqlite

// Appending: one transaction for a batch, one result for each record.

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"stampede/actors/entity"
	"stampede/persistence"
)

const (
	recordColumns = 8
	// maxInsertRows and maxInsertBytes bound one INSERT statement.
	maxInsertRows  = 64
	maxInsertBytes = 1 << 20
	// maxTrim is how many rows of the table appends one transaction deletes.
	maxTrim = 64
)

// appends is what the journal's writer keeps from one batch to the next. All
// of it belongs to whoever holds the writer's token.
type appends struct {
	// next numbers the transactions; the rows of the table appends below
	// trimmed are gone already.
	next, trimmed int64
	// highest is, for each hash in the batch, the highest seq committed before it.
	highest map[int64]int64
	unknown []int64
	args    []driver.Value
	places  []place
	ids     []byte
	inserts [maxInsertRows + 1]string
}

// entry is one record of a batch on its way through Append.
type entry struct {
	*entity.Record
	hash int64
	// index is the record's place in the batch.
	index int
}

func (e entry) recordID() int64 { return recordID(e.Epoch, e.Position) }

// Append implements persistence.Journal. A transaction that has begun is not
// interrupted when ctx ends: Append then returns entity.ErrUnknownOutcome, and
// the transaction, bounded by the batch and the disk, goes on to its end. Close
// waits for it.
func (s *Store) Append(ctx context.Context, records []*entity.Record) []error {
	errs := make([]error, len(records))
	batch := make([]entry, 0, len(records))
	for i, r := range records {
		if errs[i] = persistence.CheckRecord(r); errs[i] == nil {
			batch = append(batch, entry{Record: r, hash: s.hash(r.Kind, r.ID), index: i})
		}
	}
	if len(batch) == 0 {
		return errs
	}
	if err := s.acquire(ctx); err != nil {
		return refuse(batch, errs, err)
	}
	if err := s.awaitMerge(ctx); err != nil {
		s.release()
		return refuse(batch, errs, err)
	}
	if ctx.Done() == nil {
		defer s.release()
		s.append(batch, errs)
		return errs
	}
	done := make(chan []error, 1)
	go func(errs []error) {
		defer s.release()
		s.append(batch, errs)
		done <- errs
	}(slices.Clone(errs))
	select {
	case errs := <-done:
		return errs
	case <-ctx.Done():
		return refuse(batch, errs, fmt.Errorf("%w: %w", entity.ErrUnknownOutcome, ctx.Err()))
	}
}

// append sets the result of each record of the batch. The caller holds the
// writer's token.
func (s *Store) append(batch []entry, errs []error) {
	if err := s.lookUp(batch); err != nil {
		refuse(batch, errs, fmt.Errorf("%w: %w", entity.ErrUnavailable, err))
		return
	}
	fresh, repeats := s.judge(batch, errs)
	err := s.write(fresh)
	if errors.Is(err, persistence.ErrPositionTaken) {
		if fresh, err = s.dropTaken(fresh, errs); err == nil {
			err = s.write(fresh)
		}
	}
	if err != nil {
		refuse(fresh, errs, err)
	}
	for again, first := range repeats {
		errs[again] = errs[first]
	}
}

// refuse gives all of the records the same error.
func refuse(batch []entry, errs []error, err error) []error {
	for _, e := range batch {
		errs[e.index] = fmt.Errorf("append record %d of %s: %w", e.Seq, e.Stream(), err)
	}
	return errs
}

// write commits new records. It wraps persistence.ErrPositionTaken, having
// written nothing, when one of them has an epoch and position that exist.
func (s *Store) write(fresh []entry) error {
	if len(fresh) == 0 {
		return nil
	}
	a := &s.appends
	if err := s.writeUncommitted(fresh); err != nil {
		return s.rollback(err)
	}
	if err := s.commit(); err != nil {
		return s.afterFailedCommit(err)
	}
	a.places = a.places[:0]
	size := int64(0)
	for _, e := range fresh {
		a.places = append(a.places, place{hash: e.hash, seq: int64(e.Seq), id: e.recordID()}) //nolint:gosec // bounded
		size += int64(len(e.Events)) + 128
	}
	s.known.add(a.places)
	s.tail.add(a.places, a.highest, a.next)
	s.committed.Store(a.next)
	a.next++
	s.merger.poke(s.tail.freeze(false))
	s.checkpointer.wrote(size)
	return nil
}

func (s *Store) writeUncommitted(fresh []entry) error {
	a := &s.appends
	if _, err := s.journal.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for rest := fresh; len(rest) > 0; {
		n := insertable(rest)
		if err := s.insert(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	a.ids = a.ids[:0]
	previous := int64(0)
	for _, e := range fresh {
		a.ids = binary.AppendVarint(a.ids, e.recordID()-previous)
		previous = e.recordID()
	}
	if _, err := s.journal.exec("INSERT INTO appends (n, ids) VALUES (?, ?)", a.next, a.ids); err != nil {
		return err
	}
	return s.trim()
}

// insertable is how many of the records the next INSERT takes: a power of two,
// so that few statements are prepared, within its bounds.
func insertable(rest []entry) int {
	n, size := 0, 0
	for n < min(len(rest), maxInsertRows) {
		size += len(rest[n].Events)
		if n > 0 && size > maxInsertBytes {
			break
		}
		n++
	}
	return 1 << (bits.Len(uint(n)) - 1)
}

func (s *Store) insert(rows []entry) error {
	a := &s.appends
	sql := a.inserts[len(rows)]
	if sql == "" {
		sql = "INSERT INTO records (id, stream, seq, first_version, last_version, wake_at, checksum, events) VALUES " +
			placeholders(len(rows), recordColumns) + " ON CONFLICT (id) DO NOTHING"
		a.inserts[len(rows)] = sql
	}
	a.args = a.args[:0]
	for _, e := range rows {
		a.args = append(a.args, e.recordID(), e.Stream(), int64(e.Seq), int64(e.FirstVersion), int64(e.LastVersion), //nolint:gosec // as bits
			e.WakeAtMs, int64(e.Checksum), bytesOrEmpty(e.Events))
	}
	changed, err := s.journal.exec(sql, a.args...)
	clear(a.args)
	if err != nil {
		return err
	}
	if changed != int64(len(rows)) {
		return persistence.ErrPositionTaken
	}
	return nil
}

// trim deletes rows of the table appends that index.db has durably, except the
// newest of them, which keeps the numbering.
func (s *Store) trim() error {
	a := &s.appends
	upto := min(s.merger.durable.Load(), a.trimmed+maxTrim)
	if upto-a.trimmed < maxTrim/2 {
		return nil
	}
	if _, err := s.journal.exec("DELETE FROM appends WHERE n < ?", upto); err != nil {
		return err
	}
	a.trimmed = upto
	return nil
}

// dropTaken finds the records whose epoch and position belong to others.
func (s *Store) dropTaken(fresh []entry, errs []error) ([]entry, error) {
	seen := make(map[int64]bool, len(fresh))
	kept := make([]entry, 0, len(fresh))
	for _, e := range fresh {
		_, taken, err := s.journal.one("SELECT 1 FROM records WHERE id = ?", e.recordID())
		if err != nil {
			return fresh, fmt.Errorf("%w: %w", entity.ErrUnavailable, err)
		}
		if taken || seen[e.recordID()] {
			errs[e.index] = fmt.Errorf("append record %d of %s: epoch %d, position %d: %w: %w",
				e.Seq, e.Stream(), e.Epoch, e.Position, persistence.ErrPositionTaken, entity.ErrFenced)
			continue
		}
		seen[e.recordID()] = true
		kept = append(kept, e)
	}
	return kept, nil
}

// rollback gives up a transaction that was not committed.
func (s *Store) rollback(cause error) error {
	// Some errors have ended the transaction already, so ROLLBACK may find
	// none; if one should stay open, the next BEGIN fails.
	_, err := s.journal.exec("ROLLBACK")
	_ = err
	if errors.Is(cause, persistence.ErrPositionTaken) {
		return cause
	}
	s.failIfUnsynced(cause)
	if full(cause) {
		return fmt.Errorf("%w: %w", entity.ErrFull, cause)
	}
	return fmt.Errorf("%w: %w", entity.ErrUnavailable, cause)
}

// afterFailedCommit tells what a failed COMMIT means. While the transaction is
// still open nothing was committed. If SQLite has ended it, its commit frame may
// have reached the log file all the same and be found after a crash; but not when
// there was no room: a commit writes its frames one after the other, the commit
// frame last and (psow, see dial) nothing behind it, so the write that did not
// fit was that frame or one before it.
func (s *Store) afterFailedCommit(cause error) error {
	if _, err := s.journal.exec("ROLLBACK"); err == nil {
		return fmt.Errorf("%w: commit: %w", entity.ErrUnavailable, cause)
	}
	if full(cause) {
		return fmt.Errorf("%w: commit: %w", entity.ErrFull, cause)
	}
	s.failIfUnsynced(cause)
	return fmt.Errorf("%w: commit: %w", entity.ErrUnknownOutcome, cause)
}

// full reports that the operating system had no room for a write (ENOSPC). A
// quota or a limit of the process is another error to SQLite, which can mean
// anything.
func full(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == lib.SQLITE_FULL
}

// failIfUnsynced stops the store after a failed sync: the operating system may
// have dropped what it could not write, and would report success next time.
func (s *Store) failIfUnsynced(err error) {
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code() == lib.SQLITE_IOERR_FSYNC || e.Code() == lib.SQLITE_IOERR_DIR_FSYNC) {
		s.fail(err)
	}
}
