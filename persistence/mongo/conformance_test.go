package mongo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"stampede/internal/testservers"
	"stampede/persistence"
	"stampede/persistence/conformance"
)

func TestMain(m *testing.M) { testservers.Main(m) }

func TestConformance(t *testing.T) {
	uri := testservers.Mongo(t)
	conformance.Run(t, conformance.Harness{
		Open:   func(t *testing.T) persistence.Store { return openForTest(t, uri) },
		Tamper: func(t *testing.T, s persistence.Store) conformance.Tamper { return tamper(t, s.(*Store)) },
		Crash: func(t *testing.T) conformance.Crash {
			server := testservers.MongoProcess(t)
			return &crash{Store: openForTest(t, server.URI()), server: server}
		},
	})
}

// TestConformanceStandalone: a server that is no replica set keeps the same promises.
func TestConformanceStandalone(t *testing.T) {
	uri := testservers.MongoProcess(t, testservers.MongoStandalone()).URI()
	conformance.Run(t, conformance.Harness{
		Open:   func(t *testing.T) persistence.Store { return openForTest(t, uri) },
		Tamper: func(t *testing.T, s persistence.Store) conformance.Tamper { return tamper(t, s.(*Store)) },
		Crash: func(t *testing.T) conformance.Crash {
			server := testservers.MongoProcess(t, testservers.MongoStandalone())
			return &crash{Store: openForTest(t, server.URI()), server: server}
		},
	})
}

// openForTest opens a database of the test's own, which goes with it.
func openForTest(t testing.TB, uri string) *Store {
	t.Helper()
	s, err := Open(context.Background(), uri, fmt.Sprintf("test-%016x", rand.Uint64())) //nolint:gosec // a name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.closed {
			if err := s.journal.Database().Drop(context.Background()); err != nil {
				t.Logf("drop the test's database: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func tamper(t *testing.T, s *Store) conformance.Tamper {
	t.Helper()
	corrupt := func(c *mongo.Collection, id, field string) {
		t.Helper()
		r, err := c.UpdateOne(context.Background(), bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: []byte("damaged")}}}})
		if err != nil || r.ModifiedCount != 1 {
			t.Fatalf("corrupt %s: %v, %v", id, r, err)
		}
	}
	return conformance.Tamper{
		CorruptRecord: func(stream string, seq uint64) { corrupt(s.journal, recordKey(stream, seq), "events") },
		DeleteRecord: func(stream string, seq uint64) {
			r, err := s.journal.DeleteOne(context.Background(), bson.D{{Key: "_id", Value: recordKey(stream, seq)}})
			if err != nil || r.DeletedCount != 1 {
				t.Fatalf("delete record %d of %s: %v, %v", seq, stream, r, err)
			}
		},
		CorruptSnapshot: func(stream string) { corrupt(s.snapshots, stream, "state") },
	}
}

// crash keeps its client over the server's death, as a node does.
type crash struct {
	*Store
	server *testservers.MongoServer
}

func (c *crash) Kill() { c.server.Kill() }

func (c *crash) Restart() conformance.Restarted {
	c.server.Restart()
	return c
}

func BenchmarkAppend(b *testing.B) {
	uri := testservers.Mongo(b)
	conformance.BenchmarkAppend(b, func(b *testing.B) conformance.Appender { return openForTest(b, uri) })
}
