package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/proto/gen/commonpb"
)

var movingSeeds = flag.Int("moving-seeds", 15, "how many seeds the simulation of members that come and go runs")

const (
	simLease = 3 * time.Second
	simGrace = 2 * time.Second
)

// witness notes which nodes have which actor, and what must not be.
type witness struct {
	mu       sync.Mutex
	active   map[entity.Address]map[string]int // by node
	dead     map[string]bool                   // killed, or without a lease
	problems []string
	starts   int
	moves    int
	glimpses atomic.Int64 // answers without a turn of the actor
	last     map[entity.Address]string
}

func newWitness() *witness {
	return &witness{active: map[entity.Address]map[string]int{}, dead: map[string]bool{}, last: map[entity.Address]string{}}
}

func (w *witness) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *witness) die(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[node] = true
}

// over wraps a kind of a node so that its activations are noted: from before
// the first request is taken until after the last.
func (w *witness) over(node string, s entity.Spawner) entity.Spawner {
	props := s.Props
	s.Props = func(id string, ended func(), window *entity.Window) *actor.Props {
		addr := entity.Address{Kind: s.Kind, ID: id}
		w.started(node, addr)
		return props(id, func() {
			w.ended(node, addr)
			ended()
		}, window)
	}
	return s
}

func (w *witness) started(node string, addr entity.Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	if w.last[addr] != node {
		w.moves++
		w.last[addr] = node
	}
	here := w.active[addr]
	if here == nil {
		here = map[string]int{}
		w.active[addr] = here
	}
	for other, n := range here {
		if n > 0 && other != node && !w.dead[other] && !w.dead[node] {
			w.problems = append(w.problems, fmt.Sprintf("%s starts %s while %s has it", node, addr.Stream(), other))
		}
	}
	here[node]++
}

func (w *witness) ended(node string, addr entity.Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active[addr][node]--
}

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
	t.Cleanup(func() { time.Sleep(time.Minute) }) // what is still on its way arrives
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

// Every node answers for every actor, and each actor is in one place only.
func TestAnyNodeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		var nodes []*fellow
		for i := range 3 {
			nodes = append(nodes, f.start(fmt.Sprint("n", i)))
		}
		time.Sleep(time.Second)
		for i := range 30 {
			for k, n := range nodes {
				if got := sign(t, n, book(i), fmt.Sprint("guest ", k)); got != int64(k+1) {
					t.Errorf("book %d by way of %s: place %d, want %d", i, n.id, got, k+1)
				}
			}
		}
		shares := 0
		for _, n := range nodes {
			shares += n.Active()["book"]
			if n.Active()["book"] == 0 {
				t.Errorf("%s has none of 30 actors", n.id)
			}
		}
		if shares != 30 {
			t.Errorf("30 actors are in memory %d times", shares)
		}
		for _, n := range nodes {
			n.stop(t)
		}
	})
}

// Nodes are added and drained while every call succeeds at its first try, as
// far as its caller sees.
func TestDrainAndJoinFailNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, func(upTo time.Duration) time.Duration { return rand.N(upTo) }, nil)
		gateway := f.start("gateway", members.Gateway)
		nodes := []*fellow{f.start("n0"), f.start("n1")}
		time.Sleep(time.Second)
		stop := make(chan struct{})
		var clients sync.WaitGroup
		longest := time.Duration(0)
		var mu sync.Mutex
		for c := range 8 {
			clients.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					sign(t, gateway, book(i%20), fmt.Sprint("guest ", c))
					mu.Lock()
					longest = max(longest, time.Since(began))
					mu.Unlock()
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		// These ask an actor of another node before they answer.
		for c := range 4 {
			clients.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					if _, err := gateway.Call(ctx, entity.Address{Kind: "chain", ID: fmt.Sprint(i % 20)}, add(1)); err != nil {
						t.Errorf("chain %d of client %d: %v", i%20, c, err)
					}
					cancel()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		for i := range 3 {
			time.Sleep(2 * time.Second)
			nodes = append(nodes, f.start(fmt.Sprint("n", i+2)))
		}
		for _, n := range nodes[:4] {
			time.Sleep(2 * time.Second)
			n.stop(t)
		}
		close(stop)
		clients.Wait()
		for _, p := range f.watch.problems {
			t.Error(p)
		}
		if f.watch.moves <= 20 {
			t.Errorf("only %d activations: nothing moved", f.watch.moves)
		}
		// Members see a change up to 300 ms apart.
		if longest > time.Second {
			t.Errorf("a client waited %s", longest)
		}
		gateway.stop(t)
		nodes[4].stop(t)
	})
}

