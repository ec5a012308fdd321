package testshop

// One node: how its parts are made, and how it ends, well or not.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/cluster/membership"
	"stampede/cluster/remoting"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/publisher"
	"stampede/events/views"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/payments"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	"stampede/persistence/mongo"
)

// Node is one of a shop's.
type Node struct {
	*cluster.Node

	shop     *Shop
	name     string
	inner    persistence.Store
	store    persistence.Store
	self     members.Member
	journal  *commitlog.Log
	member   *membership.Service
	port     *remoting.Remoting
	events   *outgoing
	accounts *auth.Accounts
	gateway  *gateway.Gateway
	handler  http.Handler
	config   gateway.Config
	hastyMu  sync.Mutex
	hasty    map[time.Duration]http.Handler

	reading    sync.WaitGroup
	readErrs   chan error
	stopReads  context.CancelFunc
	waking     sync.WaitGroup
	stopWaking context.CancelFunc
	ended      chan struct{}
	once       sync.Once
	endErr     error
}

const (
	// endWithin bounds how long a node takes to end.
	endWithin = time.Minute
	joinFor   = time.Minute
	secret    = "0123456789abcdef0123456789abcdef"
)

// start makes a node with everything that it has, and what of it is left is taken
// down again with the test.
func (s *Shop) start(t testing.TB, number int) (*Node, error) {
	t.Helper()
	n := &Node{shop: s, name: fmt.Sprintf("node%d", number), ended: make(chan struct{}), readErrs: make(chan error, 8)}
	n.inner = s.config.Open(t)
	n.store = n.inner
	if s.config.Over != nil {
		n.store = s.config.Over(n, n.inner)
	}
	logger := s.logger()
	var err error
	if n.journal, err = commitlog.Open(context.Background(), n.store, n.name, commitlog.Options{MaxInFlight: 4, Logger: logger}); err != nil {
		return nil, err
	}
	n.self = members.Member{
		ID: membership.NewID(), Name: n.name, Epoch: n.journal.Epoch(), Version: "test", State: members.Up, Since: s.Now(),
		Roles: []members.Role{members.Gateway, members.Actors, members.Publisher},
	}
	if s.config.Nodes > 1 {
		if err := n.join(logger); err != nil {
			return nil, err
		}
	}
	if err := n.read(logger); err != nil {
		return nil, err
	}
	n.host(logger)
	if n.member != nil {
		ready, cancel := context.WithTimeout(context.Background(), joinFor)
		defer cancel()
		if err := n.member.Ready(ready); err != nil {
			return nil, err
		}
		go n.watch(n.member.Drained())
	}
	return n, n.open(logger)
}

// join makes the node a member of a cluster of many.
func (n *Node) join(logger *slog.Logger) error {
	shared, ok := n.inner.(*mongo.Store)
	if !ok {
		return errors.New("several nodes need a MongoDB")
	}
	var err error
	if n.port, err = remoting.Listen(context.Background(), remoting.Config{ID: n.self.ID, Listen: "127.0.0.1:0", Logger: logger}); err != nil {
		return err
	}
	n.self.Address, n.self.State = n.port.Address(), members.Joining
	ctx, cancel := context.WithTimeout(context.Background(), joinFor)
	defer cancel()
	n.member, err = membership.Start(ctx, membership.Config{
		Self: n.self, Table: shared.Members(), Probe: n.port.Probe, Logger: logger, Lease: n.shop.config.Lease,
	})
	return err
}

func (n *Node) readerConfig(logger *slog.Logger) events.Config {
	c := events.Config{
		Journal: n.store, Watermarks: n.store, Epoch: n.journal.Epoch(), Ended: commitlog.ErrClosed, Quiet: n.shop.config.Quiet, Logger: logger,
	}
	if n.member != nil {
		c.Cluster = events.NewMembers(n.self.ID, n.member.View)
	}
	return c
}

