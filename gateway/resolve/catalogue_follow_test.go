package resolve

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/persistence"
	"stampede/proto/gen/productpb"
)

// restless is a view whose rows are put again while somebody looks for changes.
type restless struct {
	Views
	rows    map[string]persistence.Row
	changes []persistence.Change
}

func (r *restless) Changes(context.Context, string, uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		for _, c := range r.changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (r *restless) GetRows(_ context.Context, _ string, ids []string) (map[string]persistence.Row, error) {
	found := map[string]persistence.Row{}
	for _, id := range ids {
		found[id] = r.rows[id]
	}
	return found, nil
}

func (r *restless) put(t *testing.T, n int, version uint64) {
	t.Helper()
	id := fmt.Sprintf("prd_%04d", n)
	body, err := proto.Marshal(&productpb.Product{Id: id, Name: fmt.Sprint("product ", n, " as of ", version), CreatedAtMs: int64(n), Published: true})
	if err != nil {
		t.Fatal(err)
	}
	r.rows[id] = persistence.Row{Kind: kindProduct, ID: id, Version: version, SortMs: int64(n), Body: body}
	r.changes = append(r.changes, persistence.Change{ID: id, Version: version, Mark: uint64(len(r.changes) + 1)})
}

// A product that the view yields twice, for it was put again meanwhile, is on
// the shelf once, however far apart the two are.
func TestAProductPutAgainMeanwhileIsOnTheShelfOnce(t *testing.T) {
	const products = 2*followedAtOnce + 1
	view := &restless{rows: map[string]persistence.Row{}}
	for n := range products {
		view.put(t, n, 1)
	}
	view.put(t, 0, 2)
	view.put(t, products-1, 2)
	now := time.UnixMilli(1_000_000)
	c := newCatalogue(view, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	empty := &shelf{byID: map[string]*shelved{}, complete: true, readAt: now, wholeAt: now}
	empty.index = &searchIndex{}
	s, err := c.follow(t.Context(), empty, now)
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	size := 0
	for _, item := range s.items {
		on[item.product.ID]++
		size += item.size
		if item != s.byID[item.product.ID] || item.version != view.rows[item.product.ID].Version {
			t.Errorf("%s is on the shelf at version %d", item.product.ID, item.version)
		}
	}
	if len(on) != products || len(s.items) != products || s.bytes != size || s.mark != products+2 {
		t.Errorf("%d products are on the shelf in %d places, with %d bytes of %d, up to %d", len(on), len(s.items), s.bytes, size, s.mark)
	}
}
