package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/introspection"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/httpapi"
	"stampede/internal/memstore"
	"stampede/proto/gen/productpb"
)

const typename = `{"query":"{ __typename }"}`

// GraphQL over HTTP: which status and media type what gets.
func TestHTTPStatus(t *testing.T) {
	const (
		both   = "application/graphql-response+json, application/json;q=0.9"
		newer  = "application/graphql-response+json"
		older  = "application/json"
		syntax = `{"query":"{ unclosed"}`
		wrong  = `{"query":"{ nothingLikeIt }"}`
		coerce = `{"query":"query($id: ID!) { order(id: $id) { id } }","variables":{}}`
	)
	for _, c := range []struct {
		name, accept, body string
		status             int
		media, code        string
	}{
		{"good", "", typename, 200, older, ""},
		{"good, any", "*/*", typename, 200, older, ""},
		{"good, newer", newer, typename, 200, newer, ""},
		{"good, both", both, typename, 200, newer, ""},
		{"good, older preferred", "application/json, application/graphql-response+json;q=0.5", typename, 200, older, ""},
		{"good, neither", "text/html", typename, 200, older, ""},
		{"syntax", older, syntax, 200, older, "GRAPHQL_PARSE_FAILED"},
		{"syntax, newer", newer, syntax, 400, newer, "GRAPHQL_PARSE_FAILED"},
		{"validation", older, wrong, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"validation, newer", newer, wrong, 400, newer, "GRAPHQL_VALIDATION_FAILED"},
		{"variables", older, coerce, 200, older, "INVALID"},
		{"variables, newer", newer, coerce, 400, newer, "INVALID"},
		{"malformed JSON", older, `{"query": "{ __typename }"`, 400, older, "BAD_REQUEST"},
		{"malformed JSON, newer", newer, `{"query"`, 400, newer, "BAD_REQUEST"},
		{"not an object", older, `"{ __typename }"`, 400, older, "BAD_REQUEST"},
		{"a batch", older, `[` + typename + `]`, 400, older, "BAD_REQUEST"},
		{"two values", older, typename + typename, 400, older, "BAD_REQUEST"},
		{"empty body", older, ``, 400, older, "BAD_REQUEST"},
		{"no query", older, `{}`, 400, older, "BAD_REQUEST"},
		{"query a number", older, `{"query":1}`, 400, older, "BAD_REQUEST"},
		{"variables a list", older, `{"query":"{ __typename }","variables":[1]}`, 400, older, "BAD_REQUEST"},
		{"extensions a text", older, `{"query":"{ __typename }","extensions":"x"}`, 400, older, "BAD_REQUEST"},
		{"nulls", older, `{"query":"{ __typename }","variables":null,"operationName":null,"extensions":null}`, 200, older, ""},
		{"unknown operation", older, `{"query":"query A { __typename }","operationName":"B"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"two operations, no name", older, `{"query":"query A { __typename } query B { __typename }"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"no operation", older, `{"query":"fragment F on Query { __typename }"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"subscription", older, `{"query":"subscription { x }"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"@defer", older, `{"query":"{ ... @defer { __typename } }"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"introspection is off", older, `{"query":"{ __schema { types { name } } }"}`, 200, older, "GRAPHQL_VALIDATION_FAILED"},
		{"body over 256 KB", older, `{"query":"` + strings.Repeat(" ", 256<<10) + `"}`, 413, older, "TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.post("", c.body, "Accept", c.accept)
			media, charset, _ := strings.Cut(a.header.Get("Content-Type"), "; ")
			if a.status != c.status || media != c.media || charset != "charset=utf-8" {
				t.Errorf("%d %s; want %d %s", a.status, a.header.Get("Content-Type"), c.status, c.media)
			}
			if c.code == "" && len(a.Errors) > 0 || c.code != "" && a.code() != c.code {
				t.Errorf("want code %q: %s", c.code, a.text)
			}
			if c.code != "" && strings.Contains(a.text, `"data"`) {
				t.Errorf("nothing was executed, yet there is data: %s", a.text)
			}
			if a.header.Get("X-Request-Id") == "" {
				t.Error("no x-request-id")
			}
		})
	}
}

// A body over the limit is refused whether its length is announced or not.
func TestBodyLimitWithoutLength(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"`+strings.Repeat(" ", 300<<10)+`"}`))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	if a := w.do(r); a.status != http.StatusRequestEntityTooLarge || a.code() != "TOO_LARGE" || !strings.Contains(a.Errors[0].Message, "262144") {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestContentType(t *testing.T) {
	for sent, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "application/json;charset=UTF-8": 200,
		"application/json; charset=utf-16": 415, "text/plain": 415, "": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415,
	} {
		w := newWorld(t)
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(typename))
		if sent != "" {
			r.Header.Set("Content-Type", sent)
		}
		if a := w.do(r); a.status != status {
			t.Errorf("%q: %d, want %d", sent, a.status, status)
		}
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	get := func(query string) *answer {
		return w.do(httptest.NewRequest(http.MethodGet, "/graphql?query="+url.QueryEscape(query), nil))
	}
	if a := get(`{ __typename }`); a.status != 200 || a.Data["__typename"] != "Query" {
		t.Errorf("query by GET: %d %s", a.status, a.text)
	}
	a := get(`mutation { logOut(input: {refreshToken: "x"}) { userErrors { code } } }`)
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" || a.code() != "BAD_REQUEST" || len(w.accounts.called) > 0 {
		t.Errorf("mutation by GET: %d %s", a.status, a.text)
	}
	if a := w.do(httptest.NewRequest(http.MethodGet, "/graphql?query="+url.QueryEscape(`query($id: ID!) { node(id: $id) { id } }`)+"&variables="+url.QueryEscape(`{"id":"x"}`), nil)); a.code() != "INVALID" {
		t.Errorf("variables by GET: %s", a.text)
	}
	for _, part := range []string{"variables", "extensions"} {
		if a := w.do(httptest.NewRequest(http.MethodGet, "/graphql?query={__typename}&"+part+"=[1", nil)); a.status != 400 || a.code() != "BAD_REQUEST" || a.Errors[0].Extensions.Field[0] != part {
			t.Errorf("bad %s by GET: %d %s", part, a.status, a.text)
		}
	}
	if a := w.do(httptest.NewRequest(http.MethodDelete, "/graphql", nil)); a.status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", a.status)
	}
	for _, path := range []string{"/", "/console", "/nothing", "/graphql/x"} {
		if a := w.do(httptest.NewRequest(http.MethodGet, path, nil)); a.status != http.StatusNotFound || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := w.do(httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil)); a.status != 200 || a.text != `{"keys":[]}` {
		t.Errorf("jwks: %d %s", a.status, a.text)
	}
}

func TestMounts(t *testing.T) {
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	w := newWorld(t, func(c *gateway.Config) { c.Storefront, c.Console = page("shop"), page("console") })
	for path, want := range map[string]string{"/": "shop", "/assets/x.js": "shop", "/console": "console", "/console/x": "console"} {
		if a := w.do(httptest.NewRequest(http.MethodGet, path, nil)); a.text != want {
			t.Errorf("%s: %q", path, a.text)
		}
	}
}

func TestDevTools(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.DevTools = true })
	if a := w.ask("", `{ __schema { queryType { name } directives { name } } __type(name: "Order") { name } }`, nil); a.status != 200 || len(a.Errors) > 0 || strings.Contains(a.text, "defer") {
		t.Errorf("introspection: %s", a.text)
	}
	if a := w.ask("", introspection.Query, nil); len(a.Errors) > 0 || len(a.text) < 10_000 { // what tools ask
		t.Errorf("introspection by tools: %s", shorten(a.text))
	}
	r := httptest.NewRequest(http.MethodGet, "/graphql", nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	if a := w.do(r); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || strings.Contains(a.text, "http://") || strings.Contains(a.text, "https://") {
		t.Errorf("playground: %s, or it loads something from elsewhere", a.header.Get("Content-Type"))
	}
	if a := newWorld(t).do(r.Clone(context.Background())); a.status != 400 {
		t.Errorf("playground without dev tools: %d", a.status)
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.AllowedOrigins = []string{"https://shop.example"} })
	for origin, want := range map[string]string{"https://shop.example": "https://shop.example", "https://evil.example": "", "": ""} {
		r := httptest.NewRequest(http.MethodOptions, "/graphql", nil)
		r.Header.Set("Origin", origin)
		a := w.do(r)
		if got := a.header.Get("Access-Control-Allow-Origin"); got != want || a.header.Get("Access-Control-Allow-Credentials") != "" || a.status != 204 {
			t.Errorf("origin %q is allowed %q, %d", origin, got, a.status)
		}
		if a.header.Get("Vary") != "Origin" {
			t.Errorf("origin %q: a cache could give this to others", origin)
		}
	}
	if a := newWorld(t).post("", typename, "Origin", "https://shop.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("no origin is allowed unless it is listed")
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	if a := w.post("", typename, "X-Request-Id", "abc-123"); a.header.Get("X-Request-Id") != "abc-123" {
		t.Errorf("the client's id became %q", a.header.Get("X-Request-Id"))
	}
	for _, bad := range []string{"a b", strings.Repeat("x", 65), "x\nlevel=INFO", "é"} {
		if got := w.post("", typename, "X-Request-Id", bad).header.Get("X-Request-Id"); got == bad || got == "" {
			t.Errorf("id %q became %q", bad, got)
		}
	}
}

