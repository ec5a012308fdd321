package conformance

// The suite of every driver of the membership table.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stampede/cluster/members"
)

// MembersTable is membership.Table.
type MembersTable interface {
	Read(ctx context.Context) (members.Contents, error)
	Change(ctx context.Context, ch *members.Change) error
	Renew(ctx context.Context, l members.Lease) (members.Contents, error)
}

// RunMembers runs the suite. fresh makes an empty table, and returns how another
// process opens it.
func RunMembers(t *testing.T, fresh func(t *testing.T) (connect func() MembersTable)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, connect func() MembersTable)
	}{
		{"empty", testTableEmpty},
		{"all fields are kept", testTableRoundTrip},
		{"a change is made of one version", testTableVersion},
		{"a change ends a lease at one beat", testTableEnd},
		{"a renewal changes no version", testTableRenew},
		{"a renewal shows what was changed", testTableRenewShows},
		{"changes race", testTableChangeRace},
		{"renewals and ends race", testTableEndRace},
		{"canceled", testTableCanceled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

func member(id string) members.Member {
	return members.Member{
		ID: id, Name: "node " + id, Address: "10.0.0.1:7000", Epoch: 7, Roles: []members.Role{members.Gateway, members.Actors},
		Version: "v1.2.3", Since: time.UnixMilli(1_700_000_000_123).UTC(),
	}
}

func tableOf(t *testing.T, table MembersTable) members.Contents {
	t.Helper()
	c, err := table.Read(testContext(t))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return c
}

func mustChange(t *testing.T, table MembersTable, ch *members.Change) {
	t.Helper()
	if err := table.Change(testContext(t), ch); err != nil {
		t.Fatalf("change: %v", err)
	}
}

func mustJoin(t *testing.T, table MembersTable, ids ...string) members.Contents {
	t.Helper()
	for _, id := range ids {
		c := tableOf(t, table)
		mustChange(t, table, c.Join(member(id)))
	}
	return tableOf(t, table)
}

func sameContents(t *testing.T, got, want members.Contents) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("contents (-want +got):\n%s", diff)
	}
}

func testTableEmpty(t *testing.T, connect func() MembersTable) {
	table := connect()
	sameContents(t, tableOf(t, table), members.Contents{})
	_, err := table.Renew(testContext(t), members.Lease{ID: "a", Beat: 1})
	expect(t, "renewing no lease", err, members.ErrConflict)
	expect(t, "changing no table", table.Change(testContext(t), &members.Change{From: 3}), members.ErrConflict)
	sameContents(t, tableOf(t, table), members.Contents{})
}

func testTableRoundTrip(t *testing.T, connect func() MembersTable) {
	a, b := connect(), connect()
	up := member("b.$x")
	up.State = members.Draining
	want := members.Contents{
		Version: 1, View: 1 << 40,
		Rows: []members.Row{
			{Member: member("a")},
			{Member: up, DrainAsked: true, Ended: "why", DownIn: 9, Suspicions: []members.Suspicion{{By: "a", How: members.Gone}, {By: "c", How: members.Unreachable}}},
		},
		Leases: []members.Lease{{ID: "b.$x", Beat: 1}},
	}
	mustChange(t, a, &members.Change{From: 0, View: want.View, Rows: want.Rows, Begin: "b.$x"})
	sameContents(t, tableOf(t, b), want)
	if _, err := b.Renew(testContext(t), members.Lease{ID: "b.$x", Beat: 1, Seen: 1 << 41}); err != nil {
		t.Fatal(err)
	}
	want.Leases = []members.Lease{{ID: "b.$x", Beat: 2, Seen: 1 << 41}}
	sameContents(t, tableOf(t, a), want)
}

func testTableVersion(t *testing.T, connect func() MembersTable) {
	a, b := connect(), connect()
	old := mustJoin(t, a, "a")
	mustJoin(t, b, "b")
	now := tableOf(t, a)
	expect(t, "a change of an old version", a.Change(testContext(t), old.Move("a", members.Up)), members.ErrConflict)
	expect(t, "a change of no table", a.Change(testContext(t), (&members.Contents{}).Join(member("c"))), members.ErrConflict)
	future := now
	future.Version += 5
	expect(t, "a change of a later version", a.Change(testContext(t), future.Move("a", members.Up)), members.ErrConflict)
	sameContents(t, tableOf(t, b), now)
}

