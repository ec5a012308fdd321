package walk

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/schema"
	"stampede/internal/testshop"
)

// What somebody is answered with.
const (
	getsIt    = "gets it"
	getsNone  = "null"
	isDone    = "done"
	noSuch    = "NOT_FOUND"
	forbidden = "FORBIDDEN"
)

// ofAlice is every field that takes an id, asked with an id of Alice's, or of what is
// the shop's own: what Bob, another customer, is answered with, and what Alice is. A
// field that is not here fails the test.
func ofAlice() []struct{ field, document, bob, alice string } {
	return []struct{ field, document, bob, alice string }{
		{"Query.node order", `{ it: node(id: "ORDER") { id } }`, getsNone, getsIt},
		{"Query.node user", `{ it: node(id: "USER") { id } }`, getsNone, getsIt},
		{"Query.node product", `{ it: node(id: "PRODUCT") { id } }`, getsNone, getsNone},
		{"Query.node sale", `{ it: node(id: "SALE") { id } }`, getsIt, getsIt}, // a sale is everybody's
		{"Query.user", `{ it: user(id: "USER") { id email orders { edges { node { id } } } } }`, getsNone, getsIt},
		{"Query.product", `{ it: product(id: "PRODUCT") { id } }`, getsNone, getsNone},
		{"Query.order", `{ it: order(id: "ORDER") { id customer { id email } } }`, getsNone, getsIt},
		{"Query.sale", `{ it: sale(id: "SALE") { id } }`, getsIt, getsIt},
		{"Query.ticket", `{ it: ticket(id: "TICKET") { id position admissionToken } }`, getsNone, getsIt},
		{"Subscription.saleChanged", `subscription { it: saleChanged(id: "SALE") { id } }`, getsIt, getsIt},
		{"Subscription.orderChanged", `subscription { it: orderChanged(id: "ORDER") { id state } }`, getsNone, getsIt},
		{"Subscription.ticketChanged", `subscription { it: ticketChanged(id: "TICKET") { id } }`, getsNone, getsIt},
		{"Mutation.setRoles", `mutation { it: setRoles(input: {userId: "USER", roles: [STAFF]}) { userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.revokeApiKey", `mutation { it: revokeApiKey(input: {id: "KEY"}) { userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.drainMember", `mutation { it: drainMember(input: {id: "MEMBER"}) { userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.updateProduct", `mutation { it: updateProduct(input: {id: "PRODUCT", name: "Mine"}) { userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.controlSale", `mutation { it: controlSale(input: {id: "SALE", pause: true}) { userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.fulfilOrder", `mutation { it: fulfilOrder(input: {idempotencyKey: "k", orderId: "ORDER"}) { order { id } userErrors { code } } }`, forbidden, forbidden},
		{"Mutation.refundOrder", `mutation { it: refundOrder(input: {idempotencyKey: "k", orderId: "ORDER"}) { order { id } userErrors { code } } }`, forbidden, forbidden},
		// With Alice's admission Bob is not let in; with her key he has an order of his own, or none.
		{"Mutation.placeOrder", `mutation { it: placeOrder(input: {idempotencyKey: "alice", saleId: "SALE", admissionToken: "ADMISSION", lines: [{sku: "MINE-sku", quantity: 1}]}) { userErrors { code } } }`, "ADMISSION_REQUIRED", isDone},
		{"Mutation.joinSale", `mutation { it: joinSale(input: {saleId: "SALE"}) { ticket { id } userErrors { code } } }`, isDone, isDone},
		{"Mutation.payOrder", `mutation { it: payOrder(input: {idempotencyKey: "k", orderId: "ORDER", paymentToken: "tok_requires_action"}) { order { id } userErrors { code } } }`, noSuch, isDone},
		{"Mutation.cancelOrder", `mutation { it: cancelOrder(input: {orderId: "ORDER"}) { order { id } userErrors { code } } }`, noSuch, isDone},
	}
}

// TestNothingOfMine: by an id of Alice's Bob reads, pays, cancels and hears of
// nothing, whichever node he asks, in every place.
func TestNothingOfMine(t *testing.T) {
	for _, place := range testshop.Places() {
		t.Run(place.Name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, place, testshop.Config{})
			ids, alice := thingsOfAlice(t, s)
			askEverything(t, s, ids, "bob", s.Token(person("MINE", "bob"), false))
			a, err := s.Ask(t.Context(), alice, `query($id: ID!) { order(id: $id) { state payment { state } history { state } } }`, map[string]any{"id": ids["ORDER"]})
			if err != nil || at(a.Data, "order", "state") != "RESERVED" || at(a.Data, "order", "payment", "state") != "NONE" {
				t.Errorf("Alice's order, when Bob has tried everything: %v %v", a, err)
			}
			askEverything(t, s, ids, "alice", alice)
		})
	}
}

func askEverything(t *testing.T, s shop, ids map[string]string, who, token string) {
	t.Helper()
	for _, c := range ofAlice() {
		want, document := c.bob, c.document
		if who == "alice" {
			want = c.alice
		}
		for name, id := range ids {
			document = strings.ReplaceAll(document, `"`+name+`"`, `"`+id+`"`)
		}
		for i, n := range s.Nodes() {
			if got := answerOf(t, n, token, document); got != want {
				t.Errorf("%s by %s at node %d: %s, want %s", c.field, who, i, got, want)
			}
		}
	}
}

// thingsOfAlice are ids of hers, and of the shop's.
func thingsOfAlice(t *testing.T, s shop) (ids map[string]string, alice string) {
	t.Helper()
	c := NewCrowd(t, s, nil, "MINE")
	a, err := s.Ask(t.Context(), "", `mutation { it: registerUser(input: {email: "alice@example.test", password: "correct horse"}) { user { id } userErrors { code } } }`, nil)
	if err != nil || at(a.Data, "it", "user", "id") == nil {
		t.Fatal("registering Alice: ", a, err)
	}
	user := text(at(a.Data, "it", "user", "id"))
	alice = s.Token(user, false)
	sku := c.name + "-sku"
	c.must(c.act(s, c.staff(), "createProduct", map[string]any{
		"idempotencyKey": "p", "slug": "mine", "name": "Mine", "variants": []any{map[string]any{"sku": sku, "price": money(100), "initialStock": 100}},
	}, `product { id }`))
	hidden := c.act(s, c.staff(), "createProduct", map[string]any{
		"idempotencyKey": "h", "slug": "hidden", "name": "Hidden", "published": false, "variants": []any{map[string]any{"sku": sku + "2", "price": money(100)}},
	}, `product { id }`)
	now := s.Now()
	sale := c.act(s, c.staff(), "createSale", map[string]any{
		"idempotencyKey": "s", "name": "Friday", "startsAt": moment(now.Add(-time.Minute)), "endsAt": moment(now.Add(time.Hour)), "admission": "FIRST_COME", "admitPerSecond": manyPerSecond,
		"items": []any{map[string]any{"sku": sku, "salePrice": money(90), "allocation": 10}},
	}, `sale { id }`)
	order := c.act(s, user, "placeOrder", placing("mine", sku, ""), crowdFields)
	ids = map[string]string{
		"USER": user, "PRODUCT": text(at(hidden, "product", "id")), "SALE": text(at(sale, "sale", "id")), "ORDER": text(at(order, "order", "id")),
		"KEY": "key_" + strings.TrimPrefix(user, "usr_"), "MEMBER": "mem_" + strings.TrimPrefix(user, "usr_"),
	}
	for deadline := time.Now().Add(settleWithin); ids["ADMISSION"] == "" && time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		joined := c.act(s, user, "joinSale", map[string]any{"saleId": ids["SALE"]}, ticketFields)
		ids["TICKET"] = text(at(joined, "ticket", "id"))
		ids["ADMISSION"], _ = at(joined, "ticket", "admissionToken").(string)
	}
	for name, id := range ids {
		if len(id) < 10 {
			t.Fatalf("%s is %q", name, id)
		}
	}
	return ids, alice
}

// answerOf names what somebody is answered with by a node.
func answerOf(t *testing.T, n *testshop.Node, token, document string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": document})
	if err != nil {
		t.Fatal(err)
	}
	var said string
	for deadline := time.Now().Add(settleWithin); ; <-time.After(10 * time.Millisecond) {
		if strings.HasPrefix(document, "subscription") {
			said = n.Listen(t.Context(), token, string(body))
		} else {
			said = n.Do(t.Context(), token, string(body)).Body.String()
		}
		got := outcomeOf(said)
		if again := got == "IN_PROGRESS" || got == "THROTTLED" || got == "UNAVAILABLE"; !again || time.Now().After(deadline) {
			return got
		}
	}
}

func outcomeOf(said string) string {
	if said == "" {
		return getsNone // nothing comes
	}
	a := &Answer{}
	if err := json.Unmarshal([]byte(said), a); err != nil {
		return fmt.Sprintf("%s: %v", said, err)
	}
	it := at(a.Data, "it")
	errs, isPayload := at(it, "userErrors").([]any)
	switch {
	case len(a.Errors) > 0:
		return a.Errors[0].Extensions.Code
	case it == nil:
		return getsNone
	case len(errs) > 0:
		return text(at(errs, 0, "code"))
	case isPayload:
		return isDone
	}
	return getsIt
}

// TestNothingOfMineKnowsEveryField: one that takes an id needs a row.
func TestNothingOfMineKnowsEveryField(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, c := range ofAlice() {
		name, _, _ := strings.Cut(c.field, " ")
		rows[name], rows[c.field] = true, true
	}
	for _, def := range []*ast.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, f := range def.Fields {
			if name := def.Name + "." + f.Name; takesID(s, f) && !rows[name] {
				t.Errorf("%s takes an id, and nobody tries another one's", name)
			}
		}
	}
	for _, def := range s.GetPossibleTypes(s.Types["Node"]) {
		if name := "Query.node " + strings.ToLower(def.Name); !rows[name] {
			t.Errorf("%s has no row", name)
		}
	}
}

// takesID reports a field with an id in its arguments, however deep.
func takesID(s *ast.Schema, f *ast.FieldDefinition) bool {
	seen := map[string]bool{}
	var within func(typeName string) bool
	within = func(typeName string) bool {
		def := s.Types[typeName]
		if typeName == "ID" || seen[typeName] || def == nil {
			return typeName == "ID"
		}
		seen[typeName] = true
		return def.Kind == ast.InputObject && slices.ContainsFunc(def.Fields, func(f *ast.FieldDefinition) bool { return within(f.Type.Name()) })
	}
	return slices.ContainsFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool { return within(a.Type.Name()) })
}