// The trace that a client is in goes on to the actors; without one there is a new one.
func TestTraceparent(t *testing.T) {
	const sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, c := range []struct {
		header string
		keeps  bool
	}{{sent, true}, {"", false}, {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false}, {"ff-" + sent[3:], false}, {sent[:54], false}} {
		w := newWorld(t)
		var got string
		w.caller.answer = func(ctx context.Context, _ entity.Address, _ proto.Message) (proto.Message, error) {
			got = entity.TraceFrom(ctx)
			return &productpb.ProductReply{Product: &productpb.Product{Published: true}}, nil
		}
		w.post("", `{"query":"{ product(id: \"`+aProduct+`\") { id } }"}`, "Traceparent", c.header)
		if len(got) != 55 || got[:3] != "00-" || got == sent || (got[3:35] == sent[3:35]) != c.keeps || (got[53:] == "01") != c.keeps {
			t.Errorf("%q became %q", c.header, got)
		}
	}
}

func TestPersistedQueries(t *testing.T) {
	w := newWorld(t)
	const query = `{ __typename }`
	sum := sha256.Sum256([]byte(query))
	hash := hex.EncodeToString(sum[:])
	only := `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`
	both := `{"query":"` + query + `","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`
	wrong := `{"query":"{ a: __typename }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`
	if a := w.post("", only); a.code() != "PERSISTED_QUERY_NOT_FOUND" || a.Errors[0].Message != "PersistedQueryNotFound" || a.status != 200 {
		t.Fatalf("before it is known: %d %s", a.status, a.text)
	}
	if a := w.post("", wrong); a.code() != "INVALID" {
		t.Fatalf("with another query's hash: %s", a.text)
	}
	if a := w.post("", both); a.Data["__typename"] != "Query" {
		t.Fatalf("with the query: %s", a.text)
	}
	if a := w.post("", only); a.Data["__typename"] != "Query" {
		t.Fatalf("once it is known: %s", a.text)
	}
}

