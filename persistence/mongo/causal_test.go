package mongo

// Reads and fences over a change of the primary. One node cannot fail over, so
// this looks at what is asked of it, and has it fail to speak for a majority.

import (
	"errors"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"stampede/actors/entity"
	"stampede/internal/testservers"
)

// TestReadsComeAfterOurWrites: a new primary is asked for a state that has all
// that the one before it acknowledged.
func TestReadsComeAfterOurWrites(t *testing.T) {
	s := openForTest(t, testservers.Mongo(t))
	db := s.journal.Database()
	profile := func(level int) {
		t.Helper()
		if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// In this order: the last one is fenced by the one before it.
	for _, c := range []struct {
		name  string
		write func() error
	}{
		{"an epoch", func() error { _, err := s.OpenEpoch(t.Context(), "node"); return err }},
		{"a record", func() error { return s.Append(t.Context(), []*entity.Record{record("r", 1)})[0] }},
		{"a batch of which one is fenced", func() error {
			errs := s.Append(t.Context(), []*entity.Record{record("s", 3), record("r", 2)})
			if !errors.Is(errs[1], entity.ErrFenced) {
				return fmt.Errorf("the second one: %w", errs[1])
			}
			return errs[0]
		}},
	} {
		name, write := c.name, c.write
		s.written.Store(0)
		if err := write(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		profile(2)
		stored(t, s, "r")
		for _, err := range s.ReadEpoch(t.Context(), 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
		}
		profile(0)
		type find struct {
			Command struct {
				ReadConcern struct {
					Level string         `bson:"level"`
					After bson.Timestamp `bson:"afterClusterTime"`
				} `bson:"readConcern"`
			} `bson:"command"`
		}
		var finds []find
		cursor, err := db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "op", Value: "query"}, {Key: "ns", Value: db.Name() + "." + journalName}})
		if err == nil {
			err = cursor.All(t.Context(), &finds)
		}
		if err != nil || len(finds) != 2 {
			t.Fatalf("after %s: %d reads were seen: %v", name, len(finds), err)
		}
		for _, f := range finds {
			if c := f.Command.ReadConcern; c.Level != "majority" || c.After.T == 0 {
				t.Errorf("after %s: a read asks for %+v", name, c)
			}
		}
		if err := db.Collection("system.profile").Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFencedByWhatMayBeRolledBack: another's record that no majority has does
// not say that ours is not there: an earlier attempt of it may be what stays.
func TestFencedByWhatMayBeRolledBack(t *testing.T) {
	server := testservers.MongoProcess(t, testservers.MongoArgs("--setParameter", "enableTestCommands=1"))
	s := openForTest(t, server.URI())
	if err := s.Append(t.Context(), []*entity.Record{record("x", 1)})[0]; err != nil {
		t.Fatal(err)
	}
	lost := bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}
	fail(t, s, "alwaysOn", bson.D{commands("update"), {Key: "writeConcernError", Value: lost}})
	if err := s.barrier(t.Context()); !isWriteConcernError(err) {
		t.Fatalf("the barrier does not fail as it should: %v", err)
	}
	if err := s.Append(t.Context(), []*entity.Record{record("x", 2)})[0]; !errors.Is(err, entity.ErrUnknownOutcome) || errors.Is(err, entity.ErrFenced) {
		t.Errorf("while no majority can be heard: %v", err)
	}
	heal(t, s)
	if err := s.Append(t.Context(), []*entity.Record{record("x", 2)})[0]; !errors.Is(err, entity.ErrFenced) {
		t.Errorf("when one can: %v", err)
	}
}

func isWriteConcernError(err error) bool {
	var w mongo.WriteException
	return errors.As(err, &w) && w.WriteConcernError != nil
}
