package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/gateway"
	"stampede/internal/testservers"
	"stampede/persistence"
	"stampede/persistence/mongo"
	"stampede/proto/gen/productpb"
)

// Two nodes on one database, each with a catalogue of its own: what one node's
// projector puts, the other one's list shows about a second later, new, changed
// and taken away.
func TestCatalogueFollowsOtherNodes(t *testing.T) {
	uri, database := testservers.Mongo(t), fmt.Sprintf("catalogue-%016x", rand.Uint64())
	var nodes []*world
	var stores []*mongo.Store
	for range 2 {
		store, err := mongo.Open(t.Context(), uri, database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		stores = append(stores, store)
		nodes = append(nodes, newWorld(t, func(c *gateway.Config) { c.Views, c.Clock = store, time.Now }))
	}
	put := func(by, i int, version uint64, published bool) {
		body, err := proto.Marshal(&productpb.Product{Id: productID(i), Name: fmt.Sprintf("Mug %d", version), Published: published, CreatedAtMs: int64(i), Version: int64(version)})
		if err != nil {
			t.Fatal(err)
		}
		row := persistence.Row{Kind: "product", ID: productID(i), Version: version, SortMs: int64(i), State: "any", Body: body, Tracked: true}
		if err := stores[by].PutRows(t.Context(), []persistence.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(what string, want int) {
		t.Helper()
		const within = time.Minute // on a machine that does much else; alone it is half a second
		start := time.Now()
		for i, node := range nodes {
			for {
				got, _ := node.walk(t, "", 100, nil)
				if len(got) == want {
					t.Logf("%s: node %d after %v", what, i, time.Since(start))
					break
				}
				if time.Since(start) > within {
					t.Fatalf("%s: node %d lists %d, want %d", what, i, len(got), want)
				}
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // a real database: there is nothing else to wait for
			}
		}
	}
	follow("nothing", 0)
	for i := range 50 {
		put(i%2, i, 1, true)
	}
	follow("fifty", 50)
	put(0, 7, 2, false)
	put(1, 8, 2, false)
	follow("two taken away", 48)
	put(1, 7, 3, true)
	put(0, 8, 1, true) // an older version that comes late
	put(0, 99, 1, true)
	follow("one back, one new", 50)
}
