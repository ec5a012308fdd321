package sqlite

// cache.db: what can be rebuilt from the journal. Writes are gathered into few
// transactions, without a sync for each.

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"stampede/actors/entity"
	"stampede/persistence"
)

// maxCacheOps is how many writes share a transaction.
const maxCacheOps = 256

// cache writes cache.db. Its goroutine is the only one that does; writes happen
// in the order in which they were given.
type cache struct {
	s    *Store
	conn *conn
	ops  chan cacheOp
	done sync.WaitGroup
	// identity is that of the journal that the file belongs to.
	identity []byte
	// known is the newest transaction of the journal that the file says it knows of.
	known int64
}

type cacheOp struct {
	write func(*conn) error
	reply chan error
}

// openCache makes cache.db anew when it is damaged, belongs to another journal
// or to a later state of this one.
func openCache(s *Store, identity []byte) (*cache, error) {
	path := filepath.Join(s.dir, cacheFile)
	k := &cache{s: s, ops: make(chan cacheOp)}
	newest, _, err := s.journal.one("SELECT max(epoch) FROM epochs")
	if err != nil {
		return nil, err
	}
	fits, err := k.open(path, identity, newest)
	if damaged(err) {
		fits, err = false, nil
	}
	if err != nil {
		return nil, err
	}
	if fits {
		return k, nil
	}
	s.repaired = append(s.repaired, cacheFile)
	if k.known > s.committed.Load() && bytes.Equal(k.identity, identity) {
		if identity, err = s.fork(); err != nil {
			return nil, err
		}
		if _, err := s.merger.conn.exec("UPDATE indexed SET journal = ?", identity); err != nil {
			return nil, err
		}
	}
	if k.conn != nil {
		if err := k.conn.close(); err != nil {
			return nil, err
		}
	}
	if err := removeDatabase(path); err != nil {
		return nil, err
	}
	if _, err := k.open(path, identity, newest); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *cache) open(path string, identity []byte, newest int64) (fits bool, err error) {
	k.conn, k.identity, k.known = nil, nil, 0
	c, err := dial(path, "journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=8192", "cache_size=-16384")
	if err != nil {
		return false, err
	}
	err = migrate(c, cacheFile, cacheSchema)
	if err == nil {
		err = c.script(knownSchema + changesSchema)
	}
	if err == nil {
		_, err = c.exec("INSERT INTO cached (one, epoch, journal) VALUES (1, ?, ?) ON CONFLICT DO NOTHING", newest, identity)
	}
	if err == nil {
		err = c.query("SELECT epoch, journal FROM cached", func(row []driver.Value) bool {
			k.identity = blob(row[1])
			fits = number(row[0]) <= newest && bytes.Equal(k.identity, identity)
			return false
		})
	}
	if err == nil {
		k.known, _, err = c.one("SELECT upto FROM known")
	}
	if err != nil {
		return false, errors.Join(err, c.close())
	}
	k.conn = c
	return fits && k.known <= k.s.committed.Load(), nil
}

func (k *cache) start() { k.done.Go(k.run) }

// stop waits for the goroutine, after the store's closed was closed.
func (k *cache) stop() { k.done.Wait() }

