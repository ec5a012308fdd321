// Package live is how a node's subscribers hear of what changes: one watch per
// actor, however many want to know of it, and each is told the newest there is
// when it is its turn. It knows actors and their versions, not what is in their
// states, and nothing of GraphQL or sockets.
package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"stampede/actors/entity"
)

// Caller sends a command to an actor and waits for its answer.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

// Kind is what the hub must know of a kind of actor.
type Kind struct {
	Name string
	// Get is the command that shows the state and changes nothing.
	Get proto.Message
	// Version is that of the state in an answer to Get; 0: there is no such thing.
	Version func(reply proto.Message) uint64
}

// Limits bound a hub. Zero fields take the default.
type Limits struct {
	// Topics is how many actors are watched at once. Each is a goroutine that
	// sleeps, and keeps its actor in memory.
	Topics int
	// WatchFor is how long one watch waits for a change before it is asked again.
	WatchFor time.Duration
	// Gap is the least time between two states of one actor: what changes faster
	// is not looked at.
	Gap time.Duration
}

// DefaultLimits fit one node.
func DefaultLimits() Limits {
	return Limits{Topics: 20_000, WatchFor: 15 * time.Second, Gap: 20 * time.Millisecond}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Topics <= 0 {
		l.Topics = d.Topics
	}
	if l.WatchFor <= 0 {
		l.WatchFor = d.WatchFor
	}
	if l.Gap <= 0 {
		l.Gap = d.Gap
	}
	return l
}

// Hub is a node's. It owns the topics and their goroutines; Close ends them.
//
// Locks are taken in this order: hub, topic, subscription.
type Hub struct {
	caller Caller
	limits Limits
	logger *slog.Logger

	ctx    context.Context //nolint:containedctx // ends with the hub
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu     sync.Mutex
	topics map[entity.Address]*topic
	closed bool
}

// NewHub makes a hub that watches nothing yet.
func NewHub(caller Caller, limits Limits, logger *slog.Logger) *Hub {
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub{caller: caller, limits: limits.orDefault(), logger: logger, ctx: ctx, cancel: cancel, topics: map[entity.Address]*topic{}}
}

// Topics is how many actors are watched.
func (h *Hub) Topics() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// Close ends every watch. Subscriptions hear nothing more.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.asking.Wait()
	h.mu.Lock()
	clear(h.topics)
	h.mu.Unlock()
}

// join adds a feed to its actor's topic, which is made if there is none.
func (h *Hub) join(kind *Kind, id string, f *feed) error {
	addr := entity.Address{Kind: kind.Name, ID: id}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fmt.Errorf("%w: the hub is closed", entity.ErrRetry)
	}
	t := h.topics[addr]
	if t == nil {
		if len(h.topics) >= h.limits.Topics {
			return fmt.Errorf("%w: the node watches %d actors", entity.ErrOverloaded, h.limits.Topics)
		}
		watch, err := anypb.New(kind.Get)
		if err != nil {
			return fmt.Errorf("watch %s: %w", kind.Name, err)
		}
		t = &topic{hub: h, kind: kind, addr: addr, watch: watch}
		h.topics[addr] = t
		h.asking.Go(t.run)
	}
	t.add(f)
	return nil
}

// leave forgets a topic that nobody listens to, and reports whether it did. One
// that was just joined again goes on.
func (h *Hub) leave(t *topic) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.feeds) > 0 {
		return false
	}
	delete(h.topics, t.addr)
	return true
}

// drop forgets a topic that has ended, and tells its listeners.
func (h *Hub) drop(t *topic, err error) {
	h.mu.Lock()
	delete(h.topics, t.addr)
	h.mu.Unlock()
	t.end(err)
}
