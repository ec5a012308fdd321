package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/actors/entity"
	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/gateway/operation"
	"stampede/gateway/resolve"
	"stampede/gateway/schema"
	"stampede/internal/memstore"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

// What is written straight from structs is byte for byte what gqlgen writes:
// random selections of everything that can be selected, over data with nulls,
// empty lists and awkward texts.
func TestPlainAnswersAreGqlgensAnswers(t *testing.T) {
	parsed, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	plain, through := sameShop(t, types()), sameShop(t, operation.Types{})
	planned := 0
	rapid.Check(t, func(rt *rapid.T) {
		root := rapid.SampledFrom(roots).Draw(rt, "root")
		g := selections{rt: rt, schema: parsed}
		def := parsed.Query
		if root.mutation {
			def = parsed.Mutation
		}
		set := g.set(parsed.Types[def.Fields.ForName(root.field).Type.Name()], 5)
		query := "query"
		if root.mutation {
			query = "mutation"
		}
		query += " { it: " + root.field + root.args + " " + set + " } " + strings.Join(g.fragments, " ")
		a, b := ask(rt, plain, query), ask(rt, through, query)
		if a != b {
			rt.Fatalf("%s\nplain  %s\ngqlgen %s", query, a, b)
		}
		if strings.Contains(a, "GRAPHQL_VALIDATION_FAILED") {
			rt.Fatalf("the test made a wrong document: %s\n%s", query, a)
		}
		if !strings.Contains(query, "customer") && !strings.Contains(query, "stock {") && !strings.Contains(query, "orders {") {
			planned++
		}
	})
	if planned == 0 {
		t.Error("no document could be written straight")
	}
}

var roots = []struct {
	mutation    bool
	field, args string
}{
	{false, "order", `(id: "` + theOrder + `")`},
	{false, "orders", ""},
	{false, "me", ""},
	{false, "users", ""},
	{false, "product", `(slug: "mug")`},
	{false, "products", ""},
	{false, "stock", `(skus: ["A", "NONE"])`},
	{true, "placeOrder", `(input: {idempotencyKey: "k", lines: [{sku: "A", quantity: 1}]})`},
	{true, "cancelOrder", `(input: {orderId: "` + theOrder + `"})`},
	{true, "adjustStock", `(input: {idempotencyKey: "k", sku: "A", delta: 1, reason: "r"})`},
	{true, "setStock", `(input: {idempotencyKey: "k", sku: "A", onHand: -1, reason: ""})`},
	{true, "updateProduct", `(input: {id: "` + theProduct + `"})`},
	{true, "logIn", `(input: {email: "a@b.test", password: "12345678"})`},
	{true, "updateProfile", `(input: {name: "x"})`},
}

// selections draws valid selections of a type.
type selections struct {
	rt        *rapid.T
	schema    *ast.Schema
	fragments []string
	n         int
}

func (g *selections) set(def *ast.Definition, depth int) string {
	var parts []string
	if g.chance() {
		parts = append(parts, "__typename")
	}
	for _, f := range def.Fields {
		if strings.HasPrefix(f.Name, "__") || rapid.IntRange(0, 2).Draw(g.rt, f.Name) == 0 {
			continue
		}
		inner := g.schema.Types[f.Type.Name()]
		sub := ""
		if inner.IsCompositeType() {
			if depth == 0 {
				continue
			}
			sub = " " + g.set(inner, depth-1)
		}
		name := f.Name
		if g.chance() {
			g.n++
			name = fmt.Sprintf("x%d: %s", g.n, name)
		}
		parts = append(parts, g.wrap(def, name+sub))
		if g.chance() { // once more: it merges
			if sub != "" {
				sub = " " + g.set(inner, depth-1)
			}
			parts = append(parts, g.wrap(def, name+sub))
		}
	}
	if def.IsAbstractType() {
		for _, member := range g.schema.GetPossibleTypes(def) {
			if g.chance() && depth > 0 {
				parts = append(parts, "... on "+member.Name+" "+g.set(member, depth-1))
			}
		}
	}
	if len(parts) == 0 {
		parts = []string{"__typename"}
	}
	return "{ " + strings.Join(parts, " ") + " }"
}

// wrap puts a field into a fragment now and then.
func (g *selections) wrap(def *ast.Definition, field string) string {
	switch rapid.IntRange(0, 7).Draw(g.rt, "wrap") {
	case 0:
		return "... { " + field + " }"
	case 1:
		return "... on " + def.Name + " { " + field + " }"
	case 2:
		g.n++
		name := fmt.Sprintf("F%d", g.n)
		g.fragments = append(g.fragments, "fragment "+name+" on "+def.Name+" { "+field+" }")
		return "..." + name
	case 3:
		return field + " @include(if: true)"
	}
	return field
}

func (g *selections) chance() bool { return rapid.IntRange(0, 3).Draw(g.rt, "chance") == 0 }

func ask(rt *rapid.T, h http.Handler, query string) string {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		rt.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Body.String()
}

const (
	theOrder   = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	theProduct = "prd_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	theUser    = "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	awkward    = "a\"b\\c\n\r\t\x01\x0b\x1f\x7f é 😀 </script>\u2028"
)

func sameShop(t *testing.T, types operation.Types) http.Handler {
	t.Helper()
	return shopOf(t, types, shop{})
}

// counter is a shop's actors, and who its tokens are of.
type counter interface {
	resolve.Caller
	Tokens
}

