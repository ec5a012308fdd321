package cluster

// This file is a node's place among several: the views it has seen, its ways to
// the others, and what they send. A cluster of one has none of it.

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

const (
	// tickEvery is how often silent peers, held requests and missed views are seen to.
	tickEvery = 50 * time.Millisecond
	// maxLinks bounds the ways to others: to all members, and to as many that are
	// not in the view, yet or any more.
	maxLinks = 2 * members.MaxAlive
	// strangerFor is how long one that is not in the view may be silent before it
	// is forgotten.
	strangerFor = 10 * time.Second
)

// peers is one node's side of a cluster.
//
// Its lock guards the links alone, and no call to another node is made under
// it. What the request path reads (the present view, who handed over what) is
// atomic.
type peers struct {
	node       *Node
	self       string
	address    string
	membership Membership
	transport  Transport
	metrics    *Metrics
	logger     *slog.Logger
	// grace is how long an owner that says nothing has had a view, at least, before
	// it is not waited for any more.
	grace time.Duration

	present    atomic.Pointer[standing]
	handedOver atomic.Uint64 // by this view everything was handed over
	heardOf    atomic.Uint64 // the newest view that anyone has mentioned
	mustSee    atomic.Uint64 // no actor is started before this view was seen
	pending    atomic.Int64  // actors still to be handed over
	requests   atomic.Uint64 // ids
	asked      atomic.Int64  // the moment when another node last sent a request
	began      time.Time     // what moments are reckoned from
	changed    chan struct{} // a new view is to be acted on
	claims     claims

	mu      sync.Mutex
	links   map[string]*link
	ended   bool
	running sync.WaitGroup
	stop    context.CancelFunc
	unwatch func()
}

func newPeers(n *Node, c MemberConfig) *peers {
	self := c.Membership.Self()
	p := &peers{
		node: n, self: self.ID, address: self.Address, membership: c.Membership, transport: c.Transport,
		metrics: c.Metrics, logger: n.logger, grace: c.Grace, began: time.Now(), changed: make(chan struct{}, 1), links: map[string]*link{},
	}
	if p.grace <= 0 {
		p.grace = defaultGrace
	}
	p.present.Store(newStanding(&members.View{}, nil))
	p.claims = claims{peers: p, all: map[entity.Address]*claim{}}
	return p
}

// moment is a reading of the monotonic clock: what the wall clock shows may jump.
func (p *peers) moment() int64 { return int64(time.Since(p.began)) }

// start begins to take part. The node is whole by now.
func (p *peers) start() {
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	p.adopt(p.membership.View())
	p.unwatch = p.membership.Watch(p.adopt)
	p.running.Go(func() { p.move(ctx) })
	p.running.Go(func() { p.tick(ctx) })
	p.transport.Serve(p.receive)
}

// end stops taking part: whatever is open is told that the connection is lost.
func (p *peers) end() {
	p.unwatch()
	p.stop()
	p.mu.Lock()
	p.ended = true
	links := p.links
	p.links = map[string]*link{}
	p.mu.Unlock()
	for _, l := range links {
		l.end()
	}
	p.running.Wait()
	p.transport.Close()
	p.claims.refuse(entity.ErrRetry)
}

// adopt takes in a view. From its return on, this node refuses what it does
// not own by it.
func (p *peers) adopt(v *members.View) {
	if v == nil {
		return
	}
	p.mu.Lock()
	before := p.present.Load()
	if p.ended || v.Version <= before.version() {
		p.mu.Unlock()
		return
	}
	s := newStanding(v, before)
	var gone, here []*link
	for i := range v.Members {
		if m := &v.Members[i]; m.ID != p.self {
			l := p.linkTo(m.ID, m.Address)
			here = append(here, l)
			if m.Is(members.Actors) && !fresh(m) {
				s.hosts = append(s.hosts, l)
			}
		}
	}
	for id, l := range p.links {
		if v.Find(id) == nil {
			delete(p.links, id)
			gone = append(gone, l)
		}
	}
	raise(&p.heardOf, v.Version)
	p.present.Store(s)
	p.mu.Unlock()
	for _, l := range gone {
		l.end()
		p.metrics.forget(l.id)
	}
	for _, l := range here {
		l.say()
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// linkTo is called with the lock held.
func (p *peers) linkTo(id, address string) *link {
	l := p.links[id]
	if l == nil {
		l = newLink(p, id, address)
		p.links[id] = l
	}
	return l
}

// link returns the way to a member, or nil.
func (p *peers) link(id string) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links[id]
}

func (p *peers) all() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*link, 0, len(p.links))
	for _, l := range p.links {
		all = append(all, l)
	}
	return all
}

