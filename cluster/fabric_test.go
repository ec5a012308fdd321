package cluster_test

// What the tests of several nodes in one process stand on: a table of members
// that every node sees in its own time, and a network that delays, reorders and
// loses.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

// table is the members' table: the truth that each node learns of later.
type table struct {
	mu    sync.Mutex
	view  *members.View
	nodes map[string]*seat
	// delay is how long a node takes to see a change.
	delay func() time.Duration
}

func newTable(delay func() time.Duration) *table {
	return &table{view: &members.View{}, nodes: map[string]*seat{}, delay: delay}
}

func (t *table) now() *members.View {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view
}

// change makes the next version of the table, which all nodes see in time.
func (t *table) change(do func([]members.Member) []members.Member) {
	t.mu.Lock()
	next := &members.View{Version: t.view.Version + 1, Members: do(slices.Clone(t.view.Members))}
	slices.SortFunc(next.Members, func(a, b members.Member) int { return strings.Compare(a.ID, b.ID) })
	t.view = next
	var seats []*seat
	for _, s := range t.nodes {
		seats = append(seats, s)
	}
	t.mu.Unlock()
	for _, s := range seats {
		s.Refresh()
	}
}

func (t *table) set(id string, state members.State) {
	t.change(func(all []members.Member) []members.Member {
		for i := range all {
			if all[i].ID == id {
				all[i].State = state
			}
		}
		return all
	})
}

func (t *table) remove(id string) {
	t.change(func(all []members.Member) []members.Member {
		return slices.DeleteFunc(all, func(m members.Member) bool { return m.ID == id })
	})
}

// join adds a member and gives it its seat.
func (t *table) join(id string, roles ...members.Role) *seat {
	if len(roles) == 0 {
		roles = []members.Role{members.Gateway, members.Actors, members.Publisher}
	}
	return t.joinAs(id, members.Up, roles...)
}

func (t *table) joinAs(id string, state members.State, roles ...members.Role) *seat {
	s := &seat{table: t, self: members.Member{ID: id, Name: id, Address: id + ":1", Roles: roles, State: state}}
	t.change(func(all []members.Member) []members.Member { return append(all, s.self) })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[id] = s
	s.seen = t.view
	s.acts.Store(t.view.Version)
	return s
}

// seat is one node's cluster.Membership.
type seat struct {
	table  *table
	self   members.Member
	lapsed atomic.Bool
	blind  atomic.Bool // it does not see the table
	acts   atomic.Uint64

	mu       sync.Mutex
	seen     *members.View
	watchers []*func(*members.View)
	telling  sync.Mutex
}

var errLapsed = errors.New("lease lapsed")

func (s *seat) Self() members.Member { return s.self }

func (s *seat) View() *members.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *seat) Watch(do func(*members.View)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, &do)
	return func() {
		s.telling.Lock()
		defer s.telling.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(w *func(*members.View)) bool { return w == &do })
	}
}

func (s *seat) Fit() error {
	if s.lapsed.Load() {
		return errLapsed
	}
	return nil
}

// Settled is the oldest view that a member of the table acts on.
func (s *seat) Settled() uint64 {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	oldest := s.table.view.Version
	for i := range s.table.view.Members {
		other := s.table.nodes[s.table.view.Members[i].ID]
		if other == nil {
			return 0
		}
		oldest = min(oldest, other.acts.Load())
	}
	return oldest
}

// Suspect does nothing: the tests say themselves who is evicted.
func (s *seat) Suspect(string, members.Finding) {}

// Refresh shows the node the table as it is after a while.
func (s *seat) Refresh() {
	go func() {
		time.Sleep(s.table.delay()) //nolint:forbidigo // the bubble's clock, in every test that delays
		if !s.blind.Load() {
			s.see(s.table.now())
		}
	}()
}

func (s *seat) see(v *members.View) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	if v.Version <= s.seen.Version {
		s.mu.Unlock()
		return
	}
	s.seen = v
	watchers := slices.Clone(s.watchers)
	s.mu.Unlock()
	for _, w := range watchers {
		(*w)(v)
	}
	s.acts.Store(v.Version)
}

