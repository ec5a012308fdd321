package cluster_test

// Nodes over one disk, in one process and in virtual time.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/proto/gen/commonpb"
)

const (
	simLease = 3 * time.Second
	simGrace = 2 * time.Second
)

// fleet is some nodes over one disk.
type fleet struct {
	registry *prometheus.Registry // of the first node
	disk     *disk
	table    *table
	net      *network
	watch    *witness
	grace    time.Duration
	options  cluster.Options
}

type fellow struct {
	*cluster.Node
	id   string
	seat *seat
}

func newFleet(t *testing.T, delay func(upTo time.Duration) time.Duration, lose func() bool) *fleet {
	t.Cleanup(func() { time.Sleep(time.Minute) }) //nolint:forbidigo // in a synctest bubble: what is still on its way arrives
	return &fleet{
		disk:    newDisk(),
		table:   newTable(func() time.Duration { return delay(300 * time.Millisecond) }),
		net:     newNetwork(func() time.Duration { return delay(10 * time.Millisecond) }, lose),
		watch:   newWitness(),
		grace:   simGrace,
		options: cluster.DefaultOptions(),
	}
}

// start starts a member that hosts books and accounts.
func (f *fleet) start(id string, roles ...members.Role) *fellow {
	port := f.net.open(id + ":1")
	s := f.table.join(id, roles...)
	rt := &entity.Runtime{Log: f.disk, Store: f.disk, Clock: time.Now, Logger: quiet, Limits: entity.DefaultLimits(), Fit: s.Fit}
	caller := &late{}
	rt.Asker = caller
	books := guestBook()
	again := books.Glimpse.Again
	books.Glimpse.Again = func(before, cmd proto.Message, now time.Time) proto.Message {
		f.watch.glimpses.Add(1)
		return again(before, cmd, now)
	}
	kinds := []entity.Spawner{
		f.watch.over(id, entity.Bind(rt, books)), f.watch.over(id, entity.Bind(rt, accounts())), f.watch.over(id, entity.Bind(rt, chain())),
	}
	var metrics *cluster.Metrics
	if f.registry == nil {
		f.registry = prometheus.NewRegistry()
		metrics = cluster.NewMetrics(f.registry)
	}
	n := cluster.NewMember(quiet, kinds, nil, f.options, cluster.MemberConfig{Membership: s, Transport: port, Metrics: metrics, Grace: f.grace, Before: func(n *cluster.Node) { caller.Caller = n }})
	return &fellow{n, id, s}
}

// stop ends a fellow in peace.
func (f *fellow) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Errorf("%s did not drain: %v", f.id, err)
	}
}

func book(i int) entity.Address { return entity.Address{Kind: "book", ID: fmt.Sprint("book-", i)} }

func sign(t testing.TB, f *fellow, addr entity.Address, name string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	reply, err := f.Call(ctx, addr, &commonpb.Money{Currency: name})
	if err != nil {
		t.Errorf("%s signs %s: %v", name, addr.ID, err)
		return 0
	}
	return reply.(*commonpb.Money).MinorUnits
}

func none(time.Duration) time.Duration { return time.Millisecond }
