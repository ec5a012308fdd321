package testservers

import (
	"syscall"
	"testing"

	"stampede/internal/servers"
)

const (
	mongoName     = "MongoDB"
	mongoVariable = "STAMPEDE_TEST_MONGO"
)

// Mongo returns the URI of a MongoDB that this test binary shares: a replica
// set of one, or what STAMPEDE_TEST_MONGO names. Each test should use a database
// of its own.
func Mongo(t testing.TB) string {
	t.Helper()
	return obtain(t, mongoName, mongoVariable, &shared.mongo, func() (string, *servers.Process, error) {
		m, err := servers.StartMongo(servers.MongoConfig{})
		if err != nil {
			return "", nil, err
		}
		return m.URI, m.Process, nil
	})
}

// MongoServer is a mongod that belongs to one test, for doing to it what one
// would not do to a shared one. Its methods are for the test's goroutine.
type MongoServer struct {
	t     testing.TB
	mongo *servers.Mongo
}

// MongoOption changes how MongoProcess starts its mongod.
type MongoOption func(*servers.MongoConfig)

// MongoStandalone starts a mongod that is no member of a replica set.
func MongoStandalone() MongoOption { return func(c *servers.MongoConfig) { c.Standalone = true } }

// MongoArgs adds arguments to mongod's command line; a later one of a kind wins.
func MongoArgs(args ...string) MongoOption {
	return func(c *servers.MongoConfig) { c.Args = append(c.Args, args...) }
}

// MongoProcess starts a mongod that ends with the test: a replica set of one
// unless an option says otherwise. It never is the one that STAMPEDE_TEST_MONGO names.
func MongoProcess(t testing.TB, opts ...MongoOption) *MongoServer {
	t.Helper()
	var c servers.MongoConfig
	for _, o := range opts {
		o(&c)
	}
	m, err := servers.StartMongo(c)
	if err != nil {
		giveUp(t, "a mongod of its own", "put a mongod on PATH and run `make servers`", err)
	}
	t.Cleanup(m.Discard)
	return &MongoServer{t, m}
}

// URI is the address; it stays the same over Restart.
func (m *MongoServer) URI() string { return m.mongo.URI }

// Kill ends the server with SIGKILL and waits until it has gone.
func (m *MongoServer) Kill() { m.mongo.Kill() }

// Stop ends the server in an orderly way and waits until it has gone.
func (m *MongoServer) Stop() { m.mongo.Signal(syscall.SIGTERM) }

// Restart starts the server again on its data and its port, and waits until it
// takes writes.
func (m *MongoServer) Restart() {
	m.t.Helper()
	if err := m.mongo.Restart(); err != nil {
		m.t.Fatalf("restarting %s: %v", mongoName, err)
	}
}
