package cluster

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 2 * time.Millisecond
	mostBackoff  = 250 * time.Millisecond
)

// backoff is how long the request path waits before the try after the n-th:
// exponential with full jitter over its upper half.
func backoff(n int) time.Duration {
	d := mostBackoff
	if n < 8 {
		d = min(firstBackoff<<(n-1), mostBackoff)
	}
	return d/2 + rand.N(d/2+1)
}

// sleep waits, and reports false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
