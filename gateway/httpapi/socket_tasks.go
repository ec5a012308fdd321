package httpapi

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/live"
	"stampede/gateway/operation"
)

// task is one operation of a socket. A subscription's has a goroutine only
// while there is something to send: notify starts it, and it ends when it has
// taken all there is.
type task struct {
	s    *socket
	id   string
	head []byte // of a message with an answer, up to the payload

	mu      sync.Mutex
	cancel  context.CancelFunc // of the start
	begun   *started
	sub     *live.Subscription
	timer   *time.Timer
	pumping bool
	again   bool // notified while pumping
	stopped bool
}

func newTask(s *socket, id string) *task {
	quoted, _ := json.Marshal(id) // a string
	return &task{s: s, id: id, head: append(append([]byte(`{"id":`), quoted...), `,"type":`...)}
}

// start executes the operation, or opens it.
func (t *task) start(ctx context.Context, params *operation.Params) {
	defer func() {
		if p := recover(); p != nil {
			t.s.h.Logger.Error("socket operation panicked", "request_id", t.s.id, "panic", p, "stack", string(debug.Stack()))
			t.s.cut()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !t.cancellable(cancel) {
		return
	}
	ctx, _ = t.s.h.Identify(ctx, t.s.who, t.s.id)
	begun, errs := t.s.h.start(ctx, t.s.caller, params, false)
	if errs != nil {
		t.fail(errs)
		return
	}
	if begun.source == nil {
		if t.s.forget(t.id) == nil {
			return // the client has given it up
		}
		b := append(t.message("next"), `,"payload":`...)
		b = append(appendResponse(b, begun.res), '}')
		if t.s.write(b) {
			t.s.write(append(t.message("complete"), '}'))
		}
		return
	}
	sub, err := t.s.h.Hub.Subscribe(*begun.source, t.notify)
	if err != nil {
		t.fail(failed(err))
		return
	}
	t.mu.Lock()
	t.begun, t.sub = begun, sub
	stopped := t.stopped
	t.mu.Unlock()
	if stopped {
		sub.Close()
		return
	}
	t.notify()
}

// cancellable lets stop end the start; false: it was stopped already.
func (t *task) cancellable(cancel context.CancelFunc) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel = cancel
	return !t.stopped
}

// message begins a message about the operation.
func (t *task) message(kind string) []byte {
	b := make([]byte, 0, 512)
	b = append(b, t.head...)
	b = append(b, '"')
	b = append(b, kind...)
	return append(b, '"')
}

// fail ends the operation with errors.
func (t *task) fail(errs gqlerror.List) {
	if t.s.forget(t.id) == nil {
		return
	}
	t.stop()
	t.refuse(errs)
}

func (t *task) refuse(errs gqlerror.List) {
	b := append(t.message("error"), `,"payload":`...)
	t.s.write(append(appendErrors(b, errs), '}'))
}

// stop ends the operation; what is being sent is sent.
func (t *task) stop() {
	t.mu.Lock()
	t.stopped = true
	sub, cancel := t.sub, t.cancel
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if sub != nil {
		sub.Close()
	}
}

// notify sees to it that what there is to take is taken.
func (t *task) notify() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped || t.sub == nil: // start looks when it has the subscription
	case t.pumping:
		t.again = true
	default:
		t.pumping = true
		t.s.working.Go(t.pump)
	}
}

// pump sends what there is to take.
func (t *task) pump() {
	defer func() {
		if p := recover(); p != nil {
			t.s.h.Logger.Error("subscription panicked", "request_id", t.s.id, "panic", p, "stack", string(debug.Stack()))
			t.s.cut()
		}
	}()
	for {
		taken := t.sub.Take(time.Now())
		switch {
		case taken.State != nil:
			if !t.send(taken.State) {
				return
			}
			continue
		case taken.Err != nil:
			t.fail(failed(taken.Err))
			return
		case taken.Done:
			if t.s.forget(t.id) != nil {
				t.stop()
				t.s.write(append(t.message("complete"), '}'))
			}
			return
		}
		if t.rests(taken.Wait, taken.Again) {
			return
		}
	}
}

func (t *task) send(state *live.State) bool {
	ctx := t.s.ctx
	if t.begun.op.Way() == nil { // it will be executed, by whoever this is now
		ctx, _ = t.s.h.Identify(ctx, t.s.who, t.s.id)
	}
	b := append(t.message("next"), `,"payload":`...)
	return t.s.write(append(t.s.h.event(ctx, b, t.begun, state), '}'))
}

// rests ends the pump unless it was notified meanwhile; after the wait, or when
// there is something again, if either is so, it goes on.
func (t *task) rests(wait, again time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.again && wait == 0 {
		t.again = false
		return false
	}
	t.pumping, t.again = false, false
	if wait = max(wait, again); wait > 0 && !t.stopped { // at most one of the two is set
		if t.timer == nil {
			t.timer = time.AfterFunc(wait, t.notify)
		} else {
			t.timer.Reset(wait)
		}
	}
	return true
}
