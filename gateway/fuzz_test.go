package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stampede/gateway/httpapi"
	"stampede/gateway/operation"
	"stampede/internal/memstore"
)

// Whatever is sent, the answer is JSON, nothing panics, and nothing that a
// client can do is INTERNAL.
func FuzzRequest(f *testing.F) {
	var logged bytes.Buffer
	g, err := wire(Config{
		Caller: shop{}, Views: shop{}, Accounts: shopAccounts{}, Journal: memstore.New(), Cluster: noCluster{}, Tokens: shop{}, Keys: shop{}, HoldFor: time.Minute, TicketKey: make([]byte, 32), DevTools: true,
		Limits: Limits{HTTP: httpapi.Limits{RatePerSecond: -1}, Operation: operation.Limits{}},
		Logger: slog.New(slog.NewTextHandler(&logged, nil)), Clock: time.Now,
	}, types())
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range roots {
		kind := "query"
		if r.mutation {
			kind = "mutation"
		}
		f.Add(kind+" { "+r.field+r.args+" { __typename ... @include(if: true) { __typename } } }", `{}`)
	}
	f.Add(`query Q($a: Int = 3, $b: [String!], $c: OrderState) { products(first: $a) { edges { cursor } } stock(skus: $b) { sku } orders(state: $c) { pageInfo { endCursor } } }`, `{"a":1e400,"b":"x","c":"RESERVED"}`)
	f.Add(`mutation($i: PlaceOrderInput!) { placeOrder(input: $i) { order { id } userErrors { ... on RetryLater { retryAfterMs } } } }`, `{"i":{"idempotencyKey":"k","lines":[{"sku":"A","quantity":1,"expectedPrice":{"amount":"1.00","currency":"EUR"}}]}}`)
	f.Add(`mutation { createProduct(input: {idempotencyKey: "k", slug: "s", name: "n", variants: [{sku: "A", price: {amount: "1", currency: "EUR"}, attributes: {a: [1, 2.5, null, {b: $x}]}}]}) { product { id } } }`, `{"x":null}`)
	f.Add(`{ a: __schema { types { name } } ...F ...F } fragment F on Query { me { id @skip(if: $s) } }`, `{"s":true}`)
	f.Add(`query($s: Boolean = true) { __typename @include(if: $s) ... @skip(if: $s) { a: __typename } }`, `{"s":null}`)
	f.Add(`query($i: ID = "x", $n: Int = 1, $l: [String!]! = ["A"]) { order(id: $i) { id } products(first: $n) { edges { cursor } } stock(skus: $l) { sku } }`, `{"i":null,"n":null}`)
	f.Fuzz(func(t *testing.T, query, variables string) {
		logged.Reset()
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(query)
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"`+quoted+`","variables":`+variables+`}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer x")
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		if logged.Len() > 0 || strings.Contains(w.Body.String(), `"INTERNAL"`) || !strings.HasPrefix(w.Body.String(), "{") {
			t.Errorf("%s\n%s", w.Body.String(), logged.String())
		}
	})
}
