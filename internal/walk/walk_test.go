package walk

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"stampede/actors/entity"
	"stampede/internal/memstore"
	"stampede/internal/testservers"
	"stampede/persistence"
	"stampede/persistence/mongo"
	"stampede/persistence/sqlite"
)

var (
	seeds = flag.Int("seeds", 0, "how many walks go through a shop in memory; 0: some for every change")
	seed  = flag.Uint64("seed", 0, "the seed of the first walk; 0: another one each run")
	steps = flag.Int("steps", 25, "how many steps a walk has")
)

func TestMain(m *testing.M) { testservers.Main(m) }

const (
	someSeeds  = 60
	fewSeeds   = 20 // with -short
	oneInStore = 20 // walks in memory for each that goes over a real store
	// perShop walks go through one shop, one after the other: they share its clock.
	perShop = 25
)

// howMany walks there are in memory.
func howMany() int {
	switch {
	case *seeds > 0:
		return *seeds
	case testing.Short():
		return fewSeeds
	}
	return someSeeds
}

func firstSeed(t *testing.T) uint64 {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the first seed was %d", first)
		}
	})
	return first
}

// TestWalk goes through shops in memory, with the real actors and the real gateway.
func TestWalk(t *testing.T) {
	t.Parallel()
	through(t, howMany(), inMemory)
}

// TestWalkWithRestarts ends the actors in the middle of the walk; snapshots are
// written all the time, so that they come back from one and what came after it.
func TestWalkWithRestarts(t *testing.T) {
	t.Parallel()
	limits := entity.DefaultLimits()
	limits.SnapshotEveryRecords, limits.SnapshotEveryBytes, limits.SnapshotOnPassivationRecords = 3, 1, 2
	first := firstSeed(t)
	for n := range howMany() / 10 {
		seed := first + uint64(n)
		s := openShop(t, memstore.New(), limits)
		Through(t, restarting{s}, fmt.Sprintf("R%d", n), seed, *steps)
	}
}

// restarting is a shop that walks may restart.
type restarting struct{ *shop }

func (r restarting) Restart() { r.again() }

func TestWalkSQLite(t *testing.T) {
	t.Parallel()
	through(t, howMany()/oneInStore, onSQLite)
}

func inMemory(*testing.T) persistence.Store { return memstore.New() }

func onSQLite(t *testing.T) persistence.Store {
	store, err := sqlite.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestWalkMongo(t *testing.T) {
	t.Parallel()
	through(t, howMany()/oneInStore, onMongo)
}

func onMongo(t *testing.T) persistence.Store {
	store, err := mongo.Open(t.Context(), testservers.Mongo(t), fmt.Sprintf("walk%d", rand.Uint64()))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// openShopOver is a shop that closes its store at last.
func openShopOver(t *testing.T, store persistence.Store) *shop {
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return openShop(t, store, entity.DefaultLimits())
}

func through(t *testing.T, walks int, open func(*testing.T) persistence.Store) {
	first := firstSeed(t)
	for n := 0; n < walks; n += perShop {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := openShopOver(t, open(t))
			for i := n; i < min(n+perShop, walks); i++ {
				Through(t, s, fmt.Sprintf("W%d", i), first+uint64(i), *steps)
			}
		})
	}
}

// TestCrowds has many at once want what there is too little of.
func TestCrowds(t *testing.T) {
	t.Parallel()
	customers := 1000
	if testing.Short() {
		customers = 100
	}
	for name, open := range map[string]func(*testing.T) persistence.Store{"memory": inMemory, "SQLite": onSQLite, "MongoDB": onMongo} {
		t.Run(name, func(t *testing.T) {
			s := openShopOver(t, open(t))
			NewCrowd(t, s, nil, "LAST").LastUnit(customers, firstSeed(t))
			NewCrowd(t, s, nil, "LIMIT").Limit(100)
			NewCrowd(t, s, nil, "DISPUTE").Disputes(customers/20, firstSeed(t))
		})
	}
}