// A node without the role hosts nothing, and where nobody hosts actors a call
// is refused at once.
func TestNobodyHostsActors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		n := f.start("gateway", members.Gateway)
		began := time.Now()
		if _, err := n.Call(t.Context(), alice, add(1)); !errors.Is(err, entity.ErrUnavailable) || time.Since(began) > 100*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		n.stop(t)
	})
}

// A node whose lease has lapsed answers neither reads nor writes, also of what
// it has in memory.
func TestLapsedLeaseAnswersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		n := f.start("n0")
		if got := mustCall(t, n.Node, add(7)); got != 7 {
			t.Fatal(got)
		}
		if got := mustCall(t, n.Node, &commonpb.Money{}); got != 7 { // from now on it could be read without being asked
			t.Fatal(got)
		}
		n.seat.lapsed.Store(true)
		for _, cmd := range []*commonpb.Money{{}, add(1)} {
			began := time.Now()
			if reply, err := n.Call(t.Context(), alice, cmd); err == nil || !entity.Retryable(err) {
				t.Errorf("%v was answered %v, %v", cmd, reply, err)
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("the refusal took %s", took)
			}
		}
		if len(f.disk.streams["account/alice"]) != 1 {
			t.Error("it wrote")
		}
		n.stop(t)
	})
}

// Where all leases have lapsed, because the database is away, a caller is told so
// at once, also by way of a node that does not own the actor.
func TestLapsedLeasesDoNotHoldCallersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1")}
		time.Sleep(time.Second)
		for i := range 10 {
			sign(t, nodes[0], book(i), "a")
		}
		for _, n := range nodes {
			n.seat.lapsed.Store(true)
		}
		for i := range 10 {
			began := time.Now()
			if reply, err := nodes[0].Call(t.Context(), book(i), &commonpb.Money{Currency: "b"}); err == nil || !entity.Retryable(err) {
				t.Errorf("book %d was answered %v, %v", i, reply, err)
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("book %d was refused after %s", i, took)
			}
		}
		for _, n := range nodes {
			n.stop(t)
		}
	})
}

// A new owner that the old one does not answer waits until the old one is
// evicted, and no longer.
func TestSilentOwnerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		old := f.start("n0")
		time.Sleep(time.Second)
		for i := range 10 {
			sign(t, old, book(i), "a")
		}
		old.seat.blind.Store(true)
		f.net.part("n0:1", true)
		evicted := time.Now().Add(simLease)
		time.AfterFunc(simLease, func() {
			f.watch.die("n0")
			old.seat.lapsed.Store(true)
			f.table.remove("n0")
		})
		next := f.start("n1")
		moved := entity.Address{}
		for i := range 10 {
			if f.table.now().Owners().Of(book(i)).ID == "n1" {
				moved = book(i)
			}
		}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			reply, err := next.Call(ctx, moved, &commonpb.Money{Currency: "b"})
			cancel()
			if after := time.Since(evicted); err == nil {
				if after < 0 || after > 300*time.Millisecond || reply.(*commonpb.Money).MinorUnits != 2 {
					t.Errorf("it got place %v %s after the eviction", reply, after)
				}
				break
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := old.Close(ctx); err == nil {
			t.Error("a node that sees no table left in peace")
		}
		next.stop(t)
	})
}

