package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/graph"
	"stampede/gateway/httpapi"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

const (
	goodOrder = `{"idempotencyKey":"k","lines":[{"sku":"A","quantity":1}]}`
	place     = `mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id } userErrors { __typename code message field
		... on InsufficientStock { sku requested available } ... on CustomerLimit { sku limit used } ... on RetryLater { retryAfterMs } ... on VersionConflict { currentVersion } } } }`
)

func (w *world) place() *answer {
	w.t.Helper()
	return w.post(asAlice, `{"query":`+quoteLines(place)+`,"variables":{"input":`+goodOrder+`}}`)
}

func quoteLines(s string) string { return quote(strings.Join(strings.Fields(s), " ")) }

// Every reason that a kind can refuse with has a code of the API, and the
// member of UserError that carries its data.
func TestEveryReasonHasACode(t *testing.T) {
	shapes := map[commonpb.Reason]string{
		commonpb.Reason_REASON_INSUFFICIENT_STOCK: "InsufficientStock", commonpb.Reason_REASON_CUSTOMER_LIMIT: "CustomerLimit",
		commonpb.Reason_REASON_VERSION_CONFLICT: "VersionConflict", commonpb.Reason_REASON_THROTTLED: "RetryLater", commonpb.Reason_REASON_IN_PROGRESS: "RetryLater",
	}
	codes := map[commonpb.Reason]string{commonpb.Reason_REASON_VERSION_CONFLICT: "CONFLICT"}
	used := map[string]bool{}
	for number, name := range commonpb.Reason_name {
		reason := commonpb.Reason(number)
		if reason == commonpb.Reason_REASON_UNSPECIFIED {
			continue
		}
		w := newWorld(t)
		w.caller.reply(&skupb.StockReply{Refusal: &commonpb.Refusal{
			Reason: reason, Message: "no", Field: []string{"lines", "0"}, Sku: "A", Requested: 5, Available: 3, Limit: 2, Used: 1, CurrentVersion: 7,
		}})
		a := w.post(asStaff, `{"query":`+quote(adjust)+`,"variables":{"input":{"idempotencyKey":"k","sku":"A","delta":1,"reason":"r"}}}`)
		if len(a.userErrors()) != 1 {
			t.Errorf("%s: %s", name, a.text)
			continue
		}
		e := a.userErrors()[0]
		code, shape := strings.TrimPrefix(name, "REASON_"), "GenericError"
		if special, ok := codes[reason]; ok {
			code = special
		}
		if special, ok := shapes[reason]; ok {
			shape = special
		}
		if e["code"] != code || e["__typename"] != shape || e["message"] != "no" || joined(e["field"]) != "lines.0" {
			t.Errorf("%s is shown as %v", name, e)
		}
		used[fmt.Sprint(e["code"])] = true
	}
	for _, code := range graph.AllErrorCode {
		if !used[string(code)] {
			t.Errorf("no reason leads to %s", code)
		}
	}
}

func TestOutcomesCarryTheirData(t *testing.T) {
	refusal := func(r *commonpb.Refusal) proto.Message { return &orderpb.OrderReply{Refusal: r} }
	for _, c := range []struct {
		reply proto.Message
		want  string
	}{
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_INSUFFICIENT_STOCK, Sku: "A", Requested: 5, Available: 3}), `"sku":"A","requested":5,"available":3`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_CUSTOMER_LIMIT, Sku: "A", Limit: 2, Used: 1}), `"sku":"A","limit":2,"used":1`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_VERSION_CONFLICT, CurrentVersion: 7}), `"currentVersion":7`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_THROTTLED, RetryAfterMs: 40}), `"retryAfterMs":40`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_IN_PROGRESS}), `"retryAfterMs":1`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_PAYMENT_UNAVAILABLE, RetryAfterMs: 900}), `"RetryLater","code":"PAYMENT_UNAVAILABLE"`},
		{refusal(&commonpb.Refusal{Reason: commonpb.Reason_REASON_PAYMENT_UNAVAILABLE}), `"GenericError","code":"PAYMENT_UNAVAILABLE"`},
	} {
		w := newWorld(t)
		w.caller.reply(c.reply)
		if a := w.place(); !strings.Contains(a.text, c.want) {
			t.Errorf("want %s: %s", c.want, a.text)
		}
	}
}

