package cluster

import (
	"context"
	"errors"
	"time"

	"stampede/actors/entity"
)

// Reminders lists actors that have something to do by themselves at or before
// a moment, earliest first.
type Reminders interface {
	Due(ctx context.Context, before time.Time, limit int) ([]entity.Address, error)
}

const (
	// wakeEvery is how often reminders are read.
	wakeEvery = time.Second
	// wakeAhead is how long before its time an actor is brought into memory, where
	// its own timer is exact. It is less than entity.Limits.KeepBefore, so an
	// actor that was woken stays.
	wakeAhead = time.Minute
	// minDue and maxDue bound how many reminders one round reads. It reads more
	// while what is due does not get done (say, the payment provider is down), so
	// that the oldest do not hide the others.
	minDue = 1000
	maxDue = 64_000
)

// WakeDue brings actors into memory shortly before they have something to do,
// until ctx ends. Deadlines and follow-ups thus survive a crash and a
// passivation: an actor that is in memory needs no reminder.
func (n *Node) WakeDue(ctx context.Context, clock func() time.Time, r Reminders) {
	for limit := minDue; ; {
		due, err := r.Due(ctx, clock().Add(wakeAhead), limit)
		if err != nil && ctx.Err() == nil {
			n.logger.Warn("reminders not read", "error", err)
		}
		for _, addr := range due {
			err := n.actors.wake(addr)
			if errors.Is(err, errDraining) || errors.Is(err, errUnfit) || errors.Is(err, entity.ErrOverloaded) {
				break // there is no room for the others, or they may not be started, either
			}
			if errors.Is(err, errNotOwner) || errors.Is(err, errStale) {
				continue // the view has just changed: whoever owns it wakes it
			}
			if err != nil && ctx.Err() == nil {
				n.logger.Warn("actor not woken", "kind", addr.Kind, "id", addr.ID, "error", err)
			}
		}
		if len(due) < limit {
			limit = minDue
		} else {
			limit = min(2*limit, maxDue)
		}
		if !sleep(ctx, wakeEvery) {
			return
		}
	}
}
