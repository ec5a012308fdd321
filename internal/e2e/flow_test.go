package e2e

// A shop's day, from the first registration to the evening's restart, on the
// embedded store and broker and on a real MongoDB and a real Kafka.

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/internal/testservers"
)

func TestFlowEmbedded(t *testing.T) {
	t.Parallel()
	flow(t)
}

func TestFlowOnMongoAndKafka(t *testing.T) {
	t.Parallel()
	flow(t, onRealServers(t)...)
}

// Acknowledged orders survive kills where the journal is a real MongoDB.
func TestAcknowledgedOrdersSurviveKillsOnMongo(t *testing.T) {
	if testing.Short() {
		t.Skip("the embedded store is killed, too")
	}
	t.Parallel()
	killAndRestart(t, max(1, *rounds/4), onRealServers(t)...)
}

// onRealServers are the flags for a database of the test's own, and the shared
// Kafka.
func onRealServers(t *testing.T) []string {
	t.Helper()
	return []string{"--mongo=" + testservers.Mongo(t), "--mongo-database=e2e-" + rand.Text(), "--kafka=" + testservers.Kafka(t)}
}

func flow(t *testing.T, flags ...string) {
	dir := t.TempDir()
	s := serve(t, dir, flags...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sh := openShop(t, s, 0)
	// A Kafka outlives a test: what its topics have of others' days has other keys.
	day := strings.ToLower(rand.Text())
	people := sessions(ctx, t, sh, day)
	chair, table := "CHAIR-"+day, "TABLE-"+day
	stocked := catalogue(ctx, t, sh, people, day, chair, table)
	orders := trade(ctx, t, people, chair, table)
	lists(ctx, t, sh, people, orders)
	events(t, s.kafka, orders, stocked, chair)

	s.stop()
	s = serve(t, dir, flags...)
	sh.at.set(s)
	evening(ctx, t, sh, people, orders, chair)
	s.checkPublished()
	s.stop()
}

// cast is who takes part.
type cast struct {
	nobody, ada, bob, operator *client
	adaID, adaEmail            string
}

const adaPassword = "correct horse battery"

// sessions: registering, logging in, tokens used once, what is refused.
func sessions(ctx context.Context, t *testing.T, sh *shop, day string) *cast {
	t.Helper()
	nobody := newClient(sh.at, "")
	email := "ada." + day + "@mail.test"
	first, err := nobody.register(ctx, email, adaPassword)
	if err != nil || first.User == nil || first.User.Email != email || !slices.Equal(first.User.Roles, []string{"CUSTOMER"}) {
		t.Fatalf("register: %+v, %v", first, err)
	}
	if _, err := nobody.register(ctx, strings.ToUpper(email), "another password"); codeOf(err) != "EMAIL_TAKEN" {
		t.Errorf("the address again, in capitals: %v", err)
	}
	if _, err := nobody.logIn(ctx, email, "not the password"); codeOf(err) != "BAD_CREDENTIALS" {
		t.Errorf("a wrong password: %v", err)
	}
	second, err := nobody.logIn(ctx, email, adaPassword)
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	third, err := nobody.refresh(ctx, second.Tokens.RefreshToken)
	if err != nil || third.Tokens.RefreshToken == second.Tokens.RefreshToken {
		t.Fatalf("refresh: %+v, %v", third, err)
	}
	fourth, err := nobody.refresh(ctx, third.Tokens.RefreshToken)
	if err != nil {
		t.Fatalf("refresh again: %v", err)
	}
	if _, err := nobody.refresh(ctx, second.Tokens.RefreshToken); codeOf(err) == "" {
		t.Errorf("a refresh token was taken twice: %v", err)
	}
	if _, err := nobody.refresh(ctx, fourth.Tokens.RefreshToken); codeOf(err) == "" {
		t.Error("a token of a family one of whose tokens was used twice was taken")
	}
	ada := nobody.as(third.Tokens.AccessToken)
	if id := me(ctx, t, ada); id != first.User.ID {
		t.Errorf("me is %s, and %s registered", id, first.User.ID)
	}
	other, err := nobody.register(ctx, "bob."+day+"@mail.test", "another long password")
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	if _, err := nobody.place(ctx, "k", "", want{"ANY", 1}); codeOf(err) != "UNAUTHENTICATED" {
		t.Errorf("an order of nobody: %v", err)
	}
	if _, err := ada.as(ada.token+"x").place(ctx, "k", "", want{"ANY", 1}); codeOf(err) != "UNAUTHENTICATED" {
		t.Errorf("an order with a forged token: %v", err)
	}
	return &cast{nobody: nobody, ada: ada, bob: nobody.as(other.Tokens.AccessToken), operator: sh.operator, adaID: first.User.ID, adaEmail: email}
}

func me(ctx context.Context, t *testing.T, c *client) string {
	t.Helper()
	var data struct{ Me *user }
	if err := c.ask(ctx, `{me{id email roles}}`, nil, &data); err != nil || data.Me == nil {
		t.Fatalf("me: %v", err)
	}
	return data.Me.ID
}

// catalogue: the operator makes a product, and only the operator; everyone sees
// it. It returns the first level of the chairs.
func catalogue(ctx context.Context, t *testing.T, sh *shop, people *cast, day, chair, table string) *level {
	t.Helper()
	variants := []variant{{chair, "49.90", 12}, {table, "120.00", 3}}
	if _, err := people.ada.createProduct(ctx, "mine", "furniture-"+day, variants...); codeOf(err) != "FORBIDDEN" {
		t.Errorf("a product of a customer's: %v", err)
	}
	made := sh.addProduct(t, "furniture-"+day, variants...)
	again, err := people.operator.createProduct(ctx, "furniture-"+day, "furniture-"+day, variants...)
	if err != nil || again == nil || again.ID != made.ID {
		t.Errorf("the product with the same key again: %+v, %v", again, err)
	}
	if _, err := people.operator.createProduct(ctx, "another key", "furniture-"+day, variants...); codeOf(err) != "CONFLICT" {
		t.Errorf("the product under another key: %v", err)
	}
	var bySlug struct{ Product *product }
	if err := people.nobody.ask(ctx, `query Q($slug:String){product(slug:$slug){`+productFields+`}}`, map[string]any{"slug": "furniture-" + day}, &bySlug); err != nil {
		t.Fatalf("product by slug: %v", err)
	}
	if p := bySlug.Product; p == nil || p.ID != made.ID || len(p.Variants) != 2 || p.Variants[0].Price != (money{"49.90", "EUR"}) || p.Variants[0].Stock.Available != 12 {
		t.Fatalf("product by slug: %+v", p)
	}
	eventually(t, soon, "the list of products", func() error {
		var data struct {
			Products struct{ Edges []struct{ Node product } }
		}
		if err := people.nobody.ask(ctx, `query Q($search:String){products(first:5,search:$search){edges{node{`+productFields+`}}}}`, map[string]any{"search": day}, &data); err != nil {
			return err
		}
		if len(data.Products.Edges) != 1 || data.Products.Edges[0].Node.ID != made.ID {
			return fmt.Errorf("it has %+v", data.Products.Edges)
		}
		return nil
	})
	return sh.level(t, chair)
}

// traded are the orders of the day.
type traded struct{ paid, cancelled, rejected, declined *order }

// trade: placing, paying, cancelling, what is refused, and each of it again.
func trade(ctx context.Context, t *testing.T, people *cast, chair, table string) *traded {
	t.Helper()
	ada := people.ada
	placed, err := ada.place(ctx, "first", "", want{chair, 2}, want{table, 1})
	if err != nil || placed.State != "RESERVED" || placed.Total != (money{"219.80", "EUR"}) || placed.Payment.State != "NONE" || placed.ExpiresAt == nil {
		t.Fatalf("place: %+v, %v", placed, err)
	}
	again, err := ada.place(ctx, "first", "", want{chair, 2}, want{table, 1})
	if diff := cmp.Diff(placed, again); err != nil || diff != "" {
		t.Errorf("placed again: %v\n%s", err, diff)
	}
	if _, err := ada.place(ctx, "first", "", want{chair, 3}, want{table, 1}); codeOf(err) != "IDEMPOTENCY_MISMATCH" {
		t.Errorf("another input under the key: %v", err)
	}
	if others, err := people.bob.place(ctx, "first", "", want{chair, 1}); err != nil || others.ID == placed.ID {
		t.Errorf("another customer's order with that key: %+v, %v", others, err)
	} else if _, err := people.bob.cancel(ctx, others.ID); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if read, err := people.bob.order(ctx, placed.ID); err != nil && codeOf(err) == "" || read != nil {
		t.Errorf("another customer reads the order: %+v, %v", read, err)
	}
	if _, err := people.bob.pay(ctx, "p", placed.ID, "tok_ok"); codeOf(err) != "NOT_FOUND" {
		t.Errorf("another customer pays the order: %v", err)
	}
	declined, err := ada.pay(ctx, "declined", placed.ID, "tok_decline")
	if codeOf(err) != "PAYMENT_DECLINED" || declined == nil || declined.State != "RESERVED" {
		t.Errorf("a declined payment: %+v, %v", declined, err)
	}
	paid, err := ada.pay(ctx, "paid", placed.ID, "tok_ok")
	if err != nil || paid.State != "CONFIRMED" || paid.Payment.Authorized == nil || *paid.Payment.Authorized != placed.Total {
		t.Fatalf("pay: %+v, %v", paid, err)
	}
	if _, err := ada.cancel(ctx, placed.ID); codeOf(err) != "ILLEGAL_TRANSITION" {
		t.Errorf("a paid order is cancelled: %v", err)
	}
	eventually(t, soon, "the money is taken", func() error {
		read, err := ada.order(ctx, placed.ID)
		if err != nil || read == nil || read.Payment.State != "CAPTURED" {
			return unexpected("the order", read, err)
		}
		paid = read
		return nil
	})
	rejected, err := ada.place(ctx, "too many", "", want{chair, 1}, want{table, 5})
	var short *userError
	if !errors.As(err, &short) || short.Typename != "InsufficientStock" || short.SKU != table || short.Requested != 5 || short.Available != 2 || rejected == nil || rejected.State != "REJECTED" {
		t.Fatalf("more than there is: %+v, %v", rejected, err)
	}
	open, err := ada.place(ctx, "changed my mind", "", want{chair, 4})
	if err != nil {
		t.Fatalf("place: %v", err)
	}
	cancelled, err := ada.cancel(ctx, open.ID)
	if err != nil || cancelled.State != "CANCELLED" {
		t.Fatalf("cancel: %+v, %v", cancelled, err)
	}
	unpaid, err := ada.place(ctx, "declined at once", "tok_decline", want{chair, 1})
	if codeOf(err) != "PAYMENT_DECLINED" || unpaid == nil || unpaid.State != "RESERVED" {
		t.Fatalf("placed with a payment that is declined: %+v, %v", unpaid, err)
	}
	return &traded{paid: paid, cancelled: cancelled, rejected: rejected, declined: unpaid}
}

// lists: the customer's own, in pages; the staff's, by state; a node by its id;
// stock.
func lists(ctx context.Context, t *testing.T, sh *shop, people *cast, orders *traded) {
	t.Helper()
	want := []string{orders.declined.ID, orders.cancelled.ID, orders.rejected.ID, orders.paid.ID} // newest first
	eventually(t, soon, "the customer's orders", func() error {
		got, err := ownOrders(ctx, people.ada)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%v, not %v", got, want)
		}
		return nil
	})
	var data struct {
		Orders struct{ Edges []struct{ Node order } }
		Node   struct {
			Typename string `json:"__typename"`
			ID       string
			Customer *user
		}
	}
	eventually(t, soon, "the staff's list", func() error {
		if err := people.operator.ask(ctx, `query Q($id:ID!){orders(first:100,state:CONFIRMED){edges{node{id state}}} node(id:$id){__typename id ...on Order{customer{id email}}}}`,
			map[string]any{"id": orders.paid.ID}, &data); err != nil {
			return err
		}
		if !slices.ContainsFunc(data.Orders.Edges, func(e struct{ Node order }) bool { return e.Node.ID == orders.paid.ID }) {
			return fmt.Errorf("%+v", data.Orders)
		}
		for _, e := range data.Orders.Edges {
			if e.Node.State != "CONFIRMED" {
				return fmt.Errorf("asked for CONFIRMED, it has %+v", e.Node)
			}
		}
		return nil
	})
	if data.Node.Typename != "Order" || data.Node.Customer == nil || data.Node.Customer.ID != people.adaID || data.Node.Customer.Email != people.adaEmail {
		t.Errorf("node: %+v", data.Node)
	}
	if err := people.ada.ask(ctx, `{orders(first:1){edges{node{id}}}}`, nil, &data); codeOf(err) != "FORBIDDEN" {
		t.Errorf("the staff's list for a customer: %v", err)
	}
	eventually(t, soon, "stock", func() error {
		l := sh.level(t, orders.paid.Lines[0].SKU)
		if l.OnHand != 12 || l.Committed != 2 || l.Held != 1 || l.Available != 9 {
			return fmt.Errorf("%+v", *l)
		}
		return nil
	})
}

