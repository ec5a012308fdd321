package walk

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"

	"stampede/actors/entity"
	"stampede/gateway/schema"
	"stampede/internal/testservers"
	"stampede/internal/testshop"
)

var (
	seeds = flag.Int("seeds", 0, "how many walks go through shops in memory; 0: 1,000, and 60 with -short")
	seed  = flag.Uint64("seed", 0, "the seed of the first walk; 0: another one each run")
	steps = flag.Int("steps", 15, "how many steps a walk has")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // thousands of small shops: what is collected is mostly documents
	testservers.Main(m)
}

const (
	manySeeds = 1000
	fewSeeds  = 60 // with -short
	// oneIn walks in memory are there for each that goes through another place.
	oneIn = 100
	// perShop walks go through one shop, one after the other: they share its clock.
	perShop = 50
)

// howMany walks there are in memory.
func howMany() int {
	switch {
	case *seeds > 0:
		return *seeds
	case testing.Short():
		return fewSeeds
	}
	return manySeeds
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

func memory() testshop.Place { return testshop.Places()[0] }

// TestWalk goes through shops with the real actors and the real gateway: in
// memory, on both stores and on three nodes.
func TestWalk(t *testing.T) {
	first := firstSeed(t)
	var failed atomic.Bool // one way to a defect is enough: each waits long for what does not come
	for _, place := range testshop.Places() {
		walks := howMany()
		if place.Name != memory().Name {
			walks = max(2, walks/oneIn)
		}
		for n := 0; n < walks; n += perShop {
			t.Run(fmt.Sprint(place.Name, " from ", n), func(t *testing.T) {
				t.Parallel()
				if failed.Load() {
					t.Skip("another walk has failed")
				}
				defer func() {
					if t.Failed() {
						failed.Store(true)
					}
				}()
				s := openShop(t, place, testshop.Config{Publish: n == 0})
				if n == 0 {
					Every(t, s, "EVERY", first)
				}
				for i := n; i < min(n+perShop, walks) && !failed.Load(); i++ {
					Through(t, s, fmt.Sprintf("W%d", i), first+uint64(i), *steps)
				}
			})
		}
	}
}

// TestWalkKnowsEveryMutation: a new one of the schema needs a step.
func TestWalkKnowsEveryMutation(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range unknown(s) {
		t.Error(d)
	}
	more, err := gqlparser.LoadSchema(&ast.Source{Name: "now", Input: formatted(s)}, &ast.Source{Name: "new", Input: `extend type Mutation { giveAway(id: ID!): OrderPayload! }`})
	if err != nil {
		t.Fatal(err)
	}
	if found := unknown(more); len(found) != 1 {
		t.Errorf("a new mutation: found %v", found)
	}
}

// unknown are the mutations without a step, and the steps without a mutation.
func unknown(s *ast.Schema) (found []string) {
	have := Mutations()
	for _, f := range s.Mutation.Fields {
		if !slices.Contains(have, f.Name) {
			found = append(found, f.Name+" has no step in the walk")
		}
	}
	for _, name := range have {
		if s.Mutation.Fields.ForName(name) == nil {
			found = append(found, name+" is no mutation of the schema")
		}
	}
	return found
}

func formatted(s *ast.Schema) string {
	var b strings.Builder
	formatter.NewFormatter(&b).FormatSchema(s)
	return b.String()
}

// TestWalkWithRestarts ends the actors in the middle of the walk; snapshots are
// written all the time, so that they come back from one and what came after it.
func TestWalkWithRestarts(t *testing.T) {
	t.Parallel()
	limits := entity.DefaultLimits()
	limits.SnapshotEveryRecords, limits.SnapshotEveryBytes, limits.SnapshotOnPassivationRecords = 3, 1, 2
	first := firstSeed(t)
	for n := range max(6, howMany()/50) {
		s := openShop(t, memory(), testshop.Config{Limits: limits})
		Through(t, restarting{s}, fmt.Sprintf("R%d", n), first+uint64(n), *steps)
	}
}
