package main

// How a node of many joins its cluster, and what of the cluster its operators
// see.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/cluster/membership"
	"stampede/cluster/remoting"
	"stampede/cmd/stampede/internal/admin"
	"stampede/events"
	"stampede/events/publisher"
	"stampede/gateway/resolve"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	"stampede/persistence/mongo"
)

// joinFor bounds how long a node tries to join.
const joinFor = 30 * time.Second

// joined is this node's place in a cluster of many.
type joined struct {
	*membership.Service
	transport *remoting.Remoting
}

// join opens the node's port to the others and makes it a member that owns
// nothing yet. In a cluster of one there is nothing to join.
func (n *node) join(ctx context.Context, store persistence.Store, journal *commitlog.Log, name string) error {
	n.self = members.Member{ID: membership.NewID(), Name: name, Epoch: journal.Epoch(), Roles: n.config.roles(), Version: programVersion()}
	if !n.config.clustered() {
		n.self.State, n.self.Since = members.Up, n.config.now()
		return nil
	}
	shared, ok := store.(*mongo.Store)
	if !ok {
		return errors.New("a cluster needs --mongo")
	}
	advertise, err := n.config.advertise()
	if err != nil {
		return err
	}
	transport, err := remoting.Listen(ctx, remoting.Config{
		ID: n.self.ID, Listen: n.config.ClusterListen, Advertise: advertise, Insecure: n.config.ClusterInsecure,
		TLS: remoting.Files{Cert: n.config.ClusterTLSCert, Key: n.config.ClusterTLSKey, CA: n.config.ClusterTLSCA}, ServerName: n.config.ClusterTLSServerName,
		Logger: n.log,
	})
	if err != nil {
		return otherAddress(err, "cluster-listen")
	}
	n.onClose("cluster port", closeLogFor, func(context.Context) error { transport.Close(); return nil })
	n.self.Address = transport.Address()
	ctx, cancel := context.WithTimeout(ctx, joinFor)
	defer cancel()
	service, err := membership.Start(ctx, membership.Config{Self: n.self, Table: shared.Members(), Probe: transport.Probe, Logger: n.log, Now: n.config.now})
	if err != nil {
		return err
	}
	n.onClose("membership", closeLogFor, func(context.Context) error { service.Close(); return nil })
	n.joined = &joined{service, transport}
	n.adopts.Store(events.NewMembers(n.self.ID, service.View))
	n.admin.Require(admin.Part{Name: "cluster", Check: func(context.Context) error { return service.Fit() }})
	go n.watchMembership(service)
	return membership.Register(n.registry, service)
}

// watchMembership ends the node when it is no member any more, or is asked to drain.
func (n *node) watchMembership(service *membership.Service) {
	drained := service.Drained()
	for {
		select {
		case <-service.Lost():
			n.fail(service.Err())
			return
		case <-drained:
			drained = nil // once
			n.log.Info("asked to drain")
			close(n.asked)
		case <-n.ended:
			return
		}
	}
}

// operations is what operators see of the cluster. It implements resolve.Cluster.
type operations struct {
	node   *node
	hosted *cluster.Node
	store  persistence.Store
}

// Members implements resolve.Cluster.
func (o *operations) Members() []resolve.Member {
	all := []members.Member{o.node.self}
	if o.node.joined != nil {
		all = o.node.joined.Members()
	}
	shown := make([]resolve.Member, len(all))
	for i := range all {
		shown[i] = shownMember(&all[i])
	}
	return shown
}

func shownMember(m *members.Member) resolve.Member {
	return resolve.Member{ID: m.ID, Name: m.Name, Address: m.Address, State: m.State.String(), Version: m.Version, Since: m.Since}
}

// Active implements resolve.Cluster.
func (o *operations) Active(ctx context.Context, member string) (map[string]int64, error) {
	return o.hosted.Count(ctx, member)
}

// Drain implements resolve.Cluster.
func (o *operations) Drain(ctx context.Context, id string) error {
	if o.node.joined == nil && id == o.node.self.ID {
		return resolve.ErrAlone
	}
	if o.node.joined == nil {
		return resolve.ErrNoMember
	}
	err := o.node.joined.RequestDrain(ctx, id)
	if errors.Is(err, membership.ErrNoMember) {
		return resolve.ErrNoMember
	}
	return err
}

// Actor implements resolve.Cluster. What the actor itself cannot say because it
// is not in memory is read from the journal.
func (o *operations) Actor(ctx context.Context, addr entity.Address) (resolve.Actor, error) {
	info, err := o.hosted.Info(ctx, addr)
	if err != nil {
		return resolve.Actor{}, err
	}
	a := resolve.Actor{Member: info.Owner.ID, Active: info.Active, Version: info.Version, SnapshotVersion: info.SnapshotVersion, Mailbox: info.Mailbox}
	if o.node.joined == nil {
		a.Member = o.node.self.ID
	}
	if !a.Active {
		if a.Version, a.SnapshotVersion, err = o.kept(ctx, addr.Stream()); err != nil {
			return resolve.Actor{}, err
		}
	}
	a.Unpublished, err = o.unpublished(ctx, addr)
	return a, err
}

// kept is the version that a stream's journal has got to, and its snapshot.
func (o *operations) kept(ctx context.Context, stream string) (version, snapshot uint64, err error) {
	for rec, err := range o.store.ReadStreamBack(ctx, stream, fromNewest) {
		if err != nil {
			return 0, 0, fmt.Errorf("newest record of %s: %w", stream, err)
		}
		version = rec.LastVersion
		break
	}
	s, err := o.store.LoadSnapshot(ctx, stream)
	if err != nil {
		return 0, 0, fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	if s != nil {
		snapshot = s.Version
	}
	return version, snapshot, nil
}

// fromNewest is above every record's Seq.
const fromNewest = math.MaxInt64

// maxUnpublished bounds how far back unpublished counts.
const maxUnpublished = 10_000

// unpublished counts the stream's events beyond the publisher's watermarks.
func (o *operations) unpublished(ctx context.Context, addr entity.Address) (int, error) {
	stream := addr.Stream()
	marks, err := o.store.Watermarks(ctx, publisher.GroupName(addr.Kind))
	if err != nil {
		return 0, fmt.Errorf("watermarks: %w", err)
	}
	n := 0
	for rec, err := range o.store.ReadStreamBack(ctx, stream, fromNewest) {
		if err != nil {
			return 0, fmt.Errorf("newest records of %s: %w", stream, err)
		}
		if rec.Position <= marks[rec.Epoch] || n >= maxUnpublished {
			break
		}
		n += int(rec.LastVersion - rec.FirstVersion + 1) //nolint:gosec // a record's events are bounded
	}
	return n, nil
}

// startHosting starts the node that hosts actors, alone or as one of many.
func (n *node) startHosting(kinds []entity.Spawner, ports map[string]cluster.Caller) *cluster.Node {
	if n.joined == nil {
		return cluster.NewNode(n.log, kinds, ports, cluster.DefaultOptions())
	}
	return cluster.NewMember(n.log, kinds, ports, cluster.DefaultOptions(), cluster.MemberConfig{
		Membership: n.joined, Transport: n.joined.transport, Metrics: cluster.NewMetrics(n.registry), Grace: membership.DefaultLease,
	})
}

// serveCluster makes the node own its share: from here on the others send it requests.
func (n *node) serveCluster(ctx context.Context) error {
	if n.joined == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinFor)
	defer cancel()
	if err := n.joined.Ready(ctx); err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	n.log.Info("joined the cluster", slog.String("member", n.self.ID), slog.String("address", n.self.Address))
	return nil
}
