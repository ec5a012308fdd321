package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

// How many actors each member has in memory, asked of itself and of others.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, none, nil)
		nodes := []*fellow{f.start("n0"), f.start("n1"), f.start("gateway", members.Gateway)}
		time.Sleep(time.Second)
		for i := range 30 {
			sign(t, nodes[2], book(i), "a")
		}
		for _, asked := range nodes {
			for _, of := range nodes {
				got, err := asked.Count(t.Context(), of.id)
				if want := fmt.Sprint(of.Active()); err != nil || fmt.Sprint(got) != want {
					t.Errorf("%s says of %s: %v, %v, want %s", asked.id, of.id, got, err, want)
				}
			}
		}
		if all := nodes[0].Active()["book"] + nodes[1].Active()["book"]; all != 30 || nodes[0].Active()["book"] == 0 || nodes[1].Active()["book"] == 0 {
			t.Errorf("%d books, of which %d are of n0", all, nodes[0].Active()["book"])
		}
		if got, err := nodes[0].Count(t.Context(), "nobody"); err == nil {
			t.Errorf("of who is no member: %v", got)
		}
		f.net.part("n1:1", true)
		began := time.Now()
		if got, err := nodes[0].Count(t.Context(), "n1"); !entity.Retryable(err) || time.Since(began) > f.options.RemoteAttemptFor {
			t.Errorf("of one that does not answer, after %s: %v, %v", time.Since(began), got, err)
		}
		for _, n := range nodes {
			n.stop(t)
		}
	})
}
