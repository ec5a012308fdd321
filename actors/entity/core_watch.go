// This file is how an actor is watched: a question that waits for a change is
// kept aside, and becomes an ordinary one when there is something to tell. So
// it is answered like every other: with what is durable.
package entity

import (
	"context"
	"fmt"
	"slices"
	"time"

	"stampede/proto/gen/commonpb"
)

// watcher is a commonpb.Watch that waits. It is not counted as unanswered: an
// actor that ends does not wait for its watchers, they ask its successor.
type watcher struct {
	call  *call
	after uint64
	until time.Time
}

// watch keeps the question aside, or refuses it.
func (c *core[S, E]) watch(req *Request, w *commonpb.Watch) {
	if len(c.watchers) >= c.limits.MaxWatchers {
		req.Answer.Answer(nil, fmt.Errorf("%w: %s has %d watchers", ErrOverloaded, c.addr.Kind, len(c.watchers)))
		return
	}
	get, err := w.Get.UnmarshalNew()
	if err != nil {
		req.Answer.Answer(nil, fmt.Errorf("watch %s: %w", c.addr.Kind, err))
		return
	}
	wait := min(max(0, time.Duration(w.WaitMs)*time.Millisecond), c.limits.WatchFor)
	c.watchers = append(c.watchers, watcher{
		call:  &call{command: get, trace: req.Trace, to: req.Answer},
		after: w.AfterVersion, until: c.host.now().Add(wait),
	})
	c.guard(c.settle)
}

// releaseWatchers lets those be decided that have something to hear, or have
// waited long enough, and reports whether there were any. Not while a record is
// being written: what is decided then would wait for the next one, and by the
// time that leaves there may be something newer to tell.
func (c *core[S, E]) releaseWatchers() bool {
	if len(c.watchers) == 0 || c.flying != nil {
		return false
	}
	now, before := c.host.now(), len(c.todo)
	c.watchers = slices.DeleteFunc(c.watchers, func(w watcher) bool {
		if w.after >= c.version && now.Before(w.until) {
			return false
		}
		w.call.deadline = now.Add(c.limits.AskFor)
		c.unanswered++
		c.todo = append(c.todo, w.call)
		return true
	})
	return len(c.todo) > before
}

// watchedUntil is when the first watcher has waited long enough; zero: there is
// none, or it is let go when the record in flight is written.
func (c *core[S, E]) watchedUntil() (first time.Time) {
	if c.flying != nil {
		return time.Time{}
	}
	for _, w := range c.watchers {
		if first.IsZero() || w.until.Before(first) {
			first = w.until
		}
	}
	return first
}

// dropWatchers tells them to ask again, wherever the actor is then.
func (c *core[S, E]) dropWatchers() {
	for _, w := range c.watchers {
		w.call.refuse(ErrRetry)
	}
	c.watchers = nil
}

type waitKey struct{}

// WithWait says that the call's command is one that waits for something, such
// as commonpb.Watch, at the latest for so long: whoever carries it does not take
// it for lost before, and does not count it among those that are being worked on.
func WithWait(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, waitKey{}, d)
}

// WaitOf is what WithWait said, or 0.
func WaitOf(ctx context.Context) time.Duration {
	d, _ := ctx.Value(waitKey{}).(time.Duration)
	return d
}