// ownOrders reads the customer's orders in pages of one.
func ownOrders(ctx context.Context, c *client) ([]string, error) {
	var ids []string
	var after *string
	for {
		var data struct {
			Me struct {
				Orders struct {
					Edges    []struct{ Node order }
					PageInfo struct {
						HasNextPage bool
						EndCursor   *string
					}
				}
			}
		}
		if err := c.ask(ctx, `query Q($after:String){me{orders(first:1,after:$after){edges{node{id}} pageInfo{hasNextPage endCursor}}}}`, map[string]any{"after": after}, &data); err != nil {
			return nil, err
		}
		for _, e := range data.Me.Orders.Edges {
			ids = append(ids, e.Node.ID)
		}
		if !data.Me.Orders.PageInfo.HasNextPage {
			return ids, nil
		}
		after = data.Me.Orders.PageInfo.EndCursor
	}
}

// events: what the topics tell of the day.
func events(t *testing.T, kafka string, orders *traded, stocked *level, chair string) {
	t.Helper()
	stories := map[string][]string{
		orders.paid.ID: {
			"OrderPlaced", "OrderReserved", "PaymentRequested", "PaymentDeclined", "PaymentRequested", "PaymentAuthorized", "OrderConfirmed", "PaymentCaptured",
		},
		orders.cancelled.ID: {"OrderPlaced", "OrderReserved", "OrderCancelled", "OrderHoldsReleased"},
		orders.rejected.ID:  {"OrderPlaced", "OrderRejected", "OrderHoldsReleased"},
		orders.declined.ID:  {"OrderPlaced", "OrderReserved", "PaymentRequested", "PaymentDeclined"},
	}
	seen := consume(t, kafka, "stampede.orders.v1", 30*time.Second, func(seen map[string][]published) error {
		for id, story := range stories {
			if len(distinct(seen[id])) < len(story) {
				return fmt.Errorf("%s has %v, not yet %v", id, seen[id], story)
			}
		}
		return nil
	})
	for id, story := range stories {
		if err := inOrder(seen[id]); err != nil {
			t.Errorf("order %s: %v", id, err)
		}
		var kinds []string
		for _, e := range distinct(seen[id]) {
			kinds = append(kinds, e.kind)
			checkEnvelope(t, e, "order/"+id, id)
		}
		if diff := cmp.Diff(story, kinds); diff != "" {
			t.Errorf("order %s (-want +published):\n%s", id, diff)
		}
	}
	stock := consume(t, kafka, "stampede.stock.v1", 30*time.Second, func(seen map[string][]published) error {
		for _, e := range seen[chair] {
			if e.kind == "ReservationConfirmed" {
				return nil
			}
		}
		return fmt.Errorf("%v", seen[chair])
	})
	if err := inOrder(stock[chair]); err != nil {
		t.Errorf("stock of %s: %v", chair, err)
	}
	for _, e := range stock[chair] {
		checkEnvelope(t, e, "sku/"+chair, chair)
	}
	consume(t, kafka, "stampede.stock-levels.v1", 30*time.Second, func(seen map[string][]published) error {
		for _, e := range seen[chair] {
			var l struct{ OnHand, Version json.Number }
			if err := json.Unmarshal([]byte(e.value), &l); err != nil {
				return err
			}
			if v, err := l.Version.Int64(); err == nil && v > stocked.Version && l.OnHand == "12" {
				return nil
			}
		}
		return fmt.Errorf("%v", seen[chair])
	})
}

