package sqlite

// Reading the journal. No read holds a connection or a snapshot of the
// database while its consumer works: a slow consumer would keep the
// write-ahead log from starting over.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"

	"stampede/actors/entity"
	"stampede/persistence"
)

const (
	// pageRecords and pageBytes bound what is read ahead of a consumer.
	pageRecords = 256
	pageBytes   = 1 << 20

	selectRecord = "SELECT stream, seq, first_version, last_version, wake_at, checksum, events, id FROM records "
)

// MaxRecordBytes implements persistence.Journal.
func (s *Store) MaxRecordBytes() int { return persistence.MaxRecordBytes }

// ReadStream implements entity.Store.
func (s *Store) ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		if afterSeq >= math.MaxInt64 {
			return
		}
		kind, id := persistence.SplitStream(stream)
		p := &streamReader{s: s, stream: stream, hash: s.hash(kind, id), after: int64(afterSeq)}
		// The tail first: what leaves it meanwhile is in index.db by then.
		p.tail = s.tail.find(p.hash, p.after)
		for {
			page, more, err := p.next(ctx)
			if err != nil {
				yield(nil, fmt.Errorf("read stream %s after %d: %w", stream, p.after, err))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// streamReader reads one stream, page by page.
type streamReader struct {
	s      *Store
	stream string
	hash   int64
	// after is the last seq that a page had.
	after int64
	tail  []place
	// queue has places that are due, ascending; their records are still to be read.
	queue []place
	// indexed is the last seq read from index.db; drained: there are no more.
	indexed int64
	drained bool
}

// next returns records with the next seqs; more is false after the last page.
func (p *streamReader) next(ctx context.Context) (page []*entity.Record, more bool, err error) {
	if len(p.queue) == 0 {
		if err := p.fill(ctx); err != nil {
			return nil, false, err
		}
	}
	bytes, read := 0, 0
	if len(p.queue) > 0 {
		err = p.s.records.use(ctx, func(c *conn) error {
			for ; read < len(p.queue) && read < pageRecords && bytes < pageBytes; read++ {
				at := p.queue[read]
				err := c.query(selectRecord+"WHERE id = ? AND stream = ? AND seq = ?", func(row []driver.Value) bool {
					r := recordOf(row)
					bytes += len(r.Events)
					page = append(page, r)
					return false
				}, at.id, p.stream, at.seq)
				if err != nil {
					return err
				}
				p.after = at.seq
			}
			return ctx.Err()
		})
	}
	p.queue = p.queue[read:]
	return page, len(p.queue) > 0 || !p.drained || len(p.tail) > 0, err
}

// fill puts the next places of index.db and tail together.
func (p *streamReader) fill(ctx context.Context) error {
	from := max(p.after, p.indexed)
	var found []place
	if !p.drained && !p.s.known.mayHave(p.hash) {
		p.drained = true
	}
	if !p.drained {
		err := p.s.index.use(ctx, func(c *conn) error {
			return c.query("SELECT seq, id FROM streams WHERE hash = ? AND seq > ? ORDER BY seq, id LIMIT ?", func(row []driver.Value) bool {
				found = append(found, place{hash: p.hash, seq: number(row[0]), id: number(row[1])})
				return true
			}, p.hash, from, int64(pageRecords))
		})
		if err != nil {
			return err
		}
		p.drained = len(found) < pageRecords
	}
	upto := int64(math.MaxInt64)
	if !p.drained {
		// A seq may have several places; those of the last one may go on in the
		// next page, so it is left for that unless it is alone in this one.
		upto = found[len(found)-1].seq
		if found[0].seq < upto {
			upto--
		}
		p.indexed = upto
	}
	p.queue = p.queue[:0]
	for len(found) > 0 || len(p.tail) > 0 {
		var at place
		if len(p.tail) == 0 || len(found) > 0 && comparePlaces(found[0], p.tail[0]) <= 0 {
			at, found = found[0], found[1:]
		} else {
			at = p.tail[0]
			if at.seq > upto {
				break
			}
			p.tail = p.tail[1:]
		}
		if at.seq > upto {
			break
		}
		if n := len(p.queue); n == 0 || p.queue[n-1] != at {
			p.queue = append(p.queue, at)
		}
	}
	return nil
}

// ReadEpoch implements persistence.Journal.
func (s *Store) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		if epoch > persistence.MaxEpoch {
			return
		}
		last := recordID(epoch, min(after, persistence.MaxPosition))
		for more := true; more; {
			var page []*entity.Record
			bytes := 0
			more = false
			err := s.records.use(ctx, func(c *conn) error {
				return c.query(selectRecord+"WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", func(row []driver.Value) bool {
					r := recordOf(row)
					page = append(page, r)
					bytes += len(r.Events)
					last = number(row[7])
					more = bytes >= pageBytes || len(page) == pageRecords
					return bytes < pageBytes
				}, last, recordID(epoch, persistence.MaxPosition), int64(pageRecords))
			})
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, fmt.Errorf("read epoch %d after %d: %w", epoch, last&persistence.MaxPosition, err))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func recordOf(row []driver.Value) *entity.Record {
	kind, id := persistence.SplitStream(text(row[0]))
	at := number(row[7])
	//nolint:gosec // stored from unsigned numbers, bit by bit
	return &entity.Record{
		Kind: kind, ID: id, Seq: uint64(number(row[1])),
		FirstVersion: uint64(number(row[2])), LastVersion: uint64(number(row[3])),
		Epoch: entity.Epoch(at >> positionBits), Position: uint64(at & persistence.MaxPosition),
		WakeAtMs: number(row[4]), Checksum: uint32(number(row[5])), Events: blob(row[6]),
	}
}
