package sqlite

// Reading a stream backwards, newest record first: for who wants to know how
// something came about, and for who looks for one record.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"
	"slices"

	"stampede/actors/entity"
	"stampede/persistence"
)

// firstPageBack is how much is read at first: whoever looks for one record
// needs no more. Each page after it is larger, up to pageRecords.
const (
	firstPageBack = 4
	pageGrowth    = 4
)

// ReadStreamBack implements persistence.Journal.
func (s *Store) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		if beforeSeq == 0 {
			return
		}
		kind, id := persistence.SplitStream(stream)
		upto := int64(min(beforeSeq-1, math.MaxInt64)) //nolint:gosec // bounded on this line
		p := &backReader{s: s, stream: stream, hash: s.hash(kind, id), upto: upto, limit: firstPageBack}
		// The tail first: what leaves it meanwhile is in index.db by then.
		p.tail = s.tail.find(p.hash, 0)
		for !p.done {
			page, err := p.next(ctx)
			if err != nil {
				yield(nil, fmt.Errorf("read stream %s back from %d: %w", stream, p.upto, err))
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

// backReader reads one stream backwards, page by page.
type backReader struct {
	s      *Store
	stream string
	hash   int64
	// tail is ascending.
	tail []place
	// upto is the highest seq that is still to come.
	upto  int64
	limit int
	done  bool
}

// next returns the records of the next places. It may return none before the end,
// where other streams have the same hash.
func (p *backReader) next(ctx context.Context) (page []*entity.Record, err error) {
	places, below, err := p.places(ctx)
	if err != nil {
		return nil, err
	}
	bytes := 0
	err = p.s.records.use(ctx, func(c *conn) error {
		for i, at := range places {
			if bytes >= pageBytes && at.seq < places[i-1].seq {
				below = at.seq // the rest is left for the next page
				break
			}
			err := c.query(selectRecord+"WHERE id = ? AND stream = ? AND seq = ?", func(row []driver.Value) bool {
				r := recordOf(row)
				bytes += len(r.Events)
				page = append(page, r)
				return false
			}, at.id, p.stream, at.seq)
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	p.upto, p.done = below, below <= 0
	p.limit = min(p.limit*pageGrowth, pageRecords)
	return page, err
}

// places are the next ones, descending, of index.db and tail together, and the
// highest seq that they leave for later; 0: they are the last.
func (p *backReader) places(ctx context.Context) (places []place, below int64, err error) {
	if p.s.known.mayHave(p.hash) {
		err = p.s.index.use(ctx, func(c *conn) error {
			return c.query("SELECT seq, id FROM streams WHERE hash = ? AND seq <= ? ORDER BY seq DESC, id DESC LIMIT ?", func(row []driver.Value) bool {
				places = append(places, place{hash: p.hash, seq: number(row[0]), id: number(row[1])})
				return true
			}, p.hash, p.upto, int64(p.limit))
		})
		if err != nil {
			return nil, 0, err
		}
	}
	least := int64(0)
	if len(places) == p.limit {
		// The lowest seq may go on in the next page, so it is left for that; a
		// page of nothing else is read again, larger.
		least = places[len(places)-1].seq
		if places[0].seq == least {
			p.limit *= pageGrowth
			return p.places(ctx)
		}
		places = slices.DeleteFunc(places, func(at place) bool { return at.seq == least })
	}
	for _, at := range p.tail {
		if at.seq <= p.upto && at.seq > least {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return comparePlaces(b, a) })
	places = slices.Compact(places)
	end := min(len(places), p.limit)
	for end < len(places) && places[end].seq == places[end-1].seq {
		end++ // a seq is not split over two pages
	}
	if end < len(places) {
		least = places[end].seq
	}
	return places[:end], least, nil
}
