package cluster_test

// Members that come, drain, die and are cut off, for many seeds.

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
)

var movingSeeds = flag.Int("moving-seeds", 15, "how many seeds the simulation of members that come and go runs")

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
