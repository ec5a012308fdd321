package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/internal/faultstore"
	"stampede/persistence/commitlog"
	"stampede/proto/gen/commonpb"
)

var (
	simSeeds = flag.Int("sim-seeds", 60, "how many seeds the simulation runs")
	simSeed  = flag.Uint64("seed", 0, "run only this seed of the simulation")
)

// guests is the state of a toy kind: who came, in order. A command is a name;
// the answer is the place, the same one whenever the name comes again. No name:
// how many have come.
type guests struct{ names []string }

func guestBook() *entity.Kind[guests, *commonpb.Money] {
	return &entity.Kind[guests, *commonpb.Money]{
		Name: "book",
		New:  func(string) *guests { return &guests{} },
		Decide: func(s *guests, cmd proto.Message, _ time.Time, _ entity.Heard) entity.Decision[*commonpb.Money] {
			m := cmd.(*commonpb.Money)
			if m.Currency == "" {
				return entity.Decision[*commonpb.Money]{Reply: &commonpb.Money{MinorUnits: int64(len(s.names))}}
			}
			if i := slices.Index(s.names, m.Currency); i >= 0 {
				return entity.Decision[*commonpb.Money]{Reply: &commonpb.Money{MinorUnits: int64(i) + 1}}
			}
			return entity.Decision[*commonpb.Money]{Events: []*commonpb.Money{m}, Reply: &commonpb.Money{MinorUnits: int64(len(s.names)) + 1}}
		},
		Glimpse:  sums(),
		Evolve:   func(s *guests, e *commonpb.Money) { s.names = append(s.names, e.Currency) },
		NewEvent: func() *commonpb.Money { return &commonpb.Money{} },
		Snapshot: func(s *guests) proto.Message { return &commonpb.Money{Currency: fmt.Sprint(s.names)} },
		Restore:  func(string, []byte) (*guests, error) { return nil, errors.New("not kept") },
	}
}

// TestSimulation runs the real shell (protoactor-go's actors, the request path,
// placement, passivation, drain) over the commit log over a hostile store, in
// virtual time: two nodes, side by side on one database, are killed or drained
// and started again while clients sign two books. Every answer to a name is the
// same place, and in the end the journal has each name once, at that place.
// What the seed does not decide is the scheduler's interleaving.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), uint64(*simSeeds)
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	answered, refused := 0, 0
	for seed := first; seed <= last; seed++ {
		s := &sim{rng: rand.New(rand.NewPCG(seed, 3)), places: map[string]int64{}}
		synctest.Test(t, s.run)
		if len(s.problems) > 0 {
			t.Fatalf("seed %d (go test ./cluster -run Simulation -seed %d):\n%s", seed, seed, s.problems[0])
		}
		answered += s.answered
		refused += s.refused
	}
	t.Logf("%d answers, %d faults", answered, refused)
	if *simSeed == 0 && (answered == 0 || refused == 0) {
		t.Error("the simulation did not reach what it is to check")
	}
}

const (
	simNodes  = 2
	simLives  = 3
	simGuests = 30
)

type sim struct {
	store *faultstore.Store
	mu    sync.Mutex
	rng   *rand.Rand
	nodes [simNodes]*cluster.Node

	places            map[string]int64 // by book and name
	answered, refused int
	problems          []string
}

func (s *sim) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *sim) upTo(most time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rng.Int64N(int64(most)))
}

func (s *sim) run(t *testing.T) {
	s.store = faultstore.New(s.rng.Uint64(), faultstore.Hostile())
	var hosts, clients sync.WaitGroup
	over := make(chan struct{})
	for i := range simNodes {
		hosts.Go(func() { s.host(t.Context(), i, over) })
	}
	for i := range simGuests {
		clients.Go(func() { s.client(t.Context(), fmt.Sprint("book-", i%2), fmt.Sprint("guest ", i)) })
	}
	clients.Wait()
	close(over)
	hosts.Wait()
	time.Sleep(time.Minute) // late writes land
	s.judge()
}

