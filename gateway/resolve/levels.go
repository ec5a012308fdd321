package resolve

import (
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"stampede/proto/gen/skupb"
)

const (
	// shownFor is how long a level goes along with lists of products before its
	// SKU is asked again: as long as the lists themselves may be old.
	shownFor = freshFor
	// maxShown is how many of them are kept.
	maxShown = 50_000
)

// shownLevels are the levels that lists of products were shown with: thousands
// of shoppers look at the same page, and one in a moment asks its SKUs for all
// of them. A level says of when it is (asOf). What asks for stock itself, or for
// one product, is answered by the SKU.
type shownLevels struct {
	levels *lru.Cache[string, shownLevel]
	clock  func() time.Time
	// changes counts what was forgotten.
	changes atomic.Uint64
}

type shownLevel struct {
	level *skupb.Level
	at    time.Time
}

func newShownLevels(clock func() time.Time) *shownLevels {
	levels, err := lru.New[string, shownLevel](maxShown)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return &shownLevels{levels: levels, clock: clock}
}

// fresh is the level and when it was asked for, if it is fit to be shown; else nil.
func (s *shownLevels) fresh(sku string) (level *skupb.Level, askedAt time.Time) {
	shown, ok := s.levels.Get(sku)
	if !ok {
		return nil, time.Time{}
	}
	if age := s.clock().Sub(shown.at); age < 0 || age >= shownFor {
		return nil, time.Time{}
	}
	return shown.level, shown.at
}

// put keeps a level that the SKU was asked for at the time.
func (s *shownLevels) put(sku string, level *skupb.Level, askedAt time.Time) {
	s.levels.Add(sku, shownLevel{level, askedAt})
}

// forget makes the SKU be asked again: it was changed through this node.
func (s *shownLevels) forget(sku string) {
	s.levels.Remove(sku)
	s.changes.Add(1)
}