func testTableEnd(t *testing.T, connect func() MembersTable) {
	a, b := connect(), connect()
	old := mustJoin(t, a, "a", "b")
	if _, err := b.Renew(testContext(t), members.Lease{ID: "b", Beat: 1}); err != nil {
		t.Fatal(err)
	}
	expect(t, "an end that presumes an old beat", a.Change(testContext(t), old.End("b", "late", members.Down)), members.ErrConflict)
	now := tableOf(t, a)
	mustChange(t, a, now.End("b", "late", members.Down))
	_, err := b.Renew(testContext(t), members.Lease{ID: "b", Beat: 2})
	expect(t, "renewing an ended lease", err, members.ErrConflict)
	got := tableOf(t, b)
	if r := got.Row("b"); r.Member.State != members.Down || r.Ended != "late" || r.DownIn != got.Version || got.Lease("b") != nil || got.Lease("a") == nil {
		t.Errorf("after the end: %+v", got)
	}
	expect(t, "ending what has ended", a.Change(testContext(t), &members.Change{From: got.Version, Rows: got.Rows, End: &members.Lease{ID: "b", Beat: 2}}), members.ErrConflict)
}

func testTableRenew(t *testing.T, connect func() MembersTable) {
	a, b := connect(), connect()
	before := mustJoin(t, a, "a", "b")
	got, err := a.Renew(testContext(t), members.Lease{ID: "a", Beat: 1, Seen: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := before
	want.Leases = []members.Lease{{ID: "a", Beat: 2, Seen: 2}, {ID: "b", Beat: 1}}
	sameContents(t, got, want)
	_, err = b.Renew(testContext(t), members.Lease{ID: "a", Beat: 1})
	expect(t, "renewing an old beat", err, members.ErrConflict)
	_, err = b.Renew(testContext(t), members.Lease{ID: "a", Beat: 3})
	expect(t, "renewing a beat that was never", err, members.ErrConflict)
	mustChange(t, b, before.Move("b", members.Up)) // the version is still that
	if after := tableOf(t, a); after.Lease("a").Beat != 2 {
		t.Errorf("a change took a lease back: %+v", after)
	}
}

// testTableRenewShows: a renewal that was confirmed shows every change that was
// confirmed before it began.
func testTableRenewShows(t *testing.T, connect func() MembersTable) {
	a, b := connect(), connect()
	mustJoin(t, a, "a", "b")
	for beat := uint64(1); beat <= 20; beat++ {
		now := tableOf(t, b)
		mustChange(t, b, &members.Change{From: now.Version, View: beat, Rows: now.Rows})
		got, err := a.Renew(testContext(t), members.Lease{ID: "a", Beat: beat})
		if err != nil || got.View != beat {
			t.Fatalf("renewal %d shows view %d: %v", beat, got.View, err)
		}
	}
}

// testTableChangeRace: of several changes of one version, one is made.
func testTableChangeRace(t *testing.T, connect func() MembersTable) {
	const racers, rounds = 5, 20
	tables := make([]MembersTable, racers)
	for i := range tables {
		tables[i] = connect()
	}
	for round := range uint64(rounds) {
		var made atomic.Int64
		var racing sync.WaitGroup
		for i, table := range tables {
			racing.Go(func() {
				rows := []members.Row{{Member: member(fmt.Sprint(i))}}
				switch err := table.Change(testContext(t), &members.Change{From: round, View: round, Rows: rows}); {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, members.ErrConflict):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		racing.Wait()
		if got := made.Load(); got != 1 {
			t.Fatalf("round %d: %d changes of one version were made", round, got)
		}
	}
}

// testTableEndRace: a lease that is ended was not renewed, and the other way round.
func testTableEndRace(t *testing.T, connect func() MembersTable) {
	holder, other := connect(), connect()
	now := mustJoin(t, holder, "a")
	for round := range 30 {
		var racing sync.WaitGroup
		var renewed, ended error
		racing.Go(func() { _, renewed = holder.Renew(testContext(t), *now.Lease("a")) })
		racing.Go(func() { ended = other.Change(testContext(t), now.End("a", "race", members.Joining)) })
		racing.Wait()
		if (renewed == nil) == (ended == nil) {
			t.Fatalf("round %d: the renewal said %v, the end %v", round, renewed, ended)
		}
		now = tableOf(t, other)
		if ended == nil {
			mustChange(t, other, &members.Change{From: now.Version, Rows: now.Rows, Begin: "a"})
			now = tableOf(t, other)
		}
	}
}

func testTableCanceled(t *testing.T, connect func() MembersTable) {
	table := connect()
	now := mustJoin(t, table, "a")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := table.Read(ctx)
	expect(t, "read", err, context.Canceled)
	expect(t, "change", table.Change(ctx, now.Move("a", members.Up)), context.Canceled)
	_, err = table.Renew(ctx, members.Lease{ID: "a", Beat: 1})
	expect(t, "renew", err, context.Canceled)
}
