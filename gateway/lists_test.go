package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

// productID is the id of the i-th product of a test.
func productID(i int) string { return "prd_" + letters(i) }

func letters(i int) string {
	b := []byte(strings.Repeat("a", 26))
	for at := 25; i > 0; at-- {
		b[at] = byte('a' + i%26)
		i /= 26
	}
	return string(b)
}

func (w *world) putProduct(i int, name string, published bool, createdMs int64) {
	w.t.Helper()
	state := "unpublished"
	if published {
		state = "published"
	}
	w.views.put(w.t, persistence.Row{Kind: "product", ID: productID(i), Version: 1, State: state, SortMs: createdMs},
		&productpb.Product{Id: productID(i), Slug: fmt.Sprintf("p-%d", i), Name: name, Description: "number " + letters(i), Published: published, CreatedAtMs: createdMs, Version: 1})
}

const products = `query($first: Int, $after: String, $search: String) { products(first: $first, after: $after, search: $search) { edges { cursor node { id name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`

// walk reads a list to its end, page by page.
func (w *world) walk(t interface{ Fatalf(string, ...any) }, token string, first int, search any) (ids []string, pages int) {
	var after any
	for {
		a := w.ask(token, products, map[string]any{"first": first, "after": after, "search": search})
		list, _ := a.Data["products"].(map[string]any)
		if list == nil {
			t.Fatalf("no list: %s", a.text)
		}
		edges := list["edges"].([]any)
		for _, e := range edges {
			ids = append(ids, e.(map[string]any)["node"].(map[string]any)["id"].(string))
		}
		info := list["pageInfo"].(map[string]any)
		if info["hasPreviousPage"] != (after != nil) {
			t.Fatalf("hasPreviousPage is %v on page %d", info["hasPreviousPage"], pages)
		}
		if pages++; info["hasNextPage"] != true {
			return ids, pages
		}
		if len(edges) != first || edges[len(edges)-1].(map[string]any)["cursor"] != info["endCursor"] {
			t.Fatalf("page %d has %d of %d, and ends at %v", pages, len(edges), first, info["endCursor"])
		}
		after = info["endCursor"]
	}
}

// Pages put together are the list: each product once, newest first, whatever
// the page size, and hasNextPage is never wrong.
func TestProductPages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		n := rapid.IntRange(0, 40).Draw(rt, "products")
		var want []string
		for i := range n {
			published := rapid.Bool().Draw(rt, "published")
			w.putProduct(i, "Mug", published, int64(rapid.IntRange(1, 5).Draw(rt, "created"))) // ties
		}
		for _, row := range w.views.rows {
			if row.State == "published" {
				want = append(want, row.ID)
			}
		}
		got, _ := w.walk(rt, "", rapid.IntRange(1, 12).Draw(rt, "first"), nil)
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
		if all, _ := w.walk(rt, asStaff, 7, nil); len(all) != n {
			rt.Fatalf("staff sees %d of %d", len(all), n)
		}
	})
}

// A search finds what has all of its words, each the beginning of one of the
// product's, without regard to case and accents.
func TestSearch(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"Blue Mug", "Red mug", "Blue Shirt", "Straße 12", "100% wool", "Crème Brûlée-Löffel", "ЁЛКА, 日本語"} {
		w.putProduct(i, name, i != 2, int64(i))
	}
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(20), Version: 1, State: "published", SortMs: 20},
		&productpb.Product{Id: productID(20), Slug: "boots", Name: "Boots", Published: true, Variants: []*productpb.Variant{{Sku: "SNEAKER-42_b", Name: "türkis"}}})
	for search, want := range map[string][]int{
		"mug": {1, 0}, "BLUE mug": {0}, "mug  blue": {0}, "mu": {1, 0}, "ug": nil, "bl m": {0}, "mug mugs": nil, "shirt": nil, "p-1": {4, 3, 1}, "nothing": nil,
		"straße": {3}, "STRASSE": {3}, "stra 1": {3}, "creme": {5}, "brulee": {5}, "CRÈME LOFF": {5}, "cre\u0301me": {5}, "елка": {6}, "日本": {6},
		"100 wool": {4}, "100%": {4}, "%": nil, "--": nil, " ": {20, 6, 5, 4, 3, 1, 0}, "": {20, 6, 5, 4, 3, 1, 0},
		"sneaker": {20}, "sneaker-42": {20}, "SNEAKER-42_B": {20}, "42": {20}, "turkis boots": {20}, letters(1): {1},
	} {
		got, _ := w.walk(t, "", 100, search)
		var ids []string
		for _, i := range want {
			ids = append(ids, productID(i))
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%q finds %v, want %v", search, got, ids)
		}
	}
	if got, _ := w.walk(t, asStaff, 100, "shirt"); len(got) != 1 {
		t.Errorf("staff finds %v", got)
	}
	for _, search := range []string{"a b c d e f g h i", "a-b-c-d-e-f-g-h-i", strings.Repeat("a", 101), "a\x00b"} {
		if a := w.ask("", products, map[string]any{"search": search}); a.code() != "INVALID" || a.Errors[0].Extensions.Field[0] != "search" {
			t.Errorf("%q: %s", search, a.text)
		}
	}
}