// distinct leaves repeats out.
func distinct(events []published) []published {
	var out []published
	for _, e := range events {
		if !slices.ContainsFunc(out, func(o published) bool { return o.id == e.id }) {
			out = append(out, e)
		}
	}
	return out
}

// checkEnvelope: the headers that consumers are promised.
func checkEnvelope(t *testing.T, e published, stream, key string) {
	t.Helper()
	version := strings.TrimLeft(e.sequence, "0")
	for name, want := range map[string]string{
		"content-type": "application/json", "ce_specversion": "1.0", "ce_id": stream + "/" + version, "ce_subject": key, "ce_partitionkey": key,
		"ce_type": e.kind, "ce_dataschema": "urn:stampede:events:v1:" + e.kind,
	} {
		if e.headers[name] != want {
			t.Errorf("%v has the header %s %q, not %q", e, name, e.headers[name], want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, e.headers["ce_time"]); err != nil || e.headers["ce_source"] == "" {
		t.Errorf("%v: ce_time %v, ce_source %q", e, err, e.headers["ce_source"])
	}
	if !json.Valid([]byte(e.value)) {
		t.Errorf("%v is no JSON: %q", e, e.value)
	}
}

// evening: after a restart everything is as it was, and tokens are still good.
func evening(ctx context.Context, t *testing.T, sh *shop, people *cast, orders *traded, chair string) {
	t.Helper()
	for _, o := range []*order{orders.paid, orders.cancelled, orders.rejected, orders.declined} {
		read, err := people.ada.order(ctx, o.ID)
		if err != nil || read == nil {
			t.Errorf("order %s: %v", o.ID, err)
			continue
		}
		if diff := cmp.Diff(lasting(o), lasting(read)); diff != "" {
			t.Errorf("order %s after the restart:\n%s", o.ID, diff)
		}
	}
	if l := sh.level(t, chair); l.OnHand != 12 || l.Committed != 2 || l.Held != 1 {
		t.Errorf("stock after the restart: %+v", *l)
	}
	if _, err := people.nobody.logIn(ctx, people.adaEmail, adaPassword); err != nil {
		t.Errorf("log in after the restart: %v", err)
	}
	if _, err := people.nobody.logIn(ctx, operatorEmail, operatorPassword); err != nil {
		t.Errorf("the operator after the restart: %v", err)
	}
}
