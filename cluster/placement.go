package cluster

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"stampede/actors/entity"
)

// placementShards is how many parts the table of activations has, so that
// activating one actor does not wait for another.
const placementShards = 64

// placement is where the node's actors are: it starts an actor when it is
// first asked for and forgets it when it has ended. At most one activation of
// an address takes requests at a time; one that is ending may still be
// writing, and the journal's fence decides between them.
type placement struct {
	system   *actor.ActorSystem
	kinds    map[string]entity.Spawner
	shards   [placementShards]shard
	seed     maphash.Seed
	sequence atomic.Uint64
	closed   atomic.Bool
	// clock is the sweeper's count of rounds: cheaper to note than the time.
	clock atomic.Int64
}

type shard struct {
	mu     sync.RWMutex
	active map[entity.Address]*activation
}

// activation is one actor in memory.
type activation struct {
	pid  *actor.PID
	used atomic.Int64 // the placement's clock when it was last asked for
}

func newPlacement(system *actor.ActorSystem, kinds []entity.Spawner) *placement {
	p := &placement{system: system, kinds: map[string]entity.Spawner{}, seed: maphash.MakeSeed()}
	for _, k := range kinds {
		p.kinds[k.Kind] = k
	}
	for i := range p.shards {
		p.shards[i].active = map[entity.Address]*activation{}
	}
	return p
}

func (p *placement) shard(addr entity.Address) *shard {
	return &p.shards[maphash.Comparable(p.seed, addr)%placementShards]
}

// locate returns the actor's process, and starts the actor if it is not in memory.
func (p *placement) locate(addr entity.Address) (*actor.PID, error) {
	s := p.shard(addr)
	s.mu.RLock()
	a := s.active[addr]
	s.mu.RUnlock()
	if a == nil {
		var err error
		if a, err = p.activate(s, addr); err != nil {
			return nil, err
		}
	}
	a.used.Store(p.clock.Load())
	return a.pid, nil
}

func (p *placement) activate(s *shard, addr entity.Address) (*activation, error) {
	kind, ok := p.kinds[addr.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: %q", entity.ErrUnknownKind, addr.Kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.active[addr]; a != nil {
		return a, nil
	}
	if p.closed.Load() {
		return nil, fmt.Errorf("%w: the node is draining", entity.ErrRetry)
	}
	a := &activation{}
	name := addr.Kind + "/" + addr.ID + "$" + strconv.FormatUint(p.sequence.Add(1), 36)
	pid, err := p.system.Root.SpawnNamed(kind.Props(addr.ID, func() { p.forget(addr, a) }), name)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", addr.Stream(), err)
	}
	a.pid = pid
	s.active[addr] = a
	return a, nil
}

// forget drops an activation that has ended, if it still is the present one.
func (p *placement) forget(addr entity.Address, a *activation) {
	s := p.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[addr] == a {
		delete(s.active, addr)
	}
}

// sweep asks the actors that nobody asked for in the last keep rounds to
// passivate; when more than most are in memory, all that are not in use now.
// Whether one does is for it to say: it may have work or a deadline ahead.
func (p *placement) sweep(keep int64, most int) {
	now := p.clock.Add(1)
	if p.total() > most {
		keep = 1
	}
	for i := range p.shards {
		for _, a := range p.shards[i].list() {
			if now-a.used.Load() > keep {
				p.system.Root.Send(a.pid, &entity.Passivate{})
			}
		}
	}
}

func (s *shard) list() []*activation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*activation, 0, len(s.active))
	for _, a := range s.active {
		all = append(all, a)
	}
	return all
}

func (p *placement) total() int {
	n := 0
	for i := range p.shards {
		p.shards[i].mu.RLock()
		n += len(p.shards[i].active)
		p.shards[i].mu.RUnlock()
	}
	return n
}

func (p *placement) count() map[string]int {
	n := map[string]int{}
	for kind := range p.kinds {
		n[kind] = 0
	}
	for i := range p.shards {
		p.shards[i].mu.RLock()
		for addr := range p.shards[i].active {
			n[addr.Kind]++
		}
		p.shards[i].mu.RUnlock()
	}
	return n
}

// drainPoll is how often drain looks whether all actors have ended.
const drainPoll = 5 * time.Millisecond

// drain refuses new activations, tells every actor to finish, and waits.
func (p *placement) drain(ctx context.Context) error {
	p.closed.Store(true)
	for i := range p.shards {
		for _, a := range p.shards[i].list() {
			p.system.Root.Send(a.pid, &entity.Drain{})
		}
	}
	for {
		left := p.total()
		if left == 0 {
			return nil
		}
		if !sleep(ctx, drainPoll) {
			return fmt.Errorf("drain: %d actors still had something to finish: %w", left, ctx.Err())
		}
	}
}

// sweep passivates idle actors until ctx ends.
func (n *Node) sweep(ctx context.Context) {
	keep := int64(n.options.PassivateAfter / n.options.SweepEvery)
	for sleep(ctx, n.options.SweepEvery) {
		n.actors.sweep(keep, n.options.MaxActive)
	}
}
