package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

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
