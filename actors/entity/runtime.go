package entity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
)

// Asker carries an actor's asks to other actors and ports.
type Asker interface {
	Call(ctx context.Context, to Address, cmd proto.Message) (proto.Message, error)
}

// Sender is an Asker with a shorter way to actors of its own node: no goroutine
// waits for the answer.
type Sender interface {
	// Send puts a request on its way, or returns false: then nothing was sent,
	// and Call is the way. What was sent may be lost, as with every request.
	Send(to Address, req *Request) bool
}

// Runtime is what all actors of a node share.
type Runtime struct {
	Log    Log
	Store  Store
	Asker  Asker
	Clock  func() time.Time
	Logger *slog.Logger
	Limits Limits
	// Fit, if set, is nil while the node may decide, that is, while no other one
	// can have become the owner of what it has in memory. It is asked before
	// everything that an actor decides, so it is cheap.
	Fit func() error
	// Metrics counts what the node's actors do.
	Metrics *Metrics

	saving  atomic.Int64 // snapshots being saved
	workers workers
}

const (
	// maxSaving bounds the snapshots that a node saves at once. One more is
	// left out: the journal has everything.
	maxSaving = 64
	// settleFor bounds how long an activation waits for the outcomes of its
	// predecessor's writes before its callers are told to try again.
	settleFor = time.Second
)

// Spawner makes actors of one kind. Bind makes one of a Kind.
type Spawner struct {
	Kind string
	// Asks tells that actors of the kind ask others, and need them to finish
	// what they have accepted.
	Asks bool
	// Props is for one activation of the actor with this id. ended is called
	// once, from the actor's mailbox, when the activation takes no more
	// requests and another one may be started. The window is the activation's to
	// show a glimpse in.
	Props func(id string, ended func(), window *Window) *actor.Props
	// Reads reports a command that a window may have the answer to.
	Reads func(cmd proto.Message) bool
}

// Bind makes a kind's pure functions an actor of this runtime.
func Bind[S any, E proto.Message](rt *Runtime, kind *Kind[S, E]) Spawner {
	return Spawner{
		Kind:  kind.Name,
		Asks:  kind.Pending != nil,
		Reads: kind.reads,
		Props: func(id string, ended func(), window *Window) *actor.Props {
			box := &mailbox{limit: rt.Limits.MaxMailbox}
			return actor.PropsFromProducer(
				func() actor.Actor {
					return &activation[S, E]{rt: rt, kind: kind, addr: Address{Kind: kind.Name, ID: id}, box: box, ended: ended, window: window}
				},
				actor.WithMailbox(func() actor.Mailbox {
					box.Mailbox = actor.Unbounded()()
					return box
				}),
				// An activation that panics has lost its state: it never goes on with half of it.
				actor.WithSupervisor(stopOnFailure{}),
				actor.WithDispatcher(&rt.workers),
			)
		},
	}
}

// stopOnFailure is the supervision of an actor's children; activations have none.
type stopOnFailure struct{}

func (stopOnFailure) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	supervisor.StopChildren(child)
}

// activation is the shell that makes a core a protoactor-go actor: it owns the
// timer, and turns what finishes elsewhere into messages to itself.
type activation[S any, E proto.Message] struct {
	rt    *Runtime
	kind  *Kind[S, E]
	addr  Address
	box   *mailbox
	ended func()
	// window is looked through by others.
	window *Window

	core   *core[S, E]
	system *actor.ActorSystem
	self   *actor.PID
	timer  *time.Timer
	// patience ends with a second Drain.
	patience *time.Timer
	// written gets the outcome of the write in flight when the actor is stopped
	// from outside and its mailbox is not read any more.
	written chan committed
	stopped context.Context //nolint:containedctx // ends with the activation, not with a caller
	stop    context.CancelFunc
	over    bool // end was called
}

// Messages of an activation to itself.
type (
	committed struct {
		late
		seq uint64
		err error
	}
	heard struct {
		late
		key   string
		reply proto.Message
		err   error
	}
	due      struct{ late }
	gather   struct{ late }
	gathered struct{ late }
	recommit struct{ late }
	resume   struct{ late }
)