// Two members that do not reach each other, and see the same table, do not wait
// for each other for ever.
func TestMembersThatDoNotReachEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		old := f.start("n0")
		time.Sleep(time.Second)
		for i := range 10 {
			sign(t, old, book(i), "a")
		}
		f.net.part("n0:1", true)
		joined := time.Now()
		next := f.start("n1")
		for i := range 10 {
			if f.table.now().Owners().Of(book(i)).ID != "n1" {
				continue
			}
			if got := sign(t, next, book(i), "b"); got != 2 {
				t.Errorf("place %d", got)
			}
		}
		if waited := time.Since(joined); waited < simGrace || waited > simGrace+time.Second {
			t.Errorf("the new owner waited %s", waited)
		}
		for _, p := range f.watch.problems {
			t.Error(p)
		}
		next.stop(t)
		old.stop(t)
	})
}

// A member that is only starting holds nobody up: not while it joins, and not
// for what it never owned when it is up and does not answer yet.
func TestNewcomerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		n := f.start("n0")
		other := f.start("n1")
		time.Sleep(100 * time.Millisecond)
		signAll := func(what string, from int) {
			began := time.Now()
			for i := from; i < from+20; i++ { // none of them was asked before
				if f.table.now().Owners().Of(book(i)).ID != "late" {
					sign(t, n, book(i), what)
				}
			}
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("%s: 20 calls took %s", what, took)
			}
		}
		f.table.joinAs("late", members.Joining, members.Actors)
		time.Sleep(100 * time.Millisecond)
		signAll("while it joins", 0)
		f.table.set("late", members.Up)
		time.Sleep(100 * time.Millisecond)
		signAll("when it is up", 20)
		f.table.remove("late")
		time.Sleep(time.Second)
		n.stop(t)
		other.stop(t)
	})
}

// What an operator sees of a node that another one joins.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		n := f.start("n0")
		time.Sleep(time.Second)
		for i := range 20 {
			sign(t, n, book(i), "a")
		}
		other := f.start("n1")
		time.Sleep(time.Second)
		for i := range 20 {
			sign(t, n, book(i), "b")
		}
		seen := map[string]float64{}
		families, err := f.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				seen[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		moved := float64(other.Active()["book"])
		for name, want := range map[string]float64{
			"stampede_cluster_activations_total": 20,
			"stampede_cluster_handovers_total":   moved,
			"stampede_cluster_handovers_pending": 0,
			"stampede_cluster_claims":            0,
			"stampede_cluster_queue_messages":    0,
			"stampede_cluster_view":              2,
		} {
			if got, ok := seen[name]; !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if moved == 0 || seen["stampede_cluster_requests_total"] < moved || seen["stampede_cluster_frames_total"] == 0 {
			t.Errorf("%v moved; %v", moved, seen)
		}
		n.stop(t)
		other.stop(t)
	})
}

// Each node wakes what it owns, and nothing else.
func TestRemindersWakeTheOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1"), f.start("gateway", members.Gateway)}
		time.Sleep(time.Second)
		var all due
		for i := range 20 {
			all = append(all, book(i))
		}
		ctx, stop := context.WithCancel(t.Context())
		var waking sync.WaitGroup
		for _, n := range nodes {
			waking.Go(func() { n.WakeDue(ctx, time.Now, all) })
		}
		time.Sleep(2 * time.Second)
		if n0, n1 := nodes[0].Active()["book"], nodes[1].Active()["book"]; n0+n1 != 20 || n0 == 0 || n1 == 0 || nodes[2].Active()["book"] != 0 {
			t.Errorf("%d and %d of 20 woke", n0, n1)
		}
		stop()
		waking.Wait()
		for _, n := range nodes {
			n.stop(t)
		}
	})
}

