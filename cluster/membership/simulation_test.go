package membership

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"stampede/cluster/members"
	"stampede/internal/memtable"
)

var (
	simSeeds = flag.Int("sim-seeds", 40, "seeds of the simulation")
	simSeed  = flag.Uint64("sim-seed", 0, "one seed of the simulation, to run again")
)

// slowTable is a database that works, not too well.
func slowTable() memtable.Faults {
	return memtable.Faults{
		Refuse: 0.03, LoseAnswer: 0.03, Late: 0.03, LateTime: 5 * time.Second, Slow: 0.05, CallTime: 20 * time.Millisecond, SlowTime: 600 * time.Millisecond,
	}
}

// hostileTable is one that fails more often than not.
func hostileTable() memtable.Faults {
	return memtable.Faults{
		Refuse: 0.2, LoseAnswer: 0.2, Late: 0.2, LateTime: 10 * time.Second, Slow: 0.3, CallTime: 100 * time.Millisecond, SlowTime: 4 * time.Second,
	}
}

// TestSimulation has everything happen at random, and then wants those that are
// left to be one cluster. The world looks at the guarantees all the time.
func TestSimulation(t *testing.T) {
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 10)
	}
	for i := range seeds {
		seed := rand.Uint64()
		if *simSeed != 0 {
			seed = *simSeed
		}
		ok := t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("again: -run TestSimulation -sim-seed %d", seed)
				}
			})
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		})
		if !ok || *simSeed != 0 {
			return
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	w.addAll(3 + w.dice.IntN(5))
	for range 25 {
		w.happen()
		w.run(time.Duration(w.dice.Float64() * float64(lease)))
	}
	for _, n := range w.living() {
		w.thaw(n)
		n.client.Cut(false)
		n.client.Set(memtable.Faults{})
	}
	w.mu.Lock()
	clear(w.cut)
	w.mu.Unlock()
	w.until("becoming one cluster again", 6*lease, func() bool { return w.agree(w.living()) })
	if left := w.living(); len(left) > 0 {
		w.add("host:new")
		w.until("taking in one more", lease, func() bool { return w.agree(w.living()) })
	}
	w.end()
}

// happen has one thing happen.
func (w *world) happen() {
	living := w.living()
	if len(living) < 2 {
		w.calm(living)
		w.add(fmt.Sprintf("host:%d", 100+len(w.nodes)))
		return
	}
	n, other := living[w.dice.IntN(len(living))], living[w.dice.IntN(len(living))]
	switch w.dice.IntN(12) {
	case 0:
		w.kill(n, w.dice.IntN(2) == 0)
	case 1: // a process that is started again at once
		w.kill(n, true)
		w.calm(nil)
		w.add(n.config.Self.Address)
	case 2:
		w.add(fmt.Sprintf("host:%d", 100+len(w.nodes)))
	case 3, 4:
		w.freeze(n)
	case 5, 6:
		for _, n := range living {
			w.thaw(n)
		}
	case 7:
		n.client.Cut(w.dice.IntN(2) == 0)
	case 8:
		for _, third := range living { // n is alone, but for the table
			w.separate(n, third, true)
		}
	case 9:
		if n != other {
			w.separate(n, other, w.dice.IntN(2) == 0)
		}
	case 10:
		faults := []memtable.Faults{{}, slowTable(), hostileTable()}[w.dice.IntN(3)]
		for _, n := range living {
			n.client.Set(faults)
		}
	case 11:
		if !n.frozen {
			go func() { // as a node does that is told to end
				if n.Drain(w.t.Context()) == nil {
					_ = n.Leave(w.t.Context()) // or it is lost before
				}
				n.Close()
				w.mu.Lock()
				defer w.mu.Unlock()
				n.ended = true
			}()
		}
	}
}

func (w *world) calm(nodes []*node) {
	for _, n := range nodes {
		w.thaw(n)
		n.client.Cut(false)
	}
}

// TestHealthyClusterEvictsNobody, though the database is slow at times, and
// processes stop for less than a lease.
func TestHealthyClusterEvictsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		w := newWorld(t, seed)
		nodes := w.addAll(5)
		for _, n := range nodes {
			n.client.Set(slowTable())
		}
		for range 40 {
			n := nodes[w.dice.IntN(len(nodes))]
			w.freeze(n)
			w.run(time.Duration(w.dice.Float64() * float64(lease/4)))
			w.thaw(n)
			w.suspected(n.config.Self.ID)
			w.run(time.Duration(w.dice.Float64() * float64(lease)))
		}
		w.calm(nodes)
		for _, n := range nodes {
			n.client.Set(memtable.Faults{})
		}
		w.until("all to be there", 2*lease, func() bool { return w.agree(nodes) })
		w.end()
	})
}