// Receive is the actor's mailbox.
func (a *activation[S, E]) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *Request:
		a.core.receive(m)
	case committed:
		a.core.committed(m.seq, m.err)
	case heard:
		a.core.heard(m.key, m.reply, m.err)
	case due:
		a.due()
	case gather:
		a.gathering()
	case gathered:
		a.core.gathered()
	case recommit:
		a.core.recommit()
	case resume:
		a.core.resume()
	case *Passivate:
		a.passivate()
	case *Drain:
		a.drain(m.Hurry)
	case *Inspect:
		m.Answer(a.condition())
	case *actor.Started:
		a.start(ctx)
	case *actor.Stopping:
		a.stopping()
	}
}

func (a *activation[S, E]) start(ctx actor.Context) {
	a.system, a.self = ctx.ActorSystem(), ctx.Self()
	a.stopped, a.stop = context.WithCancel(context.Background()) //nolint:gosec // stopping calls it
	a.core = newCore(a.kind, a.addr, &a.rt.Limits, host(a))
	a.rt.Metrics.activated()
	a.rt.workers.activated()
	err := a.recover()
	switch {
	case err == nil:
		a.core.begin()
	case !errors.Is(err, ErrCorrupt):
		// Whatever it is, it says nothing about the journal, and may pass.
		if !Retryable(err) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		a.core.fail(err)
	default:
		a.rt.Logger.Error("actor refuses everything: its journal cannot be trusted", "kind", a.addr.Kind, "id", a.addr.ID, "error", err)
		a.rt.Metrics.corrupt()
		a.core.ended = err
	}
}

func (a *activation[S, E]) recover() error {
	// Nothing can stop an activation before it has begun.
	within, cancel := context.WithTimeout(context.Background(), settleFor)
	defer cancel()
	if err := a.rt.Log.Settle(within, a.addr); err != nil {
		return err
	}
	reading, done := context.WithTimeout(context.Background(), a.rt.Limits.RecoverFor)
	defer done()
	return a.core.recoverFrom(reading, a.rt.Store)
}

// passivate ends an idle activation, and one that refuses everything, so that
// a mended journal is read again.
func (a *activation[S, E]) passivate() {
	if !a.core.passivate() {
		return
	}
	a.end(nil)
}

// drain lets an actor finish, and hurries it when it takes too long; one that
// refuses everything has nothing to finish.
func (a *activation[S, E]) drain(hurry bool) {
	if a.core.ended != nil {
		a.end(nil)
		return
	}
	a.core.drain(hurry)
	if a.core.ended == nil && !a.core.impatient {
		a.patience = time.AfterFunc(a.rt.Limits.StopFor, func() { a.tell(&Drain{}) })
	}
}

func (a *activation[S, E]) condition() Condition {
	return Condition{
		Version: a.core.durable, SnapshotVersion: a.core.snapshotVersion,
		Mailbox: a.box.UserMessageCount(), Unanswered: a.core.unanswered,
	}
}

// stopping is the end: here also when the actor system stops the actor from
// outside. A write in flight is waited for, so its callers get the truth.
func (a *activation[S, E]) stopping() {
	a.box.shut.Store(true)
	if a.core == nil {
		return
	}
	defer a.rt.workers.deactivated()
	a.core.draining, a.core.impatient = true, true
	a.core.gathered()
	if a.core.ended == nil && a.core.flying != nil {
		a.awaitFlying()
	}
	if a.core.ended == nil {
		a.core.finish(nil)
	}
	for _, t := range []*time.Timer{a.timer, a.patience} {
		if t != nil {
			t.Stop()
		}
	}
	a.stop()
}

// awaitFlying hears the outcome of the write in flight, and of those that
// follow from it, for as long as an actor may take to stop.
func (a *activation[S, E]) awaitFlying() {
	late := time.NewTimer(a.rt.Limits.StopFor)
	defer late.Stop()
	for a.core.ended == nil && a.core.flying != nil {
		select {
		case m := <-a.written:
			a.core.committed(m.seq, m.err)
		case <-late.C:
			return
		}
	}
}

func (a *activation[S, E]) tell(message any) { a.system.Root.Send(a.self, message) }