// What an actor's owner says of it, asked anywhere, and without starting it.
func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1")}
		time.Sleep(time.Second)
		for i := range 8 {
			owner := f.table.now().Owners().Of(book(i)).ID
			sign(t, nodes[0], book(i), "a")
			for _, n := range nodes {
				info, err := n.Info(t.Context(), book(i))
				if err != nil || info.Owner.ID != owner || !info.Active || info.Version != 1 {
					t.Errorf("%s says of book %d: %+v, %v", n.id, i, info, err)
				}
				if info, err := n.Info(t.Context(), book(100+i)); err != nil || info.Active {
					t.Errorf("%s says of an actor that nobody asked for: %+v, %v", n.id, info, err)
				}
			}
		}
		if f.watch.starts != 8 {
			t.Errorf("%d actors were started, want 8", f.watch.starts)
		}
		if _, err := nodes[0].Info(t.Context(), entity.Address{Kind: "cat"}); !errors.Is(err, entity.ErrUnknownKind) {
			t.Error(err)
		}
		for _, n := range nodes {
			n.stop(t)
		}
	})
}

// TestMoving is a seeded simulation of members that come, drain, die, and are
// cut off, while clients sign books by way of any of them: in virtual time, over
// a network that delays, reorders and loses, with a table that every node sees
// in its own time. No two living members with a lease ever have the same actor
// at once, every client is answered in the end, the same whenever it asks again,
// the books hold each name once, and whoever reads how many have signed is never
// told of fewer than had been told so before.
func TestMoving(t *testing.T) {
	first, last := uint64(1), uint64(*movingSeeds)
	if testing.Short() {
		last = min(last, 10)
	}
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	moves, glimpses := 0, int64(0)
	for seed := first; seed <= last; seed++ {
		m := &moving{rng: rand.New(rand.NewPCG(seed, 5)), places: map[string]int64{}, signed: map[string]int64{}}
		synctest.Test(t, m.run)
		if len(m.fleet.watch.problems) > 0 {
			t.Fatalf("seed %d (go test ./cluster -run Moving -seed %d):\n%s", seed, seed, m.fleet.watch.problems[0])
		}
		moves += m.fleet.watch.moves
		glimpses += m.fleet.watch.glimpses.Load()
	}
	t.Logf("%d moves, %d reads without a turn of the actor", moves, glimpses)
	if *simSeed == 0 && (moves < 50*int(last) || glimpses < 50*int64(last)) {
		t.Errorf("%d actors moved, %d reads took no turn: the simulation did not reach what it is to check", moves, glimpses)
	}
}

const (
	movingBooks  = 25
	movingGuests = 40
	movingNames  = 8
)

type moving struct {
	fleet  *fleet
	mu     sync.Mutex
	rng    *rand.Rand
	nodes  []*fellow
	places map[string]int64
	signed map[string]int64 // by book: how many somebody was told of
	ending sync.WaitGroup
}

func (m *moving) upTo(most time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.rng.Int64N(int64(most)))
}

func (m *moving) run(t *testing.T) {
	lossy := m.upTo(2) == 0
	m.fleet = newFleet(t, m.upTo, func() bool { return lossy && m.upTo(100) == 0 })
	m.fleet.disk.delay = func() time.Duration { return m.upTo(200 * time.Millisecond) }
	for i := range 3 {
		m.join(i)
	}
	time.Sleep(time.Second)
	var clients sync.WaitGroup
	for i := range movingGuests {
		clients.Go(func() { m.client(t.Context(), book(i%movingBooks), fmt.Sprint("guest ", i)) })
	}
	for i := range 8 {
		time.Sleep(m.upTo(5 * time.Second))
		m.happen(t, 3+i)
	}
	clients.Wait()
	m.ending.Wait()
	for _, n := range m.nodes {
		n.stop(t)
	}
	m.judge()
}

func (m *moving) join(i int) {
	n := m.fleet.start(fmt.Sprint("n", i))
	// What cannot be reached is evicted when its lease has surely lapsed; here the
	// table does that by itself, in happen.
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes = append(m.nodes, n)
}

// happen lets one thing happen to the members.
func (m *moving) happen(t *testing.T, i int) {
	what := m.upTo(5)
	m.mu.Lock()
	few := len(m.nodes) < 3
	var n *fellow
	if what < 3 && !few {
		k := m.rng.IntN(len(m.nodes))
		n = m.nodes[k]
		m.nodes = append(m.nodes[:k:k], m.nodes[k+1:]...)
	}
	m.mu.Unlock()
	switch {
	case n == nil:
		m.join(i)
	case what == 0:
		m.ending.Go(func() { n.stop(t) })
	default:
		m.ending.Go(func() { m.cutOff(n, what == 1) })
	}
}

