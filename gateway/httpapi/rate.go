package httpapi

import (
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// rates holds a leaky bucket per caller. The least recently seen buckets are
// forgotten when there are too many; a forgotten one starts full.
type rates struct {
	buckets   *lru.Cache[string, *rate.Limiter]
	perSecond rate.Limit
	burst     int
}

// newRates is nil when rate limits are off.
func newRates(l Limits) (*rates, error) {
	if l.RatePerSecond < 0 {
		return nil, nil //nolint:nilnil // a nil *rates lets everything pass
	}
	buckets, err := lru.New[string, *rate.Limiter](l.RateCallers)
	if err != nil {
		return nil, fmt.Errorf("rate buckets: %w", err)
	}
	return &rates{buckets: buckets, perSecond: rate.Limit(l.RatePerSecond), burst: l.RateBurst}, nil
}

// take takes points from the caller's bucket, or says how long it takes until
// they are there. A caller without a name has no bucket and no limit.
func (r *rates) take(caller string, points int, now time.Time) (wait time.Duration) {
	if r == nil || caller == "" || points <= 0 {
		return 0
	}
	bucket, ok := r.buckets.Get(caller)
	if !ok {
		bucket = rate.NewLimiter(r.perSecond, r.burst)
		if earlier, found, _ := r.buckets.PeekOrAdd(caller, bucket); found {
			bucket = earlier
		}
	}
	reservation := bucket.ReserveN(now, min(points, r.burst))
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}