func (s *seat) Drain(context.Context) error {
	if s.blind.Load() {
		return errLapsed
	}
	s.table.set(s.self.ID, members.Draining)
	return nil
}

func (s *seat) Leave(context.Context) error {
	if !s.blind.Load() {
		s.table.remove(s.self.ID)
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	delete(s.table.nodes, s.self.ID)
	return nil
}

// network carries frames between the nodes of one process, as bytes.
type network struct {
	mu    sync.Mutex
	ports map[string]*port
	cut   map[string]bool // nodes that nothing reaches and that reach nothing
	// delay is how long a frame is on its way, and lose whether it never arrives.
	// With unequal delays frames overtake each other.
	delay func() time.Duration
	lose  func() bool
}

func newNetwork(delay func() time.Duration, lose func() bool) *network {
	return &network{ports: map[string]*port{}, cut: map[string]bool{}, delay: delay, lose: lose}
}

// port is a node's cluster.Transport.
type port struct {
	net     *network
	address string

	mu      sync.Mutex
	receive func(*clusterpb.Frame)
	wires   []*wire
	closed  bool
}

func (n *network) open(address string) *port {
	p := &port{net: n, address: address}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[address] = p
	return p
}

// part cuts a node off: its connections break, or only stop carrying anything.
func (n *network) part(address string, silently bool) {
	n.mu.Lock()
	n.cut[address] = true
	var all []*port
	for _, p := range n.ports {
		all = append(all, p)
	}
	n.mu.Unlock()
	if silently {
		return
	}
	for _, p := range all {
		p.mu.Lock()
		wires := slices.Clone(p.wires)
		p.mu.Unlock()
		for _, w := range wires {
			if p.address == address || w.to == address {
				w.Close()
			}
		}
	}
}

func (n *network) reach(from, to string) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[from] || n.cut[to] {
		return nil
	}
	return n.ports[to]
}

func (p *port) Serve(receive func(*clusterpb.Frame)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receive = receive
}

func (p *port) Connect(_ context.Context, address string) (cluster.Connection, error) {
	time.Sleep(p.net.delay()) //nolint:forbidigo // the bubble's clock, in every test that delays
	to := p.net.reach(p.address, address)
	if to == nil {
		return nil, fmt.Errorf("connect to %s: refused", address)
	}
	to.mu.Lock()
	closed := to.closed || to.receive == nil
	to.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("connect to %s: closed", address)
	}
	w := &wire{from: p, to: address, lost: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wires = append(p.wires, w)
	return w, nil
}

func (p *port) Close() {
	p.mu.Lock()
	p.closed, p.receive = true, nil
	p.mu.Unlock()
	p.net.mu.Lock()
	var others []*port
	for _, o := range p.net.ports {
		others = append(others, o)
	}
	p.net.mu.Unlock()
	for _, o := range others {
		o.mu.Lock()
		wires := slices.Clone(o.wires)
		o.mu.Unlock()
		for _, w := range wires {
			if o == p || w.to == p.address {
				w.Close()
			}
		}
	}
}

// wire is one node's cluster.Connection to another.
type wire struct {
	from *port
	to   string
	once sync.Once
	lost chan struct{}
}

func (w *wire) Lost() <-chan struct{} { return w.lost }
func (w *wire) Close()                { w.once.Do(func() { close(w.lost) }) }

func (w *wire) Send(f *clusterpb.Frame) error {
	select {
	case <-w.lost:
		return errors.New("connection closed")
	default:
	}
	data, err := proto.Marshal(f)
	if err != nil {
		return err
	}
	net := w.from.net
	if net.lose != nil && net.lose() {
		return nil
	}
	go func() {
		time.Sleep(net.delay()) //nolint:forbidigo // the bubble's clock, in every test that delays
		to := net.reach(w.from.address, w.to)
		if to == nil {
			return
		}
		to.mu.Lock()
		receive := to.receive
		to.mu.Unlock()
		f := &clusterpb.Frame{}
		if err := proto.Unmarshal(data, f); err != nil {
			panic(err)
		}
		if receive != nil {
			receive(f)
		}
	}()
	return nil
}