// Faults: a mutation that may be sent again says so in its payload, a query at
// the top; what nobody outside may see is INTERNAL and in the log once.
func TestFaults(t *testing.T) {
	secret := errors.New("pq: password authentication failed at /var/lib/x.go:12")
	for _, c := range []struct {
		err            error
		mutation, code string // "" for INTERNAL
	}{
		{entity.ErrOverloaded, "THROTTLED", "THROTTLED"},
		{auth.ErrBusy, "THROTTLED", "THROTTLED"},
		{entity.ErrUnavailable, "THROTTLED", "UNAVAILABLE"},
		{entity.ErrFenced, "THROTTLED", "UNAVAILABLE"},
		{entity.ErrRetry, "THROTTLED", "UNAVAILABLE"},
		{entity.ErrUnknownOutcome, "IN_PROGRESS", "UNAVAILABLE"},
		{entity.ErrTimeout, "IN_PROGRESS", "UNAVAILABLE"},
		{context.DeadlineExceeded, "IN_PROGRESS", "UNAVAILABLE"},
		{context.Canceled, "IN_PROGRESS", "UNAVAILABLE"},
		{entity.ErrTooLarge, "", "INTERNAL"},
		{entity.ErrCorrupt, "", "INTERNAL"},
		{&entity.CorruptError{Stream: "order/x", Seq: 3, Reason: "checksum"}, "", "INTERNAL"},
		{entity.ErrUnknownKind, "", "INTERNAL"},
		{secret, "", "INTERNAL"},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			w := newWorld(t)
			w.caller.fail(fmt.Errorf("call: %w", c.err))
			m, q := w.place(), w.ask(asAlice, `{ order(id: "`+anOrder+`") { id } }`, nil)
			if c.mutation == "" {
				if m.code() != "INTERNAL" || m.status != 200 {
					t.Errorf("mutation: %d %s", m.status, m.text)
				}
			} else if errs := m.userErrors(); len(errs) != 1 || errs[0]["__typename"] != "RetryLater" || errs[0]["code"] != c.mutation || errs[0]["retryAfterMs"].(float64) < 1 {
				t.Errorf("mutation: %s", m.text)
			}
			if q.code() != c.code || (c.code != "INTERNAL") != (q.Errors[0].Extensions.RetryAfterMs > 0) || q.Data["order"] != nil {
				t.Errorf("query: %s", q.text)
			}
			log := w.log.String()
			if c.code != "INTERNAL" {
				if log != "" {
					t.Errorf("logged: %s", log)
				}
				return
			}
			for _, a := range []*answer{m, q} {
				if strings.Contains(a.text, "pq:") || strings.Contains(a.text, "/var") || strings.Contains(a.text, "call:") || strings.Contains(a.text, "checksum") {
					t.Errorf("the inside shows: %s", a.text)
				}
				if id := a.header.Get("X-Request-Id"); strings.Count(log, id) != 1 || a.Errors[0].Extensions.RequestID != id {
					t.Errorf("request %s is in the log %d times, and in the answer as %s", id, strings.Count(log, id), a.Errors[0].Extensions.RequestID)
				}
			}
		})
	}
}

func TestWrongReplyIsInternal(t *testing.T) {
	for _, reply := range []proto.Message{&skupb.StockReply{}, &orderpb.OrderReply{}} {
		w := newWorld(t)
		w.caller.reply(reply)
		if a := w.ask(asAlice, `{ order(id: "`+anOrder+`") { id } }`, nil); a.code() != "INTERNAL" || w.log.String() == "" {
			t.Errorf("%T: %s", reply, a.text)
		}
	}
}

// A panic in one field is that field's error; the process and the others go on.
func TestPanicIsInternal(t *testing.T) {
	w := newWorld(t)
	w.caller.answer = func(_ context.Context, to entity.Address, _ proto.Message) (proto.Message, error) {
		if to.ID == "BAD" {
			panic("at the disco, in /root/secret.go")
		}
		return &skupb.StockReply{Level: &skupb.Level{Sku: to.ID, Active: true}}, nil
	}
	a := w.ask("", `{ good: stock(skus: ["A"]) { sku } me: product(id: "`+aProduct+`") { id } }`, nil)
	if a.Data["good"] == nil || a.code() != "INTERNAL" { // product is answered with the wrong message
		t.Errorf("%s", a.text)
	}
	a = w.post(asAlice, `{"query":"mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id } userErrors { code } } }","variables":{"input":`+goodOrder+`}}`)
	if a.code() != "INTERNAL" || strings.Contains(a.text, "disco") {
		t.Errorf("%s", a.text)
	}
}

