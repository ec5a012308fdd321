package cluster

// This file is how actors move from node to node, in order. On a new view a
// node stops what it no longer owns, and says so when it is done. An owner
// starts no actor that another living node may still have: it asks that one to
// stop it first.
//
// The argument. A node starts X only while X is its own by the newest view it
// has seen; call that view v. Any other living member p that may still have X
// started it by an older view w, in which p owned it. Either p has said that it
// has stopped everything that is not its own by a view u, and then w is not
// older than u; or p is asked to release X, and answers when X has stopped, and
// from then on p starts nothing before it has seen v. If p has seen a newer view
// than v and owns X by it, then p asks this node in the same way.
//
// A member that cannot be asked, because the two do not reach each other, is
// waited for until it is evicted, or until the table of members says that it
// acts on v too, and a grace after that: it takes no more requests for X then,
// what it may still answer was asked before, and what it may still write meets
// the fence in the journal.

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

const (
	// handOverAtOnce is how many actors are being stopped at a time.
	handOverAtOnce = 2048
	// handOverPoll is how often it is looked which have ended.
	handOverPoll = time.Millisecond
	// maxHistory is how many older views are kept, to know who may have an actor.
	maxHistory = 64
)

// standing is a view and what follows from it. Only clear changes.
type standing struct {
	view   *members.View
	owners *members.Owners
	since  time.Time
	// hosts are the ways to the other members that may have actors.
	hosts []*link
	// before are the views that were seen earlier, newest first.
	before []past
	// clear: every other host has handed over by this view.
	clear atomic.Bool
}

// past is what is kept of an older view.
type past struct {
	version uint64
	view    *members.View
	owners  *members.Owners
	since   time.Time
}

func newStanding(v *members.View, before *standing) *standing {
	s := &standing{view: v, owners: v.Owners(), since: time.Now()}
	if before == nil {
		return s
	}
	older := before.before[:min(len(before.before), maxHistory-1)]
	s.before = append(make([]past, 0, len(older)+1), past{before.version(), before.view, before.owners, before.since})
	s.before = append(s.before, older...)
	return s
}

func (s *standing) version() uint64 { return s.view.Version }

// settled is the newest view that every living member acts on, and has had the
// time to act on.
func (s *standing) settled(version uint64, now time.Time, grace time.Duration) uint64 {
	if version >= s.version() && now.Sub(s.since) >= grace {
		return s.version()
	}
	for _, b := range s.before {
		if version >= b.version && now.Sub(b.since) >= grace {
			return b.version
		}
	}
	return 0
}

// fresh reports whether a member owned nothing up to a view: it is not in it, and
// an ID never comes back, or it is joining, and no member joins a second time.
func fresh(m *members.Member) bool { return m == nil || m.State == members.Joining }

// mayHave reports whether the member may have the actor, if it has handed over
// by the view through: whether it owned it in any view since then.
func (s *standing) mayHave(id string, hash, through uint64) bool {
	next := s.version() - 1
	for _, b := range s.before {
		if next < through {
			return false
		}
		if b.version != next {
			return true // a view that this node has not seen
		}
		if b.version > 0 && fresh(b.view.Find(id)) {
			return false // and neither in any view before
		}
		if owner := b.owners.OfHash(hash); owner != nil && owner.ID == id {
			return true
		}
		next--
	}
	return next >= through
}

// blockers are the members that may still have the actor. What was confirmed
// counts as handed over.
func (p *peers) blockers(s *standing, hash uint64, confirmed map[string]uint64) []*link {
	if s.clear.Load() {
		return nil
	}
	settled := s.settled(p.membership.Settled(), time.Now(), p.grace)
	var blocking []*link
	all := true
	for _, l := range s.hosts {
		through := max(l.handedOver.Load(), settled)
		if through >= s.version() {
			continue
		}
		all = false
		if through = max(through, confirmed[l.id]); through < s.version() && s.mayHave(l.id, hash, through) {
			blocking = append(blocking, l)
		}
	}
	if all {
		s.clear.Store(true)
	}
	return blocking
}