// The catalogue is read once, and then follows what changed, twice a second at most.
func TestCatalogueIsReadAnew(t *testing.T) {
	now := clock()
	w := newWorld(t, func(c *gateway.Config) { c.Clock = func() time.Time { return now } })
	w.putProduct(1, "Mug", true, 1)
	for range 10 {
		w.walk(t, "", 10, nil)
	}
	if w.views.lists != 1 {
		t.Errorf("read %d times within a second", w.views.lists)
	}
	w.putProduct(2, "Jug", true, 2)
	now = now.Add(1100 * time.Millisecond)
	if got, _ := w.walk(t, "", 10, nil); len(got) != 2 {
		t.Errorf("after a second: %v", got)
	}
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 2, State: "unpublished", SortMs: 1}, &productpb.Product{Id: productID(1), Name: "Mug", CreatedAtMs: 1, Version: 2})
	now = now.Add(600 * time.Millisecond)
	if got, _ := w.walk(t, "", 10, nil); !slices.Equal(got, []string{productID(2)}) || w.views.lists != 1 {
		t.Errorf("with one taken away: %v, read whole %d times", got, w.views.lists)
	}
	w.putProduct(1, "Mug", true, 1) // an older version that comes late
	now = now.Add(600 * time.Millisecond)
	if got, _ := w.walk(t, "", 10, nil); !slices.Equal(got, []string{productID(2)}) {
		t.Errorf("an older version came late: %v", got)
	}
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 3, State: "published", SortMs: 1}, &productpb.Product{Id: productID(1), Name: "Mug", CreatedAtMs: 1, Version: 3, Published: true})
	now = now.Add(6 * time.Minute)
	if got, _ := w.walk(t, "", 10, nil); len(got) != 2 || w.views.lists != 2 {
		t.Errorf("after a while: %v, read whole %d times", got, w.views.lists)
	}
	w.views.err = errors.New("view is down")
	now = now.Add(10 * time.Second)
	if got, _ := w.walk(t, "", 10, nil); len(got) != 2 || !strings.Contains(w.log.String(), "catalogue") {
		t.Errorf("with the view down: %v; log: %s", got, w.log.String())
	}
	now = now.Add(time.Minute)
	if a := w.ask("", products, nil); a.code() != "INTERNAL" {
		t.Errorf("with the view down for long: %s", a.text)
	}
	w.views.err = fmt.Errorf("list: %w", entity.ErrUnavailable)
	if a := w.ask("", products, nil); a.code() != "UNAVAILABLE" || a.Errors[0].Extensions.RetryAfterMs == 0 {
		t.Errorf("with the store unavailable: %s", a.text)
	}
	w.views.err = nil
	if got, _ := w.walk(t, "", 10, nil); len(got) != 2 {
		t.Errorf("once it is back: %v", got)
	}
}

// Pages of a list that changes between them: nothing comes twice, and nothing
// is missing that was there all the time.
func TestPagesWhileTheListChanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := clock()
		w := newWorld(t, func(c *gateway.Config) { c.Clock = func() time.Time { return now } })
		versions, always := map[int]uint64{}, map[string]bool{}
		put := func(i int, published bool) {
			versions[i]++
			state := map[bool]string{true: "published", false: "unpublished"}[published]
			w.views.put(t, persistence.Row{Kind: "product", ID: productID(i), Version: versions[i], State: state, SortMs: int64(i / 3)},
				&productpb.Product{Id: productID(i), Name: "Mug", Published: published, CreatedAtMs: int64(i / 3), Version: int64(versions[i])})
			if !published {
				delete(always, productID(i))
			}
		}
		for i := 10; i < 40; i++ {
			put(i, true)
			always[productID(i)] = true
		}
		seen := map[string]int{}
		for after := any(nil); ; {
			a := w.ask("", products, map[string]any{"first": rapid.IntRange(1, 5).Draw(rt, "first"), "after": after})
			edges, _ := at(a.Data, "products", "edges").([]any)
			for i := range edges {
				seen[text(at(edges, i, "node", "id"))]++
			}
			if after = at(a.Data, "products", "pageInfo", "endCursor"); at(a.Data, "products", "pageInfo", "hasNextPage") != true {
				break
			}
			for range rapid.IntRange(0, 4).Draw(rt, "changes") {
				put(rapid.IntRange(0, 50).Draw(rt, "which"), rapid.Bool().Draw(rt, "published"))
			}
			now = now.Add(time.Second)
		}
		for id, n := range seen {
			if n > 1 {
				rt.Fatalf("%s came %d times", id, n)
			}
		}
		for id := range always {
			if seen[id] == 0 {
				rt.Fatalf("%s was there all the time and did not come", id)
			}
		}
	})
}

