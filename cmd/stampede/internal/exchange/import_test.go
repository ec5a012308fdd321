package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fakeShop has products by slug, and knows the keys that they were made with.
type fakeShop struct {
	mu       sync.Mutex
	products map[string]map[string]any
	lookUps  int // products that were asked for
	creates  int // creations that were sent
}

func (f *fakeShop) Call(_ context.Context, document string, variables map[string]any, into any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		field := map[byte]string{'s': "p", 'i': "m"}[name[0]] + name[1:]
		switch {
		case strings.HasPrefix(document, "query("):
			f.lookUps++
			answers[field] = nil
			if p := f.products[variables[name].(string)]; p != nil {
				answers[field] = map[string]any{"id": p["slug"], "version": 1, "slug": p["slug"], "name": p["name"], "published": p["published"], "variants": p["variants"]}
			}
		case strings.Contains(document, ":createProduct("):
			f.creates++
			answers[field] = f.create(variables[name].(json.RawMessage))
		default:
			return fmt.Errorf("unexpected document %s", document)
		}
	}
	text, err := json.Marshal(answers)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (f *fakeShop) create(input json.RawMessage) any {
	var p map[string]any
	if err := json.Unmarshal(input, &p); err != nil {
		panic(err)
	}
	slug := p["slug"].(string)
	if there := f.products[slug]; there != nil && there["idempotencyKey"] != p["idempotencyKey"] {
		return map[string]any{"userErrors": []any{map[string]any{"code": "CONFLICT", "message": "taken", "field": []string{"slug"}}}}
	}
	f.products[slug] = p
	return map[string]any{"userErrors": []any{}}
}

func file(from, to int) (records []*Record) {
	for i := from; i < to; i++ {
		name := fmt.Sprint("Product ", i)
		records = append(records, &Record{Line: i + 1, Slug: fmt.Sprint("p-", i), Name: &name, Variants: []Variant{{SKU: fmt.Sprint("P-", i), Price: &Price{"1.00", "EUR"}}}})
	}
	return records
}

// A shop that has none of the first products is taken to have none of those
// after them, which are then not looked up; what is there all the same is found,
// counted as what it is, and not made again.
func TestImportLooksNoMoreThanNeeded(t *testing.T) {
	f := &fakeShop{products: map[string]map[string]any{}}
	partly := file(0, 100)
	partly[95].Name = nil // fit for a product that is there, and for no new one
	for i, c := range []struct {
		records          []*Record
		dryRun           bool
		want             Summary
		lookUps, creates int
	}{
		{file(40, 70), true, Summary{Created: 30}, 30, 0},
		{file(40, 70), false, Summary{Created: 30}, 10, 30},
		{file(40, 70), false, Summary{Unchanged: 30}, 30, 0},
		// Of the first ten none is there. The fifth ten are taken for new, too, and refused; the others are looked up.
		{file(0, 100), false, Summary{Created: 70, Unchanged: 30}, 10 + 10 + 20 + 10, 70 + 10},
		{partly, false, Summary{Unchanged: 100}, 100, 0},
	} {
		f.lookUps, f.creates = 0, 0
		m := &Importer{Caller: f, Run: fmt.Sprint("run", i), Concurrency: 1, DryRun: c.dryRun}
		got, err := m.Import(t.Context(), c.records)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreUnexported(Record{})); diff != "" {
			t.Errorf("run %d (-want +got)\n%s", i, diff)
		}
		if f.lookUps != c.lookUps || f.creates != c.creates {
			t.Errorf("run %d looked %d up and sent %d, want %d and %d", i, f.lookUps, f.creates, c.lookUps, c.creates)
		}
	}
}

// What lacks a part is looked up, whatever those before it were: without a name
// it is fit for a product that is there.
func TestImportDoesNotGuessAboutParts(t *testing.T) {
	f := &fakeShop{products: map[string]map[string]any{}}
	if _, err := (&Importer{Caller: f, Run: "a", Concurrency: 1}).Import(t.Context(), file(15, 16)); err != nil {
		t.Fatal(err)
	}
	records := file(0, 20)
	records[15].Name, records[16].Name = nil, nil
	got, err := (&Importer{Caller: f, Run: "b", Concurrency: 1}).Import(t.Context(), records)
	if err != nil || got.Created != 18 || got.Unchanged != 1 || got.Refused != 1 || got.Wrong[0].Line != 17 {
		t.Errorf("%+v, %v", got, err)
	}
}
