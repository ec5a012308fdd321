package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/persistence"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

// An answer is kept for those who would be answered the same: not for other
// arguments, not for who may see more or less, not past a change.
func TestKeptPagesAreTheirAskersOwn(t *testing.T) {
	now := clock()
	w := newWorld(t, func(c *gateway.Config) { c.Clock = func() time.Time { return now } })
	w.putProduct(1, "Red mug", true, 1)
	w.putProduct(2, "Blue mug", false, 2)
	w.putProduct(3, "Red cup", true, 3)
	const query = `query($n: Int, $after: String, $s: String) { products(first: $n, after: $after, search: $s) { edges { node { name } } } }`
	names := func(token string, variables map[string]any) string {
		t.Helper()
		a := w.ask(token, query, variables)
		edges, ok := at(a.Data, "products", "edges").([]any)
		if !ok {
			return "refused"
		}
		var out []string
		for _, edge := range edges {
			out = append(out, text(at(edge, "node", "name")))
		}
		return strings.Join(out, ",")
	}
	type arguments = map[string]any
	check := func(when string) {
		t.Helper()
		for range 2 { // the second time it may have been kept
			for _, c := range []struct {
				token     string
				arguments arguments
				want      string
			}{
				{"", nil, "Red cup,Red mug"},
				{asAlice, nil, "Red cup,Red mug"},
				{asStaff, nil, "Red cup,Blue mug,Red mug"},
				{"bad", nil, "refused"},
				{"", arguments{"n": 1}, "Red cup"},
				{asStaff, arguments{"n": 2}, "Red cup,Blue mug"},
				{"", arguments{"s": "mug"}, "Red mug"},
				{asStaff, arguments{"s": "mug"}, "Blue mug,Red mug"},
				{"", arguments{"n": 0}, "refused"},
				{"", arguments{"after": "?"}, "refused"},
			} {
				if got := names(c.token, c.arguments); got != c.want {
					t.Errorf("%s: %q %v: %s, want %s", when, c.token, c.arguments, got, c.want)
				}
			}
		}
	}
	check("at first")
	now = now.Add(2 * time.Minute)
	check("after two minutes")
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 2, SortMs: 1}, &productpb.Product{Id: productID(1), Version: 2, Name: "Green mug", Published: true})
	now = now.Add(600 * time.Millisecond)
	if got := names("", nil); got != "Red cup,Green mug" {
		t.Errorf("after a change: %s", got)
	}
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(3), Version: 2, SortMs: 3}, &productpb.Product{Id: productID(3), Version: 2, Name: "Red cup"})
	now = now.Add(600 * time.Millisecond)
	if got := names("", nil); got != "Green mug" {
		t.Errorf("after one was taken off: %s", got)
	}
}

// What is kept is never the answer of a SKU that did not answer, and the other
// products of its page are shown as ever.
func TestFailedAnswersAreNotKept(t *testing.T) {
	w := newWorld(t)
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 1, SortMs: 1},
		&productpb.Product{Id: productID(1), Name: "Mug", Published: true, Variants: []*productpb.Variant{{Sku: "A"}, {Sku: "B"}}})
	silent := true
	w.caller.answer = func(_ context.Context, to entity.Address, _ proto.Message) (proto.Message, error) {
		if to.ID == "B" && silent {
			return nil, entity.ErrTimeout
		}
		return &skupb.StockReply{Level: &skupb.Level{Sku: to.ID, Active: true, Stock: &skupb.Stock{Available: 7}}}, nil
	}
	const query = `{ products { edges { node { variants { sku stock { available } } } } } }`
	if a := w.ask("", query, nil); len(a.Errors) != 1 || text(a.Errors[0].Path) == "" || a.Errors[0].Extensions.Code != "UNAVAILABLE" {
		t.Errorf("one SKU is silent: %s", a.text)
	}
	silent = false
	if a := w.ask("", query, nil); len(a.Errors) != 0 || text(at(a.Data, "products", "edges", 0, "node", "variants", 1, "stock", "available")) != "7" {
		t.Errorf("it speaks again: %s", a.text)
	}
}

// What is answered without gqlgen fails as it does with it: the path, the place
// and the data are those of the specification.
func TestDirectAnswersFailAsOthers(t *testing.T) {
	w := newWorld(t)
	w.caller.answer = func(_ context.Context, to entity.Address, _ proto.Message) (proto.Message, error) {
		if to.ID == "PANIC" {
			panic("on purpose")
		}
		return nil, entity.ErrTimeout
	}
	both := func(field string) (direct, through string) {
		t.Helper()
		post := func(query string) string {
			r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"`+query+`"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Request-Id", "same")
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, r)
			body, _, _ := strings.Cut(rec.Body.String(), `,"extensions":{"cost"`)
			return rec.Result().Status + body
		}
		// The condition makes gqlgen do it; it is as long as the blanks, for the locations.
		return post(`query { it: ` + field + ` }`), post(`query { it: ` + strings.Replace(field, " {", ` @skip(if:false){`, 1) + ` }`)
	}
	for _, field := range []string{
		`stock(skus: []) { sku }`,
		`stock(skus: [\"A\", \"no good\"]) { sku }`,
		`stock(skus: [\"A\", \"B\"]) { sku }`,
		`stock(skus: [\"PANIC\"]) { sku }`,
		`products(first: 0) { edges { cursor } }`,
		`products(after: \"?\") { edges { cursor } }`,
	} {
		direct, through := both(field)
		if direct != through {
			t.Errorf("%s\ndirect %s\ngqlgen %s", field, direct, through)
		}
		if !strings.Contains(direct, `"errors"`) {
			t.Errorf("%s: %s", field, direct)
		}
	}
}
