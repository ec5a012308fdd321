// Package cluster is how a message finds its actor: placement, the request
// path, passivation and drain, on protoactor-go's actor system. It knows
// addresses and messages, not kinds or databases.
//
// A node is a cluster of one (NewNode), or a member of one of many (NewMember):
// then rendezvous hashing over the newest view of its members says who owns an
// address, a request goes there, and actors move in order when the view changes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// Caller sends a command to a virtual actor and waits for its answer: the one
// request path. It retries within the context's deadline with the same
// command; every command is idempotent. Its errors wrap those of entity.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

// Options bounds a node.
type Options struct {
	// MaxInFlight is how many calls the node carries at once; more are refused.
	// What actors ask each other is not counted: it belongs to calls that are,
	// and were it refused, those could not end and make room.
	MaxInFlight int
	// AttemptFor is how long one attempt waits before the request is sent again.
	AttemptFor time.Duration
	// RemoteAttemptFor is AttemptFor where another node is asked.
	RemoteAttemptFor time.Duration
	// CallFor bounds a call whose context has no deadline.
	CallFor time.Duration
	// PassivateAfter is how long an actor stays in memory without a request.
	PassivateAfter time.Duration
	// MaxActive is how many actors stay in memory: over it, idle ones are
	// passivated however recently they were used; at twice as many, no more are
	// started.
	MaxActive int
	// SweepEvery is how often idle actors are looked for.
	SweepEvery time.Duration
}

// DefaultOptions fit one node of a few cores.
func DefaultOptions() Options {
	return Options{
		MaxInFlight:      16384,
		AttemptFor:       2 * time.Second,
		RemoteAttemptFor: time.Second,
		CallFor:          10 * time.Second,
		PassivateAfter:   time.Minute,
		MaxActive:        200_000,
		SweepEvery:       time.Second,
	}
}

// Node hosts actors and carries calls to them. It implements Caller.
type Node struct {
	system   *actor.ActorSystem
	actors   *placement
	peers    *peers // nil in a cluster of one
	ports    map[string]Caller
	options  Options
	logger   *slog.Logger
	inFlight atomic.Int64
	watches  atomic.Int64
	waiters  sync.Pool

	stop     context.CancelFunc
	sweeper  sync.WaitGroup
	shutdown sync.Once
	halt     sync.Once
}

// NewNode starts a cluster of one that hosts the given kinds. Ports are what
// can be asked like an actor but is none, by kind, e.g. "payment".
func NewNode(logger *slog.Logger, kinds []entity.Spawner, ports map[string]Caller, o Options) *Node {
	n := newNode(logger, kinds, ports, o)
	n.begin()
	return n
}

// newNode makes a node that does nothing by itself before begin.
func newNode(logger *slog.Logger, kinds []entity.Spawner, ports map[string]Caller, o Options) *Node {
	system := actor.NewActorSystemWithConfig(actor.Configure(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger.With("in", "actors") }),
		// A dead letter is ordinary here: the caller sends its request again.
		actor.WithDeadLetterThrottleCount(0),
		actor.WithDeadLetterRequestLogging(false),
	))
	// A request to an actor that has just ended is not left to its caller's patience.
	system.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok {
			if req, ok := letter.Message.(*entity.Request); ok {
				req.Answer.Answer(nil, entity.ErrRetry)
			}
		}
	})
	return &Node{system: system, actors: newPlacement(system, kinds, 2*o.MaxActive), ports: ports, options: o, logger: logger, waiters: sync.Pool{New: newWaiter}}
}

func (n *Node) begin() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.sweeper.Go(func() { n.sweep(ctx) })
}

// Call implements Caller.
func (n *Node) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	if port := n.ports[to.Kind]; port != nil {
		return port.Call(ctx, to, cmd)
	}
	if reply := n.glimpse(to, cmd); reply != nil {
		return reply, nil
	}
	wait := entity.WaitOf(ctx)
	if wait > 0 {
		if err := n.watching(); err != nil {
			return nil, err
		}
		defer n.watches.Add(-1)
	} else if !entity.IsAsk(ctx) {
		if n.inFlight.Add(1) > int64(n.options.MaxInFlight) {
			n.inFlight.Add(-1)
			return nil, fmt.Errorf("%w: the node carries %d calls", entity.ErrOverloaded, n.options.MaxInFlight)
		}
		defer n.inFlight.Add(-1)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(wait + n.options.CallFor)
	}
	var trouble trouble
	for try := 1; ; try++ {
		reply, err := n.attempt(ctx, to, cmd, deadline)
		if n.peers != nil && errors.Is(err, entity.ErrUnknownKind) && n.actors.kinds[to.Kind] != nil {
			err = fmt.Errorf("%w: %w", errUnknownCommand, err) // this node knows the kind, and its owner does not
		}
		if err == nil || !again(err) || n.unfit() {
			n.recovered(&trouble, err)
			return reply, trouble.said(err)
		}
		n.doubt(&trouble, to.Kind, cmd, err)
		if wait := n.troubled(&trouble, try, err); time.Until(deadline) < wait || !sleep(ctx, wait) {
			return nil, fmt.Errorf("%s %s after %d attempts: %w", to.Kind, to.ID, try, trouble.said(err))
		}
	}
}

