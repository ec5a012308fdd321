package faultstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/internal/memstore"
	"stampede/persistence"
)

// Store is one process's connection to a database that fails. It is safe for
// concurrent use.
type Store struct {
	*world
	inner *memstore.Store
	dead  chan struct{}
	once  sync.Once // closes dead
}

// world is the database: what all connections to it share.
type world struct {
	seed uint64
	disk *memstore.Disk

	mu       sync.Mutex
	faults   Faults
	attempts map[string]uint64 // calls by name
	injected map[Fault]int
	older    map[string]*entity.Snapshot // what a snapshot replaced
	inTheAir int                         // late writes
	trace    func(string)
}

var _ persistence.Store = (*Store)(nil)

// New is a connection to an empty database. It panics on probabilities that
// are none.
func New(seed uint64, faults Faults) *Store {
	faults.check()
	w := &world{
		seed: seed, disk: memstore.NewDisk(), faults: faults,
		attempts: map[string]uint64{}, injected: map[Fault]int{}, older: map[string]*entity.Snapshot{}, trace: func(string) {},
	}
	return w.connect()
}

func (w *world) connect() *Store {
	return &Store{world: w, inner: w.disk.Open(), dead: make(chan struct{})}
}

// Connect is another process's connection to the same database: another node,
// or the same one started again.
func (s *Store) Connect() *Store { return s.connect() }

// Kill ends the process that has this connection, as SIGKILL would: calls
// under way return at once, their writes may have happened, may not, or may
// land later. Calls after it are refused.
func (s *Store) Kill() { s.once.Do(func() { close(s.dead) }) }

// Close implements persistence.Store. The database lives on.
func (s *Store) Close() error {
	s.Kill()
	return nil
}

// Truth is the disk itself: what is durable, whatever anyone was told. It can
// also be tampered with.
func (s *Store) Truth() *memstore.Disk { return s.disk }

// Calm ends all faults but the late writes that are under way, and takes no
// time for anything: after it a system has to recover.
func (s *Store) Calm() { s.SetFaults(Faults{}) }

// SetFaults replaces the probabilities.
func (s *Store) SetFaults(f Faults) {
	f.check()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Injected counts the faults that happened, so that a test can show that it
// met them.
func (s *Store) Injected() map[Fault]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[Fault]int, len(s.injected))
	for fault, n := range s.injected {
		counts[fault] = n
	}
	return counts
}

// InTheAir is the number of late and duplicate writes that have yet to land.
func (s *Store) InTheAir() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inTheAir
}

// Trace calls tell with every fault and every late write, from any goroutine
// but one at a time; tell must not call the store.
func (s *Store) Trace(tell func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = tell
}

// decide returns the dice for a call and the probabilities in force.
func (w *world) decide(call string) (dice, Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts[call]++
	return throw(w.seed, call, w.attempts[call]), w.faults
}

// note counts a fault. An empty one is none.
func (w *world) note(fault Fault, call string) Fault {
	if fault == "" {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.injected[fault]++
	w.trace(fmt.Sprintf("%s: %s", call, fault))
	return fault
}

// later lets a write land after its caller has gone.
func (w *world) later(after time.Duration, rec *entity.Record) {
	w.mu.Lock()
	w.inTheAir++
	w.mu.Unlock()
	time.AfterFunc(after, func() {
		err := w.land(rec)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inTheAir--
		w.trace(fmt.Sprintf("%s: landed late: %v", name(rec), err))
	})
}

// land writes a record as the database does.
func (w *world) land(rec *entity.Record) error {
	return w.disk.Open().Append(context.Background(), []*entity.Record{rec})[0]
}

// name is what a record is called in decisions: not by its position, which
// depends on the scheduler.
func name(rec *entity.Record) string { return fmt.Sprintf("%s record %d", rec.Stream(), rec.Seq) }

// ended says why a call cannot go on, or nil.
func (s *Store) ended(ctx context.Context) error {
	select {
	case <-s.dead:
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, err)
	}
	return nil
}

// forever is a wait that ends with its context or the process.
const forever = time.Duration(1<<63 - 1)

// wait passes time, and reports whether the call goes on after it.
func (s *Store) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return s.ended(ctx) == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.ended(ctx) == nil
	case <-ctx.Done():
	case <-s.dead:
	}
	return false
}

func injected(kind error, fault Fault, call string) error {
	return fmt.Errorf("%s: %w: injected: %s", call, kind, fault)
}