// TestTheDeadAreEvictedInTime gives the bounds that docs/decisions/0051 names.
func TestTheDeadAreEvictedInTime(t *testing.T) {
	// In this world nobody mentions a newer view: the others hear of what one did
	// when they look.
	const heard = DefaultPollEvery*11/10 + 250*time.Millisecond
	for _, c := range []struct {
		name   string
		size   int
		happen func(w *world, n *node)
		within time.Duration
	}{
		{"killed, of three, its connections notice", 3, func(w *world, n *node) { w.kill(n, true) }, 250 * time.Millisecond},
		{"killed, of two", 2, func(w *world, n *node) { w.kill(n, true) }, 250 * time.Millisecond},
		{"killed, one connection notices", 5, func(w *world, n *node) {
			w.kill(n, false)
			w.living()[2].Suspect(n.config.Self.ID, members.Unreachable)
		}, heard},
		{"killed, nobody notices", 3, func(w *world, n *node) { w.kill(n, false) }, lease*2/3 + heard},
		{"two of three killed", 3, func(w *world, n *node) {
			w.kill(w.living()[1], true)
			w.kill(n, true)
		}, lease*2/3 + heard},
		{"frozen", 3, func(w *world, n *node) { w.freeze(n) }, lease*13/10 + heard},
		{"frozen, of two", 2, func(w *world, n *node) { w.freeze(n) }, lease*13/10 + heard},
		{"cut off from the table", 3, func(_ *world, n *node) { n.client.Cut(true) }, lease*13/10 + heard},
		{"cut off from the others", 4, func(w *world, n *node) {
			for _, other := range w.living() {
				w.separate(n, other, true)
			}
			w.suspected(n.config.Self.ID)
		}, lease*3 + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				w := newWorld(t, seed)
				nodes := w.addAll(c.size)
				for _, n := range nodes {
					n.client.Set(memtable.Faults{CallTime: 20 * time.Millisecond})
				}
				w.run(time.Duration(w.dice.Float64() * float64(lease)))
				c.happen(w, nodes[0])
				took := w.until("putting it out", c.within, func() bool { return without(w.living(), nodes[0]) })
				t.Logf("took %s", took)
				w.thaw(nodes[0])
				nodes[0].client.Cut(false)
				w.run(lease)
				if nodes[0].Fit() == nil || !retryable(nodes[0].Fit()) {
					t.Errorf("it is fit: %v", nodes[0].Fit())
				}
				w.end()
			})
		})
	}
}

// TestTwoThatCannotReachEachOther stay, as long as both renew: nobody could tell
// which one to put out.
func TestTwoThatCannotReachEachOther(t *testing.T) {
	for size := 2; size <= 3; size++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, rand.Uint64())
			nodes := w.addAll(size)
			w.separate(nodes[0], nodes[1], true)
			nodes[0].Suspect(nodes[1].config.Self.ID, members.Unreachable)
			nodes[1].Suspect(nodes[0].config.Self.ID, members.Unreachable)
			w.run(5 * lease)
			if !w.agree(nodes) {
				t.Errorf("of %d: %+v", size, w.truth())
			}
			w.end()
		})
	}
}

// TestTableAway: without the database nobody is fit, and nobody is put out when
// it is back; if it does not come back they give up, and say why.
func TestTableAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rand.Uint64())
		nodes := w.addAll(3)
		away := func(is bool) {
			for _, n := range nodes {
				n.client.Cut(is)
			}
		}
		away(true)
		w.run(lease * 11 / 10)
		for _, n := range nodes {
			if err := n.Fit(); !retryable(err) {
				t.Errorf("node %d without a table: %v", n.index, err)
			}
		}
		w.run(12 * time.Second)
		away(false)
		w.until("being fit again", lease, func() bool { return w.agree(nodes) })
		away(true)
		lost := w.until("giving up", DefaultGiveUpAfter+lease, func() bool { return len(w.living()) == 0 })
		for _, n := range nodes {
			if !errors.Is(n.Err(), ErrLost) {
				t.Errorf("node %d: %v", n.index, n.Err())
			}
		}
		t.Logf("after %s: %v", lost, nodes[0].Err())
	})
}