func TestPanicInAResolver(t *testing.T) {
	w := newWorld(t)
	w.caller.answer = func(context.Context, entity.Address, proto.Message) (proto.Message, error) {
		panic("at the disco, in /root/secret.go")
	}
	a := w.place()
	if a.status != 200 || a.code() != "INTERNAL" || strings.Contains(a.text, "disco") || strings.Contains(a.text, ".go") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if log := w.log.String(); strings.Count(log, "disco") != 1 || !strings.Contains(log, a.header.Get("X-Request-Id")) {
		t.Errorf("the log: %s", log)
	}
}

// No answer within the request's time: the client may send the same again.
func TestTimeoutIsRetryLater(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.Limits.HTTP = httpapi.Limits{Timeout: time.Millisecond} })
	w.caller.answer = func(ctx context.Context, _ entity.Address, _ proto.Message) (proto.Message, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if errs := w.place().userErrors(); len(errs) != 1 || errs[0]["__typename"] != "RetryLater" || errs[0]["code"] != "IN_PROGRESS" {
		t.Errorf("%v", errs)
	}
}

// What is placed is what was asked for, on behalf of who asked.
func TestPlaceOrderCommand(t *testing.T) {
	w := newWorld(t)
	w.caller.reply(&orderpb.OrderReply{Order: &orderpb.Order{Id: anOrder, CustomerId: alice}})
	w.post(asAlice, `{"query":`+quoteLines(place)+`,"variables":{"input":{"idempotencyKey":"k","paymentToken":"tok","lines":[{"sku":"A","quantity":2,"expectedPrice":{"amount":"19.9","currency":"EUR"}},{"sku":"B","quantity":10000}]}}}`)
	got := w.caller.sent()
	want := &orderpb.Place{
		CustomerId: alice, IdempotencyKey: "k", PaymentToken: "tok", HoldMs: 600_000,
		Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 2, ExpectedPrice: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"}}, {Sku: "B", Quantity: 10_000}},
	}
	if len(got) != 1 || got[0].to.Kind != "order" || !proto.Equal(got[0].cmd, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
}

// Everything that an order has is shown.
func TestOrderIsShown(t *testing.T) {
	w := newWorld(t)
	eur := func(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }
	w.caller.reply(&orderpb.OrderReply{Order: &orderpb.Order{
		Id: anOrder, Number: "S-ABCD-EFGH", CustomerId: alice, Status: orderpb.Status_STATUS_RESERVED, Version: 2,
		Payment: &orderpb.Payment{Status: orderpb.PaymentStatus_PAYMENT_STATUS_NONE},
		Lines:   []*orderpb.Line{{Sku: "A", Name: "Mug", Quantity: 2, UnitPrice: eur(1990), SkuVersion: 12}},
		Total:   eur(3980), PlacedAtMs: 1_800_000_000_123, ExpiresAtMs: 1_800_000_600_123,
		History: []*orderpb.Change{{Version: 1, Status: orderpb.Status_STATUS_RESERVING, AtMs: 1_800_000_000_123}},
	}})
	a := w.ask(asAlice, `{ order(id: "`+anOrder+`") { id number state payment { state authorized { amount } refunded { amount } provider } lines { sku name quantity unitPrice { amount currency } fulfilled refunded skuVersion }
		total { amount currency } placedAt expiresAt saleId rejection { code } history { version state reason tracking at } allowedTransitions version } }`, nil)
	want := `{"data":{"order":{"id":"` + anOrder + `","number":"S-ABCD-EFGH","state":"RESERVED","payment":{"state":"NONE","authorized":null,"refunded":null,"provider":null},` +
		`"lines":[{"sku":"A","name":"Mug","quantity":2,"unitPrice":{"amount":"19.90","currency":"EUR"},"fulfilled":0,"refunded":0,"skuVersion":12}],` +
		`"total":{"amount":"39.80","currency":"EUR"},"placedAt":"2027-01-15T08:00:00.123Z","expiresAt":"2027-01-15T08:10:00.123Z","saleId":null,"rejection":null,` +
		`"history":[{"version":1,"state":"RESERVING","reason":null,"tracking":null,"at":"2027-01-15T08:00:00.123Z"}],"allowedTransitions":["PAYING","CANCELLED","EXPIRED"],"version":2}},`
	if !strings.HasPrefix(a.text, want) {
		t.Errorf("got  %s\nwant %s", a.text, want)
	}
}