// Send implements entity.Sender: for what this node owns.
func (n *Node) Send(to entity.Address, req *entity.Request) bool {
	if n.ports[to.Kind] != nil {
		return false
	}
	owner, err := n.elsewhere(to)
	return err == nil && owner == nil && n.actors.deliver(to, req) == nil
}

// again reports whether the request path itself tries again: not when the
// actor or the node has too much to do already, for that makes more of it; not
// when the node is leaving or may not decide, or nobody can, or the disk is full,
// for that does not pass soon; and not when the owner does not know the command.
func again(err error) bool {
	if !entity.Retryable(err) {
		return false
	}
	for _, final := range []error{entity.ErrOverloaded, entity.ErrFull, errDeadline, errDraining, errUnfit, errNoOwner, errUnknownCommand} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// unfit reports whether this node's lease does not hold. It then decides nothing,
// may ask those who own nothing any more, and cannot learn better: whoever waits
// here would wait for the database, and is told to come again.
func (n *Node) unfit() bool { return n.peers != nil && n.peers.membership.Fit() != nil }

// errDeadline: the caller's own time is up, or the caller has gone.
var errDeadline = fmt.Errorf("%w: the caller's deadline has passed", entity.ErrTimeout)

// attempt sends the request once, to whoever owns the actor now, and waits for
// the answer.
func (n *Node) attempt(ctx context.Context, to entity.Address, cmd proto.Message, deadline time.Time) (proto.Message, error) {
	w := n.waiters.Get().(*waiter)
	t := &ticket{waiter: w}
	wait := entity.WaitOf(ctx)
	within := min(wait+n.options.AttemptFor, time.Until(deadline))
	var sent remoteCall
	owner, err := n.elsewhere(to)
	switch {
	case err != nil:
	case owner == nil:
		err = n.actors.deliver(to, &entity.Request{Command: cmd, Trace: entity.TraceFrom(ctx), Answer: t})
	default:
		within = min(wait+n.options.RemoteAttemptFor, within)
		sent, err = owner.call(ctx, to, cmd, within, t)
	}
	if err != nil {
		return n.done(w, answer{err: err})
	}
	w.timer.Reset(max(0, within))
	err = entity.ErrTimeout
	select {
	case a := <-w.answers:
		return n.done(w, a)
	case <-ctx.Done():
		err = errDeadline
	case <-w.timer.C:
		if !time.Now().Before(deadline) {
			err = errDeadline
		}
	}
	sent.forget()
	if t.used.Swap(true) {
		// The answer came at the last moment: it is here, or about to be.
		return n.done(w, <-w.answers)
	}
	return n.done(w, answer{err: err})
}

// done makes the waiter fit for another attempt.
func (n *Node) done(w *waiter, a answer) (proto.Message, error) {
	w.timer.Stop()
	n.waiters.Put(w)
	return a.reply, a.err
}

// waiter waits for the one answer to one attempt, and then for that to another.
type waiter struct {
	answers chan answer
	timer   *time.Timer
}

type answer struct {
	reply proto.Message
	err   error
}

func newWaiter() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{answers: make(chan answer, 1), timer: t}
}

// ticket is one attempt's claim to its waiter: it is used once, by the first
// answer or by the caller who gives up. So a late or a second answer never
// reaches the waiter's next attempt.
type ticket struct {
	waiter *waiter
	used   atomic.Bool
}

// Answer implements entity.Responder.
func (t *ticket) Answer(reply proto.Message, err error) {
	if !t.used.Swap(true) {
		t.waiter.answers <- answer{reply, err}
	}
}

// Active is the number of actors in memory, by kind.
func (n *Node) Active() map[string]int { return n.actors.count() }

// HandOver has a member of many own nothing any more and hand its actors over.
// It goes on answering its callers, by asking the new owners, until Close; the
// last one that hosts actors keeps them until then. A cluster of one has nobody
// to hand over to.
func (n *Node) HandOver(ctx context.Context) error {
	if n.peers == nil {
		return nil
	}
	return n.peers.handAllOver(ctx)
}

// Close drains the node. In a cluster of one: no new activations, every actor
// finishes what it has begun and ends. A member of many hands its actors over
// first, goes on answering its callers by asking their new owners until no call
// is open, and leaves. It returns when all is done, or when ctx is.
func (n *Node) Close(ctx context.Context) error {
	n.stop()
	n.sweeper.Wait()
	var left error
	n.shutdown.Do(func() {
		if n.peers != nil {
			left = n.peers.leave(ctx)
		}
	})
	err := n.actors.drain(ctx)
	n.halt.Do(n.system.Shutdown)
	return errors.Join(left, err)
}