// host runs a node's lives: all but the last end with a kill or a drain.
func (s *sim) host(ctx context.Context, i int, over <-chan struct{}) {
	for life := range simLives {
		store := s.store.Connect()
		log := s.open(ctx, store)
		limits, options := entity.DefaultLimits(), cluster.DefaultOptions()
		options.PassivateAfter, limits.StopFor = 3*time.Second, 2*time.Second
		rt := &entity.Runtime{Log: log, Store: store, Clock: time.Now, Logger: quiet, Limits: limits}
		n := cluster.NewNode(quiet, []entity.Spawner{entity.Bind(rt, guestBook())}, nil, options)
		s.mu.Lock()
		s.nodes[i] = n
		s.mu.Unlock()
		if life < simLives-1 {
			time.Sleep(s.upTo(20 * time.Second))
			if s.upTo(2) == 0 {
				store.Kill()
			}
		} else {
			time.Sleep(40 * time.Second)
			s.store.Calm()
			<-over
		}
		ending, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := n.Close(ending); err != nil && life == simLives-1 {
			s.problem("a calm node did not drain: %v", err)
		}
		cancel()
		ending, cancel = context.WithTimeout(ctx, 10*time.Second)
		if err := log.Close(ending); err != nil && life == simLives-1 {
			s.problem("a calm log did not close: %v", err)
		}
		cancel()
		store.Kill()
	}
}

func (s *sim) open(ctx context.Context, store *faultstore.Store) *commitlog.Log {
	for {
		log, err := commitlog.Open(ctx, store, "node", commitlog.Options{MaxBatchRecords: 2, MaxPendingRecords: 4, AppendTimeout: 2 * time.Second})
		if err == nil {
			return log
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// client signs a book a few times, each time until it is answered.
func (s *sim) client(ctx context.Context, book, name string) {
	for range 3 {
		time.Sleep(s.upTo(25 * time.Second))
		for !s.sign(ctx, book, name) {
			time.Sleep(s.upTo(2 * time.Second))
		}
	}
}

func (s *sim) sign(ctx context.Context, book, name string) bool {
	s.mu.Lock()
	n := s.nodes[s.rng.IntN(simNodes)]
	s.mu.Unlock()
	if n == nil {
		return false
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := n.Call(ctx, entity.Address{Kind: "book", ID: book}, &commonpb.Money{Currency: name})
	if took := time.Since(began); took > 5*time.Second {
		s.problem("%s waited %s with a deadline of 5s", name, took)
	}
	if err != nil {
		if !entity.Retryable(err) {
			s.problem("%s: %v", name, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused++
		return false
	}
	place := reply.(*commonpb.Money).MinorUnits
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered++
	if before, again := s.places[book+name]; again && before != place {
		s.problems = append(s.problems, fmt.Sprintf("%s signed %s at %d, then at %d", name, book, before, place))
	}
	s.places[book+name] = place
	return true
}

// judge holds what was said against what is durable.
func (s *sim) judge() {
	seen := 0
	for _, stream := range s.store.Truth().Streams() {
		names := map[string]bool{}
		place := int64(0)
		for _, rec := range s.store.Truth().Stream(stream) {
			err := entity.EachEvent(rec.Events, func(event, _ []byte) error {
				m := &commonpb.Money{}
				if err := proto.Unmarshal(event, m); err != nil {
					return err
				}
				place++
				if names[m.Currency] {
					s.problem("%s has %s twice", stream, m.Currency)
				}
				names[m.Currency] = true
				if got := s.places[stream[len("book/"):]+m.Currency]; got != place {
					s.problem("%s was told %d, and is at %d of %s", m.Currency, got, place, stream)
				}
				seen++
				return nil
			})
			if err != nil {
				s.problem("%s: %v", stream, err)
			}
		}
	}
	if seen != simGuests {
		s.problem("%d guests in the books, want %d", seen, simGuests)
	}
}