// cutOff takes a node from the network and the table, as a crash or a partition
// would: its lease lapses, and then it is evicted.
func (m *moving) cutOff(n *fellow, silently bool) {
	n.seat.blind.Store(true)
	m.fleet.net.part(n.id+":1", silently)
	time.Sleep(simLease)
	m.fleet.watch.die(n.id)
	n.seat.lapsed.Store(true)
	time.Sleep(m.upTo(time.Second))
	m.fleet.table.remove(n.id)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.Close(ctx) // a node that is cut off cannot leave in peace
}

// client signs a book with a few names, two times each, each time until it is
// answered.
func (m *moving) client(ctx context.Context, addr entity.Address, guest string) {
	for i := range 2 * movingNames {
		name := fmt.Sprint(guest, " ", i%movingNames)
		for range 4 {
			time.Sleep(m.upTo(500 * time.Millisecond))
			m.read(ctx, addr)
		}
		for tries := 0; !m.sign(ctx, addr, name); tries++ {
			time.Sleep(m.upTo(500 * time.Millisecond))
			if tries > 60 {
				m.fleet.watch.problem("%s is never answered by %s", name, addr.Stream())
				return
			}
		}
	}
}

func (m *moving) sign(ctx context.Context, addr entity.Address, name string) bool {
	m.mu.Lock()
	n := m.nodes[m.rng.IntN(len(m.nodes))]
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := n.Call(ctx, addr, &commonpb.Money{Currency: name})
	if err != nil {
		if !entity.Retryable(err) {
			m.fleet.watch.problem("%s: %v", name, err)
		}
		return false
	}
	place := reply.(*commonpb.Money).MinorUnits
	m.mu.Lock()
	defer m.mu.Unlock()
	key := addr.ID + name
	if before, again := m.places[key]; again && before != place {
		m.fleet.watch.problem("%s signed %s at %d, then at %d", name, addr.ID, before, place)
	}
	m.places[key] = place
	m.signed[addr.ID] = max(m.signed[addr.ID], place)
	return true
}

// read asks any node how many have signed: at least those of whom somebody had
// been told before it asked.
func (m *moving) read(ctx context.Context, addr entity.Address) {
	m.mu.Lock()
	n, least := m.nodes[m.rng.IntN(len(m.nodes))], m.signed[addr.ID]
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := n.Call(ctx, addr, &commonpb.Money{})
	if err != nil {
		if !entity.Retryable(err) {
			m.fleet.watch.problem("read %s: %v", addr.ID, err)
		}
		return
	}
	got := reply.(*commonpb.Money).MinorUnits
	m.mu.Lock()
	defer m.mu.Unlock()
	if got < least {
		m.fleet.watch.problem("%s had %d, and is read as %d by way of %s", addr.ID, least, got, n.id)
	}
	m.signed[addr.ID] = max(m.signed[addr.ID], got)
}

// judge holds what was said against what is durable.
func (m *moving) judge() {
	seen := 0
	for i := range movingBooks {
		place := int64(0)
		for _, rec := range m.fleet.disk.streams[book(i).Stream()] {
			err := entity.EachEvent(rec.Events, func(event, _ []byte) error {
				e := &commonpb.Money{}
				if err := proto.Unmarshal(event, e); err != nil {
					return err
				}
				place++
				seen++
				if got := m.places[book(i).ID+e.Currency]; got != place {
					m.fleet.watch.problem("%s was told %d, and is at %d of %s", e.Currency, got, place, book(i).ID)
				}
				return nil
			})
			if err != nil {
				m.fleet.watch.problem("%s: %v", book(i).ID, err)
			}
		}
	}
	if seen != movingGuests*movingNames {
		m.fleet.watch.problem("%d guests in the books, want %d", seen, movingGuests*movingNames)
	}
}
