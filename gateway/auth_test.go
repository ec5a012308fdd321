package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway/graph"
	"stampede/gateway/schema"
	"stampede/gateway/waiting"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// What each root field answers to each kind of person.
const (
	gets        = "gets it"
	nothing     = "null"
	notFound    = "NOT_FOUND"
	mustLogIn   = "UNAUTHENTICATED"
	isForbidden = "FORBIDDEN"
	done        = "done"
)

// Every root field is here, with a document that asks for what is Alice's
// (order, account) or not published (product). A field that is not here fails the test.
var access = []struct {
	field, document                          string
	anyone, alice, bob, staff, operator, bad string
}{
	{"Query.node order", `{ it: node(id: "` + anOrder + `") { id } }`, nothing, gets, nothing, gets, gets, mustLogIn},
	{"Query.node user", `{ it: node(id: "` + alice + `") { id } }`, nothing, gets, nothing, gets, gets, mustLogIn},
	{"Query.node product", `{ it: node(id: "` + aProduct + `") { id } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Query.me", `{ it: me { id } }`, mustLogIn, gets, nothing, nothing, nothing, mustLogIn},
	{"Query.user", `{ it: user(id: "` + alice + `") { id email orders { edges { node { id } } } } }`, mustLogIn, gets, nothing, gets, gets, mustLogIn},
	{"Query.users", `{ it: users { edges { node { id } } } }`, mustLogIn, isForbidden, isForbidden, gets, gets, mustLogIn},
	{"Query.product id", `{ it: product(id: "` + aProduct + `") { id } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Query.product slug", `{ it: product(slug: "mug") { id } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Query.products", `{ it: products { edges { node { id } } } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Query.stock", `{ it: stock(skus: ["INACTIVE"]) { sku } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Query.stockLedger", `{ it: stockLedger(sku: "PAST") { edges { cursor } } }`, mustLogIn, isForbidden, isForbidden, gets, gets, mustLogIn},
	{"Query.stockAt", `{ it: stockAt(sku: "PAST", version: 1) { version } }`, mustLogIn, isForbidden, isForbidden, gets, gets, mustLogIn},
	{"Query.order", `{ it: order(id: "` + anOrder + `") { id customer { id email } } }`, mustLogIn, gets, nothing, gets, gets, mustLogIn},
	{"Query.orders", `{ it: orders { edges { node { id } } } }`, mustLogIn, isForbidden, isForbidden, gets, gets, mustLogIn},
	{"Subscription.stockChanged", `subscription { it: stockChanged(skus: ["INACTIVE"]) { sku } }`, nothing, nothing, nothing, gets, gets, mustLogIn},
	{"Subscription.saleChanged", `subscription { it: saleChanged(id: "` + aSale + `") { id } }`, gets, gets, gets, gets, gets, mustLogIn},
	{"Subscription.ticketChanged", `subscription { it: ticketChanged(id: "` + ticketOfAlice + `") { id } }`, mustLogIn, gets, nothing, nothing, nothing, mustLogIn},
	{"Subscription.orderChanged", `subscription { it: orderChanged(id: "` + anOrder + `") { id customer { id email } } }`, mustLogIn, gets, nothing, gets, gets, mustLogIn},
	{"Mutation.registerUser", `mutation { it: registerUser(input: {email: "a@b.test", password: "12345678"}) { userErrors { code } } }`, done, done, done, done, done, done},
	{"Mutation.logIn", `mutation { it: logIn(input: {email: "a@b.test", password: "12345678"}) { userErrors { code } } }`, done, done, done, done, done, done},
	{"Mutation.refreshTokens", `mutation { it: refreshTokens(input: {refreshToken: "t"}) { userErrors { code } } }`, done, done, done, done, done, done},
	{"Mutation.logOut", `mutation { it: logOut(input: {refreshToken: "t"}) { userErrors { code } } }`, done, done, done, done, done, done},
	{"Mutation.updateProfile", `mutation { it: updateProfile(input: {name: "A"}) { userErrors { code } } }`, mustLogIn, done, done, done, done, mustLogIn},
	{"Mutation.changePassword", `mutation { it: changePassword(input: {current: "12345678", new: "87654321"}) { userErrors { code } } }`, mustLogIn, done, done, done, done, mustLogIn},
	{"Mutation.setRoles", `mutation { it: setRoles(input: {userId: "` + alice + `", roles: [STAFF]}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, done, mustLogIn},
	{"Query.members", `{ it: members { id name state actors { kind active } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, gets, mustLogIn},
	{"Query.actor", `{ it: actor(kind: "order", key: "` + anOrder + `") { member version } }`, mustLogIn, isForbidden, isForbidden, isForbidden, gets, mustLogIn},
	{"Mutation.drainMember", `mutation { it: drainMember(input: {id: "` + aMember + `"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, done, mustLogIn},
	{"Query.apiKeys", `{ it: apiKeys { id name } }`, mustLogIn, isForbidden, isForbidden, isForbidden, gets, mustLogIn},
	{"Mutation.createApiKey", `mutation { it: createApiKey(input: {name: "erp", roles: [STAFF]}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, done, mustLogIn},
	{"Query.outbox", `{ it: outbox { topic } }`, mustLogIn, isForbidden, isForbidden, isForbidden, gets, mustLogIn},
	{"Mutation.replayEvents", `mutation { it: replayEvents(input: {kind: "order"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, done, mustLogIn},
	{"Mutation.revokeApiKey", `mutation { it: revokeApiKey(input: {id: "` + aKey + `"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, isForbidden, done, mustLogIn},
	{"Mutation.createProduct", `mutation { it: createProduct(input: {idempotencyKey: "k", slug: "mug", name: "Mug", variants: [{sku: "A", price: {amount: "1", currency: "EUR"}}]}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.updateProduct", `mutation { it: updateProduct(input: {id: "` + aProduct + `", name: "Mug"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.adjustStock", `mutation { it: adjustStock(input: {idempotencyKey: "k", sku: "A", delta: 1, reason: "r"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.setStock", `mutation { it: setStock(input: {idempotencyKey: "k", sku: "A", onHand: 1, reason: "r"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.markUnavailable", `mutation { it: markUnavailable(input: {idempotencyKey: "k", sku: "A", quantity: 1, reason: "r"}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Query.node sale", `{ it: node(id: "` + aSale + `") { id } }`, gets, gets, gets, gets, gets, mustLogIn},
	{"Query.sale", `{ it: sale(id: "` + aSale + `") { id } }`, gets, gets, gets, gets, gets, mustLogIn},
	{"Query.sales", `{ it: sales { id } }`, gets, gets, gets, gets, gets, mustLogIn},
	{"Query.ticket", `{ it: ticket(id: "` + ticketOfAlice + `") { id } }`, mustLogIn, gets, nothing, nothing, nothing, mustLogIn},
	{"Mutation.createSale", `mutation { it: createSale(input: {idempotencyKey: "k", name: "S", startsAt: "2027-01-15T08:00:00Z", endsAt: "2027-01-15T09:00:00Z", items: [{sku: "A", allocation: 1, salePrice: {amount: "1", currency: "EUR"}}]}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.controlSale", `mutation { it: controlSale(input: {id: "` + aSale + `", pause: true}) { userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.joinSale", `mutation { it: joinSale(input: {saleId: "` + aSale + `"}) { userErrors { code } } }`, mustLogIn, done, done, done, done, mustLogIn},
	{"Mutation.placeOrder in a sale", `mutation { it: placeOrder(input: {idempotencyKey: "k", saleId: "` + aSale + `", lines: [{sku: "A", quantity: 1}]}) { userErrors { code } } }`, mustLogIn, done, notFound, done, done, mustLogIn},
	{"Mutation.placeOrder", `mutation { it: placeOrder(input: {idempotencyKey: "k", lines: [{sku: "A", quantity: 1}]}) { userErrors { code } } }`, mustLogIn, done, notFound, done, done, mustLogIn},
	{"Mutation.payOrder", `mutation { it: payOrder(input: {idempotencyKey: "k", orderId: "` + anOrder + `", paymentToken: "t"}) { order { id } userErrors { code } } }`, mustLogIn, done, notFound, done, done, mustLogIn},
	{"Mutation.fulfilOrder", `mutation { it: fulfilOrder(input: {idempotencyKey: "k", orderId: "` + anOrder + `"}) { order { id } userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.refundOrder", `mutation { it: refundOrder(input: {idempotencyKey: "k", orderId: "` + anOrder + `"}) { order { id } userErrors { code } } }`, mustLogIn, isForbidden, isForbidden, done, done, mustLogIn},
	{"Mutation.cancelOrder", `mutation { it: cancelOrder(input: {orderId: "` + anOrder + `"}) { order { id } userErrors { code } } }`, mustLogIn, done, notFound, done, done, mustLogIn},
}

// ticketOfAlice is her place in aSale.
var ticketOfAlice = waiting.NewSigner([]byte("0123456789abcdef0123456789abcdef")).Ticket(aSale, alice, 1)

// shopOfAlice answers every command with what is Alice's, whoever asks: what
// others do not get, the gateway keeps from them.
func shopOfAlice(_ context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	switch to.Kind {
	case "sale":
		schedule := &salepb.Schedule{Admission: salepb.Admission_ADMISSION_FIRST_COME, Joined: 1, AdmitPerSecond: 1}
		switch cmd.(type) {
		case *salepb.Join, *salepb.GetSchedule:
			return &salepb.JoinReply{Number: 1, Schedule: schedule}, nil
		}
		return &salepb.SaleReply{Sale: &salepb.Sale{Id: aSale, Name: "S", Schedule: schedule}, EventVersion: 1}, nil
	case "order":
		return &orderpb.OrderReply{Order: &orderpb.Order{Id: anOrder, CustomerId: alice, Status: orderpb.Status_STATUS_RESERVED, Version: 1}}, nil
	case "product":
		return &productpb.ProductReply{Product: &productpb.Product{Id: aProduct, Slug: "mug", Name: "Mug"}}, nil
	case "sku":
		return &skupb.StockReply{Level: &skupb.Level{Sku: to.ID, Stock: &skupb.Stock{}, Version: 1}}, nil
	}
	return nil, fmt.Errorf("nobody answers for %s", to.Kind)
}

func TestAccess(t *testing.T) {
	for _, c := range access {
		for _, p := range []struct{ who, token, want string }{
			{"anyone", "", c.anyone},
			{"alice", asAlice, c.alice},
			{"bob", asBob, c.bob},
			{"staff", asStaff, c.staff},
			{"operator", asOp, c.operator},
			{"a bad token", "expired", c.bad},
		} {
			inBubble(t, c.field+" by "+p.who, func(t *testing.T) {
				w := newWorld(t)
				w.caller.answer = shopOfAlice
				w.accounts.user = &accountpb.User{Id: alice, Email: "alice@example.test", Roles: []accountpb.Role{accountpb.Role_ROLE_CUSTOMER}}
				w.views.put(t, persistence.Row{Kind: "product", ID: aProduct, Version: 1, State: "unpublished"}, &productpb.Product{Id: aProduct, Name: "Mug"})
				w.views.put(t, persistence.Row{Kind: "order", ID: anOrder, Version: 1, Owner: alice}, &orderpb.Order{Id: anOrder, CustomerId: alice})
				w.views.put(t, persistence.Row{Kind: "account", ID: alice, Version: 1}, w.accounts.user)
				w.views.put(t, persistence.Row{Kind: "sale", ID: aSale, Version: 1, State: "OPEN"}, &salepb.State{Sale: &salepb.Sale{Id: aSale}})
				w.past("PAST", &skupb.Event{AtMs: 1, After: &skupb.Stock{Available: 1}, Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{Reason: "r"}}})
				w.views.put(t, persistence.Row{Kind: "apikey", ID: aKey, Version: 1, State: "active"}, &apikeypb.Key{Id: aKey, Name: "erp"})
				defer func() { _ = w.gateway.Drain(t.Context()) }()
				header, credentials := "Authorization", "Bearer "+p.token
				if p.token == "" {
					header, credentials = "X-Nothing", ""
				}
				a := w.askOrListen(c.document, header, credentials)
				if got := outcome(a); got != p.want {
					t.Errorf("%s, want %s: %s", got, p.want, a.text)
				}
				// Whoever is who they are by an API key may do just the same.
				if a := w.askOrListen(c.document, "x-api-key", p.token); p.token != "" && outcome(a) != p.want {
					t.Errorf("by an API key: %s, want %s: %s", outcome(a), p.want, a.text)
				}
				refused := p.want == mustLogIn || p.want == isForbidden
				if refused && (len(w.caller.sent()) > 0 || len(w.accounts.called) > 0) {
					t.Errorf("refused, but asked %v %v", w.caller.sent(), w.accounts.called)
				}
			})
		}
	}
}

// outcome names what an answer is. Whatever is null, or an empty list, is nothing.
func outcome(a *answer) string {
	if len(a.Errors) > 0 {
		return a.Errors[0].Extensions.Code
	}
	switch it := a.Data["it"].(type) {
	case nil:
		return nothing
	case []any:
		if len(it) == 0 || it[0] == nil {
			return nothing
		}
	case map[string]any:
		if edges, ok := it["edges"].([]any); ok && len(edges) == 0 {
			return nothing
		}
		if _, ok := it["userErrors"]; ok {
			if errs := a.userErrors(); len(errs) > 0 {
				return errs[0]["code"].(string)
			}
			return done
		}
	}
	return gets
}

// Every root field has a row above, so that a new one cannot come without it.
func TestAccessKnowsEveryRootField(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range withoutRow(s) {
		t.Errorf("%s has no row in the table of who may do what", missing)
	}
	for _, c := range access {
		name, _, _ := strings.Cut(c.field, " ")
		if _, field, _ := strings.Cut(name, "."); !strings.Contains(c.document, field+" ") && !strings.Contains(c.document, field+"(") {
			t.Errorf("the row of %s asks for something else: %s", name, c.document)
		}
	}
}

// withoutRow are the root fields, and the types of node, that the table lacks.
func withoutRow(s *ast.Schema) []string {
	rows := map[string]bool{}
	for _, c := range access {
		name, _, _ := strings.Cut(c.field, " ")
		rows[name], rows[c.field] = true, true
	}
	var missing []string
	for _, def := range rootTypes(s) {
		for _, f := range def.Fields {
			if name := def.Name + "." + f.Name; !rows[name] && !strings.HasPrefix(f.Name, "__") {
				missing = append(missing, name)
			}
		}
	}
	for _, def := range s.GetPossibleTypes(s.Types["Node"]) {
		if name := "Query.node " + strings.ToLower(def.Name); !rows[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// A field that comes without a row is found: a root field with an id or without,
// a kind of node, and an id that a field below the root takes.
func TestAccessFindsWhatIsNew(t *testing.T) {
	for _, c := range []struct{ more, want string }{
		{`extend type Query { invoice(id: ID!): Order @auth(role: CUSTOMER) }`, "Query.invoice"},
		{`extend type Query { prices: [String!]! }`, "Query.prices"},
		{`extend type Subscription { invoiceChanged(id: ID!): Order! @auth(role: CUSTOMER) }`, "Subscription.invoiceChanged"},
		{`input GiftInput { orderId: ID! } extend type Mutation { giveAway(input: GiftInput!): OrderPayload! @auth(role: CUSTOMER) }`, "Mutation.giveAway"},
		{`type Invoice implements Node { id: ID! }`, "Query.node invoice"},
		{`extend type Order { gift(of: ID!): Order }`, "Order.gift"},
		{`input OfInput { of: [ID!] } extend type User { gift(input: OfInput!): Order }`, "User.gift"},
	} {
		s, err := schema.Load()
		if err != nil {
			t.Fatal(err)
		}
		s, err = gqlparser.LoadSchema(&ast.Source{Name: "now", Input: formatted(s)}, &ast.Source{Name: "new", Input: c.more})
		if err != nil {
			t.Fatalf("%s: %v", c.more, err)
		}
		if found := append(withoutRow(s), takesIDBelowTheRoot(s)...); !slices.Equal(found, []string{c.want}) {
			t.Errorf("%s: found %v", c.more, found)
		}
	}
}

func formatted(s *ast.Schema) string {
	var b strings.Builder
	formatter.NewFormatter(&b).FormatSchema(s)
	return b.String()
}

// forEveryone are the fields that show what their id names to anyone, because
// it is nobody's own.
var forEveryone = map[string]string{
	"Query.node sale":          "a sale is public",
	"Query.sale":               "a sale is public",
	"Subscription.saleChanged": "a sale is public",
	"Mutation.joinSale":        "anyone may join, and gets a place of their own",
}

// What @auth says is what the table says, and another customer gets nothing by
// an id: neither by an argument nor by one inside an input.
func TestAccessTableIsStrict(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range access {
		name, _, _ := strings.Cut(c.field, " ")
		typeName, field, _ := strings.Cut(name, ".")
		f := s.Types[typeName].Fields.ForName(field)
		if f == nil {
			t.Errorf("%s is not in the schema", name)
			continue
		}
		needed := graph.Role("")
		if d := f.Directives.ForName("auth"); d != nil {
			needed = graph.Role(d.Arguments.ForName("role").Value.Raw)
		}
		for who, p := range map[string]struct {
			got     string
			refused map[graph.Role]string
		}{
			"anyone":   {c.anyone, map[graph.Role]string{graph.RoleCustomer: mustLogIn, graph.RoleStaff: mustLogIn, graph.RoleOperator: mustLogIn}},
			"alice":    {c.alice, map[graph.Role]string{graph.RoleStaff: isForbidden, graph.RoleOperator: isForbidden}},
			"bob":      {c.bob, map[graph.Role]string{graph.RoleStaff: isForbidden, graph.RoleOperator: isForbidden}},
			"staff":    {c.staff, map[graph.Role]string{graph.RoleOperator: isForbidden}},
			"operator": {c.operator, nil},
		} {
			want, refused := p.refused[needed], p.got == mustLogIn || p.got == isForbidden
			if want != "" && p.got != want || want == "" && refused {
				t.Errorf("%s by %s: the table says %q, @auth(role: %s) says %q", c.field, who, p.got, needed, want)
			}
		}
		if takesID(s, f) && c.bob != nothing && c.bob != notFound && c.bob != isForbidden && forEveryone[c.field] == "" {
			t.Errorf("%s takes an id, and Bob %s of what is not his", c.field, c.bob)
		}
	}
}

// takesID reports a field with an id in its arguments, however deep.
func takesID(s *ast.Schema, f *ast.FieldDefinition) bool {
	seen := map[string]bool{}
	var within func(typeName string) bool
	within = func(typeName string) bool {
		if typeName == "ID" {
			return true
		}
		def := s.Types[typeName]
		if seen[typeName] || def == nil || def.Kind != ast.InputObject {
			return false
		}
		seen[typeName] = true
		return slices.ContainsFunc(def.Fields, func(f *ast.FieldDefinition) bool { return within(f.Type.Name()) })
	}
	return slices.ContainsFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool { return within(a.Type.Name()) })
}

func rootTypes(s *ast.Schema) []*ast.Definition {
	types := []*ast.Definition{s.Query, s.Mutation}
	if s.Subscription != nil {
		types = append(types, s.Subscription)
	}
	return types
}

// Fields below the root that take an id are known by name: there are none.
func TestAccessKnowsEveryFieldThatTakesAnID(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range takesIDBelowTheRoot(s) {
		t.Errorf("%s takes an id: it needs a row in the table of who may do what", field)
	}
}

func takesIDBelowTheRoot(s *ast.Schema) []string {
	var found []string
	for _, def := range s.Types {
		if def.Kind != ast.Object || slices.Contains(rootTypes(s), def) || strings.HasPrefix(def.Name, "__") {
			continue
		}
		for _, f := range def.Fields {
			if takesID(s, f) {
				found = append(found, def.Name+"."+f.Name)
			}
		}
	}
	return found
}
