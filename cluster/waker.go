package cluster

import (
	"context"
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
	// maxWoken bounds how many actors one round brings in.
	maxWoken = 1000
)

// WakeDue brings actors into memory shortly before they have something to do,
// until ctx ends. Deadlines and follow-ups thus survive a crash and a
// passivation: an actor that is in memory needs no reminder.
func (n *Node) WakeDue(ctx context.Context, clock func() time.Time, r Reminders) {
	for {
		due, err := r.Due(ctx, clock().Add(wakeAhead), maxWoken)
		if err != nil && ctx.Err() == nil {
			n.logger.Warn("reminders not read", "error", err)
		}
		for _, addr := range due {
			if _, err := n.actors.locate(addr); err != nil && ctx.Err() == nil {
				n.logger.Warn("actor not woken", "kind", addr.Kind, "id", addr.ID, "error", err)
			}
		}
		if !sleep(ctx, wakeEvery) {
			return
		}
	}
}
