package resolve

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/persistence"
)

// The kinds as addresses and views name them.
const (
	kindOrder   = "order"
	kindProduct = "product"
	kindAccount = "account"
	kindSKU     = "sku"
)

const (
	defaultPage = 20
	maxPage     = 100
)

// place is where a page of a list begins and how long it may be.
type place struct {
	first       int
	afterSortMs int64
	afterID     string
}

// placeOf reads the arguments of a connection whose nodes' ids have the prefix.
func placeOf(first *int32, after *string, prefix string) (place, error) {
	p := place{first: defaultPage}
	if first != nil {
		p.first = int(*first)
	}
	if p.first < 1 || p.first > maxPage {
		return place{}, fault.InvalidField("must be 1 to 100", "first")
	}
	if after == nil {
		return p, nil
	}
	var err error
	p.afterSortMs, p.afterID, err = parseCursor(*after, prefix)
	return p, err
}

// rows reads a page and whether there is more, by asking for one row more.
func (r *Resolver) rows(ctx context.Context, q persistence.ListQuery, p place) (rows []persistence.Row, more bool, err error) {
	q.AfterSortMs, q.AfterID, q.Limit = p.afterSortMs, p.afterID, p.first+1
	rows, err = r.Views.ListRows(ctx, q)
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", q.Kind, err)
	}
	if len(rows) > p.first {
		return rows[:p.first], true, nil
	}
	return rows, false, nil
}

// unmarshalRow reads a row's body.
func unmarshalRow(row persistence.Row, into proto.Message) error {
	if err := proto.Unmarshal(row.Body, into); err != nil {
		return fmt.Errorf("read view %s/%s: %w", row.Kind, row.ID, err)
	}
	return nil
}

// pageInfo is of a page whose cursors are given. There is something before it
// exactly when it was asked for after something.
func pageInfo(p place, more bool, cursors int, cursor func(i int) string) graph.PageInfo {
	info := graph.PageInfo{HasNextPage: more, HasPreviousPage: p.afterID != ""}
	if cursors > 0 {
		first, last := cursor(0), cursor(cursors-1)
		info.StartCursor, info.EndCursor = &first, &last
	}
	return info
}
