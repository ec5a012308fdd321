package faultstore_test

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

	"stampede/actors/entity"
	"stampede/internal/faultstore"
	"stampede/persistence/commitlog"
)

var (
	seeds    = flag.Int("seeds", 100, "how many seeds the simulation runs")
	onlySeed = flag.Uint64("seed", 0, "run this seed alone, and tell what happens")
)

const (
	processes  = 2 // side by side, each with an activation of every actor: they fence each other
	lives      = 3 // of each process; all but the last end with a kill
	actors     = 4
	operations = 12 // of each actor
)

// TestSimulation runs the commit log over a hostile store against a small
// model: actors whose only state is the list of operations they have done. It
// ends with every operation done exactly once, in streams without gaps, whatever
// was killed, lost, torn, late or repeated; with nobody having been told what
// is not so; and with every reader of every incarnation's log having been
// handed exactly what is durable below its position.
func TestSimulation(t *testing.T) {
	from, n := uint64(1), *seeds
	if *onlySeed != 0 {
		from, n = *onlySeed, 1
	}
	injected := map[faultstore.Fault]int{}
	for seed := from; seed < from+uint64(n); seed++ {
		sim := &simulation{seed: seed, told: map[string][]answer{}}
		synctest.Test(t, func(t *testing.T) { sim.run(t) })
		for fault, count := range sim.store.Injected() {
			injected[fault] += count
		}
		if len(sim.problems) > 0 {
			t.Fatalf("seed %d (go test -run Simulation -seed %d):\n%v", seed, seed, errors.Join(sim.problems...))
		}
	}
	if *onlySeed != 0 {
		return
	}
	for _, fault := range []faultstore.Fault{
		faultstore.RefuseBatch, faultstore.TearBatch, faultstore.HangAppend, faultstore.SlowAppend, faultstore.RefuseRecord, faultstore.LoseWrite,
		faultstore.LoseAnswer, faultstore.LateWrite, faultstore.DuplicateWrite, faultstore.FailRead, faultstore.SlowRead, faultstore.FailOther,
	} {
		if injected[fault] == 0 {
			t.Errorf("no seed has met %q", fault)
		}
	}
}

type simulation struct {
	seed  uint64
	store *faultstore.Store

	mu       sync.Mutex
	told     map[string][]answer // by operation
	readers  []*reader
	problems []error
}

// answer is what an actor was told of one record.
type answer struct {
	epoch    entity.Epoch
	position uint64
	err      error
}

func (sim *simulation) problem(format string, args ...any) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.problems = append(sim.problems, fmt.Errorf(format, args...))
}

// random is a generator of its own for each part, so that a seed replays.
func (sim *simulation) random(part int) *rand.Rand {
	return rand.New(rand.NewPCG(sim.seed, uint64(part)))
}

func (sim *simulation) run(t *testing.T) {
	sim.store = faultstore.New(sim.seed, faultstore.Hostile())
	if *onlySeed != 0 {
		began := time.Now()
		sim.store.Trace(func(what string) { t.Logf("%12s %s", time.Since(began), what) })
	}
	var running sync.WaitGroup
	for i := range processes {
		running.Go(func() {
			rng := sim.random(i)
			for life := range lives {
				if life == lives-1 {
					time.Sleep(time.Minute) // until the others are dead and late writes have landed
					sim.store.Calm()
				}
				sim.live(t.Context(), i, life, rng)
			}
		})
	}
	running.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	sim.check()
}

// live runs one process from its start to its end.
func (sim *simulation) live(ctx context.Context, process, life int, rng *rand.Rand) {
	store := sim.store.Connect()
	log := sim.open(ctx, store, process)
	alive, die := context.WithCancel(ctx)
	defer die()
	var running sync.WaitGroup
	r := &reader{epoch: log.Epoch(), follower: log.Follow("reader", 0), handed: map[uint64]bool{}, calm: life == lives-1}
	sim.mu.Lock()
	sim.readers = append(sim.readers, r)
	sim.mu.Unlock()
	running.Go(func() { r.read(ctx, sim, sim.random(100+10*process+life)) })
	var work sync.WaitGroup
	for i := range actors {
		work.Go(func() {
			a := &actor{sim: sim, store: store, log: log, id: fmt.Sprint("actor-", i), rng: sim.random(1000 + 100*process + 10*life + i)}
			a.act(alive, life == lives-1)
		})
	}
	if life < lives-1 {
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Millisecond)
		die()
		store.Kill()
	}
	work.Wait()
	ending, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := log.Close(ending)
	if life == lives-1 && err != nil {
		sim.problem("process %d ended calmly: %w", process, err)
	}
	running.Wait()
	store.Kill()
}

