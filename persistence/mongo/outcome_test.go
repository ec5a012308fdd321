package mongo

// What Append reports when the server or the way to it fails, with a real
// server that is told how to fail (failCommand).

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"stampede/actors/entity"
	"stampede/internal/testservers"
)

func record(id string, position uint64) *entity.Record {
	r := &entity.Record{Kind: "sku", ID: id, Seq: 1, Epoch: 1, Position: position, Events: []byte(id)}
	r.Checksum = r.Sum()
	return r
}

// fail makes the server fail commands, until heal.
func fail(t *testing.T, s *Store, mode any, data bson.D) {
	t.Helper()
	command := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}}
	if data != nil {
		command = append(command, bson.E{Key: "data", Value: data})
	}
	if err := s.client.Database("admin").RunCommand(t.Context(), command).Err(); err != nil {
		t.Fatalf("configureFailPoint: %v", err)
	}
}

func heal(t *testing.T, s *Store) {
	t.Helper()
	fail(t, s, "off", nil)
}

func times(n int) bson.D { return bson.D{{Key: "times", Value: n}} }

func commands(names ...string) bson.E { return bson.E{Key: "failCommands", Value: names} }

func stored(t *testing.T, s *Store, id string) bool {
	t.Helper()
	n := 0
	for _, err := range s.ReadStream(t.Context(), "sku/"+id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n == 1
}

func TestOutcomes(t *testing.T) {
	server := testservers.MongoProcess(t, testservers.MongoArgs("--setParameter", "enableTestCommands=1"))
	s := openForTest(t, server.URI())
	lost := bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}
	for i, c := range []struct {
		name string
		mode any
		data bson.D
		want error
	}{
		{"connection lost once", times(1), bson.D{commands("insert"), {Key: "closeConnection", Value: true}}, nil},
		{"connection lost again and again", "alwaysOn", bson.D{commands("insert"), {Key: "closeConnection", Value: true}}, entity.ErrUnknownOutcome},
		{"stepping down, once", times(1), bson.D{commands("insert"), {Key: "errorCode", Value: 10107}}, nil},
		{"written, but not by a majority", times(1), bson.D{commands("insert"), {Key: "writeConcernError", Value: lost}}, nil},
		{"written, and never by a majority", "alwaysOn", bson.D{commands("insert", "update"), {Key: "writeConcernError", Value: lost}}, entity.ErrUnknownOutcome},
		{"too slow", times(1), bson.D{commands("insert"), {Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 3000}}, entity.ErrUnknownOutcome},
	} {
		t.Run(c.name, func(t *testing.T) {
			fail(t, s, c.mode, c.data)
			r := record(fmt.Sprint("r", i), uint64(i+1)) //nolint:gosec // small
			patience := time.Minute
			if c.want != nil {
				patience = 2 * time.Second // it is never answered
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			err := s.Append(ctx, []*entity.Record{r})[0]
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("append: %v, want %v", err, c.want)
			}
			if took := time.Since(began); took > patience+20*time.Second {
				t.Errorf("append took %s with a context of %s", took, patience)
			}
			heal(t, s)
			if err == nil && !stored(t, s, r.ID) {
				t.Error("acknowledged and not there")
			}
			for range 2 {
				if err := s.Append(t.Context(), []*entity.Record{r})[0]; err != nil {
					t.Errorf("appended again: %v", err)
				}
			}
			if !stored(t, s, r.ID) {
				t.Error("acknowledged and not there")
			}
		})
	}
}

// TestNoServer: what finds no server was surely not written, and says so in time.
func TestNoServer(t *testing.T) {
	server := testservers.MongoProcess(t)
	s := openForTest(t, server.URI())
	server.Kill()
	r := record("r", 1)
	first := s.Append(t.Context(), []*entity.Record{r})[0]
	if !errors.Is(first, entity.ErrUnknownOutcome) && !errors.Is(first, entity.ErrUnavailable) {
		t.Errorf("the first to notice: %v", first)
	}
	began := time.Now()
	for _, err := range s.Append(t.Context(), []*entity.Record{record("a", 2), record("b", 3)}) {
		if !errors.Is(err, entity.ErrUnavailable) {
			t.Errorf("without a server: %v", err)
		}
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping without a server")
	}
	if took := time.Since(began); took > 20*selectionTimeout {
		t.Errorf("took %s", took)
	}
	server.Restart()
	if err := s.Append(t.Context(), []*entity.Record{r})[0]; err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// TestListsUseIndexes: no list is sorted in memory or found by a scan of the collection.
func TestListsUseIndexes(t *testing.T) {
	s := openForTest(t, testservers.Mongo(t))
	for _, q := range listQueries() {
		filter, index := listFilter(q)
		plan := explain(t, s, bson.D{
			{Key: "find", Value: viewsName},
			{Key: "filter", Value: filter},
			{Key: "hint", Value: index},
			{Key: "sort", Value: bson.D{{Key: "sort", Value: -1}, {Key: "_id", Value: -1}}},
		})
		expectPlan(t, fmt.Sprintf("%+v", q), plan, index)
	}
	plan := explain(t, s, bson.D{
		{Key: "find", Value: viewsName},
		{Key: "hint", Value: dueIndex},
		{Key: "filter", Value: bson.D{{Key: "wakeAt", Value: bson.D{{Key: "$gt", Value: 0}, {Key: "$lte", Value: 5}}}}},
		{Key: "sort", Value: bson.D{{Key: "wakeAt", Value: 1}, {Key: "_id", Value: 1}}},
	})
	expectPlan(t, "due", plan, dueIndex)
	plan = explain(t, s, bson.D{
		{Key: "find", Value: journalName},
		{Key: "hint", Value: logIndex},
		{Key: "filter", Value: bson.D{{Key: "epoch", Value: 1}, {Key: "position", Value: bson.D{{Key: "$gt", Value: 5}}}}},
		{Key: "sort", Value: bson.D{{Key: "epoch", Value: 1}, {Key: "position", Value: 1}}},
	})
	expectPlan(t, "log", plan, logIndex)
}
