package sqlite

// Moving committed pages from the write-ahead log of journal.db to the file
// itself, mostly beside the commits instead of inside them.

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// checkpointBytes is how much is written between two checkpoints: it bounds
// the log that a start after a crash reads.
const checkpointBytes = 8 << 20

// checkpointer copies most of the log while commits go on; then it takes the
// writer's place for the little that came meanwhile, so that the log starts
// over instead of growing.
type checkpointer struct {
	s    *Store
	conn *conn
	// pending estimates the log's size. It belongs to the journal's writer.
	pending int64
	due     chan struct{}
	done    sync.WaitGroup
}

func openCheckpointer(s *Store) (*checkpointer, error) {
	c, err := dial(filepath.Join(s.dir, journalFile), "synchronous=FULL")
	if err != nil {
		return nil, err
	}
	return &checkpointer{s: s, conn: c, due: make(chan struct{}, 1)}, nil
}

func (k *checkpointer) start() { k.done.Go(k.run) }

// stop waits for the goroutine, after the store's closed was closed.
func (k *checkpointer) stop() { k.done.Wait() }

// wrote counts a transaction; the caller holds the writer's token.
func (k *checkpointer) wrote(bytes int64) {
	const pagesBeside = 3 * 4096
	k.pending += bytes + pagesBeside
	if k.pending < checkpointBytes {
		return
	}
	k.pending = 0
	select {
	case k.due <- struct{}{}:
	default:
	}
}

func (k *checkpointer) run() {
	for {
		select {
		case <-k.s.closed:
			return
		case <-k.due:
		}
		if k.checkpoint(k.conn) != nil || k.s.acquire(context.Background()) != nil {
			continue
		}
		err := k.checkpoint(k.s.journal)
		_ = err // it has stopped the store
		k.s.release()
	}
}

// checkpoint stops the store when the file cannot be written or synced: pages
// that the operating system dropped would be missing once the log starts over.
func (k *checkpointer) checkpoint(c *conn) error {
	err := c.query("PRAGMA wal_checkpoint(PASSIVE)", func([]driver.Value) bool { return true })
	var e *sqlite.Error
	if err == nil || errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_BUSY {
		return nil
	}
	err = fmt.Errorf("checkpoint of %s: %w", journalFile, err)
	k.s.fail(err)
	return err
}
