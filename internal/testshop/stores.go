package testshop

// The stores that a shop is tested over.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"stampede/internal/memstore"
	"stampede/internal/testservers"
	"stampede/persistence"
	"stampede/persistence/mongo"
	"stampede/persistence/sqlite"
)

// InMemory is a database in memory.
func InMemory(testing.TB) func(testing.TB) persistence.Store {
	disk := memstore.NewDisk()
	return func(testing.TB) persistence.Store { return disk.Open() }
}

// OnSQLite is a new database of SQLite's.
func OnSQLite(t testing.TB) func(testing.TB) persistence.Store {
	t.Helper()
	dir := t.TempDir()
	return func(t testing.TB) persistence.Store {
		t.Helper()
		store, err := sqlite.Open(context.WithoutCancel(t.Context()), dir)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
}

// OnMongo is a new database on the MongoDB that the test binary shares.
func OnMongo(t testing.TB) func(testing.TB) persistence.Store {
	t.Helper()
	uri, name := testservers.Mongo(t), fmt.Sprintf("shop%x", rand.Uint64())
	return func(t testing.TB) persistence.Store {
		t.Helper()
		store, err := mongo.Open(context.WithoutCancel(t.Context()), uri, name)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
}

// Place is where a shop may be opened: a store, and how many nodes.
type Place struct {
	Name  string
	Nodes int
	open  func(testing.TB) func(testing.TB) persistence.Store
}

// Places are all of them: what holds in one has to hold in every other.
func Places() []Place {
	return []Place{
		{"memory", 1, InMemory},
		{"SQLite", 1, OnSQLite},
		{"MongoDB", 1, OnMongo},
		{"three nodes", 3, OnMongo},
	}
}

// Shop opens one there, with a store and nodes of its own.
func (p Place) Shop(t testing.TB, c Config) *Shop {
	t.Helper()
	c.Open, c.Nodes = p.open(t), p.Nodes
	return Open(t, c)
}
