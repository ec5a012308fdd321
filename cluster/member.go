package cluster

// This file is a node that is a member of many: how it begins, how its calls
// reach the owner of an actor, and how it leaves.

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

// MemberConfig is what a member of a cluster of many needs beside what every
// node does.
type MemberConfig struct {
	Membership Membership
	Transport  Transport
	// Metrics counts what happens between the nodes; nil counts nothing.
	Metrics *Metrics
	// Grace is how long a member that cannot be asked has to stop an actor, once it
	// is known to act on the view by which another one owns it. Default: 2 s.
	Grace time.Duration
	// Before, if set, is called with the node before other nodes reach it: there
	// the actors get to know whom they ask, for they may be asked at once.
	Before func(*Node)
}

const (
	defaultGrace = 2 * time.Second
	// leavePoll is how often leave looks whether it may go on.
	leavePoll = 2 * time.Millisecond
	// leaveFor bounds leaving the table of members.
	leaveFor = time.Second
	// quietFor is for how long nothing was asked of a node before it leaves.
	quietFor = 50 * time.Millisecond
)

// NewMember starts a node that is a member of a cluster of many: it hosts the
// given kinds if its member is to host actors, and carries calls to them
// wherever they are. Ports stay local: an actor's ask is put to that of its own
// node. The runtime of the kinds should have Membership's Fit.
func NewMember(logger *slog.Logger, kinds []entity.Spawner, ports map[string]Caller, o Options, c MemberConfig) *Node {
	n := newNode(logger, kinds, ports, o)
	n.peers = newPeers(n, c)
	n.actors.peers = n.peers
	if c.Before != nil {
		c.Before(n)
	}
	n.peers.start()
	c.Metrics.watch(n)
	n.begin()
	return n
}

// elsewhere returns the way to the member that owns the address, or nil if it
// is this one.
func (n *Node) elsewhere(to entity.Address) (*link, error) {
	if n.peers == nil {
		return nil, nil //nolint:nilnil // as the comment says
	}
	m, err := n.peers.owner(members.Hash(to.Kind, to.ID))
	if m == nil || err != nil {
		return nil, err
	}
	l := n.peers.link(m.ID)
	if l == nil {
		return nil, errLost // the view has just changed
	}
	return l, nil
}

// remoteCall is a request that another node was sent.
type remoteCall struct {
	link *link
	id   uint64
}

// forget drops the claim to an answer, if there is one.
func (r remoteCall) forget() {
	if r.link != nil {
		r.link.forget(r.id)
	}
}

// call puts a command on its way to an actor that the peer owns.
func (l *link) call(ctx context.Context, to entity.Address, cmd proto.Message, within time.Duration, t entity.Responder) (remoteCall, error) {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return remoteCall{}, fmt.Errorf("%s: %w", typeName(cmd), err)
	}
	r := &clusterpb.Request{
		Id: l.peers.requests.Add(1), Kind: to.Kind, Key: to.ID, Type: typeName(cmd), Command: data,
		Trace: entity.TraceFrom(ctx), TimeoutMs: milliseconds(within), Ask: entity.IsAsk(ctx), Waits: entity.WaitOf(ctx) > 0,
	}
	return remoteCall{l, r.GetId()}, l.request(r, t)
}

// milliseconds is how a duration is said to other nodes: at most some weeks.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(0, d.Milliseconds()), math.MaxUint32)) //nolint:gosec // it fits, see the line itself
}

// arrive takes in a request from another node, if the actor is this one's.
func (n *Node) arrive(to entity.Address, req *entity.Request) error {
	n.peers.asked.Store(n.peers.moment())
	owner, err := n.peers.owner(members.Hash(to.Kind, to.ID))
	if err == nil && owner != nil {
		err = errNotOwner
	}
	if err != nil {
		return err
	}
	if reply := n.glimpse(to, req.Command); reply != nil {
		req.Answer.Answer(reply, nil)
		return nil
	}
	return n.actors.deliver(to, req)
}

// handAllOver makes this member own nothing, and returns when its actors have
// ended. Where no other one is up to own them it keeps them.
func (p *peers) handAllOver(ctx context.Context) error {
	if err := p.membership.Drain(ctx); err != nil {
		return err
	}
	return p.until(ctx, "actors were not handed over", func() bool {
		s := p.present.Load()
		m := s.view.Find(p.self)
		return (m == nil || !m.Owns()) && p.handedOver.Load() >= s.version() && p.claims.count() == 0
	})
}

// leave hands everything over and ends the membership. What it cannot finish
// before ctx ends it leaves as it is: the journal has it.
func (p *peers) leave(ctx context.Context) error {
	err := p.handAllOver(ctx)
	if err == nil {
		err = p.until(ctx, "calls were still open", func() bool {
			quiet := p.moment()-p.asked.Load() > int64(quietFor)
			return quiet && p.node.inFlight.Load() == 0 && p.idle()
		})
	}
	if err == nil && p.present.Load().owners.Has(p.self) {
		err = p.node.actors.drain(ctx) // while they may still write
	}
	// Also when there is no time left: the others need not find out by themselves.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	if leaveErr := p.membership.Leave(leaving); leaveErr != nil && err == nil {
		err = leaveErr
	}
	p.end()
	return err
}

func (p *peers) until(ctx context.Context, what string, done func() bool) error {
	for !done() {
		if !sleep(ctx, leavePoll) {
			return fmt.Errorf("drain: %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// idle reports whether nothing that a peer has asked is open here.
func (p *peers) idle() bool {
	for _, l := range p.all() {
		l.mu.Lock()
		open := len(l.inbound) + len(l.queue)
		l.mu.Unlock()
		if open > 0 {
			return false
		}
	}
	return true
}