// hearOf notes that a view exists, and has it read if it is new.
func (p *peers) hearOf(version uint64) {
	if raise(&p.heardOf, version) {
		p.membership.Refresh()
	}
}

// raise sets the value to at least v, and reports whether it was less.
func raise(value *atomic.Uint64, v uint64) bool {
	for {
		old := value.Load()
		if v <= old {
			return false
		}
		if value.CompareAndSwap(old, v) {
			return true
		}
	}
}

// tick sees to what nobody reports: silence, and what was lost on the way.
func (p *peers) tick(ctx context.Context) {
	for sleep(ctx, tickEvery) {
		now := time.Now()
		for _, l := range p.all() {
			l.check(now)
		}
		p.forgetStrangers()
		if s := p.present.Load(); p.heardOf.Load() > s.version() {
			p.membership.Refresh()
		}
		p.claims.reconsiderAll()
	}
}

// forgetStrangers ends the ways to those who are not in the view and have not
// been heard of for a while: the last words of one that has left, or one that
// never came.
func (p *peers) forgetStrangers() {
	var gone []*link
	p.mu.Lock()
	s := p.present.Load()
	for id, l := range p.links {
		if s.view.Find(id) == nil && p.moment()-l.spoke.Load() > int64(strangerFor) {
			delete(p.links, id)
			gone = append(gone, l)
		}
	}
	p.mu.Unlock()
	for _, l := range gone {
		l.end()
		p.metrics.forget(l.id)
	}
}

// greeting is a frame for the member with nothing in it yet.
func (p *peers) greeting(to string) *clusterpb.Frame {
	// What was handed over is read first: it is never newer than the view.
	done := p.handedOver.Load()
	return &clusterpb.Frame{From: p.self, Address: p.address, To: to, View: p.present.Load().version(), HandedOver: done}
}

// receive takes in what another node has sent.
func (p *peers) receive(f *clusterpb.Frame) {
	if f.GetTo() != p.self || f.GetFrom() == p.self {
		return // for one that was at this address before
	}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	// A member that this node's view does not have yet is answered all the same.
	if p.links[f.GetFrom()] == nil && len(p.links) >= maxLinks {
		p.mu.Unlock()
		return
	}
	l := p.linkTo(f.GetFrom(), f.GetAddress())
	l.spoke.Store(p.moment())
	p.mu.Unlock()
	p.hearOf(f.GetView())
	if raise(&l.handedOver, f.GetHandedOver()) {
		p.claims.reconsiderAll()
	}
	l.hear(f)
}

// serve does what a request of another node asks for.
func (p *peers) serve(r *clusterpb.Request, cmd proto.Message, to entity.Responder) {
	addr := entity.Address{Kind: r.GetKind(), ID: r.GetKey()}
	switch m := cmd.(type) {
	case *clusterpb.Ping:
		to.Answer(&clusterpb.Pong{}, nil)
	case *clusterpb.Release:
		p.release(addr, m.GetView(), to)
	case *clusterpb.Inspect:
		p.node.actors.inspect(addr, func(c *clusterpb.Condition) { to.Answer(c, nil) })
	case *clusterpb.Count:
		to.Answer(p.node.counted(), nil)
	default:
		if err := p.node.arrive(addr, &entity.Request{Command: cmd, Trace: r.GetTrace(), Answer: to}); err != nil {
			to.Answer(nil, err)
		}
	}
}

// control is a request that the node itself makes.
func (p *peers) control(cmd proto.Message, addr entity.Address, within time.Duration) *clusterpb.Request {
	data, err := proto.Marshal(cmd)
	if err != nil {
		panic(err) // these messages hold numbers alone
	}
	return &clusterpb.Request{
		Id: p.requests.Add(1), Kind: addr.Kind, Key: addr.ID, Type: typeName(cmd), Command: data,
		TimeoutMs: milliseconds(within), Ask: true,
	}
}
