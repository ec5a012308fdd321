package waiting

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"stampede/actors/sale"
	"stampede/proto/gen/salepb"
)

const (
	// freshFor is how long a schedule is used before its sale is asked again.
	freshFor = 250 * time.Millisecond
	// staleFor is how long it is still used when the sale does not answer.
	staleFor = 30 * time.Second
	// maxSchedules bounds the sales that are remembered.
	maxSchedules = 1024
)

// Schedules keeps what sales publish of their admission, so that polling a
// ticket asks nobody: a sale is asked a few times a second at most, by one
// request, however many poll. It may be used by several goroutines; the
// schedules that it hands out are not to be changed.
type Schedules struct {
	// ask asks the sale; nil when there is none.
	ask    func(ctx context.Context, saleID string) (*salepb.Schedule, error)
	flight singleflight.Group

	mu   sync.Mutex
	kept *simplelru.LRU[string, kept]
}

type kept struct {
	schedule *salepb.Schedule
	at       time.Time
}

// NewSchedules returns an empty memory over the sales.
func NewSchedules(ask func(ctx context.Context, saleID string) (*salepb.Schedule, error)) *Schedules {
	lru, err := simplelru.NewLRU[string, kept](maxSchedules, nil)
	if err != nil {
		panic(fmt.Sprintf("waiting: %v", err)) // the size is a constant
	}
	return &Schedules{ask: ask, kept: lru}
}

// Of is the sale's schedule, nil when there is no such sale.
func (s *Schedules) Of(ctx context.Context, saleID string, now time.Time) (*salepb.Schedule, error) {
	have, ok := s.get(saleID)
	age := now.Sub(have.at)
	opening := ok && sale.Stale(have.schedule, now.UnixMilli()) && !sale.Stale(have.schedule, have.at.UnixMilli())
	if ok && age < freshFor && !opening {
		return have.schedule, nil
	}
	// The one who asks does so for all: their own deadline must not fail the others.
	found, err, _ := s.flight.Do(saleID, func() (any, error) { return s.ask(context.WithoutCancel(ctx), saleID) })
	if err != nil {
		if ok && age < staleFor {
			return have.schedule, nil
		}
		return nil, err
	}
	schedule, _ := found.(*salepb.Schedule)
	if schedule != nil {
		s.Note(saleID, schedule, now)
	}
	return schedule, nil
}

// Note remembers what a sale has just said.
func (s *Schedules) Note(saleID string, schedule *salepb.Schedule, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.Add(saleID, kept{schedule, now})
}

func (s *Schedules) get(saleID string) (kept, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Get(saleID)
}