func shopOf(t *testing.T, types operation.Types, c counter) http.Handler {
	t.Helper()
	at := time.UnixMilli(1_800_000_000_000)
	limits := Limits{HTTP: httpapi.Limits{RatePerSecond: -1}, Operation: operation.Limits{Fields: 5_000, Tokens: 50_000, Aliases: 5_000, Cost: 1_000_000, Depth: 50}}
	g, err := wire(Config{
		Caller: c, Views: shop{}, Accounts: shopAccounts{}, Journal: memstore.New(), Cluster: noCluster{}, Tokens: c, Keys: shop{}, HoldFor: time.Minute, TicketKey: make([]byte, 32),
		Limits: limits, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return at },
	}, types)
	if err != nil {
		t.Fatal(err)
	}
	return g.Handler()
}

// shop answers everything, the same each time.
type shop struct{}

func (shop) JWKS() []byte { return nil }
func (shop) Verify(string, time.Time) (auth.Claims, error) {
	return auth.Claims{UserID: theUser, Roles: []auth.Role{auth.Operator}}, nil
}

var (
	eur    = &commonpb.Money{MinorUnits: 5, Currency: "EUR"}
	anUser = &accountpb.User{Id: theUser, Email: awkward, Roles: []accountpb.Role{accountpb.Role_ROLE_CUSTOMER, accountpb.Role_ROLE_STAFF}, Version: 1 << 40}
	whole  = &orderpb.Order{
		Id: theOrder, Number: "S-1", CustomerId: theUser, Status: orderpb.Status_STATUS_CANCELLED, Version: 7, Total: &commonpb.Money{MinorUnits: 123456, Currency: "JPY"},
		Payment:   &orderpb.Payment{Status: orderpb.PaymentStatus_PAYMENT_STATUS_VOIDED, Authorized: eur, Provider: awkward},
		Lines:     []*orderpb.Line{{Sku: "A", Name: awkward, Quantity: 3, UnitPrice: eur, SkuVersion: 9}, {Sku: "B", UnitPrice: &commonpb.Money{MinorUnits: 1, Currency: "KWD"}}},
		Rejection: &commonpb.Refusal{Reason: commonpb.Reason_REASON_INSUFFICIENT_STOCK, Message: awkward, Sku: "A", Requested: 5, Available: 3},
		History:   []*orderpb.Change{{Version: 1, Status: orderpb.Status_STATUS_RESERVED, Reason: awkward, AtMs: 1_800_000_000_001}, {Version: 2, Status: orderpb.Status_STATUS_CANCELLED}},
	}
	bare    = &orderpb.Order{Id: "ord_" + strings.Repeat("b", 26), CustomerId: theUser, Payment: &orderpb.Payment{}, ExpiresAtMs: 1}
	article = &productpb.Product{
		Id: theProduct, Slug: "mug", Name: awkward, Description: "d", Published: true, CreatedAtMs: -1,
		Variants: []*productpb.Variant{{Sku: "A", Price: eur, AttributesJson: `{"a":[1,"x"]}`}, {Sku: "B", Name: awkward, Price: eur}},
	}
	tooFew = []*commonpb.Refusal{nil, {Reason: commonpb.Reason_REASON_VERSION_CONFLICT, CurrentVersion: 4, Field: []string{"a", awkward}}, {Reason: commonpb.Reason_REASON_THROTTLED}}
)

func (shop) Call(_ context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	switch cmd.(type) {
	case *orderpb.Place:
		return &orderpb.OrderReply{Order: whole, Refusal: whole.Rejection}, nil
	case *orderpb.Cancel:
		return &orderpb.OrderReply{Order: bare}, nil
	case *skupb.Adjust:
		return &skupb.StockReply{Refusal: tooFew[1]}, nil
	}
	switch to.Kind {
	case "order":
		return &orderpb.OrderReply{Order: whole}, nil
	case "product":
		return &productpb.ProductReply{Product: article}, nil
	}
	if to.ID == "NONE" {
		return &skupb.StockReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND}}, nil
	}
	return &skupb.StockReply{Level: &skupb.Level{Sku: to.ID, Stock: &skupb.Stock{Available: 3, Held: 1}, Active: true}}, nil
}

func (shop) GetRows(context.Context, string, []string) (map[string]persistence.Row, error) {
	return nil, nil
}

func (shop) ListRows(_ context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	bodies := map[string][]proto.Message{"order": {whole, bare}, "product": {article}, "account": {anUser}}[q.Kind]
	var rows []persistence.Row
	for i, body := range bodies {
		b, err := proto.Marshal(body)
		if err != nil {
			return nil, err
		}
		rows = append(rows, persistence.Row{Kind: q.Kind, ID: theOrder, SortMs: int64(-i), Version: 1, Body: b})
	}
	return rows, nil
}

func (shop) Changes(context.Context, string, uint64) iter.Seq2[persistence.Change, error] {
	return func(func(persistence.Change, error) bool) {}
}

func (shop) LastChange(context.Context, string) (uint64, error) { return 0, nil }

// shopAccounts knows one user.
type shopAccounts struct{ resolve.Accounts }

func (shopAccounts) LogIn(context.Context, string, string) (*auth.Session, *commonpb.Refusal, error) {
	return &auth.Session{User: anUser, AccessToken: "t", RefreshToken: awkward, ExpiresAt: time.UnixMilli(5)}, nil, nil
}

func (shopAccounts) UpdateProfile(context.Context, string, *string, int64) (*accountpb.User, *commonpb.Refusal, error) {
	return nil, tooFew[2], nil
}

func (shopAccounts) Get(context.Context, string) (*accountpb.User, *commonpb.Refusal, error) {
	return anUser, nil, nil
}

// noCluster is not asked for.
type noCluster struct{ resolve.Cluster }
