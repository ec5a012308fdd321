package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"

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
	kinds    map[string]*hosted
	most     int // activations
	shards   [placementShards]shard
	seed     maphash.Seed
	sequence atomic.Uint64
	// peers are asked before an actor is started; nil in a cluster of one.
	peers *peers
	// clock is the sweeper's count of rounds: cheaper to note than the time.
	clock atomic.Int64
}

// hosted is a kind on this node.
type hosted struct {
	entity.Spawner
	active atomic.Int64
	closed atomic.Bool // no new activations
}

type shard struct {
	mu     sync.RWMutex
	active map[entity.Address]*activation
}

// activation is one actor in memory.
type activation struct {
	pid  *actor.PID
	used atomic.Int64 // the placement's clock when it was last asked for
	// window is where it may be read without being asked.
	window entity.Window
	gone   atomic.Bool // it has ended
	// then is what is to be done when it has ended; the shard's lock guards it.
	then []func()
}

func newPlacement(system *actor.ActorSystem, kinds []entity.Spawner, most int) *placement {
	p := &placement{system: system, kinds: map[string]*hosted{}, most: most, seed: maphash.MakeSeed()}
	for _, k := range kinds {
		p.kinds[k.Kind] = &hosted{Spawner: k}
	}
	for i := range p.shards {
		p.shards[i].active = map[entity.Address]*activation{}
	}
	return p
}

func (p *placement) shard(addr entity.Address) *shard {
	return &p.shards[maphash.Comparable(p.seed, addr)%placementShards]
}

// deliver hands a request to the actor, and starts the actor if it is not in
// memory. What cannot be handed over now, because another node may have the
// actor, waits until it can.
func (p *placement) deliver(addr entity.Address, req *entity.Request) error {
	pid, err := p.locate(addr)
	if err == nil {
		p.system.Root.Send(pid, req)
		return nil
	}
	if errors.Is(err, errHeld) {
		return p.peers.claims.hold(addr, req)
	}
	return err
}

// admitted starts an actor that no other node has by the view, and hands it
// what has waited.
func (p *placement) admitted(addr entity.Address, waiting []*entity.Request, view uint64) {
	pid, err := p.start(addr, view)
	for _, req := range waiting {
		switch {
		case err == nil:
			p.system.Root.Send(pid, req)
		case errors.Is(err, errHeld): // a newer view has come in between
			if err := p.peers.claims.hold(addr, req); err != nil {
				req.Answer.Answer(nil, err)
			}
		default:
			req.Answer.Answer(nil, err)
		}
	}
}

// locate returns the actor's process, and starts the actor if it is not in memory.
func (p *placement) locate(addr entity.Address) (*actor.PID, error) { return p.start(addr, 0) }

// start is locate, when all others have been asked by the view.
func (p *placement) start(addr entity.Address, view uint64) (*actor.PID, error) {
	a := p.find(addr)
	if a == nil {
		var err error
		if a, err = p.activate(addr, view); err != nil {
			return nil, err
		}
	}
	a.used.Store(p.clock.Load())
	return a.pid, nil
}

// wake starts the actor if it is not in memory. One that is has timers of its
// own. It does not count as used: if it knows of nothing to do, because its
// journal has an end that it has not read, it passivates, and its successor
// reads it.
func (p *placement) wake(addr entity.Address) error {
	if p.find(addr) != nil || p.peers != nil && !p.peers.owns(addr) {
		return nil
	}
	_, err := p.locate(addr)
	if errors.Is(err, errHeld) {
		return p.peers.claims.hold(addr, nil)
	}
	return err
}

func (p *placement) find(addr entity.Address) *activation {
	s := p.shard(addr)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.active[addr]
}

// errDraining: this node starts no more actors of the kind, and will not again.
var errDraining = fmt.Errorf("%w: the node is draining", entity.ErrRetry)

func (p *placement) activate(addr entity.Address, view uint64) (*activation, error) {
	kind, ok := p.kinds[addr.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: %q", entity.ErrUnknownKind, addr.Kind)
	}
	if p.full() {
		return nil, fmt.Errorf("%w: the node has %d actors in memory", entity.ErrOverloaded, p.most)
	}
	s := p.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.active[addr]; a != nil {
		return a, nil
	}
	if kind.closed.Load() {
		return nil, errDraining
	}
	if p.peers != nil {
		if err := p.peers.admit(addr, view); err != nil {
			return nil, err
		}
		p.peers.metrics.activated(addr.Kind)
	}
	a := &activation{}
	name := addr.Kind + "/" + addr.ID + "$" + strconv.FormatUint(p.sequence.Add(1), 36)
	pid, err := p.system.Root.SpawnNamed(kind.Props(addr.ID, func() { p.forget(addr, a) }, &a.window), name)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", addr.Stream(), err)
	}
	a.pid = pid
	s.active[addr] = a
	kind.active.Add(1)
	return a, nil
}

// forget drops an activation that has ended, if it still is the present one.
func (p *placement) forget(addr entity.Address, a *activation) {
	s := p.shard(addr)
	s.mu.Lock()
	if s.active[addr] == a {
		delete(s.active, addr)
		p.kinds[addr.Kind].active.Add(-1)
	}
	a.gone.Store(true)
	then := a.then
	a.then = nil
	s.mu.Unlock()
	for _, do := range then {
		do()
	}
}

// release ends the actor, and calls done when it has, at once if it is not in memory.
func (p *placement) release(addr entity.Address, done func()) {
	s := p.shard(addr)
	s.mu.Lock()
	a := s.active[addr]
	if a == nil {
		s.mu.Unlock()
		done()
		return
	}
	a.then = append(a.then, done)
	s.mu.Unlock()
	p.system.Root.Send(a.pid, &entity.Drain{Hurry: true})
}

// sweep asks the actors that nobody asked for in the last keep rounds to
// passivate; when more than most are in memory, all that are not in use now.
// Whether one does is for it to say: it may have work or a deadline ahead.
func (p *placement) sweep(keep int64, most int) {
	now := p.clock.Add(1)
	if p.total() > most {
		keep = 1
	}
	p.each(func(_ entity.Address, a *activation) {
		if now-a.used.Load() > keep {
			p.system.Root.Send(a.pid, &entity.Passivate{})
		}
	})
}

// each calls do with every activation, with no lock held.
func (p *placement) each(do func(entity.Address, *activation)) {
	type entry struct {
		addr entity.Address
		a    *activation
	}
	var all []entry
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.RLock()
		for addr, a := range s.active {
			all = append(all, entry{addr, a})
		}
		s.mu.RUnlock()
		for _, e := range all {
			do(e.addr, e.a)
		}
		clear(all)
		all = all[:0]
	}
}

// full reports whether no more actors are started: those that wait to be count.
func (p *placement) full() bool {
	n := p.total()
	if p.peers != nil {
		n += p.peers.claims.count()
	}
	return n >= p.most
}

func (p *placement) total() int {
	n := 0
	for _, k := range p.kinds {
		n += int(k.active.Load())
	}
	return n
}

func (p *placement) count() map[string]int {
	n := map[string]int{}
	for name, k := range p.kinds {
		n[name] = int(k.active.Load())
	}
	return n
}

// sweep passivates idle actors until ctx ends.
func (n *Node) sweep(ctx context.Context) {
	keep := int64(n.options.PassivateAfter / n.options.SweepEvery)
	for sleep(ctx, n.options.SweepEvery) {
		n.actors.sweep(keep, n.options.MaxActive)
	}
}
