package resolve

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/productpb"
)

const (
	// freshFor is how long the catalogue is used before it is read again, and
	// refreshShare the least part of the time between two readings that is not
	// spent reading: a large catalogue is read less often.
	freshFor     = time.Second
	refreshShare = 20
	// staleFor is how long it is still used when reading it fails.
	staleFor = 30 * time.Second
	// maxShelf is how many products are kept and searched, newest first. Lists
	// without a search read the view itself beyond that.
	maxShelf = 20_000
	// ownFor is how long what was written through this gateway is shown though
	// the view does not have it yet, and maxOwn how many of those there may be.
	ownFor = time.Minute
	maxOwn = 1_000
)

// catalogue is the list of products in memory: read from the view at most once
// a second, and only while somebody asks. Product lists are what shoppers load
// most, and a search has to look at every product. The request that finds it
// old reads it anew; the others go on with what there is.
type catalogue struct {
	views  Views
	clock  func() time.Time
	logger *slog.Logger

	current atomic.Pointer[shelf]
	reading sync.Mutex // held by the one that reads or merges

	ownMu sync.Mutex
	own   map[string]ownProduct
	dirty atomic.Bool // own has what current does not
}

// shelf is the products at one moment, newest first. It is never changed.
type shelf struct {
	items    []*shelved
	byID     map[string]*shelved
	complete bool
	readAt   time.Time
	took     time.Duration
}

// shelved is one product with what it is sorted, filtered and found by.
type shelved struct {
	version uint64
	sortMs  int64
	product *graph.Product
	text    string
}

type ownProduct struct {
	*shelved
	until time.Time
}

func newCatalogue(v Views, clock func() time.Time, l *slog.Logger) *catalogue {
	return &catalogue{views: v, clock: clock, logger: l, own: make(map[string]ownProduct)}
}

func shelve(p *productpb.Product, version uint64) *shelved {
	return &shelved{
		version: version, sortMs: p.CreatedAtMs, product: productOf(p),
		text: strings.ToLower(p.Name + "\n" + p.Slug + "\n" + p.Description),
	}
}

// order is newest first, ties by id, as the view has it.
func (s *shelved) order(sortMs int64, id string) int {
	return cmp.Or(cmp.Compare(sortMs, s.sortMs), cmp.Compare(id, s.product.ID))
}

// find is the page at a place of the products that have all the words, and
// whether there is more. all: also those that are not published.
func (s *shelf) find(p place, words []string, all bool) (page []*shelved, more bool) {
	start := 0
	if p.afterID != "" {
		at, found := slices.BinarySearchFunc(s.items, p, func(item *shelved, p place) int { return item.order(p.afterSortMs, p.afterID) })
		start = at
		if found {
			start++
		}
	}
	page = make([]*shelved, 0, p.first)
	for _, item := range s.items[start:] {
		if (!item.product.Published && !all) || !item.matches(words) {
			continue
		}
		if len(page) == p.first {
			return page, true
		}
		page = append(page, item)
	}
	return page, false
}

func (s *shelved) matches(words []string) bool {
	for _, w := range words {
		if !strings.Contains(s.text, w) {
			return false
		}
	}
	return true
}

// shelf is the present one, read anew if it is old and nobody else is at it.
func (c *catalogue) shelf(ctx context.Context) (*shelf, error) {
	now := c.clock()
	have := c.current.Load()
	if have != nil && !c.dirty.Load() && now.Sub(have.readAt) < max(freshFor, refreshShare*have.took) {
		return have, nil
	}
	if have != nil {
		if !c.reading.TryLock() {
			return have, nil
		}
	} else {
		c.reading.Lock() // the first ones wait for the first reading
		if first := c.current.Load(); first != nil {
			c.reading.Unlock()
			return first, nil
		}
	}
	defer c.reading.Unlock()
	return c.renew(ctx, have, now)
}

func (c *catalogue) renew(ctx context.Context, have *shelf, now time.Time) (*shelf, error) {
	c.dirty.Store(false)
	next := have
	if have == nil || now.Sub(have.readAt) >= max(freshFor, refreshShare*have.took) {
		read, err := c.read(ctx, have)
		switch {
		case err == nil:
			next = read
		case have == nil || now.Sub(have.readAt) > staleFor:
			return nil, err
		default:
			c.logger.WarnContext(ctx, "catalogue not read, the older one is used", "error", err)
		}
	}
	next = c.withOwn(next, now)
	c.current.Store(next)
	return next, nil
}

// read goes through the view. Products that have not changed are kept as they are.
func (c *catalogue) read(ctx context.Context, have *shelf) (*shelf, error) {
	next := &shelf{byID: make(map[string]*shelved), readAt: c.clock()}
	q := persistence.ListQuery{Kind: kindProduct, Limit: persistence.MaxListRows - 1}
	for {
		rows, err := c.views.ListRows(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("read catalogue: %w", err)
		}
		for _, row := range rows[:min(len(rows), maxShelf-len(next.items))] {
			item, err := shelvedOf(row, have)
			if err != nil {
				return nil, err
			}
			next.items = append(next.items, item)
			next.byID[row.ID] = item
		}
		if len(rows) < q.Limit || len(next.items) == maxShelf {
			next.complete = len(rows) < q.Limit
			next.took = c.clock().Sub(next.readAt)
			return next, nil
		}
		last := rows[len(rows)-1]
		q.AfterSortMs, q.AfterID = last.SortMs, last.ID
	}
}

func shelvedOf(row persistence.Row, have *shelf) (*shelved, error) {
	if have != nil {
		if item := have.byID[row.ID]; item != nil && item.version == row.Version {
			return item, nil
		}
	}
	p := &productpb.Product{}
	if err := proto.Unmarshal(row.Body, p); err != nil {
		return nil, fmt.Errorf("read view %s/%s: %w", row.Kind, row.ID, err)
	}
	item := shelve(p, row.Version)
	item.sortMs = row.SortMs
	return item, nil
}

// put shows a product that was written through this gateway, before the view has it.
func (c *catalogue) put(p *productpb.Product) {
	c.ownMu.Lock()
	defer c.ownMu.Unlock()
	if mine, ok := c.own[p.Id]; len(c.own) >= maxOwn && !ok || ok && mine.version > uint64(p.Version) {
		return
	}
	c.own[p.Id] = ownProduct{shelved: shelve(p, uint64(p.Version)), until: c.clock().Add(ownFor)}
	c.dirty.Store(true)
}

// withOwn is the shelf with what was written here and the view does not have yet.
func (c *catalogue) withOwn(s *shelf, now time.Time) *shelf {
	c.ownMu.Lock()
	defer c.ownMu.Unlock()
	var newer []*shelved
	for id, mine := range c.own {
		if item := s.byID[id]; item != nil && item.version >= mine.version || now.After(mine.until) {
			delete(c.own, id)
			continue
		}
		newer = append(newer, mine.shelved)
	}
	if len(newer) == 0 {
		return s
	}
	merged := *s
	merged.byID = make(map[string]*shelved, len(s.byID)+len(newer))
	merged.items = make([]*shelved, 0, len(s.items)+len(newer))
	for _, item := range newer {
		merged.byID[item.product.ID] = item
		merged.items = append(merged.items, item)
	}
	for _, item := range s.items {
		if merged.byID[item.product.ID] == nil {
			merged.byID[item.product.ID] = item
			merged.items = append(merged.items, item)
		}
	}
	slices.SortFunc(merged.items, func(a, b *shelved) int { return a.order(b.sortMs, b.product.ID) })
	return &merged
}