// owner returns who owns the address by the newest view: nil for this node.
func (p *peers) owner(hash uint64) (*members.Member, error) {
	switch m := p.present.Load().owners.OfHash(hash); {
	case m == nil:
		return nil, errNoOwner
	case m.ID == p.self:
		return nil, nil //nolint:nilnil // as the comment says
	default:
		return m, nil
	}
}

// owns reports whether this node owns the address by the newest view.
func (p *peers) owns(addr entity.Address) bool {
	m, err := p.owner(members.Hash(addr.Kind, addr.ID))
	return m == nil && err == nil
}

// admit is asked, with the part of the table locked that the actor is in,
// whether an actor may be started. Whatever takes a new view in, or a release,
// looks at the table afterwards: so nothing is started behind its back.
// cleared is the view by which all others have been asked already.
func (p *peers) admit(addr entity.Address, cleared uint64) error {
	if err := p.membership.Fit(); err != nil {
		return errUnfit
	}
	s := p.present.Load()
	hash := members.Hash(addr.Kind, addr.ID)
	switch owner := s.owners.OfHash(hash); {
	case owner == nil || owner.ID != p.self:
		return errNotOwner
	case p.mustSee.Load() > s.version():
		return errStale
	case cleared != s.version() && len(p.blockers(s, hash, nil)) > 0:
		return errHeld
	}
	return nil
}

// release stops an actor that another node owns by a view that this one may
// not have seen, and answers when it has stopped.
func (p *peers) release(addr entity.Address, view uint64, to entity.Responder) {
	raise(&p.mustSee, view)
	p.hearOf(view)
	if s := p.present.Load(); s.version() > view && p.owns(addr) {
		to.Answer(nil, errNotOwner) // whoever asks has not seen that view yet
		return
	}
	p.node.actors.release(addr, func() { to.Answer(&clusterpb.Released{}, nil) })
}

// move acts on new views until ctx ends.
func (p *peers) move(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		p.claims.reconsiderAll()
		s := p.present.Load()
		if !p.handOver(ctx, s) {
			continue // there is a newer one
		}
		raise(&p.handedOver, s.version())
		for _, l := range p.all() {
			l.say()
		}
	}
}

// handOver stops every actor that this node does not own by the view, so many
// at a time, and reports false if a newer view came, or ctx ended, before all
// had stopped.
func (p *peers) handOver(ctx context.Context, s *standing) bool {
	var moving []*activation
	p.node.actors.each(func(addr entity.Address, a *activation) {
		if owner := s.owners.Of(addr); owner == nil || owner.ID != p.self {
			moving = append(moving, a)
		}
	})
	defer p.pending.Store(0)
	began := time.Now()
	var open []*activation
	for next := 0; ; {
		still := open[:0]
		for _, a := range open {
			if !a.gone.Load() {
				still = append(still, a)
			}
		}
		p.metrics.handedOver(len(open) - len(still))
		open = still
		for ; next < len(moving) && len(open) < handOverAtOnce; next++ {
			p.node.system.Root.Send(moving[next].pid, &entity.Drain{Hurry: true})
			open = append(open, moving[next])
		}
		p.pending.Store(int64(len(open) + len(moving) - next))
		if len(open) == 0 {
			if len(moving) > 0 {
				p.logger.Info("actors handed over", "view", s.version(), "actors", len(moving), "took", time.Since(began))
			}
			return true
		}
		if p.present.Load() != s || !sleep(ctx, handOverPoll) {
			return false
		}
	}
}

// asked is the answer to a Release on its way back. It is entity.Responder.
type asked struct {
	claims *claims
	addr   entity.Address
	peer   string
	view   uint64
}

// Answer implements entity.Responder.
func (a asked) Answer(_ proto.Message, err error) { a.claims.answered(a.addr, a.peer, a.view, err) }