// More than may be worked on at once get a quick 503 with a delay, and the
// others are answered.
func TestOverload(t *testing.T) {
	const places, requests = 2, 10
	w := newWorld(t, func(c *gateway.Config) {
		c.Limits.HTTP = httpapi.Limits{InFlight: places, Waiting: 1, WaitFor: time.Millisecond}
	})
	inside, goOn := make(chan struct{}, requests), make(chan struct{})
	w.caller.answer = func(context.Context, entity.Address, proto.Message) (proto.Message, error) {
		inside <- struct{}{}
		<-goOn
		return &productpb.ProductReply{Product: &productpb.Product{Id: aProduct, Published: true}}, nil
	}
	body := `{"query":"{ product(id: \"` + aProduct + `\") { id } }"}`
	var group sync.WaitGroup
	for range places {
		group.Go(func() {
			if a := w.post("", body); a.status != 200 || len(a.Errors) > 0 {
				t.Errorf("in its place: %d %s", a.status, a.text)
			}
		})
		<-inside
	}
	for range requests - places {
		a := w.post("", body)
		if a.status != 503 || a.code() != "THROTTLED" || a.header.Get("Retry-After") == "" || a.Errors[0].Extensions.RetryAfterMs < 1 {
			t.Errorf("beyond: %d %s", a.status, a.text)
		}
	}
	close(goOn)
	group.Wait()
	if a := w.post("", body); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.text)
	}
}

// A bucket per user, and per address for the others; it fills again with time.
func TestRateLimit(t *testing.T) {
	now := clock()
	w := newWorld(t, func(c *gateway.Config) {
		c.Limits.HTTP = httpapi.Limits{RatePerSecond: 10, RateBurst: 5_000}
		c.Clock = func() time.Time { return now }
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer
	})
	w.caller.answer = shopOfAlice
	expensive := `{"query":"{ products(first: 100) { edges { node { variants { stock { sku } } } } } }"}`
	spend := func(token string, header ...string) *answer {
		for range 100 {
			if a := w.post(token, expensive, header...); a.status != 200 {
				return a
			}
		}
		t.Fatal("never throttled")
		return nil
	}
	a := spend(asAlice)
	if a.status != 429 || a.code() != "THROTTLED" || a.Errors[0].Extensions.RetryAfterMs < 1 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := w.post(asBob, expensive); a.status != 200 {
		t.Errorf("Bob pays for Alice: %d", a.status)
	}
	for range 50 { // far beyond what Alice can have: an import
		if a := w.post(asStaff, expensive); a.status != 200 {
			t.Fatalf("staff: %d %s", a.status, a.text)
		}
	}
	spend("", "X-Forwarded-For", "203.0.113.9, 198.51.100.1")
	if a := w.post("", expensive, "X-Forwarded-For", "203.0.113.9, 198.51.100.2"); a.status != 200 {
		t.Errorf("another address pays: %d", a.status)
	}
	if a := w.post("", expensive, "X-Forwarded-For", "203.0.113.77, 198.51.100.1"); a.status != 429 {
		t.Errorf("a made-up address before the real one helps: %d", a.status)
	}
	for range 100 { // this machine itself, or a proxy on it that nobody said to trust
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(expensive))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = "127.0.0.1:1234"
		if a := w.do(r); a.status != 200 {
			t.Fatalf("from loopback: %d", a.status)
		}
	}
	now = now.Add(time.Hour)
	if a := w.post(asAlice, expensive); a.status != 200 {
		t.Errorf("after an hour: %d", a.status)
	}
}

