// This file is what an activation gives its core to stand on: the clock, the
// log, other actors, timers, the background.
package entity

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

func (a *activation[S, E]) now() time.Time { return a.rt.Clock() }

func (a *activation[S, E]) fit() error {
	if a.rt.Fit == nil {
		return nil
	}
	return a.rt.Fit()
}

func (a *activation[S, E]) commit(rec *Record) {
	written := make(chan committed, 1)
	a.written = written
	seq := rec.Seq
	a.rt.Log.Commit(rec, func(err error) {
		m := committed{seq: seq, err: err}
		written <- m
		a.tell(m)
	})
}

func (a *activation[S, E]) ask(q Ask, trace string, after time.Duration) {
	put := func(doubtful bool) {
		ctx, cancel := context.WithTimeout(withAsk(WithTrace(a.stopped, trace)), a.rt.Limits.AskFor)
		defer cancel()
		reply, err := a.rt.Asker.Call(ctx, Address{Kind: q.Kind, ID: q.ID}, q.Command)
		if doubtful && err != nil {
			err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
		a.tell(heard{key: q.Key, reply: reply, err: err})
	}
	switch {
	case after > 0:
		time.AfterFunc(after, func() { put(false) })
	case !a.send(q, trace, put):
		a.rt.workers.Schedule(func() { put(false) })
	}
}

// askPatience is how long an answer is waited for before the ask is put the
// long way, which sends it again.
const askPatience = time.Second

// send asks an actor of this node, where that is possible. If no answer comes,
// or one that says to try again, it goes on with the long way.
func (a *activation[S, E]) send(q Ask, trace string, long func(doubtful bool)) bool {
	sender, ok := a.rt.Asker.(Sender)
	if !ok {
		return false
	}
	w := &sent{tell: func(reply proto.Message, err error) {
		if err != nil && Retryable(err) && !errors.Is(err, ErrOverloaded) {
			doubtful := errors.Is(err, ErrTimeout) || errors.Is(err, ErrUnknownOutcome)
			a.rt.workers.Schedule(func() { long(doubtful) })
			return
		}
		a.tell(heard{key: q.Key, reply: reply, err: err})
	}}
	w.patience = time.AfterFunc(askPatience, func() { w.take(nil, ErrTimeout) })
	if sender.Send(Address{Kind: q.Kind, ID: q.ID}, &Request{Command: q.Command, Trace: trace, Answer: w}) {
		return true
	}
	w.patience.Stop()
	// If patience has just ended, the long way is taken already.
	return w.used.Swap(true)
}

// sent takes the first answer to an ask. It is Responder.
type sent struct {
	tell     func(reply proto.Message, err error)
	patience *time.Timer
	used     atomic.Bool
}

// Answer implements Responder.
func (w *sent) Answer(reply proto.Message, err error) {
	w.patience.Stop()
	w.take(reply, err)
}

func (w *sent) take(reply proto.Message, err error) {
	if !w.used.Swap(true) {
		w.tell(reply, err)
	}
}

func (a *activation[S, E]) wake(at time.Time) {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if at.IsZero() {
		return
	}
	a.timer = time.AfterFunc(min(max(0, at.Sub(a.now())), maxSleep), func() { a.tell(due{}) })
}

// maxSleep is how long a timer runs at most before the clock is looked at
// again: timers do not notice when the clock is set or the machine was asleep.
const maxSleep = 30 * time.Second

// due ticks, unless it is too early yet.
func (a *activation[S, E]) due() {
	if at := a.core.wakeAt; a.core.ended == nil && at.After(a.now()) {
		a.wake(at)
		return
	}
	a.core.tick()
}

// gather lets every caller run that can, and then takes its turn behind what
// they sent.
func (a *activation[S, E]) gather() { a.tell(gather{}) }

func (a *activation[S, E]) gathering() {
	runtime.Gosched()
	a.tell(gathered{})
}

func (a *activation[S, E]) retryCommit(after time.Duration) {
	time.AfterFunc(after, func() { a.tell(recommit{}) })
}

func (a *activation[S, E]) resume(after time.Duration) {
	time.AfterFunc(after, func() { a.tell(resume{}) })
}

func (a *activation[S, E]) snapshot(s Snapshot, state proto.Message) {
	if a.rt.saving.Add(1) > maxSaving {
		a.rt.saving.Add(-1)
		return
	}
	go func() {
		defer a.rt.saving.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), a.rt.Limits.RecoverFor)
		defer cancel()
		var err error
		if s.State, err = proto.Marshal(state); err == nil {
			s.Checksum = s.Sum()
			err = a.rt.Store.SaveSnapshot(ctx, &s)
		}
		if err != nil {
			// A snapshot is a cache: the journal has everything.
			a.rt.Logger.Warn("snapshot not saved", "kind", s.Kind, "id", s.ID, "version", s.Version, "error", err)
			return
		}
		a.rt.Metrics.snapshotted()
	}()
}

func (a *activation[S, E]) end(reason error) {
	if a.over {
		return
	}
	a.over = true
	a.box.shut.Store(true)
	if reason != nil {
		a.logEnd(reason)
	}
	a.rt.Metrics.deactivated(reason)
	a.ended()
	// Whatever is in the mailbox before the pill is refused by the core.
	a.system.Root.Poison(a.self)
}

func (a *activation[S, E]) logEnd(reason error) {
	if p, ok := reason.(*panicError); ok { //nolint:errorlint // the core never wraps it
		a.rt.Logger.Error("actor panicked", "kind", a.addr.Kind, "id", a.addr.ID, "panic", p.value, "stack", string(p.stack))
		return
	}
	a.rt.Logger.Warn("activation ended; the next message starts another", "kind", a.addr.Kind, "id", a.addr.ID, "error", reason)
}

func (a *activation[S, E]) rand() *rand.Rand { return rand.New(globalSource{}) }

// globalSource is the process's own generator: safe for concurrent use.
type globalSource struct{}

func (globalSource) Uint64() uint64 { return rand.Uint64() }
