package cluster

// This file is what waits for an actor that another node may still have.

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

const (
	// maxHeld bounds the requests that wait for one actor to be released.
	maxHeld = 8192
	// askAgainAfter is how long a release may take before it is asked for again.
	askAgainAfter = time.Second
)

// errHeld: another node may have the actor. It never leaves the package.
var errHeld = errors.New("another node may have the actor")

// claims are the actors that this node owns and may not start yet, with what
// waits for them. Each is settled by a release, by a newer view, or by time.
type claims struct {
	peers *peers
	mu    sync.Mutex
	all   map[entity.Address]*claim
}

// claim is one of them; the claims' lock guards it.
type claim struct {
	hash    uint64
	waiting []*entity.Request
	// confirmed is, by member, the view by which it has stopped the actor.
	confirmed map[string]uint64
	asked     map[string]time.Time
}

// hold keeps a request (or none, if the actor is only to be started) until the
// actor may be started.
func (c *claims) hold(addr entity.Address, req *entity.Request) error {
	c.mu.Lock()
	cl := c.all[addr]
	if cl == nil {
		cl = &claim{hash: members.Hash(addr.Kind, addr.ID)}
		c.all[addr] = cl
	}
	if len(cl.waiting) >= maxHeld {
		c.mu.Unlock()
		return fmt.Errorf("%w: %d requests wait for the actor to be handed over", entity.ErrOverloaded, maxHeld)
	}
	if req != nil {
		cl.waiting = append(cl.waiting, req)
	}
	c.mu.Unlock()
	c.reconsider(addr)
	return nil
}

func (c *claims) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

func (c *claims) reconsiderAll() {
	c.mu.Lock()
	if len(c.all) == 0 {
		c.mu.Unlock()
		return
	}
	addresses := make([]entity.Address, 0, len(c.all))
	for addr := range c.all {
		addresses = append(addresses, addr)
	}
	c.mu.Unlock()
	for _, addr := range addresses {
		c.reconsider(addr)
	}
}

// reconsider starts the actor if nothing is in the way any more, and asks
// those that are.
func (c *claims) reconsider(addr entity.Address) {
	s := c.peers.present.Load()
	c.mu.Lock()
	cl := c.all[addr]
	if cl == nil {
		c.mu.Unlock()
		return
	}
	owner := s.owners.OfHash(cl.hash)
	if owner != nil && owner.ID == c.peers.self {
		if blocking := c.peers.blockers(s, cl.hash, cl.confirmed); len(blocking) > 0 {
			toAsk := cl.due(blocking)
			c.mu.Unlock()
			for _, l := range toAsk {
				c.ask(l, addr, s.version())
			}
			return
		}
	}
	delete(c.all, addr)
	c.mu.Unlock()
	c.peers.node.actors.admitted(addr, cl.waiting, s.version())
}

// due are those that were not asked lately.
func (cl *claim) due(blocking []*link) []*link {
	now := time.Now()
	var due []*link
	for _, l := range blocking {
		if at, ok := cl.asked[l.id]; ok && now.Sub(at) < askAgainAfter {
			continue
		}
		if cl.asked == nil {
			cl.asked = map[string]time.Time{}
		}
		cl.asked[l.id] = now
		due = append(due, l)
	}
	return due
}

func (c *claims) ask(l *link, addr entity.Address, view uint64) {
	r := c.peers.control(&clusterpb.Release{View: view}, addr, c.peers.grace)
	if err := l.request(r, asked{c, addr, l.id, view}); err != nil {
		c.answered(addr, l.id, view, err)
	}
}

// answered takes in what became of a release. One that failed is asked for
// again by the next tick that finds it due.
func (c *claims) answered(addr entity.Address, peer string, view uint64, err error) {
	c.mu.Lock()
	cl := c.all[addr]
	if cl == nil {
		c.mu.Unlock()
		return
	}
	if err != nil {
		// Soon, but not at once: the peer may be gone. A claim that was made anew
		// since has not asked yet.
		if cl.asked[peer] != (time.Time{}) {
			cl.asked[peer] = time.Now().Add(reconnectAfter - askAgainAfter)
		}
		c.mu.Unlock()
		return
	}
	if cl.confirmed == nil {
		cl.confirmed = map[string]uint64{}
	}
	cl.confirmed[peer] = max(cl.confirmed[peer], view)
	delete(cl.asked, peer)
	c.mu.Unlock()
	c.reconsider(addr)
}

// refuse answers everything that waits.
func (c *claims) refuse(err error) {
	c.mu.Lock()
	all := c.all
	c.all = map[entity.Address]*claim{}
	c.mu.Unlock()
	for _, cl := range all {
		for _, req := range cl.waiting {
			req.Answer.Answer(nil, err)
		}
	}
}