// read starts what follows the log.
func (n *Node) read(logger *slog.Logger) error {
	projected := n.readerConfig(logger)
	projected.Source = n.journal.Follow(views.ReaderName, 0)
	project, err := views.New(views.Config{Log: projected, Views: n.store, Streams: n.store, Logger: logger})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stopReads = stop
	n.reading.Go(func() { n.readErrs <- project.Run(ctx) })
	if n.shop.broker == "" {
		return nil
	}
	publish, err := publisher.New(publisher.Config{
		Brokers: []string{n.shop.broker}, ClientID: n.name, TopicConfig: broker.TopicConfig(), Format: cloudevents.JSON, Log: n.readerConfig(logger),
		Follow: func(name string) events.Source { return n.journal.Follow(name, 0) }, Streams: n.store, Settled: n.journal.Settled,
		Registerer: prometheus.NewRegistry(), Logger: logger,
	})
	if err != nil {
		return err
	}
	n.reading.Go(func() { n.readErrs <- publish.Run(ctx) })
	n.events = &outgoing{publish, publisher.NewReplayer(publish, n.store, publisher.ReplayRate)}
	return nil
}

// host starts the actors and their reminders.
func (n *Node) host(logger *slog.Logger) {
	caller := &lateCaller{hold: n.shop.config.Hold}
	rt := &entity.Runtime{Log: n.journal, Store: n.store, Asker: caller, Clock: n.shop.Now, Logger: logger, Limits: n.shop.config.Limits}
	bank := n.shop.config.Bank
	if n.shop.config.Ask != nil {
		bank = n.shop.config.Ask(n, bank)
	}
	ports := map[string]cluster.Caller{"payment": payments.Port{Provider: bank}}
	if n.member == nil {
		n.Node = cluster.NewNode(logger, actors.Kinds(rt), ports, cluster.DefaultOptions())
		caller.Caller = n.Node
	} else {
		rt.Fit = n.member.Fit
		n.Node = cluster.NewMember(logger, actors.Kinds(rt), ports, cluster.DefaultOptions(), cluster.MemberConfig{
			Membership: n.member, Transport: n.port, Grace: n.shop.config.Lease, Before: func(hosted *cluster.Node) { caller.Caller = hosted },
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stopWaking = stop
	n.waking.Go(func() { n.WakeDue(ctx, n.shop.Now, due{n.store}) })
}

// cheapPasswords cost microseconds, and can be guessed as fast: many people
// register in a test, whose processors have other work to do.
func cheapPasswords() *auth.Passwords { return auth.NewPasswords(2, 256, auth.WithCost(64, 1, 1)) }

// open makes the node's gateway.
func (n *Node) open(logger *slog.Logger) error {
	s := n.shop
	n.accounts = auth.NewAccounts(n.Node, s.tokens, cheapPasswords(), []byte(secret), s.Now, auth.WithFailedLogInGrid(0))
	n.config = gateway.Config{
		Caller: n.Node, Views: n.store, Accounts: n.accounts, Journal: n.store, Cluster: operations{n}, Tokens: s.tokens, Keys: s.keys, HoldFor: HoldFor,
		TicketKey: []byte(secret), Limits: gateway.Limits{HTTP: httpapi.Limits{RatePerSecond: -1}}, Logger: logger, Clock: s.Now,
	}
	if n.events != nil {
		n.config.Events = n.events
	}
	g, err := gateway.New(n.config)
	if err != nil {
		return err
	}
	n.gateway, n.handler = g, g.Handler()
	return nil
}

// Store is the node's connection to the database, with nothing between.
func (n *Node) Store() persistence.Store { return n.inner }

// holding is a gateway of this node whose orders hold their units for another time.
func (n *Node) holding(hold time.Duration) (http.Handler, error) {
	n.hastyMu.Lock()
	defer n.hastyMu.Unlock()
	if h := n.hasty[hold]; h != nil {
		return h, nil
	}
	c := n.config
	c.HoldFor = hold
	g, err := gateway.New(c)
	if err != nil {
		return nil, err
	}
	if n.hasty == nil {
		n.hasty = map[time.Duration]http.Handler{}
	}
	n.hasty[hold] = g.Handler()
	return n.hasty[hold], nil
}

// watch has a node that is asked to drain leave, and another one take its place.
func (n *Node) watch(drained <-chan struct{}) {
	select {
	case <-n.ended:
		return
	case <-drained:
	}
	s := n.shop
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		return
	}
	s.replacing.Add(1)
	for i, other := range s.nodes {
		if other == n {
			s.nodes = append(s.nodes[:i:i], s.nodes[i+1:]...)
			break
		}
	}
	s.started++
	number := s.started
	s.mu.Unlock()
	defer s.replacing.Done()
	if err := n.end(); err != nil {
		s.t.Error("draining a node: ", err)
	}
	next, err := s.start(s.t, number)
	if err != nil {
		s.t.Error("replacing a node: ", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, next)
}

// end takes the node down in order.
func (n *Node) end() error {
	n.once.Do(func() {
		close(n.ended)
		ctx, cancel := context.WithTimeout(context.Background(), endWithin)
		defer cancel()
		var errs []error
		if n.gateway != nil {
			errs = append(errs, n.gateway.Drain(ctx))
		}
		n.stopWaking()
		n.waking.Wait()
		errs = append(errs, n.Close(ctx))
		if n.events != nil {
			n.events.replays.Close()
		}
		errs = append(errs, n.journal.Close(ctx))
		n.reading.Wait()
		n.stopReads()
		close(n.readErrs)
		for err := range n.readErrs {
			if err != nil && !errors.Is(err, commitlog.ErrClosed) {
				errs = append(errs, err)
			}
		}
		if n.member != nil {
			n.member.Close()
			n.port.Close()
		}
		errs = append(errs, n.inner.Close())
		n.endErr = errors.Join(errs...)
	})
	return n.endErr
}

// kill ends the node as far as everybody else is concerned, and clears up what
// is left of it.
func (n *Node) kill() {
	n.once.Do(func() {
		close(n.ended)
		_ = n.inner.Close() // whatever it writes from here on is refused
		if n.member != nil {
			n.member.Close()
			n.port.Close()
		}
		n.stopWaking()
		closing, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = n.Close(closing) // what a dead process leaves undone is not its own any more
		if n.events != nil {
			n.events.replays.Close()
		}
		_ = n.journal.Close(closing)
		n.stopReads()
		n.waking.Wait()
		n.reading.Wait()
	})
}

// lateCaller closes the circle between the runtime and the node.
type lateCaller struct {
	cluster.Caller
	hold func(entity.Address, proto.Message) <-chan struct{}
}

// Call implements entity.Asker.
func (l *lateCaller) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	if held := l.held(to, cmd); held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, entity.ErrTimeout
		}
	}
	return l.Caller.Call(ctx, to, cmd)
}

// Send implements entity.Sender: what is held up is not sent, but called.
func (l *lateCaller) Send(to entity.Address, req *entity.Request) bool {
	sender, ok := l.Caller.(entity.Sender)
	return ok && l.held(to, req.Command) == nil && sender.Send(to, req)
}

func (l *lateCaller) held(to entity.Address, cmd proto.Message) <-chan struct{} {
	if l.hold == nil {
		return nil
	}
	return l.hold(to, cmd)
}

// due are the actors that have something to do.
type due struct{ views persistence.Views }

// Due implements cluster.Reminders.
func (d due) Due(ctx context.Context, before time.Time, limit int) ([]entity.Address, error) {
	rows, err := d.views.DueRows(ctx, before, limit)
	out := make([]entity.Address, len(rows))
	for i, row := range rows {
		out[i] = entity.Address{Kind: row.Kind, ID: row.ID}
	}
	return out, err
}
