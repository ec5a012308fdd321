package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
)

// sums answers what only reads with what it was answered before.
func sums() *entity.Glimpse {
	return &entity.Glimpse{
		Reads: func(cmd proto.Message) bool {
			m, ok := cmd.(*commonpb.Money)
			return ok && m.MinorUnits == 0 && m.Currency == ""
		},
		Again: func(before, _ proto.Message, _ time.Time) proto.Message { return before },
	}
}

// What one has read, the next one reads without a turn of the actor, here and by
// way of another node, until something changes: then nobody reads the old again.
func TestReadsTakeNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1")}
		time.Sleep(time.Second)
		count := func(n *fellow) int64 { return sign(t, n, book(1), "") }
		for signed := int64(1); signed <= 3; signed++ {
			sign(t, nodes[0], book(1), string(rune('a'+signed)))
			before := f.watch.glimpses.Load()
			for range 5 {
				for _, n := range nodes {
					if got := count(n); got != signed {
						t.Errorf("%s reads %d of %d", n.id, got, signed)
					}
				}
			}
			// What the first was answered is tried once, before it is shown.
			if took := 10 - (f.watch.glimpses.Load() - before - 1); took != 1 {
				t.Errorf("%d of 10 reads took a turn of the actor, want the first", took)
			}
		}
		for _, n := range nodes {
			n.stop(t)
		}
	})
}

// While a change is being written nothing is read but what comes of it.
func TestReadsWaitForTheWrite(t *testing.T) {
	d := newDisk()
	n := startNode(t, d, nil)
	mustCall(t, n, add(1))
	mustCall(t, n, &commonpb.Money{})
	if got := mustCall(t, n, &commonpb.Money{}); got != 1 {
		t.Fatal(got)
	}
	d.holdWrites()
	written := make(chan int64, 1)
	go func() { written <- mustCall(t, n, add(1)) }()
	eventually(t, "the write to be under way", func() bool { return d.heldWrites() == 1 })
	read := make(chan int64, 1)
	go func() { read <- mustCall(t, n, &commonpb.Money{}) }()
	select {
	case got := <-read:
		t.Errorf("%d was read while 2 was being written", got)
	case <-time.After(50 * time.Millisecond):
		d.releaseWrites()
		if got := <-read; got != 2 {
			t.Errorf("%d was read, want 2", got)
		}
	}
	if got := <-written; got != 2 {
		t.Error(got)
	}
}

// A lease that holds again is as good as before, and what was shown as well.
func TestReadsAfterALapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		n := f.start("n0")
		sign(t, n, book(1), "a")
		sign(t, n, book(1), "")
		n.seat.lapsed.Store(true)
		before := f.watch.glimpses.Load()
		if reply, err := n.Call(t.Context(), book(1), &commonpb.Money{}); err == nil {
			t.Errorf("read %v without a lease", reply)
		}
		if f.watch.glimpses.Load() != before {
			t.Error("the actor was looked at without a lease")
		}
		n.seat.lapsed.Store(false)
		if got := sign(t, n, book(1), ""); got != 1 {
			t.Errorf("read %d", got)
		}
		n.stop(t)
	})
}
