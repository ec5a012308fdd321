package httpapi

import (
	"context"
	"sync/atomic"
	"time"
)

// gate bounds how many requests are worked on at once. Those beyond wait a
// short while, and those beyond that are refused at once: under overload the
// answer is quick, and what is being worked on still finishes in time.
type gate struct {
	slots      chan struct{}
	waiting    atomic.Int64
	maxWaiting int64
	waitFor    time.Duration
}

func newGate(l Limits) *gate {
	return &gate{slots: make(chan struct{}, l.InFlight), maxWaiting: int64(l.Waiting), waitFor: l.WaitFor}
}

// enter reports whether the request may go on; then leave must be called.
func (g *gate) enter(ctx context.Context) bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	if g.waiting.Add(1) > g.maxWaiting {
		g.waiting.Add(-1)
		return false
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(g.waitFor)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (g *gate) leave() { <-g.slots }
