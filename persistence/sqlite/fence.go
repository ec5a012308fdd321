package sqlite

// The fence: which records of a batch are new, which are there already, and
// which come too late.

import (
	"database/sql/driver"
	"fmt"
	"strings"

	"stampede/actors/entity"
)

// lookupHashes is how many streams one statement looks up.
const lookupHashes = 32

// lookUp fills highest for all streams of the batch: from the tail, or from
// index.db, many at a time. A stream that the journal surely does not have, as
// that of nearly every order, needs neither.
func (s *Store) lookUp(batch []entry) error {
	a := &s.appends
	clear(a.highest)
	a.unknown = a.unknown[:0]
	for _, e := range batch {
		if _, seen := a.highest[e.hash]; seen {
			continue
		}
		seq, known := s.tail.highest(e.hash)
		if !known && s.known.mayHave(e.hash) {
			a.unknown = append(a.unknown, e.hash)
		}
		a.highest[e.hash] = seq
	}
	for first := 0; first < len(a.unknown); first += lookupHashes {
		a.args = a.args[:0]
		for i := range lookupHashes {
			// The last statement is filled up with its last hash.
			a.args = append(a.args, a.unknown[min(first+i, len(a.unknown)-1)])
		}
		err := s.lookup.query(lookupSQL, func(row []driver.Value) bool {
			a.highest[number(row[0])] = number(row[1])
			return true
		}, a.args...)
		if err != nil {
			return err
		}
	}
	return nil
}

var lookupSQL = "SELECT hash, max(seq) FROM streams WHERE hash IN (?" + strings.Repeat(",?", lookupHashes-1) + ") GROUP BY hash" //nolint:gochecknoglobals // a constant

// judge tells new records from repeated and fenced ones. A seq above all that
// its stream's hash ever had is new; any other is looked for. repeats are
// records that are twice in the batch: they share the first one's result.
func (s *Store) judge(batch []entry, errs []error) (fresh []entry, repeats map[int]int) {
	fresh = make([]entry, 0, len(batch))
	highest := s.appends.highest
	for _, e := range batch {
		seq := int64(e.Seq) //nolint:gosec // bounded by persistence.CheckRecord
		if seq > highest[e.hash] {
			highest[e.hash] = seq
			fresh = append(fresh, e)
			continue
		}
		first := sameKey(fresh, e)
		if first != nil && first.recordID() == e.recordID() && first.Checksum == e.Checksum {
			if repeats == nil {
				repeats = make(map[int]int)
			}
			repeats[e.index] = first.index
			continue
		}
		stored, err := s.stored(e)
		switch {
		case err != nil:
			errs[e.index] = fmt.Errorf("append record %d of %s: %w: %w", e.Seq, e.Stream(), entity.ErrUnavailable, err)
		case first != nil, stored != nil && (stored.id != e.recordID() || stored.checksum != int64(e.Checksum)):
			errs[e.index] = fmt.Errorf("append record %d of %s: %w", e.Seq, e.Stream(), entity.ErrFenced)
		case stored == nil:
			fresh = append(fresh, e)
		}
	}
	return fresh, repeats
}

func sameKey(fresh []entry, e entry) *entry {
	for i := range fresh {
		if f := &fresh[i]; f.hash == e.hash && f.Seq == e.Seq && f.ID == e.ID && f.Kind == e.Kind {
			return f
		}
	}
	return nil
}

// written is what tells a repeated record from another one.
type written struct{ id, checksum int64 }

// stored finds the record that has e's stream and seq.
func (s *Store) stored(e entry) (*written, error) {
	seq := int64(e.Seq) //nolint:gosec // bounded by persistence.CheckRecord
	var ids []int64
	for _, p := range s.tail.find(e.hash, seq-1) {
		if p.seq == seq {
			ids = append(ids, p.id)
		}
	}
	err := s.lookup.query("SELECT id FROM streams WHERE hash = ? AND seq = ?", func(row []driver.Value) bool {
		ids = append(ids, number(row[0]))
		return true
	}, e.hash, seq)
	if err != nil {
		return nil, err
	}
	var found *written
	stream := e.Stream()
	for _, id := range ids {
		err := s.journal.query("SELECT checksum FROM records WHERE id = ? AND stream = ? AND seq = ?", func(row []driver.Value) bool {
			found = &written{id: id, checksum: number(row[0])}
			return false
		}, id, stream, seq)
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
