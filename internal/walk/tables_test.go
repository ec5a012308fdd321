package walk

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"stampede/internal/testshop"
	"stampede/payments"
)

// tables is a shop in which orders and sales are brought into every state.
type tables struct {
	*Crowd
	bank *gates
	made int
}

func newTables(t *testing.T, place testshop.Place) *tables {
	t.Helper()
	bank := &gates{Provider: payments.NewSimulator(), open: map[string]chan struct{}{}, held: map[string]string{}}
	s := openShop(t, place, testshop.Config{Bank: bank, Hold: bank.hold})
	t.Cleanup(bank.openAll)
	x := &tables{Crowd: NewCrowd(t, s, nil, "TABLE"), bank: bank}
	x.product("A", 1000)
	x.product("B", 1000)
	x.product("LAST", 0)
	return x
}

func (x *tables) product(sku string, units int) {
	x.t.Helper()
	x.must(x.act(x.shop, x.staff(), "createProduct", map[string]any{
		"idempotencyKey": sku, "slug": strings.ToLower(sku), "name": sku, "variants": []any{map[string]any{"sku": sku, "price": money(1000), "initialStock": units}},
	}, `product { id }`))
}

func (x *tables) key() string {
	x.made++
	return fmt.Sprint("t", x.made)
}

func (x *tables) eve() string { return x.customer(0) }

// send is a mutation whose answer is taken as it is; only what was not done is sent again.
func (x *tables) send(who, field string, input map[string]any, selection string) map[string]any {
	x.t.Helper()
	document := fmt.Sprintf("mutation($input: %s!) { it: %s(input: $input) { %s userErrors { code } } }", strings.ToUpper(field[:1])+field[1:]+"Input", field, selection)
	for deadline := time.Now().Add(settleWithin); ; <-time.After(20 * time.Millisecond) {
		a, err := x.shop.Ask(context.Background(), x.shop.Token(who, who == x.staff()), document, map[string]any{"input": input})
		payload, _ := at(answered(a), "it").(map[string]any)
		if err == nil && payload != nil && codeOf(payload) != "THROTTLED" {
			return payload
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%s has no outcome: %v %v", field, a, err)
		}
	}
}

// place makes an order of 1 A and 2 B.
func (x *tables) place(token string) string {
	x.t.Helper()
	return x.placeLines(token, map[string]any{"sku": "A", "quantity": 1}, map[string]any{"sku": "B", "quantity": 2})
}

func (x *tables) placeLines(token string, lines ...any) string {
	x.t.Helper()
	input := map[string]any{"idempotencyKey": x.key(), "lines": lines}
	if token != "" {
		input["paymentToken"] = token
	}
	return text(at(x.act(x.shop, x.eve(), "placeOrder", input, crowdFields), "order", "id"))
}

// payBehind has a payment asked for that waits for its gate, and nobody for it.
func (x *tables) payBehind(id, kind, until string) (gate string) {
	x.t.Helper()
	gate = kind + x.key()
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		const document = `mutation($input: PayOrderInput!) { it: payOrder(input: $input) { userErrors { code } } }`
		input := map[string]any{"idempotencyKey": "early", "orderId": id, "paymentToken": gate}
		_, _ = x.shop.Ask(ctx, x.shop.Token(x.eve(), false), document, map[string]any{"input": input}) // whatever it is answered with
	}()
	x.until(id, until)
	cancel()
	<-asked
	return gate
}

func (x *tables) state(id string) string {
	a, err := x.shop.Ask(context.Background(), x.shop.Token(x.eve(), false), `query($id: ID!) { order(id: $id) { state payment { state } } }`, map[string]any{"id": id})
	if err != nil {
		return err.Error()
	}
	return text(at(a.Data, "order", "state")) + " " + text(at(a.Data, "order", "payment", "state"))
}

func (x *tables) until(id, want string) {
	x.t.Helper()
	var is string
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if is = x.state(id); is == want {
			return
		}
	}
	x.t.Errorf("the order is %s, and has to be %s", is, want)
}

func (x *tables) byStaff(field, id, key string, more ...any) {
	x.t.Helper()
	input := map[string]any{"idempotencyKey": key, "orderId": id}
	for i := 0; i+1 < len(more); i += 2 {
		input[text(more[i])] = more[i+1]
	}
	x.must(x.act(x.shop, x.staff(), field, input, crowdFields))
}

