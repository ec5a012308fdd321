package testshop

// What operators see of the cluster and of the events on their way out.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/cluster/membership"
	"stampede/events/broker"
	"stampede/events/publisher"
	"stampede/gateway/resolve"
)

// operations implements resolve.Cluster.
type operations struct{ n *Node }

// Members implements resolve.Cluster.
func (o operations) Members() []resolve.Member {
	all := []members.Member{o.n.self}
	if o.n.member != nil {
		all = o.n.member.Members()
	}
	shown := make([]resolve.Member, len(all))
	for i := range all {
		m := &all[i]
		shown[i] = resolve.Member{ID: m.ID, Name: m.Name, Address: m.Address, State: m.State.String(), Version: m.Version, Since: m.Since}
	}
	return shown
}

// Active implements resolve.Cluster.
func (o operations) Active(ctx context.Context, member string) (map[string]int64, error) {
	return o.n.Count(ctx, member)
}

// Actor implements resolve.Cluster.
func (o operations) Actor(ctx context.Context, addr entity.Address) (resolve.Actor, error) {
	info, err := o.n.Info(ctx, addr)
	return resolve.Actor{Member: info.Owner.ID, Active: info.Active, Version: info.Version, Mailbox: info.Mailbox}, err
}

// Drain implements resolve.Cluster.
func (o operations) Drain(ctx context.Context, id string) error {
	if o.n.member == nil && id == o.n.self.ID {
		return resolve.ErrAlone
	}
	if o.n.member == nil {
		return resolve.ErrNoMember
	}
	err := o.n.member.RequestDrain(ctx, id)
	if errors.Is(err, membership.ErrNoMember) {
		return resolve.ErrNoMember
	}
	return err
}

// Replaces reports whether a node that was drained is replaced by another one.
func (s *Shop) Replaces() bool { return s.config.Nodes > 1 }

// settle waits until every node sees all of them up.
func (s *Shop) settle() {
	s.t.Helper()
	nodes := s.Nodes()
	if len(nodes) < 2 {
		return
	}
	up := func(n *Node) (count int) {
		for _, m := range n.member.Members() {
			if m.State == members.Up {
				count++
			}
		}
		return count
	}
	for deadline := time.Now().Add(joinFor); ; <-time.After(10 * time.Millisecond) {
		agree := true
		for _, n := range nodes {
			agree = agree && up(n) == len(nodes)
		}
		if agree {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the nodes do not see each other")
		}
	}
}

func (s *Shop) startBroker() {
	s.t.Helper()
	b, err := broker.Start(broker.Config{Dir: filepath.Join(s.t.TempDir(), "broker"), Listen: "127.0.0.1:0", Logger: s.logger()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.broker = b.Addr()
	s.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			s.t.Error("broker: ", err)
		}
	})
}

// outgoing implements resolve.Events.
type outgoing struct {
	publish *publisher.Publisher
	replays *publisher.Replayer
}

// Outbox implements resolve.Events.
func (o *outgoing) Outbox(ctx context.Context) ([]resolve.TopicStatus, error) {
	topics, err := o.publish.ClusterOutbox(ctx)
	var out []resolve.TopicStatus
	for _, t := range topics {
		out = append(out, resolve.TopicStatus{Topic: t.Topic, Pending: int64(t.Pending), Oldest: t.Oldest, Published: int64(t.Published)}) //nolint:gosec // counts
	}
	return out, err
}

// Replay implements resolve.Events.
func (o *outgoing) Replay(ctx context.Context, what resolve.Replay) (int, bool, error) {
	n, done, err := o.replays.Replay(ctx, publisher.Replay{Kind: what.Kind, Key: what.Key, FromVersion: what.FromVersion, SinceMs: what.SinceMs})
	if errors.Is(err, publisher.ErrTooManyReplays) {
		err = fmt.Errorf("%w: %w", entity.ErrOverloaded, err)
	}
	return n, done, err
}
