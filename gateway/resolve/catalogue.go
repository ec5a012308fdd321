package resolve

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/gateway/graph"
	"stampede/proto/gen/productpb"
)

const (
	// freshFor is how long the catalogue is used before it is looked for changes,
	// and refreshShare the least part of the time between two looks that is not
	// spent looking: a large change is read less often.
	freshFor     = 500 * time.Millisecond
	refreshShare = 20
	// wholeEvery is how often all of it is read all the same: what a failing
	// database kept from us once is there then.
	wholeEvery = 5 * time.Minute
	// maxFollowed is how many changes are read one by one: with more of them
	// everything is read.
	maxFollowed = 5_000
	// followedAtOnce is how many changed rows are asked for at a time.
	followedAtOnce = 500
	// staleFor is how long it is still used when reading it fails.
	staleFor = 30 * time.Second
	// maxShelf is how many products are kept and searched, newest first. Lists
	// without a search read the view itself beyond that.
	maxShelf = 20_000
	// maxShelfBytes bounds them, too: a product is 2 KB with a picture and three
	// variants, and can be far larger.
	maxShelfBytes = 128 << 20
	// ownFor is how long what was written through this gateway is shown though
	// the view does not have it yet, and maxOwn how many of those there may be.
	ownFor = time.Minute
	maxOwn = 1_000
)

// catalogue is the list of products in memory. Product lists are what shoppers
// load most, and a search has to look at every product. It is read from the
// view once, and then follows what any node puts there, by the marks of the
// changes; only while somebody asks. The request that finds it old looks for
// changes; the others go on with what there is.
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
	// version is another one for other products.
	version  uint64
	items    []*shelved
	byID     map[string]*shelved
	complete bool
	bytes    int
	// index finds those that it was made of by their words; unindexed are the
	// others, newest first.
	index     *searchIndex
	unindexed []*shelved
	// mark is that of the newest change that is in it.
	mark    uint64
	readAt  time.Time
	wholeAt time.Time
	took    time.Duration
}

// shelved is one product with what it is sorted, filtered and found by.
type shelved struct {
	version uint64
	sortMs  int64
	product *graph.Product
	cursor  string
	// text is what it is found by, see search.go.
	text string
	size int
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
		version: version, sortMs: p.CreatedAtMs, product: productOf(p), cursor: cursorOf(p.CreatedAtMs, p.Id), text: searchText(p), size: proto.Size(p),
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
	rest := slices.Values(s.items[start:])
	if some, ok := s.candidates(words); ok {
		rest = some
	}
	page = make([]*shelved, 0, p.first)
	for item := range rest {
		if !item.product.Published && !all || p.afterID != "" && item.order(p.afterSortMs, p.afterID) <= 0 || !item.matches(words) {
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
		read, err := c.follow(ctx, have, now)
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
	return s.with(newer)
}