// orderIn makes an order in a state.
func (x *tables) orderIn(state string) string {
	x.t.Helper()
	switch state {
	case "RESERVED NONE":
		return x.place("")
	case "REJECTED NONE":
		return x.placeLines("", map[string]any{"sku": "A", "quantity": 1}, map[string]any{"sku": "B", "quantity": 9999})
	case "PAYING PENDING":
		id := x.place("")
		x.payBehind(id, gateToken, state)
		return id
	case "PAYING AUTHORIZED": // the SKUs have not committed its units yet
		id := x.place("")
		x.payBehind(id, unitsToken, state)
		return id
	case "CONFIRMED AUTHORIZED": // the bank has not captured its money yet
		id := x.place("")
		x.payBehind(id, moneyToken, state)
		return id
	case "PAYING REQUIRES_ACTION":
		return x.place(payments.TokenRequiresAction)
	case "RESERVED DECLINED":
		return x.place(payments.TokenDecline)
	case "CANCELLED NONE":
		id := x.place("")
		x.must(x.act(x.shop, x.eve(), "cancelOrder", map[string]any{"orderId": id}, crowdFields))
		return id
	case "EXPIRED NONE":
		id := x.place("")
		x.shop.Advance(HoldFor + time.Minute)
		return id
	case "CANCELLED VOIDED": // its hold ended while it was paid, and the units are another's
		x.must(x.act(x.shop, x.staff(), "adjustStock", map[string]any{"idempotencyKey": x.key(), "sku": "LAST", "delta": 1, "reason": "r"}, `stock { sku }`))
		last := map[string]any{"sku": "LAST", "quantity": 1}
		id := x.placeLines("", last)
		gate := x.payBehind(id, gateToken, "PAYING PENDING")
		x.shop.Advance(HoldFor + time.Minute)
		x.until(x.placeLines("tok_ok", last), "CONFIRMED CAPTURED")
		close(x.bank.gate(gate))
		return id
	}
	id := x.place("tok_ok")
	switch state {
	case "CONFIRMED CAPTURED":
	case "PARTIALLY_FULFILLED CAPTURED":
		x.byStaff("fulfilOrder", id, "f0", "lines", []any{map[string]any{"sku": "A", "quantity": 1}})
	case "FULFILLED CAPTURED":
		x.byStaff("fulfilOrder", id, "f0")
	case "CANCELLED REFUNDED":
		x.byStaff("refundOrder", id, "r0")
	case "CONFIRMED PARTIALLY_REFUNDED":
		x.byStaff("refundOrder", id, "r0", "lines", []any{map[string]any{"sku": "B", "quantity": 1}}, "restock", false)
	case "FULFILLED REFUNDED":
		x.byStaff("fulfilOrder", id, "f0")
		x.byStaff("refundOrder", id, "r0")
	default:
		x.t.Fatalf("no way to %s", state)
	}
	return id
}

