package cluster

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

// ActorInfo is where an actor is and how it is.
type ActorInfo struct {
	// Owner is the member that owns it by the newest view; empty in a cluster of one.
	Owner members.Member
	// Active: it is in memory. If it is not, what follows is zero: the journal knows.
	Active bool
	// Version is the newest event that is durable, SnapshotVersion that of the
	// newest snapshot which the actor knows of.
	Version, SnapshotVersion uint64
	// Mailbox is how many messages wait for it, Unanswered how many requests it has
	// taken in and not answered.
	Mailbox, Unanswered int
	// Unpublished is how many of its events are not on the broker yet. Who has the
	// log fills it in.
	Unpublished uint64
}

// Info asks the actor's owner how the actor is. It starts none.
func (n *Node) Info(ctx context.Context, addr entity.Address) (ActorInfo, error) {
	if _, ok := n.actors.kinds[addr.Kind]; !ok {
		return ActorInfo{}, fmt.Errorf("%w: %q", entity.ErrUnknownKind, addr.Kind)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(n.options.CallFor)
	}
	var info ActorInfo
	for try := 1; ; try++ {
		condition, err := n.inspect(ctx, addr, &info.Owner, time.Until(deadline))
		if err == nil {
			info.Active = condition.GetActive()
			info.Version, info.SnapshotVersion = condition.GetVersion(), condition.GetSnapshotVersion()
			info.Mailbox, info.Unanswered = int(condition.GetMailbox()), int(condition.GetUnanswered())
			return info, nil
		}
		if wait := backoff(try); !again(err) || time.Until(deadline) < wait || !sleep(ctx, wait) {
			return ActorInfo{}, fmt.Errorf("%s %s: %w", addr.Kind, addr.ID, err)
		}
	}
}

// inspect asks once.
func (n *Node) inspect(ctx context.Context, addr entity.Address, by *members.Member, within time.Duration) (*clusterpb.Condition, error) {
	within = min(within, n.options.RemoteAttemptFor)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answers := make(inspection, 1)
	owner, err := n.elsewhere(addr)
	if err != nil {
		return nil, err
	}
	var sent remoteCall
	if owner == nil {
		if n.peers != nil {
			*by = n.peers.membership.Self()
		}
		n.actors.inspect(addr, func(c *clusterpb.Condition) { answers.Answer(c, nil) })
	} else {
		if m := n.peers.present.Load().view.Find(owner.id); m != nil {
			*by = *m
		}
		r := n.peers.control(&clusterpb.Inspect{}, addr, within)
		if err := owner.request(r, answers); err != nil {
			return nil, err
		}
		sent = remoteCall{owner, r.GetId()}
	}
	select {
	case a := <-answers:
		condition, ok := a.reply.(*clusterpb.Condition)
		if a.err == nil && !ok {
			return nil, errUnknownCommand
		}
		return condition, a.err
	case <-ctx.Done():
		sent.forget()
		return nil, entity.ErrTimeout
	}
}

// inspection waits for one Condition. It is entity.Responder.
type inspection chan answer

// Answer implements entity.Responder.
func (i inspection) Answer(reply proto.Message, err error) { i <- answer{reply, err} }

// inspect asks the actor how it is, if it is in memory. One that ends meanwhile
// does not answer: whoever asks has a deadline.
func (p *placement) inspect(addr entity.Address, answer func(*clusterpb.Condition)) {
	a := p.find(addr)
	if a == nil {
		answer(&clusterpb.Condition{})
		return
	}
	p.system.Root.Send(a.pid, &entity.Inspect{Answer: func(c entity.Condition) {
		answer(&clusterpb.Condition{
			Active: true, Version: c.Version, SnapshotVersion: c.SnapshotVersion,
			Mailbox: uint32(c.Mailbox), Unanswered: uint32(c.Unanswered), //nolint:gosec // both are bounded
		})
	}})
}