func (sim *simulation) open(ctx context.Context, store *faultstore.Store, process int) *commitlog.Log {
	for {
		log, err := commitlog.Open(ctx, store, fmt.Sprint("node-", process), commitlog.Options{
			MaxInFlight: 3, MaxBatchRecords: 3, MaxRetainedRecords: 4, FollowRecords: 3, MaxPendingRecords: 8,
			AppendTimeout: 2 * time.Second, Jitter: func(d time.Duration) time.Duration { return d },
		})
		if err == nil {
			return log
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// actor is one activation: it knows what it has read and what it was told.
type actor struct {
	sim   *simulation
	store *faultstore.Store
	log   *commitlog.Log
	id    string
	rng   *rand.Rand

	done []string // the operations in its stream
}

// act does what is left of the actor's operations, or what it comes to. In the
// last life it does not give up.
func (a *actor) act(ctx context.Context, last bool) {
	fresh := false
	for ctx.Err() == nil {
		time.Sleep(time.Duration(a.rng.IntN(400)) * time.Millisecond)
		if !fresh {
			if fresh = a.recover(ctx); !fresh {
				continue
			}
		}
		next := ""
		for i := 0; i < operations && next == ""; i++ {
			if op := fmt.Sprintf("%s operation %d", a.id, i); !slices.Contains(a.done, op) && (last || a.rng.IntN(2) == 0) {
				next = op
			}
		}
		if next == "" {
			if last {
				return
			}
			fresh = false
			continue
		}
		fresh = a.commit(next)
	}
}

// commit does one operation, and says whether the activation may go on.
func (a *actor) commit(op string) bool {
	seq := uint64(len(a.done) + 1)
	rec := &entity.Record{Kind: "actor", ID: a.id, Seq: seq, FirstVersion: seq, LastVersion: seq, Events: []byte(op)}
	told := make(chan error, 2)
	a.log.Commit(rec, func(err error) { told <- err })
	err := <-told
	a.sim.mu.Lock()
	a.sim.told[op] = append(a.sim.told[op], answer{rec.Epoch, rec.Position, err})
	a.sim.mu.Unlock()
	switch {
	case err == nil:
		a.done = append(a.done, op)
		return true
	case !entity.Retryable(err):
		a.sim.problem("%s was told %w", op, err)
	}
	// Nothing of it was written: the activation may go on. Else it has to read.
	return errors.Is(err, entity.ErrUnavailable) || errors.Is(err, entity.ErrOverloaded)
}

// recover reads the actor's stream.
func (a *actor) recover(ctx context.Context) bool {
	a.done = nil
	for rec, err := range a.store.ReadStream(ctx, "actor/"+a.id, 0) {
		if err != nil {
			return false
		}
		a.sim.fits(rec, len(a.done))
		a.done = append(a.done, string(rec.Events))
	}
	return true
}

// fits checks a record that follows so many others.
func (sim *simulation) fits(rec *entity.Record, after int) {
	if err := rec.Verify(); err != nil {
		sim.problem("%w", err)
	}
	if rec.Seq != uint64(after+1) {
		sim.problem("%s: record %d follows %d others", rec.Stream(), rec.Seq, after)
	}
}

// reader follows the log of one incarnation as far as it can.
type reader struct {
	epoch    entity.Epoch
	follower *commitlog.Follower
	handed   map[uint64]bool
	upTo     uint64
	calm     bool // its process was not killed
	ended    bool // it came to the end of the log
}

func (r *reader) read(ctx context.Context, sim *simulation, rng *rand.Rand) {
	for tries := 0; tries < 50; {
		records, upTo, err := r.follower.Next(ctx)
		if errors.Is(err, commitlog.ErrClosed) {
			r.ended = true
			return
		}
		if err != nil {
			tries++ // a dead process reads nothing any more
			time.Sleep(100 * time.Millisecond)
			continue
		}
		tries = 0
		if upTo <= r.upTo {
			sim.problem("epoch %d: up to %d after %d", r.epoch, upTo, r.upTo)
		}
		for _, rec := range records {
			if rec.Position <= r.upTo || rec.Position > upTo || r.handed[rec.Position] {
				sim.problem("epoch %d: position %d after up to %d, up to %d", r.epoch, rec.Position, r.upTo, upTo)
			}
			r.handed[rec.Position] = true
		}
		r.upTo = upTo
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
}

// check compares what was said with what is there, when nothing moves any more.
func (sim *simulation) check() {
	if n := sim.store.InTheAir(); n != 0 {
		sim.problem("%d writes are in the air", n)
	}
	truth := sim.store.Truth()
	durable := map[answer]bool{}
	times := map[string]int{}
	for _, stream := range truth.Streams() {
		for i, rec := range truth.Stream(stream) {
			sim.fits(rec, i)
			durable[answer{epoch: rec.Epoch, position: rec.Position}] = true
			times[string(rec.Events)]++
		}
	}
	if len(times) != actors*operations {
		sim.problem("%d operations were done, want %d", len(times), actors*operations)
	}
	for op, n := range times {
		if n != 1 {
			sim.problem("%s was done %d times", op, n)
		}
	}
	for op, answers := range sim.told {
		for _, a := range answers {
			there := durable[answer{epoch: a.epoch, position: a.position}]
			if said := a.err == nil; !errors.Is(a.err, entity.ErrUnknownOutcome) && said != there {
				sim.problem("%s at (%d, %d): was told %v, durable: %v", op, a.epoch, a.position, a.err, there)
			}
		}
	}
	for _, r := range sim.readers {
		if r.calm && !r.ended {
			sim.problem("epoch %d: the reader did not come to the end", r.epoch)
		}
		for _, rec := range truth.Log(r.epoch) {
			if rec.Position <= r.upTo && !r.handed[rec.Position] {
				sim.problem("epoch %d: position %d is durable and was not handed out, up to %d", r.epoch, rec.Position, r.upTo)
			}
			delete(r.handed, rec.Position)
		}
		if len(r.handed) > 0 {
			sim.problem("epoch %d: positions %v were handed out and are not durable", r.epoch, r.handed)
		}
	}
}