// orderTable is every state × every command: what it is answered with, and the
// state after it. RESERVING is not among them: an order asks the SKUs before it is
// written, so nothing finds it there (it stands in the history only).
func orderTable() []struct{ state, pay, cancel, fulfil, refund string } {
	const illegal = "ILLEGAL_TRANSITION "
	return []struct{ state, pay, cancel, fulfil, refund string }{
		{"RESERVED NONE", "CONFIRMED CAPTURED", "CANCELLED NONE", illegal + "RESERVED NONE", illegal + "RESERVED NONE"},
		{"RESERVED DECLINED", "CONFIRMED CAPTURED", "CANCELLED DECLINED", illegal + "RESERVED DECLINED", illegal + "RESERVED DECLINED"},
		{"REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE"},
		{"PAYING PENDING", "IN_PROGRESS PAYING PENDING", "IN_PROGRESS PAYING PENDING", illegal + "PAYING PENDING", illegal + "PAYING PENDING"},
		{"PAYING AUTHORIZED", "IN_PROGRESS PAYING AUTHORIZED", "IN_PROGRESS PAYING AUTHORIZED", illegal + "PAYING AUTHORIZED", illegal + "PAYING AUTHORIZED"},
		{"CONFIRMED AUTHORIZED", illegal + "CONFIRMED AUTHORIZED", illegal + "CONFIRMED AUTHORIZED", "IN_PROGRESS CONFIRMED AUTHORIZED", "IN_PROGRESS CONFIRMED AUTHORIZED"},
		{"PAYING REQUIRES_ACTION", "CONFIRMED CAPTURED", "CANCELLED VOIDED", illegal + "PAYING REQUIRES_ACTION", illegal + "PAYING REQUIRES_ACTION"},
		{"CANCELLED NONE", illegal + "CANCELLED NONE", "CANCELLED NONE", illegal + "CANCELLED NONE", illegal + "CANCELLED NONE"},
		{"CANCELLED VOIDED", illegal + "CANCELLED VOIDED", "CANCELLED VOIDED", illegal + "CANCELLED VOIDED", illegal + "CANCELLED VOIDED"},
		{"EXPIRED NONE", "HOLD_EXPIRED EXPIRED NONE", illegal + "EXPIRED NONE", illegal + "EXPIRED NONE", illegal + "EXPIRED NONE"},
		{"CONFIRMED CAPTURED", illegal + "CONFIRMED CAPTURED", illegal + "CONFIRMED CAPTURED", "FULFILLED CAPTURED", "CANCELLED REFUNDED"},
		{"CONFIRMED PARTIALLY_REFUNDED", illegal + "CONFIRMED PARTIALLY_REFUNDED", illegal + "CONFIRMED PARTIALLY_REFUNDED", "FULFILLED PARTIALLY_REFUNDED", "CANCELLED REFUNDED"},
		{"PARTIALLY_FULFILLED CAPTURED", illegal + "PARTIALLY_FULFILLED CAPTURED", illegal + "PARTIALLY_FULFILLED CAPTURED", "FULFILLED CAPTURED", "FULFILLED REFUNDED"},
		{"FULFILLED CAPTURED", illegal + "FULFILLED CAPTURED", illegal + "FULFILLED CAPTURED", illegal + "FULFILLED CAPTURED", "FULFILLED REFUNDED"},
		{"FULFILLED REFUNDED", illegal + "FULFILLED REFUNDED", illegal + "FULFILLED REFUNDED", illegal + "FULFILLED REFUNDED", illegal + "FULFILLED REFUNDED"},
		{"CANCELLED REFUNDED", illegal + "CANCELLED REFUNDED", illegal + "CANCELLED REFUNDED", illegal + "CANCELLED REFUNDED", illegal + "CANCELLED REFUNDED"},
	}
}

// compare is one cell: "CODE STATE PAYMENT" where it is refused, else the state.
func (x *tables) compare(cell, want, id string, payload map[string]any) {
	x.t.Helper()
	code := ""
	if strings.Count(want, " ") > 1 {
		code, want, _ = strings.Cut(want, " ")
	}
	if got := codeOf(payload); got != code {
		x.t.Errorf("%s: %v, want %q", cell, payload, code)
	}
	x.until(id, want)
}

// TestOrderTable goes through the table by the API, in every place.
func TestOrderTable(t *testing.T) {
	for _, place := range testshop.Places() {
		t.Run(place.Name, func(t *testing.T) {
			t.Parallel()
			x := newTables(t, place)
			for _, row := range orderTable() {
				for command, want := range map[string]string{"payOrder": row.pay, "cancelOrder": row.cancel, "fulfilOrder": row.fulfil, "refundOrder": row.refund} {
					id := x.orderIn(row.state)
					x.until(id, row.state)
					who, input := x.staff(), map[string]any{"idempotencyKey": "k9", "orderId": id}
					switch command {
					case "payOrder":
						who, input["paymentToken"] = x.eve(), "tok_ok"
					case "cancelOrder":
						who = x.eve()
						delete(input, "idempotencyKey")
					}
					x.compare(command+" when "+row.state, want, id, x.send(who, command, input, crowdFields))
				}
			}
		})
	}
}