func TestLimitsThatCannotWork(t *testing.T) {
	c := gateway.Config{Caller: &fakeCaller{}, Views: &fakeViews{}, Accounts: &fakeAccounts{}, Journal: memstore.New(), Cluster: aCluster{}, Tokens: fakeTokens{}, Keys: fakeTokens{}, HoldFor: 1, TicketKey: make([]byte, 32), Clock: clock}
	if _, err := gateway.New(c); err == nil || !strings.Contains(err.Error(), "Logger") {
		t.Errorf("without a logger: %v", err)
	}
	c.Limits.HTTP.RateBurst = 10
	if _, err := gateway.New(withLogger(c)); err == nil || !strings.Contains(err.Error(), "burst") {
		t.Errorf("with a burst below the dearest operation: %v", err)
	}
}

func TestCostIsTold(t *testing.T) {
	w := newWorld(t)
	for query, want := range map[string]float64{
		`{ __typename }`: 1,
		`{ products { pageInfo { hasNextPage } } }`:                                                         5 + 20*1,
		`{ products(first: 100) { edges { node { variants { stock { sku } } } } } }`:                        5 + 100*(1+1+1+10),
		`query($n: Int = 3) { products(first: $n) { edges { node { id } } } }`:                              5 + 3*2,
		`mutation { logOut(input: {refreshToken: "x"}) { userErrors { code } } }`:                           2,
		`{ stock(skus: ["A", "B"]) { sku } }`:                                                               1,
		`{ products { ...F } } fragment F on ProductConnection { edges { ... on ProductEdge { cursor } } }`: 5 + 20,
	} {
		a := w.ask("", query, nil)
		cost, _ := a.Extensions["cost"].(map[string]any)
		if cost["requested"] != want {
			t.Errorf("%s costs %v, want %v", query, cost["requested"], want)
		}
	}
	w.views.lists = 0
	a := w.ask(asStaff, `{ users(first: 100) { edges { node { orders(first: 100) { edges { node { id } } } } } } }`, nil)
	if a.code() != "TOO_COMPLEX" || !strings.Contains(a.Errors[0].Message, "20301") || w.views.lists > 0 {
		t.Errorf("a dear query: %s", a.text)
	}
	if a := w.ask(asStaff, `query($n: Int!) { users(first: $n) { edges { node { orders(first: 100) { edges { node { id } } } } } } }`, map[string]any{"n": 100}); a.code() != "TOO_COMPLEX" {
		t.Errorf("a dear query by variable: %s", a.text)
	}
}

// A client that does not read its answer keeps its connection busy, and nobody
// else: its place among those that are worked on is free again.
func TestWhoDoesNotReadTakesNobodysPlace(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) {
		c.Limits.HTTP.InFlight, c.Limits.HTTP.Waiting, c.Limits.HTTP.WaitFor = 1, 1, time.Millisecond
	})
	deaf := &unread{ResponseRecorder: httptest.NewRecorder(), writing: make(chan struct{}), read: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(typename))
		r.Header.Set("Content-Type", "application/json")
		w.handler.ServeHTTP(deaf, r)
	}()
	<-deaf.writing
	if a := w.post("", typename); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	close(deaf.read)
	<-done
	if deaf.Code != http.StatusOK || !strings.Contains(deaf.Body.String(), `"Query"`) {
		t.Errorf("%d %s", deaf.Code, deaf.Body)
	}
}

// unread is the connection of a client that does not read until it is told to.
type unread struct {
	*httptest.ResponseRecorder
	writing, read chan struct{}
}

func (u *unread) Write(b []byte) (int, error) {
	close(u.writing)
	<-u.read
	return u.ResponseRecorder.Write(b)
}
