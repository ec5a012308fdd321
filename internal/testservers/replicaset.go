package testservers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"stampede/internal/servers"
)

// MongoSet is a replica set of three that belongs to one test: enough that a
// primary can step down, or die, and another is elected. Its methods are for the
// test's goroutine.
type MongoSet struct {
	t       testing.TB
	servers []*servers.Mongo
	uri     string
	client  *mongo.Client
}

// setMembers is the least that can elect another primary.
const setMembers = 3

// electionTimeoutMs: elections after a second instead of ten, so that a test does not wait.
const electionTimeoutMs = 1000

// MongoReplicaSet starts a replica set that ends with the test.
func MongoReplicaSet(t testing.TB) *MongoSet {
	t.Helper()
	set := &MongoSet{t: t}
	var addresses []string
	members := bson.A{}
	for i := range setMembers {
		m, err := servers.StartMongo(servers.MongoConfig{Joins: true})
		if err != nil {
			giveUp(t, "mongods of its own", "put a mongod on PATH and run `make servers`", err)
		}
		t.Cleanup(m.Discard)
		set.servers = append(set.servers, m)
		members = append(members, bson.D{{Key: "_id", Value: i}, {Key: "host", Value: m.Address}})
		addresses = append(addresses, m.Address)
	}
	set.uri = "mongodb://" + strings.Join(addresses, ",") + "/?replicaSet=" + servers.ReplicaSet
	ctx, cancel := context.WithTimeout(context.Background(), servers.ReadyWithin)
	defer cancel()
	if err := set.found(ctx, addresses[0], members); err != nil {
		t.Fatalf("founding a replica set: %v", err)
	}
	return set
}

// found initiates the set and waits for its primary.
func (s *MongoSet) found(ctx context.Context, first string, members bson.A) error {
	direct, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + first + "/?directConnection=true"))
	if err != nil {
		return err
	}
	config := bson.D{
		{Key: "_id", Value: servers.ReplicaSet},
		{Key: "members", Value: members},
		{Key: "settings", Value: bson.D{{Key: "electionTimeoutMillis", Value: electionTimeoutMs}}},
	}
	err = direct.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err()
	if err := errors.Join(err, direct.Disconnect(ctx)); err != nil {
		return err
	}
	s.client, err = mongo.Connect(options.Client().ApplyURI(s.uri).SetServerSelectionTimeout(servers.ReadyWithin))
	if err != nil {
		return err
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), servers.StopWithin)
		defer cancel()
		if err := s.client.Disconnect(ctx); err != nil {
			s.t.Errorf("disconnecting: %v", err)
		}
	})
	return s.client.Ping(ctx, readpref.Primary())
}

// URI names all three.
func (s *MongoSet) URI() string { return s.uri }

// StepDown has the primary step down, and waits until there is another. It
// returns the address of the new one.
func (s *MongoSet) StepDown() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servers.ReadyWithin)
	defer cancel()
	before, err := s.primary(ctx)
	if err != nil {
		s.t.Fatalf("finding the primary: %v", err)
	}
	err = s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetStepDown", Value: 30}, {Key: "secondaryCatchUpPeriodSecs", Value: 10}}).Err()
	if err != nil {
		s.t.Fatalf("replSetStepDown: %v", err)
	}
	return s.another(ctx, before)
}

// KillPrimary ends the primary with SIGKILL, and waits until there is another.
func (s *MongoSet) KillPrimary() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servers.ReadyWithin)
	defer cancel()
	before, err := s.primary(ctx)
	if err != nil {
		s.t.Fatalf("finding the primary: %v", err)
	}
	for _, m := range s.servers {
		if m.Address == before {
			m.Kill()
		}
	}
	return s.another(ctx, before)
}

func (s *MongoSet) another(ctx context.Context, than string) string {
	s.t.Helper()
	tick := time.NewTicker(servers.ProbeEvery)
	defer tick.Stop()
	for {
		now, err := s.primary(ctx)
		if err == nil && now != than {
			return now
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("no primary but %s: %v", than, err)
		case <-tick.C:
		}
	}
}

func (s *MongoSet) primary(ctx context.Context) (string, error) {
	var hello struct {
		Me       string `bson:"me"`
		Writable bool   `bson:"isWritablePrimary"`
	}
	if err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return "", err
	}
	if !hello.Writable {
		return "", fmt.Errorf("%s is no primary", hello.Me)
	}
	return hello.Me, nil
}
