package e2e

// What a shop publishes in a busy minute, in both formats, held to what
// docs/events says of it: every type of event but a few that need a fault.

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"stampede/events/cloudevents"
	"stampede/internal/eventschemas"
	_ "stampede/proto/gen/eventspb" // the messages, by name
)

// unseen are the types that a shop without faults does not publish; the golden
// tests of package cloudevents have them.
var unseen = map[string]bool{"RefundRefused": true, "PaymentVoided": true, "StockShortfall": true, "SkuSaleClosed": true, "SaleItemReported": true, "SaleRestocked": true}

const tracedOrder = "4bf92f3577b34da6a3ce929d0e0e4736"

func TestWhatIsPublished(t *testing.T) {
	for _, format := range []string{"json", "protobuf"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := serve(t, t.TempDir(), "--events-format="+format, "--hold-minutes=0.1")
			sh := openShop(t, s, 2, variant{"PUB-1", "10.00", 100}, variant{"PUB-2", "10.00", 2}, variant{"PUB-3", "10.00", 50})
			b := &busy{t: t, sh: sh}
			b.catalogue()
			traced := b.orders()
			b.sales()
			schemas := eventschemas.Load(t, "../..")
			for _, topic := range cloudevents.Topics() {
				var wanted []string
				for _, typ := range cloudevents.Types(topic.Name) {
					if !unseen[typ] {
						wanted = append(wanted, typ)
					}
				}
				seen := consume(t, s.kafka, topic.Name, time.Minute, func(seen map[string][]published) error { return lacking(seen, wanted) })
				for key, events := range seen {
					for _, e := range events {
						if err := asDescribed(schemas, format, key, e); err != nil {
							t.Errorf("%s, %v: %v\n%v\n%q", topic.Name, e, err, e.headers, e.value)
						}
					}
				}
				if topic.Name == cloudevents.TopicOrders {
					checkTraced(t, seen[traced])
				}
			}
			s.checkPublished()
			s.stop()
		})
	}
}

func lacking(seen map[string][]published, wanted []string) error {
	kinds := map[string]bool{}
	for _, events := range seen {
		for _, e := range events {
			kinds[e.kind] = true
		}
	}
	for _, w := range wanted {
		if !kinds[w] {
			return fmt.Errorf("no %s among %v", w, slices.Sorted(maps.Keys(kinds)))
		}
	}
	return nil
}

// asDescribed holds one message to its headers and its schema.
func asDescribed(schemas eventschemas.Schemas, format, key string, e published) error {
	wanted := map[string]string{
		"content-type": "application/" + format, "ce_specversion": "1.0", "ce_subject": key, "ce_partitionkey": key,
		"ce_dataschema": "urn:stampede:events:v1:" + e.kind,
	}
	if format == "protobuf" {
		wanted["ce_dataschema"] = "urn:stampede:events:v1:protobuf:" + e.kind
	}
	for name, value := range wanted {
		if e.headers[name] != value {
			return fmt.Errorf("header %s is %q, not %q", name, e.headers[name], value)
		}
	}
	if format == "json" {
		return schemas.Validate(e.headers["ce_dataschema"], []byte(e.value))
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("stampede.events.v1." + e.kind))
	if err != nil {
		return err
	}
	m := typ.New()
	if err := proto.Unmarshal([]byte(e.value), m.Interface()); err != nil {
		return err
	}
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("fields that %s does not have", e.kind)
	}
	return nil
}

// checkTraced: all that became of the order's request has its trace.
func checkTraced(t *testing.T, events []published) {
	t.Helper()
	kinds := []string{}
	for _, e := range distinct(events) {
		kinds = append(kinds, e.kind)
		if trace := e.headers["traceparent"]; !strings.HasPrefix(trace, "00-"+tracedOrder+"-") || !strings.HasSuffix(trace, "-01") {
			t.Errorf("%v has the traceparent %q", e, trace)
		}
	}
	if !slices.Contains(kinds, "PaymentCaptured") || !slices.Contains(kinds, "OrderReserved") {
		t.Errorf("of the traced order came %v", kinds)
	}
}

// traced sends a traceparent with every request.
type traced struct{ through http.RoundTripper }

func (x traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("traceparent", "00-"+tracedOrder+"-00f067aa0ba902b7-01")
	return x.through.RoundTrip(r)
}

// busy makes things happen.
type busy struct {
	t  *testing.T
	sh *shop
}

// do sends a mutation until its outcome is known, which must be what was asked for.
func (b *busy) do(c *client, field, selection string, input map[string]any) map[string]any {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	typ := strings.ToUpper(field[:1]) + field[1:] + "Input"
	payload, err := settle(ctx, func() (payload map[string]any, err error) {
		err = c.mutate(ctx, field, typ, selection, input, &payload)
		return payload, err
	})
	if err != nil {
		b.t.Fatalf("%s: %v", field, err)
	}
	return payload
}

func (b *busy) place(c *client, key, token string, w want) *order {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	o, err := settle(ctx, func() (*order, error) { return c.place(ctx, key, token, w) })
	if o == nil {
		b.t.Fatalf("order %s: %v", key, err)
	}
	return o
}

