package cluster_test

// Leases that have lapsed, and owners that do not answer.

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
)

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
