// Package cluster is how a message finds its actor: placement, the request
// path, passivation and drain, on protoactor-go's actor system. It knows
// addresses and messages, not kinds or databases.
//
// Today's cluster is one node. What several need stands behind directory: who
// owns an address, and how a request gets there.
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
		MaxInFlight:    16384,
		AttemptFor:     2 * time.Second,
		CallFor:        10 * time.Second,
		PassivateAfter: time.Minute,
		MaxActive:      200_000,
		SweepEvery:     time.Second,
	}
}

// Node hosts actors and carries calls to them. It implements Caller.
type Node struct {
	system   *actor.ActorSystem
	actors   *placement
	ports    map[string]Caller
	options  Options
	logger   *slog.Logger
	inFlight atomic.Int64
	watches  atomic.Int64
	waiters  sync.Pool

	stop     context.CancelFunc
	sweeper  sync.WaitGroup
	shutdown sync.Once
}

// NewNode starts a cluster of one that hosts the given kinds. Ports are what
// can be asked like an actor but is none, by kind, e.g. "payment".
func NewNode(logger *slog.Logger, kinds []entity.Spawner, ports map[string]Caller, o Options) *Node {
	system := actor.NewActorSystemWithConfig(actor.Configure(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger.With("in", "actors") }),
		// A dead letter is ordinary here: the caller sends its request again.
		actor.WithDeadLetterThrottleCount(0),
		actor.WithDeadLetterRequestLogging(false),
	))
	ctx, stop := context.WithCancel(context.Background())
	// A request to an actor that has just ended is not left to its caller's patience.
	system.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok {
			if req, ok := letter.Message.(*entity.Request); ok {
				req.Answer.Answer(nil, entity.ErrRetry)
			}
		}
	})
	n := &Node{system: system, actors: newPlacement(system, kinds, 2*o.MaxActive), ports: ports, options: o, logger: logger, stop: stop, waiters: sync.Pool{New: newWaiter}}
	n.sweeper.Go(func() { n.sweep(ctx) })
	return n
}

// Call implements Caller.
func (n *Node) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	if port := n.ports[to.Kind]; port != nil {
		return port.Call(ctx, to, cmd)
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
	var lastErr error
	for try := 1; ; try++ {
		reply, err := n.attempt(ctx, to, cmd, deadline)
		if err == nil || !again(err) {
			return reply, err
		}
		lastErr = err
		if wait := backoff(try); time.Until(deadline) < wait || !sleep(ctx, wait) {
			return nil, fmt.Errorf("%s %s after %d attempts: %w", to.Kind, to.ID, try, lastErr)
		}
	}
}

// again reports whether the request path itself tries again: not when the
// actor or the node has too much to do already, for that makes more of it, and
// not when the node is leaving, for it does not come back.
func again(err error) bool {
	return entity.Retryable(err) && !errors.Is(err, entity.ErrOverloaded) && !errors.Is(err, errDeadline) && !errors.Is(err, errDraining)
}

// errDeadline: the caller's own time is up, or the caller has gone.
var errDeadline = fmt.Errorf("%w: the caller's deadline has passed", entity.ErrTimeout)

// attempt sends the request once and waits for the answer.
func (n *Node) attempt(ctx context.Context, to entity.Address, cmd proto.Message, deadline time.Time) (proto.Message, error) {
	pid, err := n.actors.locate(to)
	if err != nil {
		return nil, err
	}
	w := n.waiters.Get().(*waiter)
	t := &ticket{waiter: w}
	n.system.Root.Send(pid, &entity.Request{Command: cmd, Trace: entity.TraceFrom(ctx), Answer: t})
	w.timer.Reset(max(0, min(entity.WaitOf(ctx)+n.options.AttemptFor, time.Until(deadline))))
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

// Close drains the node: no new activations, every actor finishes what it has
// begun and ends. It returns when all have, or when ctx is done.
func (n *Node) Close(ctx context.Context) error {
	n.stop()
	n.sweeper.Wait()
	err := n.actors.drain(ctx)
	n.shutdown.Do(n.system.Shutdown)
	return err
}