func (b *busy) catalogue() {
	staff, customer := b.sh.operator, b.sh.customers[1]
	made := b.sh.addProduct(b.t, "published", variant{"PUB-4", "1.00", 1})
	b.do(staff, "updateProduct", "product{id}", map[string]any{"id": made.ID, "name": "Another name"})
	b.do(staff, "adjustStock", "stock{sku}", map[string]any{"idempotencyKey": "a", "sku": "PUB-1", "delta": -1, "reason": "broken"})
	b.do(staff, "markUnavailable", "stock{sku}", map[string]any{"idempotencyKey": "b", "sku": "PUB-1", "quantity": 1, "reason": "chipped"})
	b.do(customer, "updateProfile", "user{id}", map[string]any{"name": "Somebody"})
	b.do(staff, "setRoles", "user{id}", map[string]any{"userId": me(b.t.Context(), b.t, customer), "roles": []string{"CUSTOMER", "STAFF"}})
}

// orders is the id of the one whose requests had a trace.
func (b *busy) orders() string {
	staff, c := b.sh.operator, b.sh.customers[0]
	with := &client{c.at, c.token, &http.Client{Transport: traced{c.http.Transport}, Timeout: c.http.Timeout}}
	paid := b.place(with, "traced", "tok_ok", want{"PUB-1", 2})
	moved := b.place(c, "moved", "tok_ok", want{"PUB-1", 2})
	b.do(staff, "fulfilOrder", "order{id}", map[string]any{"idempotencyKey": "f", "orderId": moved.ID, "tracking": "T-1", "lines": []map[string]any{{"sku": "PUB-1", "quantity": 1}}})
	b.do(staff, "refundOrder", "order{id}", map[string]any{"idempotencyKey": "r", "orderId": moved.ID, "reason": "late"})
	returned := b.place(c, "returned", "tok_ok", want{"PUB-1", 1})
	b.do(staff, "fulfilOrder", "order{id}", map[string]any{"idempotencyKey": "f", "orderId": returned.ID})
	b.do(staff, "refundOrder", "order{id}", map[string]any{"idempotencyKey": "r", "orderId": returned.ID})
	b.place(c, "declined", "tok_decline", want{"PUB-1", 1})
	b.place(c, "asked", "tok_requires_action", want{"PUB-1", 1})
	if _, err := c.place(b.t.Context(), "unanswered", "tok_unavailable", want{"PUB-1", 1}); codeOf(err) != "PAYMENT_UNAVAILABLE" {
		b.t.Fatalf("a provider that does not answer: %v", err)
	}
	b.place(c, "too many", "", want{"PUB-2", 3})
	b.place(c, "all of them, for a while", "", want{"PUB-2", 2})
	cancelled := b.place(c, "cancelled", "", want{"PUB-1", 1})
	b.do(c, "cancelOrder", "order{id}", map[string]any{"orderId": cancelled.ID, "reason": "changed my mind"})
	return paid.ID
}

func (b *busy) sales() {
	staff, c := b.sh.operator, b.sh.customers[0]
	at := func(in time.Duration) string { return time.Now().Add(in).UTC().Format(time.RFC3339Nano) }
	sale := func(name, sku, admission string, starts time.Duration, allocation int) string {
		input := map[string]any{
			"idempotencyKey": name, "name": name, "startsAt": at(starts), "endsAt": at(time.Hour * 2), "admission": admission,
			"items": []map[string]any{{"sku": sku, "salePrice": map[string]any{"amount": "5.00", "currency": "EUR"}, "allocation": allocation}},
		}
		if admission != "OPEN_TO_ALL" {
			input["admitPerSecond"] = 5
		}
		id, ok := b.do(staff, "createSale", "sale{id}", input)["sale"].(map[string]any)["id"].(string)
		if !ok {
			b.t.Fatalf("sale %s has no id", name)
		}
		return id
	}
	later := sale("later", "PUB-1", "SHUFFLED_AT_OPENING", time.Hour, 5)
	b.do(c, "joinSale", "ticket{id}", map[string]any{"saleId": later})
	for _, change := range []map[string]any{{"admitPerSecond": 9}, {"startsAt": at(time.Second)}} {
		change["id"] = later
		b.do(staff, "controlSale", "sale{id}", change)
	}
	now := sale("now", "PUB-3", "OPEN_TO_ALL", time.Second, 2)
	// Another sale of the same SKU is refused by it.
	var refused map[string]any
	err := staff.mutate(b.t.Context(), "createSale", "CreateSaleInput", "sale{id}", map[string]any{
		"idempotencyKey": "again", "name": "again", "startsAt": at(time.Hour), "endsAt": at(2 * time.Hour),
		"items": []map[string]any{{"sku": "PUB-3", "salePrice": map[string]any{"amount": "5.00", "currency": "EUR"}, "allocation": 1}},
	}, &refused)
	if codeOf(err) == "" {
		b.t.Fatalf("a second sale of the same SKU: %v, %v", refused, err)
	}
	tries := 0
	eventually(b.t, soon, "the sale sells", func() error {
		tries++
		var payload orderPayload
		err := c.mutate(b.t.Context(), "placeOrder", "PlaceOrderInput", "order{"+orderFields+"}", map[string]any{
			"idempotencyKey": fmt.Sprint("in the sale ", tries), "saleId": now, "paymentToken": "tok_ok", "lines": []map[string]any{{"sku": "PUB-3", "quantity": 2}},
		}, &payload)
		return err
	})
	for _, change := range []map[string]any{{"pause": true}, {"pause": false}, {"end": true}} {
		change["id"] = now
		b.do(staff, "controlSale", "sale{id}", change)
	}
}
