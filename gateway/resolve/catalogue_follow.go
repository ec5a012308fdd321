package resolve

// Keeping the catalogue what the view is: read whole at first, and then by what
// has changed, whichever node has put it.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/persistence"
	"stampede/proto/gen/productpb"
)

// follow is the shelf as it is now.
func (c *catalogue) follow(ctx context.Context, have *shelf, now time.Time) (*shelf, error) {
	if have == nil || now.Sub(have.wholeAt) >= wholeEvery {
		return c.read(ctx, have)
	}
	ids, mark, err := c.changed(ctx, have)
	if err != nil {
		return nil, err
	}
	if len(ids) > maxFollowed {
		return c.read(ctx, have)
	}
	var newer []*shelved
	for chunk := range slices.Chunk(ids, followedAtOnce) {
		rows, err := c.views.GetRows(ctx, kindProduct, chunk)
		if err != nil {
			return nil, fmt.Errorf("follow catalogue: %w", err)
		}
		for _, row := range rows {
			item, err := shelvedOf(row, have)
			if err != nil {
				return nil, err
			}
			newer = append(newer, item)
		}
	}
	next := have.with(newer)
	if next == have { // shelves are never changed: others read this one
		same := *have
		next = &same
	}
	next.mark, next.readAt = mark, now
	next.took = c.clock().Sub(now)
	return next, nil
}

// changed are the products that the shelf does not have as they are, each once
// although the view may yield one again that is put while we look: at most one
// more than are followed.
func (c *catalogue) changed(ctx context.Context, have *shelf) (ids []string, mark uint64, err error) {
	mark = have.mark
	seen := map[string]bool{}
	for change, err := range c.views.Changes(ctx, kindProduct, have.mark) {
		if err != nil {
			return nil, 0, fmt.Errorf("follow catalogue: %w", err)
		}
		mark = max(mark, change.Mark)
		if item := have.byID[change.ID]; seen[change.ID] || item != nil && item.version >= change.Version {
			continue
		}
		seen[change.ID] = true
		if ids = append(ids, change.ID); len(ids) > maxFollowed {
			break
		}
	}
	return ids, mark, nil
}

// read goes through the view. Products that have not changed are kept as they are.
func (c *catalogue) read(ctx context.Context, have *shelf) (*shelf, error) {
	started := c.clock()
	next := &shelf{byID: make(map[string]*shelved), readAt: started, wholeAt: started}
	if have != nil {
		next.version = have.version + 1
	}
	var err error
	// The mark first: what is put while we read is followed afterwards.
	if next.mark, err = c.views.LastChange(ctx, kindProduct); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	q := persistence.ListQuery{Kind: kindProduct, Limit: persistence.MaxListRows - 1}
	for {
		rows, err := c.views.ListRows(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("read catalogue: %w", err)
		}
		for _, row := range rows {
			item, err := shelvedOf(row, have)
			if err != nil {
				return nil, err
			}
			if !next.has(item) {
				next.index = &searchIndex{items: next.items}
				next.took = c.clock().Sub(started)
				return next, nil
			}
		}
		if len(rows) < q.Limit {
			next.index = &searchIndex{items: next.items}
			next.complete, next.took = true, c.clock().Sub(started)
			return next, nil
		}
		last := rows[len(rows)-1]
		q.AfterSortMs, q.AfterID = last.SortMs, last.ID
	}
}

// has adds a product behind all others, if there is room.
func (s *shelf) has(item *shelved) bool {
	if len(s.items) == maxShelf || s.bytes+item.size > maxShelfBytes {
		return false
	}
	s.items = append(s.items, item)
	s.byID[item.product.ID] = item
	s.bytes += item.size
	return true
}

func shelvedOf(row persistence.Row, have *shelf) (*shelved, error) {
	if have != nil {
		if item := have.byID[row.ID]; item != nil && item.version >= row.Version {
			return item, nil
		}
	}
	p := &productpb.Product{}
	if err := proto.Unmarshal(row.Body, p); err != nil {
		return nil, fmt.Errorf("read view %s/%s: %w", row.Kind, row.ID, err)
	}
	item := shelve(p, row.Version)
	item.sortMs, item.cursor = row.SortMs, cursorOf(row.SortMs, row.ID)
	return item, nil
}

// with is the shelf with newer products on it: itself when it has them.
func (s *shelf) with(newer []*shelved) *shelf {
	newer = slices.DeleteFunc(newer, func(item *shelved) bool { return s.byID[item.product.ID] == item })
	if len(newer) == 0 {
		return s
	}
	merged := *s
	merged.version++
	merged.byID, merged.items = maps.Clone(s.byID), slices.Clone(s.items)
	order := func(a, b *shelved) int { return a.order(b.sortMs, b.product.ID) }
	added := false
	for _, item := range newer {
		old := merged.byID[item.product.ID]
		merged.byID[item.product.ID] = item
		merged.bytes += item.size
		at, found := 0, false
		if old != nil { // a product keeps its place
			merged.bytes -= old.size
			at, found = slices.BinarySearchFunc(s.items, old, order)
		}
		if found {
			merged.items[at] = item
		} else {
			merged.items, added = append(merged.items, item), true
		}
	}
	if added {
		slices.SortFunc(merged.items, order)
	}
	for len(merged.items) > maxShelf || merged.bytes > maxShelfBytes && len(merged.items) > 1 {
		last := merged.items[len(merged.items)-1]
		merged.items = merged.items[:len(merged.items)-1]
		delete(merged.byID, last.product.ID)
		merged.bytes -= last.size
		merged.complete = false
	}
	merged.reindexed(newer)
	return &merged
}
