package sqlite

// Opening index.db: it is compared with the journal and, where it does not fit,
// made anew; what it does not have yet becomes the tail.

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"stampede/persistence"
)

// openMerger opens index.db, makes it anew if it does not belong to the
// journal or misses something that the journal no longer tells, and fills the
// tail with what was committed after it.
func openMerger(s *Store, identity []byte) (*merger, error) {
	m := &merger{s: s, work: make(chan *generation, 1), progress: make(chan struct{}, 1)}
	lowest, newest, err := m.numbering()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, indexFile)
	upto, err := m.open(path, identity)
	if damaged(err) {
		if err := removeDatabase(path); err != nil {
			return nil, err
		}
		upto, err = m.open(path, identity)
	}
	if err != nil {
		return nil, err
	}
	if upto < lowest-1 || upto > newest {
		s.repaired = append(s.repaired, indexFile)
		if upto > newest {
			if identity, err = s.fork(); err != nil {
				return m, err
			}
		}
		if err := m.rebuild(identity, newest); err != nil {
			return m, fmt.Errorf("rebuild %s: %w", indexFile, err)
		}
		upto = newest
	}
	m.durable.Store(upto)
	s.committed.Store(newest)
	s.appends = appends{next: newest + 1, trimmed: lowest, highest: make(map[int64]int64)}
	return m, m.fillTail(upto)
}

// numbering returns the range of the table appends. A journal without any has
// the range 1 to 0; if it has records all the same, nothing can be known from
// the numbers, and the range fits no index.
func (m *merger) numbering() (lowest, newest int64, err error) {
	newest, found, err := m.s.journal.one("SELECT max(n) FROM appends")
	if err != nil {
		return 0, 0, err
	}
	if !found {
		_, records, err := m.s.journal.one("SELECT 1 FROM records LIMIT 1")
		if records {
			return 2, 1, err
		}
		return 1, 0, err
	}
	lowest, _, err = m.s.journal.one("SELECT min(n) FROM appends")
	return lowest, newest, err
}

// open returns the newest row of appends that index.db has, or -1 if it
// belongs to another journal.
func (m *merger) open(path string, identity []byte) (int64, error) {
	c, err := dial(path, "journal_mode=WAL", "synchronous=FULL", "cache_size=-16384")
	if err != nil {
		return 0, err
	}
	upto := int64(-1)
	if err = expectDurable(c); err == nil {
		err = migrate(c, indexFile, indexSchema)
	}
	if err == nil {
		_, err = c.exec("INSERT INTO indexed (one, upto, journal) VALUES (1, 0, ?) ON CONFLICT DO NOTHING", identity)
	}
	if err == nil {
		err = c.query("SELECT upto, journal FROM indexed", func(row []driver.Value) bool {
			if bytes.Equal(blob(row[1]), identity) {
				upto = number(row[0])
			}
			return false
		})
	}
	if err != nil {
		return 0, errors.Join(err, c.close())
	}
	m.conn = c
	return upto, nil
}

// rebuild makes the index from all records.
func (m *merger) rebuild(identity []byte, upto int64) error {
	if err := m.conn.script("DELETE FROM streams"); err != nil {
		return err
	}
	places := make([]place, 0, mergeEvery)
	for after := int64(0); ; {
		places = places[:0]
		err := m.s.journal.query("SELECT id, stream, seq FROM records WHERE id > ? ORDER BY id LIMIT ?", func(row []driver.Value) bool {
			places = append(places, m.placeOf(row))
			return true
		}, after, int64(mergeEvery))
		if err != nil {
			return err
		}
		if len(places) == 0 {
			break
		}
		after = places[len(places)-1].id
		if err := m.conn.transact(func() error { return m.insert(places) }); err != nil {
			return err
		}
	}
	_, err := m.conn.exec("UPDATE indexed SET upto = ?, journal = ?", upto, identity)
	return err
}

// fillTail reads the places of all transactions after upto.
func (m *merger) fillTail(upto int64) error {
	var ids []int64
	newest := upto
	err := m.s.journal.query("SELECT n, ids FROM appends WHERE n > ? ORDER BY n", func(row []driver.Value) bool {
		newest = number(row[0])
		id := int64(0)
		for rest := blob(row[1]); len(rest) > 0; {
			delta, n := binary.Varint(rest)
			if n <= 0 {
				break
			}
			id += delta
			ids = append(ids, id)
			rest = rest[n:]
		}
		return true
	}, upto)
	if err != nil {
		return err
	}
	places := make([]place, 0, len(ids))
	unknown := make(map[int64]int64)
	for _, id := range ids {
		err := m.s.journal.query("SELECT id, stream, seq FROM records WHERE id = ?", func(row []driver.Value) bool {
			p := m.placeOf(row)
			places = append(places, p)
			unknown[p.hash] = 0
			return false
		}, id)
		if err != nil {
			return err
		}
	}
	for hash := range unknown {
		highest, _, err := m.conn.one("SELECT max(seq) FROM streams WHERE hash = ?", hash)
		if err != nil {
			return err
		}
		unknown[hash] = highest
	}
	m.s.known.add(places)
	m.s.tail.add(places, unknown, newest)
	return nil
}

func (m *merger) placeOf(row []driver.Value) place {
	kind, id := persistence.SplitStream(text(row[1]))
	return place{hash: m.s.hash(kind, id), seq: number(row[2]), id: number(row[0])}
}

// damaged reports a file that is no SQLite database or a broken one.
func damaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == lib.SQLITE_CORRUPT || e.Code()&0xff == lib.SQLITE_NOTADB)
}

// removeDatabase deletes a file that can be made again.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
