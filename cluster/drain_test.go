package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
)

// handOver has a fellow hand its actors over, and says whether it could.
func handOver(t *testing.T, f *fellow) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.HandOver(ctx); err != nil {
		t.Errorf("%s did not hand over: %v", f.id, err)
	}
}

// A node that has handed everything over, and has had nothing to do since,
// still answers its callers: a load balancer takes a while to notice that it is
// not ready any more.
func TestANodeThatHasHandedOverStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		leaving, other := f.start("n0"), f.start("n1")
		time.Sleep(time.Second)
		for i := range 10 {
			sign(t, leaving, book(i), "early")
		}
		handOver(t, leaving)
		if left := leaving.Active()["book"]; left != 0 {
			t.Errorf("%d actors were not handed over", left)
		}
		time.Sleep(5 * time.Second)
		for i := range 10 {
			if place := sign(t, leaving, book(i), "late"); place != 2 {
				t.Errorf("late is number %d in %s", place, book(i).ID)
			}
		}
		leaving.stop(t)
		other.stop(t)
	})
}

// The last node that hosts actors has nobody to hand over to: it goes on until
// it is closed, and finishes what it has accepted then, conversations between
// actors included.
func TestTheLastNodeServesUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		last := f.start("n0")
		time.Sleep(time.Second)
		handOver(t, last)
		for i := range 10 {
			sign(t, last, book(i), "late")
		}
		f.disk.holdWrites()
		answers := make(chan error, 10)
		for i := range cap(answers) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				_, err := last.Call(ctx, entity.Address{Kind: "chain", ID: fmt.Sprint(i)}, add(1))
				answers <- err
			}()
		}
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			f.disk.releaseWrites()
		}()
		last.stop(t)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Errorf("accepted before the end: %v", err)
			}
		}
	})
}

// One that joins after the last node has begun to end takes over.
func TestWhoJoinsTheLastNodeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		last := f.start("n0")
		time.Sleep(time.Second)
		handOver(t, last)
		sign(t, last, book(0), "early")
		next := f.start("n1")
		time.Sleep(time.Second)
		last.stop(t)
		if place := sign(t, next, book(0), "late"); place != 2 {
			t.Errorf("late is number %d", place)
		}
		next.stop(t)
	})
}

// All nodes are told to end at once: nobody is left to hand over to, and each
// serves until it is closed.
func TestAllNodesEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1"), f.start("n2")}
		time.Sleep(time.Second)
		place := int64(0)
		sweep := func(who string, through ...*fellow) {
			for k, n := range through {
				place++
				for i := range 20 {
					if got := sign(t, n, book(i), fmt.Sprint(who, k)); got != place {
						t.Errorf("%s: number %d in %s, want %d", who, got, book(i).ID, place)
					}
				}
			}
		}
		sweep("up", nodes...)
		for _, n := range nodes {
			handOver(t, n)
		}
		sweep("draining", nodes...)
		nodes[0].stop(t)
		sweep("two are left", nodes[1:]...)
		nodes[1].stop(t)
		sweep("one is left", nodes[2])
		nodes[2].stop(t)
		for _, p := range f.watch.problems {
			t.Error(p)
		}
	})
}