// What was created through this gateway is listed at once, though the view has
// not seen it; what the view knows better wins.
func TestOwnProductsAreListedAtOnce(t *testing.T) {
	now := clock()
	w := newWorld(t, func(c *gateway.Config) { c.Clock = func() time.Time { return now } })
	w.walk(t, "", 10, nil)
	created := &productpb.Product{Id: productID(7), Slug: "p-7", Name: "New", Published: true, CreatedAtMs: 5, Version: 2}
	w.caller.reply(&productpb.ProductReply{Product: created})
	w.post(asStaff, `{"query":`+quote(create)+`,"variables":{"input":`+product(`[`+variant(`{"amount":"1","currency":"EUR"}`, "")+`]`)+`}}`)
	if got, _ := w.walk(t, "", 10, nil); !slices.Equal(got, []string{productID(7)}) {
		t.Errorf("listed: %v", got)
	}
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(7), Version: 3, State: "unpublished", SortMs: 5}, &productpb.Product{Id: productID(7), Name: "Old", CreatedAtMs: 5})
	now = now.Add(2 * time.Second)
	if got, _ := w.walk(t, "", 10, nil); len(got) != 0 {
		t.Errorf("a newer version is not published, yet it is listed: %v", got)
	}
}

// A catalogue beyond what is kept in memory is listed from the view.
func TestLargeCatalogue(t *testing.T) {
	if testing.Short() {
		t.Skip("20,100 products")
	}
	w := newWorld(t)
	const n = 20_100
	rows := make([]persistence.Row, n)
	for i := range rows {
		w2 := &world{t: t, views: &fakeViews{}}
		w2.putProduct(i, "Mug", true, int64(n-i))
		rows[i] = w2.views.rows[0]
	}
	w.views.rows = rows
	got, pages := w.walk(t, "", 100, nil)
	if len(got) != n || pages != n/100 {
		t.Errorf("%d products on %d pages", len(got), pages)
	}
}

func TestOrderAndUserLists(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		id, owner, state := "ord_"+letters(i), alice, "RESERVED"
		if i%2 == 1 {
			owner, state = bob, "CONFIRMED"
		}
		w.views.put(t, persistence.Row{Kind: "order", ID: id, Version: 1, Owner: owner, State: state, SortMs: int64(i)},
			&orderpb.Order{Id: id, CustomerId: owner, Status: orderpb.Status(orderpb.Status_value["STATUS_"+state]), PlacedAtMs: int64(i)})
	}
	for _, id := range []string{alice, bob} {
		w.views.put(t, persistence.Row{Kind: "account", ID: id, Version: 1}, &accountpb.User{Id: id, Email: id[4:6] + "@example.test", Roles: []accountpb.Role{accountpb.Role_ROLE_CUSTOMER}})
	}
	for query, want := range map[string]string{
		`{ orders { edges { node { id } } } }`:                                                         "e d c b a",
		`{ orders(state: CONFIRMED) { edges { node { id } } } }`:                                       "d b",
		`{ orders(first: 2) { edges { node { id } } } }`:                                               "e d",
		`{ users { edges { node { orders { edges { node { id } } } } } } }`:                            "d b e c a",
		`{ users { edges { node { orders(state: RESERVED, first: 2) { edges { node { id } } } } } } }`: "e c",
	} {
		a := w.ask(asStaff, query, nil)
		var got []string
		for part := range strings.SplitSeq(a.text, `"id":"ord_`) {
			if len(part) > 26 && part[26] == '"' {
				got = append(got, part[25:26])
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s: %s", query, got, want, a.text)
		}
	}
}

