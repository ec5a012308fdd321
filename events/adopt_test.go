package events_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/events"
	"stampede/persistence"
)

// TestWhoAdopts: of the incarnations that are gone each is one member's, only
// of those that publish; live ones are nobody's, and one that has not joined
// yet has time to; who leaves hands on its share alone.
func TestWhoAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known []persistence.EpochInfo
		for e := range entity.Epoch(100) {
			known = append(known, persistence.EpochInfo{Epoch: e + 1})
		}
		member := func(id string, epoch entity.Epoch, state members.State, roles ...members.Role) members.Member {
			return members.Member{ID: id, Epoch: epoch, State: state, Roles: roles}
		}
		view := &members.View{Version: 1, Members: []members.Member{
			member("a", 10, members.Up, members.Actors, members.Publisher),
			member("b", 20, members.Up, members.Publisher),
			member("c", 30, members.Up, members.Actors),
			member("d", 40, members.Draining, members.Publisher),
			member("e", 50, members.Joining, members.Publisher),
		}}
		current := view
		var nodes []*events.Members
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			nodes = append(nodes, events.NewMembers(id, func() *members.View { return current }))
		}
		share := func() [][]entity.Epoch {
			out := make([][]entity.Epoch, len(nodes))
			for i, n := range nodes {
				out[i] = n.Orphans(known)
			}
			return out
		}
		for i, s := range share() {
			if len(s) > 0 {
				t.Errorf("%d adopts %v at once: they may be joining", i, s)
			}
		}
		time.Sleep(events.JoinWithin)
		before := share()
		all := slices.Sorted(slices.Values(slices.Concat(before...)))
		if len(all) != 95 || len(slices.Compact(slices.Clone(all))) != 95 || len(before[0]) < 30 || len(before[1]) < 30 {
			t.Errorf("%d of 95 are adopted, by two as %d and %d", len(all), len(before[0]), len(before[1]))
		}
		for _, e := range []entity.Epoch{10, 20, 30, 40, 50} {
			if slices.Contains(all, e) {
				t.Errorf("%d lives and is adopted", e)
			}
		}
		// c dies: at once somebody's. b drains: its share is a's.
		current = &members.View{Version: 2, Members: slices.Clone(view.Members)}
		current.Members[1].State = members.Draining
		current.Members = slices.Delete(current.Members, 2, 3)
		after := share()
		if len(after[0]) != 96 || !slices.Contains(after[0], 30) || len(slices.Concat(after[1:]...)) != 0 {
			t.Errorf("after: %v", after)
		}
		current = nil
		if s := share(); len(slices.Concat(s...)) != 0 {
			t.Errorf("without a view: %v", s)
		}
	})
}
