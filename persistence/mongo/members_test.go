package mongo

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"stampede/cluster/members"
	"stampede/internal/testservers"
	"stampede/persistence/conformance"
)

func TestMembersConformance(t *testing.T) {
	uri := testservers.Mongo(t)
	conformance.RunMembers(t, func(t *testing.T) func() conformance.MembersTable {
		s := openForTest(t, uri)
		database := s.journal.Database().Name()
		return func() conformance.MembersTable {
			other, err := Open(t.Context(), uri, database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
			return other.Members()
		}
	})
}

// TestMembersAreAMajoritys: what no majority has acknowledged has not happened
// for sure, though the primary did it.
func TestMembersAreAMajoritys(t *testing.T) {
	server := testservers.MongoProcess(t, testservers.MongoArgs("--setParameter", "enableTestCommands=1"))
	s := openForTest(t, server.URI())
	table := s.Members()
	read := func() members.Contents {
		t.Helper()
		c, err := table.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	lost := bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}}
	unsure := func(what string, do func() error) {
		t.Helper()
		fail(t, s, times(1), bson.D{commands("insert", "update", "findAndModify"), lost})
		if err := do(); err == nil || errors.Is(err, members.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
		heal(t, s)
	}
	empty := read()
	unsure("the first version", func() error { return table.Change(t.Context(), empty.Join(members.Member{ID: "a"})) })
	first := read()
	if first.Version != 1 || first.Lease("a") == nil {
		t.Fatalf("it was made: %+v", first)
	}
	unsure("a change", func() error { return table.Change(t.Context(), first.Move("a", members.Up)) })
	if err := table.Change(t.Context(), first.Move("a", members.Up)); !errors.Is(err, members.ErrConflict) {
		t.Errorf("making it again: %v", err)
	}
	unsure("a renewal", func() error {
		_, err := table.Renew(t.Context(), members.Lease{ID: "a", Beat: 1})
		return err
	})
	if c := read(); c.Lease("a").Beat != 2 {
		t.Errorf("after the renewal: %+v", c)
	}
}
