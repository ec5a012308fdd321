package sqlite

// Which streams the journal surely does not have. An order's first command
// finds no record of it: that needs no look-up in index.db, which costs more
// than deciding the order.

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/bits-and-blooms/bloom/v3"
)

const (
	// knownBits and knownHashes make a Bloom filter of 8 MiB that takes one new
	// stream in a hundred for a known one at 7 million streams.
	knownBits   = 8 << 23
	knownHashes = 6
	// maxKnown is how many streams it is kept for; with more it says nothing.
	maxKnown = 8_000_000
	// learnPage is how many streams are read at a time.
	learnPage = 4096
)

// known holds the hashes of all streams of the journal, once it has learnt
// those that were there when the directory was opened. A hash enters before its
// record can be read.
type known struct {
	mu     sync.RWMutex
	filter *bloom.BloomFilter
	// complete: what is not in the filter is not in the journal.
	complete atomic.Bool
	learning sync.WaitGroup
}

func newKnown() *known { return &known{filter: bloom.New(knownBits, knownHashes)} }

func (k *known) add(places []place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var key [8]byte
	for _, p := range places {
		binary.LittleEndian.PutUint64(key[:], uint64(p.hash)) //nolint:gosec // bits
		k.filter.Add(key[:])
	}
}

// mayHave reports false only of a stream without records.
func (k *known) mayHave(hash int64) bool {
	if !k.complete.Load() {
		return true
	}
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], uint64(hash)) //nolint:gosec // bits
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.filter.Test(key[:])
}

// learn reads the hashes that index.db has. What enters it from now on has
// been in the tail, and so is known already.
func (s *Store) learn() {
	var after, n int64
	sql := "SELECT DISTINCT hash FROM streams ORDER BY hash LIMIT ?"
	for args := []driver.Value{int64(learnPage)}; n < maxKnown; args = []driver.Value{after, int64(learnPage)} {
		select {
		case <-s.closed:
			return
		default:
		}
		page := make([]place, 0, learnPage)
		err := s.index.use(context.Background(), func(c *conn) error {
			return c.query(sql, func(row []driver.Value) bool {
				page = append(page, place{hash: number(row[0])})
				return true
			}, args...)
		})
		if err != nil {
			return // look-ups go to index.db, as before
		}
		s.known.add(page)
		n += int64(len(page))
		if len(page) < learnPage {
			s.known.complete.Store(true)
			return
		}
		after = page[len(page)-1].hash
		sql = "SELECT DISTINCT hash FROM streams WHERE hash > ? ORDER BY hash LIMIT ?"
	}
}
