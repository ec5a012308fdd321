// This file is how the handling of every message ends.
package entity

import (
	"fmt"
	"slices"
	"time"
)

// settle ends the handling of one message: what is to be decided is decided,
// then, on the changed state, what waited for a change; the next record leaves,
// follow-ups start, the timer is set. What does not fit the record is decided
// when the record has left.
func (c *core[S, E]) settle() {
	if err := c.host.fit(); err != nil {
		c.unfit(err)
		return
	}
	for c.ended == nil && !c.full() {
		if len(c.todo) > 0 {
			c.decideTodo()
			continue
		}
		again := c.changed && len(c.waiting) > 0
		c.changed = false
		if again {
			c.todo, c.waiting = c.waiting, c.todo
		} else if !c.releaseWatchers() {
			break
		}
	}
	if c.ended != nil {
		return
	}
	c.sendOff()
	if c.flying == nil {
		c.followUp()
	}
	c.rearm()
	c.maybeDrained()
}

// sendOff sends the batch being filled if none is in flight and nobody is about
// to be in it.
func (c *core[S, E]) sendOff() {
	if !c.gathering || c.draining || c.full() {
		c.flush()
	}
}

// gathered ends what committed began: those who were answered together have
// asked again, and their commands leave together with those that were waiting.
// Without it the two would take turns, and each write carry half of them.
func (c *core[S, E]) gathered() {
	c.gathering = false
	if c.ended == nil {
		c.guard(c.settle)
	}
}

func (c *core[S, E]) decideTodo() {
	n := 0
	for ; n < len(c.todo) && !c.full(); n++ {
		k := c.todo[n]
		c.todo[n] = nil
		c.decide(k)
	}
	if c.ended == nil {
		c.todo = slices.Delete(c.todo, 0, n)
	}
}

// full: nothing more goes into the record being filled.
func (c *core[S, E]) full() bool {
	return c.filling != nil && len(c.filling.events) >= c.limits.MaxRecordBytes
}

// expire lets go of calls that have waited long enough for a change. The
// longest waiting are in front.
func (c *core[S, E]) expire() {
	if len(c.waiting) == 0 {
		return
	}
	now, n := c.host.now(), 0
	for ; n < len(c.waiting) && !now.Before(c.waiting[n].deadline); n++ {
		c.unanswered--
		c.waiting[n].refuse(fmt.Errorf("%w: %s waited %s for a change", ErrTimeout, c.addr.Kind, c.limits.AskFor))
	}
	c.waiting = slices.Delete(c.waiting, 0, n)
}

// rearm sets the timer to what the state now says, or to when the first watcher
// has waited long enough.
func (c *core[S, E]) rearm() {
	at := time.Time{}
	if c.kind.WakeAt != nil {
		at = c.kind.WakeAt(c.state)
	}
	if !at.IsZero() && at.Before(c.notBefore) {
		at = c.notBefore
	}
	if until := c.watchedUntil(); !until.IsZero() && (at.IsZero() || until.Before(at)) {
		at = until
	}
	if !at.Equal(c.wakeAt) {
		c.wakeAt = at
		c.host.wake(at)
	}
}