// do runs write in a transaction, which it may share, and waits for its end.
func (k *cache) do(ctx context.Context, write func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := cacheOp{write: write, reply: make(chan error, 1)}
	select {
	case k.ops <- op:
	case <-k.s.closed:
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-op.reply
}

func (k *cache) run() {
	group := make([]cacheOp, 0, maxCacheOps)
	for {
		select {
		case <-k.s.closed:
			return
		case op := <-k.ops:
			group = append(group[:0], op)
		}
	gather:
		for len(group) < maxCacheOps {
			select {
			case op := <-k.ops:
				group = append(group, op)
			default:
				break gather
			}
		}
		k.write(group)
		clear(group)
	}
}

// write does all of the group in one transaction; if that fails, each by itself,
// so that only those fail that cannot be written.
func (k *cache) write(group []cacheOp) {
	err := k.transact(group)
	for i, op := range group {
		if err != nil && len(group) > 1 {
			op.reply <- k.transact(group[i : i+1])
			continue
		}
		op.reply <- err
	}
}

// transact also notes how far the journal is: what the writes tell of was
// committed before they were given.
func (k *cache) transact(group []cacheOp) error {
	committed := k.s.committed.Load()
	err := k.conn.transact(func() error {
		for _, op := range group {
			if err := op.write(k.conn); err != nil {
				return err
			}
		}
		if committed == k.known {
			return nil
		}
		_, err := k.conn.exec("INSERT INTO known (one, upto) VALUES (1, ?) ON CONFLICT DO UPDATE SET upto = excluded.upto", committed)
		return err
	})
	if err == nil {
		k.known = committed
	}
	return err
}

// noteEpoch remembers that the cache knows of an incarnation.
func (k *cache) noteEpoch(ctx context.Context, epoch int64) error {
	return k.do(ctx, func(c *conn) error {
		_, err := c.exec("UPDATE cached SET epoch = max(epoch, ?)", epoch)
		return err
	})
}

// LoadSnapshot implements entity.Store. A snapshot that does not verify is
// dropped, so that its number cannot keep a good one out.
func (s *Store) LoadSnapshot(ctx context.Context, stream string) (*entity.Snapshot, error) {
	var snap *entity.Snapshot
	err := s.views.use(ctx, func(c *conn) error {
		return c.query("SELECT seq, version, checksum, state FROM snapshots WHERE stream = ?", func(row []driver.Value) bool {
			kind, id := persistence.SplitStream(stream)
			//nolint:gosec // stored from unsigned numbers
			snap = &entity.Snapshot{
				Kind: kind, ID: id, Seq: uint64(number(row[0])), Version: uint64(number(row[1])),
				Checksum: uint32(number(row[2])), State: blob(row[3]),
			}
			return false
		}, stream)
	})
	if err == nil && snap != nil && snap.Sum() != snap.Checksum {
		seq, checksum := int64(snap.Seq), int64(snap.Checksum) //nolint:gosec // as stored
		snap = nil
		err = s.cache.do(ctx, func(c *conn) error {
			_, err := c.exec("DELETE FROM snapshots WHERE stream = ? AND seq = ? AND checksum = ?", stream, seq, checksum)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("load snapshot of %s: %w", stream, err)
	}
	return snap, nil
}

// SaveSnapshot implements entity.Store.
func (s *Store) SaveSnapshot(ctx context.Context, snap *entity.Snapshot) error {
	if err := persistence.CheckSnapshot(snap); err != nil {
		return err
	}
	//nolint:gosec // as bits
	args := []driver.Value{snap.Stream(), int64(snap.Seq), int64(snap.Version), int64(snap.Checksum), bytesOrEmpty(snap.State)}
	err := s.cache.do(ctx, func(c *conn) error {
		_, err := c.exec(`INSERT INTO snapshots (stream, seq, version, checksum, state) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, version = excluded.version, checksum = excluded.checksum, state = excluded.state
			WHERE excluded.seq >= seq`, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("save snapshot of %s: %w", snap.Stream(), err)
	}
	return nil
}

// SaveWatermark implements persistence.Watermarks.
func (s *Store) SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error {
	if err := persistence.CheckWatermark(reader, epoch, position); err != nil {
		return err
	}
	err := s.cache.do(ctx, func(c *conn) error {
		_, err := c.exec(`INSERT INTO watermarks (reader, epoch, position) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET position = excluded.position WHERE excluded.position > position`,
			reader, int64(epoch), int64(position)) //nolint:gosec // bounded by CheckWatermark
		return err
	})
	if err != nil {
		return fmt.Errorf("save watermark of %s: %w", reader, err)
	}
	return nil
}

// Watermarks implements persistence.Watermarks.
func (s *Store) Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error) {
	all := make(map[entity.Epoch]uint64)
	err := s.views.use(ctx, func(c *conn) error {
		return c.query("SELECT epoch, position FROM watermarks WHERE reader = ?", func(row []driver.Value) bool {
			all[entity.Epoch(number(row[0]))] = uint64(number(row[1])) //nolint:gosec // bounded when written
			return true
		}, reader)
	})
	if err != nil {
		return nil, fmt.Errorf("watermarks of %s: %w", reader, err)
	}
	return all, nil
}