// A list of orders asks for each customer once, all together.
func TestCustomersAreLoadedTogether(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		id := "ord_" + letters(i)
		w.views.put(t, persistence.Row{Kind: "order", ID: id, Version: 1, SortMs: int64(i)}, &orderpb.Order{Id: id, CustomerId: alice})
	}
	w.accounts.user = &accountpb.User{Id: alice, Email: "a@example.test"}
	a := w.ask(asStaff, `{ orders(first: 50) { edges { node { customer { email } } } } }`, nil)
	if strings.Count(a.text, "a@example.test") != 50 {
		t.Errorf("%s", shorten(a.text))
	}
	if n := len(w.accounts.called); n != 1 { // the view does not know her yet
		t.Errorf("asked %d times", n)
	}
}

// A page of products asks each SKU once.
func TestLevelsAreLoadedOnce(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.views.put(t, persistence.Row{Kind: "product", ID: productID(i), Version: 1, SortMs: int64(i)},
			&productpb.Product{Id: productID(i), Published: true, Variants: []*productpb.Variant{{Sku: "A"}, {Sku: fmt.Sprintf("B-%d", i)}}})
	}
	w.caller.answer = shopOfAlice
	a := w.ask("", `{ products(first: 30) { edges { node { variants { stock { sku onHand } } } } } }`, nil)
	if len(a.Errors) > 0 || strings.Count(a.text, `"onHand"`) != 60 {
		t.Errorf("%s", shorten(a.text))
	}
	if n := len(w.caller.sent()); n != 31 {
		t.Errorf("asked %d times for 31 SKUs", n)
	}
}

// A SKU that does not answer takes nothing else down: of stock it is the one
// null, with an error of its own; on a page of products it is shown as the view
// has it, and if that has nothing either, with nothing to be had: unless it may
// answer a moment later.
func TestSilentSKUIsTheOnlyOneMissing(t *testing.T) {
	w := newWorld(t)
	var silent error = &entity.CorruptError{Stream: "sku/BAD", Seq: 7, Reason: "checksum"}
	w.caller.answer = func(_ context.Context, to entity.Address, _ proto.Message) (proto.Message, error) {
		if to.ID == "BAD" {
			return nil, silent
		}
		return &skupb.StockReply{Level: &skupb.Level{Sku: to.ID, Active: true, Stock: &skupb.Stock{Available: 3}, Version: 9}}, nil
	}
	a := w.ask("", `{ stock(skus: ["A", "BAD", "C"]) { sku available } }`, nil)
	if at(a.Data, "stock", 0, "sku") != "A" || at(a.Data, "stock", 1) != nil || at(a.Data, "stock", 2, "sku") != "C" || a.code() != "INTERNAL" {
		t.Fatalf("%s", a.text)
	}
	if diff := cmp.Diff([]any{"stock", 1.0}, a.Errors[0].Path); diff != "" {
		t.Errorf("the error's path: %s", diff)
	}
	if n := strings.Count(w.log.String(), "sku/BAD record 7"); n != 1 {
		t.Errorf("logged %d times: %s", n, w.log)
	}

	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 1, SortMs: 1},
		&productpb.Product{Id: productID(1), Published: true, Variants: []*productpb.Variant{{Sku: "A"}, {Sku: "BAD"}}})
	const page = `{ products { edges { node { variants { stock { sku available version } } } } } }`
	stock := func(variant int, field string) string {
		return text(at(a.Data, "products", "edges", 0, "node", "variants", variant, "stock", field))
	}
	a = w.ask("", page, nil)
	if len(a.Errors) > 0 || stock(0, "version") != "9" || stock(1, "sku") != "BAD" || stock(1, "version") != "0" || stock(1, "available") != "0" {
		t.Errorf("without a view: %s", a.text)
	}
	silent = entity.ErrTimeout
	if a = w.ask("", page, nil); a.code() != "UNAVAILABLE" {
		t.Errorf("without a view, for the moment: %s", a.text)
	}
	w.views.put(t, persistence.Row{Kind: "sku", ID: "BAD", Version: 4}, &skupb.Level{Sku: "BAD", Version: 4, Active: true, Stock: &skupb.Stock{Available: 2}})
	a = w.ask("", page, nil)
	if len(a.Errors) > 0 || stock(0, "version") != "9" || stock(1, "sku") != "BAD" || stock(1, "version") != "4" || stock(1, "available") != "2" {
		t.Errorf("with a view: %s", a.text)
	}
	if !strings.Contains(w.log.String(), "last known of its stock") {
		t.Errorf("it is not logged: %s", w.log)
	}
}
