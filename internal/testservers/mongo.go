package testservers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	mongoName     = "MongoDB"
	mongoVariable = "STAMPEDE_TEST_MONGO"
	replicaSet    = "rs0"
)

// Mongo returns the URI of a MongoDB that this test binary shares: a replica
// set of one, or what STAMPEDE_TEST_MONGO names. Each test should use a database
// of its own.
func Mongo(t testing.TB) string {
	t.Helper()
	return obtain(t, mongoName, mongoVariable, &shared.mongo, func() (string, *process, error) {
		m, err := startMongo(mongoConfig{})
		if err != nil {
			return "", nil, err
		}
		return m.uri, m.process, nil
	})
}

// MongoServer is a mongod that belongs to one test, for doing to it what one
// would not do to a shared one. Its methods are for the test's goroutine.
type MongoServer struct {
	t       testing.TB
	uri     string
	address string
	process *process
}

// MongoOption changes how MongoProcess starts its mongod.
type MongoOption func(*mongoConfig)

type mongoConfig struct {
	standalone bool
	args       []string
	// joins: it waits for a replica set that somebody else founds, and is ready
	// when it answers.
	joins bool
}

// MongoStandalone starts a mongod that is no member of a replica set.
func MongoStandalone() MongoOption { return func(c *mongoConfig) { c.standalone = true } }

// MongoArgs adds arguments to mongod's command line; a later one of a kind wins.
func MongoArgs(args ...string) MongoOption {
	return func(c *mongoConfig) { c.args = append(c.args, args...) }
}

// MongoProcess starts a mongod that ends with the test: a replica set of one
// unless an option says otherwise. It never is the one that STAMPEDE_TEST_MONGO names.
func MongoProcess(t testing.TB, opts ...MongoOption) *MongoServer {
	t.Helper()
	var c mongoConfig
	for _, o := range opts {
		o(&c)
	}
	m, err := startMongo(c)
	if err != nil {
		giveUp(t, "a mongod of its own", "put a mongod on PATH and run `make servers`", err)
	}
	m.t = t
	t.Cleanup(m.process.discard)
	return m
}

// URI is the address; it stays the same over Restart.
func (m *MongoServer) URI() string { return m.uri }

// Kill ends the server with SIGKILL and waits until it has gone.
func (m *MongoServer) Kill() { m.process.kill() }

// Stop ends the server in an orderly way and waits until it has gone.
func (m *MongoServer) Stop() { m.process.signal(syscall.SIGTERM) }

// Restart starts the server again on its data and its port, and waits until it
// takes writes.
func (m *MongoServer) Restart() {
	m.t.Helper()
	if err := m.process.restart(); err != nil {
		m.t.Fatalf("restarting %s: %v", mongoName, err)
	}
}

func startMongo(c mongoConfig) (*MongoServer, error) {
	program, err := fetchedFile(mongoHome, "bin", "mongod")
	if err != nil {
		return nil, err
	}
	m := &MongoServer{}
	m.process, err = onFreePorts(1, func(ports []int) (*process, error) {
		dir, err := newFolder("mongod")
		if err != nil {
			return nil, err
		}
		address := "127.0.0.1:" + strconv.Itoa(ports[0])
		m.address = address
		m.uri = "mongodb://" + address + "/"
		argv := []string{
			program, "--dbpath", dir, "--bind_ip", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--nounixsocket",
			"--wiredTigerCacheSizeGB", "0.5", "--setParameter", "diagnosticDataCollectionEnabled=false",
		}
		if !c.standalone {
			m.uri += "?replicaSet=" + replicaSet
			argv = append(argv, "--replSet", replicaSet, "--oplogSize", "512")
		}
		p := &process{name: "mongod", dir: dir, argv: append(argv, c.args...)}
		p.ready = func(ctx context.Context) error { return mongoReady(ctx, address, dir, c.joins) }
		return p, p.start()
	})
	return m, err
}

// mongoReady returns nil when the mongod on the data folder dir takes writes at
// address. It founds the replica set if the mongod waits for one, unless it joins
// another's: then it need not take writes.
func mongoReady(ctx context.Context, address, dir string, joins bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + address + "/?directConnection=true").
		SetServerSelectionTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(ctx)) }()
	admin := client.Database("admin")
	var opts struct {
		Parsed struct {
			Storage struct {
				Path string `bson:"dbPath"`
			} `bson:"storage"`
		} `bson:"parsed"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "getCmdLineOpts", Value: 1}}).Decode(&opts); err != nil {
		return fmt.Errorf("getCmdLineOpts: %w", err)
	}
	if opts.Parsed.Storage.Path != dir {
		return fmt.Errorf("address already in use at %s by a server on %s", address, opts.Parsed.Storage.Path)
	}
	var hello struct {
		Writable bool `bson:"isWritablePrimary"`
		Founding bool `bson:"isreplicaset"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	switch {
	case hello.Writable || joins:
		return nil
	case !hello.Founding:
		return errors.New("no writable primary yet")
	}
	members := bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: address}}}
	config := bson.D{{Key: "_id", Value: replicaSet}, {Key: "members", Value: members}}
	if err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err(); err != nil {
		return fmt.Errorf("replSetInitiate: %w", err)
	}
	return errors.New("replica set founded, no primary yet")
}
