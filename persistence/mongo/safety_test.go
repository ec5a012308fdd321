package mongo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/internal/testservers"
	"stampede/persistence"
)

// refused opens a store that must be refused, with a message that says what to change.
func refused(t *testing.T, uri, remedy string) {
	t.Helper()
	s, err := Open(context.Background(), uri, "refused")
	if err == nil {
		t.Errorf("accepted; want a refusal that says %q", remedy)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, persistence.ErrUnsafe) || !strings.Contains(err.Error(), remedy) {
		t.Errorf("%v; want a refusal that says %q", err, remedy)
	}
}

func TestURIThatAsksForLess(t *testing.T) {
	for query, remedy := range map[string]string{
		"w=0":                        "set w=majority",
		"w=1":                        "set w=majority",
		"w=2":                        "set w=majority",
		"w=aTag":                     "set w=majority",
		"journal=false":              "set journal=true",
		"w=majority&journal=false":   "set journal=true",
		"retryWrites=true&w=0&x=y":   "set w=majority",
		"readPreference=nearest&w=1": "set w=majority",
	} {
		t.Run(query, func(t *testing.T) { refused(t, "mongodb://127.0.0.1:1/?"+query, remedy) })
	}
}

func TestURIThatIsFine(t *testing.T) {
	uri := testservers.Mongo(t)
	for _, query := range []string{"w=majority", "journal=true", "retryWrites=true", "readPreference=nearest&readConcernLevel=local"} {
		separator := "?"
		if strings.Contains(uri, "?") {
			separator = "&"
		}
		s, err := Open(context.Background(), uri+separator+query, "fine")
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	_, err := Open(t.Context(), "mongodb://127.0.0.1:1/", "db")
	if err == nil || errors.Is(err, persistence.ErrUnsafe) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody there: %v", err)
	}
	_, err = Open(t.Context(), "mongodb://user:secret@127.0.0.1:1/?w=1", "db")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error must not have the password: %v", err)
	}
	if _, err = Open(t.Context(), "mongodb://127.0.0.1:1/", ""); err == nil {
		t.Error("a database without a name is accepted")
	}
}

func TestServerWithoutJournal(t *testing.T) {
	refused(t, testservers.MongoProcess(t, testservers.MongoStandalone(), testservers.MongoArgs("--nojournal")).URI(), "without --nojournal")
}

func TestReplicaSetWhoseMajorityHasNoJournal(t *testing.T) {
	server := testservers.MongoProcess(t)
	client, err := mongo.Connect(options.Client().ApplyURI(server.URI()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	defer func() {
		if err := client.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	}()
	admin := client.Database("admin")
	var reply struct {
		Config bson.D `bson:"config"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "replSetGetConfig", Value: 1}}).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	for i := range reply.Config {
		switch e := &reply.Config[i]; e.Key {
		case "version":
			e.Value = e.Value.(int32) + 1
		case "writeConcernMajorityJournalDefault":
			e.Value = false
		}
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "replSetReconfig", Value: reply.Config}}).Err(); err != nil {
		t.Fatal(err)
	}
	refused(t, server.URI(), "writeConcernMajorityJournalDefault = true")
}

// TestCheckThatMayNotBeMade: what cannot be seen is not promised.
func TestCheckThatMayNotBeMade(t *testing.T) {
	err := unseen("serverStatus", mongo.CommandError{Code: codeUnauthorized, Message: "not authorized"})
	if !errors.Is(err, persistence.ErrUnsafe) || !strings.Contains(err.Error(), "clusterMonitor") {
		t.Errorf("without the right to look: %v", err)
	}
	if err := unseen("serverStatus", mongo.CommandError{Code: 1}); errors.Is(err, persistence.ErrUnsafe) {
		t.Errorf("another failure: %v", err)
	}
}

// TestWriteConcern reads what the client really sends.
func TestWriteConcern(t *testing.T) {
	if w := durable(); w.W != "majority" || w.Journal == nil || !*w.Journal {
		t.Errorf("writes ask for %+v", w)
	}
}