// TestSaleTable is every state of a sale × every command, by the API, in every
// place: "CODE STATE" where it is refused, else the state after it.
func TestSaleTable(t *testing.T) {
	const illegal = "ILLEGAL_TRANSITION "
	table := []struct{ state, pause, resume, end, extend, begin, admit, join, place string }{
		{"SCHEDULED", illegal + "SCHEDULED", "SCHEDULED", "ENDED", "SCHEDULED", "SCHEDULED", "SCHEDULED", "SCHEDULED", "SALE_NOT_OPEN SCHEDULED"},
		{"OPEN", "PAUSED", "OPEN", "ENDED", "OPEN", illegal + "OPEN", "OPEN", "OPEN", "OPEN"},
		{"PAUSED", "PAUSED", "OPEN", "ENDED", "PAUSED", illegal + "PAUSED", "PAUSED", "PAUSED", "SALE_PAUSED PAUSED"},
		{"SOLD_OUT", "PAUSED", "SOLD_OUT", "ENDED", "SOLD_OUT", illegal + "SOLD_OUT", "SOLD_OUT", "SOLD_OUT", "INSUFFICIENT_STOCK SOLD_OUT"},
		{"ENDED", illegal + "ENDED", illegal + "ENDED", "ENDED", illegal + "ENDED", illegal + "ENDED", illegal + "ENDED", "SALE_ENDED ENDED", "SALE_ENDED ENDED"},
	}
	for _, place := range testshop.Places() {
		t.Run(place.Name, func(t *testing.T) {
			t.Parallel()
			x := newTables(t, place)
			for _, row := range table {
				for command, want := range map[string]string{
					"pause": row.pause, "resume": row.resume, "end": row.end, "extend": row.extend, "begin": row.begin, "admit": row.admit, "join": row.join, "place": row.place,
				} {
					// What needs a waiting room is tried at a sale that has one.
					id, sku := x.saleIn(row.state, command == "admit" || command == "join")
					code, after, refused := strings.Cut(want, " ")
					if !refused {
						code, after = "", want
					}
					if got := codeOf(x.toSale(command, id, sku)); got != code {
						t.Errorf("%s when %s: %q, want %q", command, row.state, got, code)
					}
					x.untilSale(id, after)
				}
			}
		})
	}
}

// saleIn makes a sale of 3 units of a SKU of its own in a state.
func (x *tables) saleIn(state string, room bool) (id, sku string) {
	x.t.Helper()
	sku = "S-" + x.key()
	x.product(sku, 10)
	now := x.shop.Now()
	starts, units := now.Add(-time.Minute), 3
	if state == "SCHEDULED" {
		starts = now.Add(time.Hour)
	}
	input := map[string]any{
		"idempotencyKey": sku, "name": sku, "startsAt": moment(starts), "endsAt": moment(now.Add(2 * time.Hour)),
		"items": []any{map[string]any{"sku": sku, "salePrice": money(500), "allocation": units}},
	}
	if room {
		input["admission"], input["admitPerSecond"] = "FIRST_COME", manyPerSecond
	}
	made := x.act(x.shop, x.staff(), "createSale", input, `sale { id }`)
	x.must(made)
	id = text(at(made, "sale", "id"))
	switch state {
	case "PAUSED":
		x.must(x.toSale("pause", id, sku))
	case "ENDED":
		x.must(x.toSale("end", id, sku))
	case "SOLD_OUT":
		order := map[string]any{"idempotencyKey": x.key(), "saleId": id, "lines": []any{map[string]any{"sku": sku, "quantity": units}}}
		if room {
			x.must(x.toSale("join", id, sku))
			order["admissionToken"] = x.admitted(id)
		}
		x.must(x.act(x.shop, x.eve(), "placeOrder", order, crowdFields))
	}
	x.untilSale(id, state)
	return id, sku
}

// admitted is Eve's admission to a sale, once she is let in.
func (x *tables) admitted(id string) string {
	x.t.Helper()
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		joined := x.act(x.shop, x.eve(), "joinSale", map[string]any{"saleId": id}, ticketFields)
		if token, ok := at(joined, "ticket", "admissionToken").(string); ok {
			return token
		}
	}
	x.t.Fatal("Eve is not let in")
	return ""
}

func (x *tables) toSale(command, id, sku string) map[string]any {
	x.t.Helper()
	control := func(name string, value any) map[string]any {
		return x.send(x.staff(), "controlSale", map[string]any{"id": id, name: value}, `sale { id state }`)
	}
	switch command {
	case "pause":
		return control("pause", true)
	case "resume":
		return control("pause", false)
	case "end":
		return control("end", true)
	case "extend":
		return control("endsAt", moment(x.shop.Now().Add(3*time.Hour)))
	case "begin":
		return control("startsAt", moment(x.shop.Now().Add(30*time.Minute)))
	case "admit":
		return control("admitPerSecond", 7)
	case "join":
		return x.send(x.eve(), "joinSale", map[string]any{"saleId": id}, ticketFields)
	}
	return x.send(x.eve(), "placeOrder", placing(x.key(), sku, id), crowdFields)
}

func (x *tables) untilSale(id, want string) {
	x.t.Helper()
	var is string
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		a, err := x.shop.Ask(context.Background(), "", `query($id: ID!) { sale(id: $id) { state } }`, map[string]any{"id": id})
		if is = fmt.Sprint(at(answered(a), "sale", "state"), err); is == want+"<nil>" {
			return
		}
	}
	x.t.Errorf("the sale is %s, and has to be %s", is, want)
}
