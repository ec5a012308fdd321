// This file is how an activation ends: passivated, drained, failed, panicked.
package entity

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// passivate ends the activation if there is nothing it would lose or delay.
func (c *core[S, E]) passivate() bool {
	if c.ended == nil {
		c.guard(func() {
			c.expire()
			if c.idle() && len(c.pending()) == 0 && !c.wakesWithin(c.limits.KeepBefore) {
				c.leave()
			}
		})
	}
	return c.ended != nil
}

func (c *core[S, E]) wakesWithin(d time.Duration) bool {
	if c.kind.WakeAt == nil {
		return false
	}
	at := c.kind.WakeAt(c.state)
	return !at.IsZero() && at.Sub(c.host.now()) <= d
}

// drain finishes what was accepted, with what it takes of others, and ends the
// activation then. Called again it does not wait for others any more, only for
// what is being written; nor does one that is in a hurry, because another node
// is to take over.
func (c *core[S, E]) drain(hurry bool) {
	if c.ended == nil {
		c.impatient = c.draining || hurry
		c.draining = true
		c.hide()
		c.dropWatchers()
		c.guard(c.settle)
	}
}

func (c *core[S, E]) idle() bool {
	return c.flying == nil && c.filling == nil && c.unanswered == 0 && len(c.todo) == 0 && len(c.asks) == 0 && c.follow == nil && len(c.watchers) == 0
}

// leave ends the activation in peace, with a snapshot if that spares its
// successor much.
func (c *core[S, E]) leave() {
	if c.since.records >= c.limits.SnapshotOnPassivationRecords {
		c.saveSnapshot(c.kind.Snapshot(c.state))
	}
	c.finish(nil)
}

// unfit decides nothing any more: what is in memory may be old, for another
// node may have become the owner. What is being written is waited for, because
// its callers are owed the truth; everyone else is told to ask again.
func (c *core[S, E]) unfit(err error) {
	err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	for _, k := range append(c.waiting, c.todo...) {
		if k.to != nil {
			c.unanswered--
		}
		k.refuse(err)
	}
	c.waiting, c.todo = nil, nil
	if c.flying == nil {
		c.fail(err)
	}
}

// fail ends the activation: what it has in memory is not the truth any more.
// Callers whose command was not written are told so and may send it again.
func (c *core[S, E]) fail(err error) {
	if c.ended != nil {
		return
	}
	c.finish(err)
}

// finish answers everyone and ends. After it only receive is called, and refuses.
func (c *core[S, E]) finish(err error) {
	c.hide()
	why := err
	if why == nil {
		why = ErrRetry
	}
	c.ended = why
	if !errors.Is(err, ErrCorrupt) {
		c.ended = ErrRetry
	}
	unwritten := why
	var p *panicError
	if errors.As(err, &p) {
		unwritten = ErrRetry
	}
	for _, b := range []*batch{c.flying, c.filling} {
		if b == nil {
			continue
		}
		for _, a := range b.answers {
			a.to.Answer(nil, unwritten)
		}
	}
	for _, k := range append(c.waiting, c.todo...) {
		k.refuse(ErrRetry)
	}
	for _, q := range c.asks {
		for _, k := range q.calls {
			k.refuse(ErrRetry)
		}
	}
	if c.deciding != nil {
		c.deciding.refuse(why)
	}
	c.dropWatchers()
	c.flying, c.filling, c.waiting, c.todo, c.asks, c.blocked, c.follow, c.deciding = nil, nil, nil, nil, nil, nil, nil, nil
	c.unanswered = 0
	c.host.end(err)
}

// refuse answers the call with an error, once.
func (k *call) refuse(err error) {
	if k != nil && k.to != nil {
		k.to.Answer(nil, err)
		k.to = nil
	}
}

// panicError is a kind's panic: a defect, or a state that cannot be. Whoever
// sent the command that caused it is told so; everyone else may retry.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("actor panicked: %v", e.value) }

// guard turns a panic of the kind into the end of the activation: the state in
// memory may be half changed, the journal is not.
func (c *core[S, E]) guard(do func()) {
	defer func() {
		if v := recover(); v != nil {
			c.fail(&panicError{v, debug.Stack()})
		}
	}()
	do()
}

// backoff is a jittered exponential delay: the n-th try waits between a half
// and the whole of min(first·2^(n-1), most).
func (c *core[S, E]) backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if shift := n - 1; shift < 20 && first<<shift < most {
		d = first << shift
	}
	return d/2 + time.Duration(c.host.rand().Int64N(int64(d/2)+1))
}
