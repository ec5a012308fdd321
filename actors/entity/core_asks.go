// This file is what an activation asks of others: for a command before it can
// be decided, and as the follow-ups that its state implies.
package entity

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// asking is one ask under way and the calls that wait for it.
type asking struct {
	ask     Ask
	trace   string
	calls   []*call
	version uint64 // leaves when durable has reached it
	tries   int
}

// heard takes in the answer to an ask, or that there was none.
func (c *core[S, E]) heard(key string, reply proto.Message, err error) {
	q := c.asks[key]
	if c.ended != nil || q == nil {
		return
	}
	if err != nil {
		c.guard(func() { c.unheard(q, err) })
		return
	}
	c.forget(key)
	for _, k := range q.calls {
		if k.heard == nil {
			k.heard = Heard{}
		}
		k.heard[key], k.acted = reply, true
		if k.missing--; k.missing == 0 {
			c.todo = append(c.todo, k)
		}
	}
	c.guard(c.settle)
}

// forget drops an ask; a map that is empty is memory of an idle actor.
func (c *core[S, E]) forget(key string) {
	if delete(c.asks, key); len(c.asks) == 0 {
		c.asks = nil
	}
}

// unheard lets go of the calls that have waited long enough or cannot be
// helped, and of a follow-up that the state no longer implies, and asks again
// for the others.
func (c *core[S, E]) unheard(q *asking, err error) {
	now := c.host.now()
	kept := q.calls[:0]
	for _, k := range q.calls {
		if k.to != nil && (!Retryable(err) || k.inVain(q, err)) {
			c.unanswered--
			k.refuse(fmt.Errorf("%s was asked: %w", q.ask.Kind, err))
			continue
		}
		if k.to != nil && !now.Before(k.deadline) {
			c.unanswered--
			k.refuse(fmt.Errorf("%w: %s did not answer: %w", ErrTimeout, q.ask.Kind, err))
			continue
		}
		if k.followUp && !c.implied(q.ask.Key) {
			if c.follow == k {
				c.follow = nil
			}
			continue
		}
		if k.to != nil || k.followUp {
			kept = append(kept, k)
		}
	}
	q.calls = kept
	if len(kept) == 0 {
		c.forget(q.ask.Key)
		c.settle()
		return
	}
	q.tries++
	c.host.ask(q.ask, q.trace, c.backoff(q.tries, 20*time.Millisecond, 5*time.Second))
}

// inVain reports that all that the call has brought about is one ask, put once,
// that surely was not carried out for want of room: who made it can be told so.
func (k *call) inVain(q *asking, err error) bool {
	return errors.Is(err, ErrFull) && !errors.Is(err, ErrUnknownOutcome) && q.tries == 0 && k.missing == 1 && !k.acted
}

// resume tries a follow-up again that had changed nothing.
func (c *core[S, E]) resume() {
	if c.ended != nil {
		return
	}
	c.paused = false
	c.guard(c.settle)
}

// converse asks what the call needs to hear before it can be decided.
func (c *core[S, E]) converse(k *call, asks []Ask) {
	k.missing = 0
	for _, a := range asks {
		if _, ok := k.heard[a.Key]; ok {
			continue
		}
		k.missing++
		if q := c.asks[a.Key]; q != nil {
			q.calls = append(q.calls, k)
			continue
		}
		q := &asking{ask: a, trace: k.trace, calls: []*call{k}, version: c.version}
		if c.asks == nil {
			c.asks = map[string]*asking{}
		}
		c.asks[a.Key] = q
		if q.version > c.durable {
			c.blocked = append(c.blocked, q)
		} else {
			c.host.ask(a, k.trace, 0)
		}
	}
	if k.missing == 0 {
		panic(fmt.Sprintf("%T asks only what it has heard", k.command))
	}
}

// release lets the asks leave that waited for a write.
func (c *core[S, E]) release() {
	kept := c.blocked[:0]
	for _, q := range c.blocked {
		if q.version > c.durable {
			kept = append(kept, q)
			continue
		}
		c.host.ask(q.ask, q.trace, 0)
	}
	c.blocked = kept
}

func (c *core[S, E]) pending() []Ask {
	if c.kind.Pending == nil {
		return nil
	}
	return c.kind.Pending(c.state)
}

// followUp asks what the state implies, when the state is durable and no other
// follow-up is under way.
func (c *core[S, E]) followUp() {
	if c.follow != nil || c.paused || c.durable != c.version || c.draining && c.unanswered == 0 {
		return
	}
	asks := c.pending()
	if len(asks) == 0 {
		c.cause = "" // memory of an idle actor
		return
	}
	c.follow = &call{command: &commonpb.Continue{}, trace: c.cause, followUp: true}
	c.converse(c.follow, asks)
}

// implied reports whether the state still implies the ask.
func (c *core[S, E]) implied(key string) bool {
	for _, a := range c.pending() {
		if a.Key == key {
			return true
		}
	}
	return false
}
