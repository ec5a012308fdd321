package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stampede/gateway/auth"
	"stampede/internal/memstore"
	"stampede/payments"
	"stampede/proto/gen/paymentpb"
)

// orderShop is a shop in which orders are brought into every state.
type orderShop struct {
	*world
	open           func(hold time.Duration) *world
	hold           time.Duration
	hasty          *world // holds units for hold only
	bank           *payments.Simulator
	away           *away
	asStaff, asEve string
	orders         int
}

// away is a provider that has no answer to TokenUnavailable before the test is
// over: then the orders that wait for one come to rest. To TokenSlow it has one
// for the orders that it was told to answer.
type away struct {
	payments.Provider
	over chan struct{}

	mu       sync.Mutex
	answered map[string]chan struct{} // by order; closed: answered
}

func (a *away) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	switch cmd.GetToken() {
	case payments.TokenUnavailable:
		select {
		case <-a.over:
			return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_DECLINED, Provider: "simulator", DeclineReason: "too late"}, nil
		case <-ctx.Done():
		}
	case payments.TokenSlow:
		select {
		case <-a.answer(cmd.GetOrderId()):
		case <-a.over:
		case <-ctx.Done():
			return nil, payments.ErrUnavailable
		}
	}
	return a.Provider.Authorize(ctx, cmd)
}

func (a *away) answer(order string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answered[order] == nil {
		a.answered[order] = make(chan struct{})
	}
	return a.answered[order]
}

func newOrderShop(t *testing.T) *orderShop {
	t.Helper()
	bank := payments.NewSimulator(payments.WithSlowAnswers(time.Millisecond))
	away := &away{Provider: bank, over: make(chan struct{}), answered: map[string]chan struct{}{}}
	w, accounts, open := realShopWith(t, memstore.New(), away, time.Now)
	t.Cleanup(func() { close(away.over) })
	s := &orderShop{world: w, open: open, bank: bank, away: away}
	s.holdFor(60 * time.Millisecond)
	s.asStaff = s.logIn(t, accounts)
	eve := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"a long password"}`, `tokens { accessToken }`)
	s.asEve = text(at(eve, "tokens", "accessToken"))
	w.wantNoError(w.mutate(s.asStaff, "createProduct", "CreateProductInput",
		`{"idempotencyKey":"p","slug":"p","name":"P","variants":[{"sku":"A","price":{"amount":"10","currency":"EUR"},"initialStock":1000},{"sku":"B","price":{"amount":"5","currency":"EUR"},"initialStock":1000},{"sku":"LAST","price":{"amount":"5","currency":"EUR"},"initialStock":0}]}`, ``))
	return s
}

func (s *orderShop) holdFor(d time.Duration) { s.hold, s.hasty = d, s.open(d) }

func (s *orderShop) logIn(t *testing.T, accounts *auth.Accounts) string {
	t.Helper()
	if _, refusal, err := accounts.EnsureAdmin(t.Context(), "admin@example.test", "correct horse battery"); err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	admin := s.mutate("", "logIn", "LogInInput", `{"email":"admin@example.test","password":"correct horse battery"}`, `tokens { accessToken }`)
	return text(at(admin, "tokens", "accessToken"))
}

const stateFields = `order { id state payment { state captured { amount } refunded { amount } nextActionUrl } lines { sku quantity fulfilled refunded } history { state reason tracking } allowedTransitions }`

// place makes an order of 1 A and 2 B, or of other lines.
func (s *orderShop) place(w *world, token, lines string) string {
	s.t.Helper()
	s.orders++
	if lines == "" {
		lines = `{"sku":"A","quantity":1},{"sku":"B","quantity":2}`
	}
	pay := ""
	if token != "" {
		pay = `,"paymentToken":"` + token + `"`
	}
	p := w.mutate(s.asEve, "placeOrder", "PlaceOrderInput", fmt.Sprintf(`{"idempotencyKey":"o%d","lines":[%s]%s}`, s.orders, lines, pay), stateFields)
	return text(at(p, "order", "id"))
}

// payAndLeave asks for a payment of a reserved order, and goes when it is under
// way, or refused. It returns what the order is then.
func (s *orderShop) payAndLeave(id, token string) (state string) {
	s.t.Helper()
	body := `{"query":"mutation { payOrder(input: {idempotencyKey: \"early\", orderId: \"` + id + `\", paymentToken: \"` + token + `\"}) { userErrors { code } } }"}`
	ctx, leave := context.WithCancel(s.t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.asEve)
	var asking sync.WaitGroup
	asking.Go(func() { s.handler.ServeHTTP(httptest.NewRecorder(), r) })
	s.eventually("the payment is under way", func() (bool, string) {
		state = s.state(id)
		return state != "RESERVED NONE", state
	})
	leave()
	asking.Wait()
	return state
}

func (s *orderShop) staff(field, input, id string) map[string]any {
	s.t.Helper()
	return s.mutate(s.asStaff, field, strings.ToUpper(field[:1])+field[1:]+"Input", `{"orderId":"`+id+`",`+input+`}`, stateFields)
}

func (s *orderShop) state(id string) string {
	a := s.ask(s.asEve, `{ order(id: "`+id+`") { state payment { state } } }`, nil)
	return text(at(a.Data, "order", "state")) + " " + text(at(a.Data, "order", "payment", "state"))
}

func (s *orderShop) until(id, want string) {
	s.t.Helper()
	s.eventually("order is "+want, func() (bool, string) { got := s.state(id); return got == want, got })
}

// in makes an order in a state.
func (s *orderShop) in(state string) string {
	s.t.Helper()
	switch state {
	case "RESERVED NONE":
		return s.place(s.world, "", "")
	case "REJECTED NONE":
		return s.place(s.world, "", `{"sku":"A","quantity":1},{"sku":"B","quantity":9999}`)
	case "PAYING PENDING":
		id := s.place(s.world, "", "")
		s.payAndLeave(id, payments.TokenUnavailable)
		return id
	case "PAYING REQUIRES_ACTION":
		return s.place(s.world, payments.TokenRequiresAction, "")
	case "RESERVED DECLINED":
		return s.place(s.world, payments.TokenDecline, "")
	case "CANCELLED NONE":
		id := s.place(s.world, "", "")
		s.mutate(s.asEve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+id+`"}`, ``)
		return id
	case "EXPIRED NONE":
		return s.place(s.hasty, "", "")
	case "CANCELLED VOIDED": // paid when the units were another's
		s.mutate(s.asStaff, "adjustStock", "AdjustStockInput", fmt.Sprintf(`{"idempotencyKey":"last%d","sku":"LAST","delta":1,"reason":"r"}`, s.orders), ``)
		id := s.place(s.hasty, "", `{"sku":"LAST","quantity":1}`)
		for s.payAndLeave(id, payments.TokenSlow) == "EXPIRED NONE" { // the machine was too slow to pay in time
			s.holdFor(2 * s.hold)
			id = s.place(s.hasty, "", `{"sku":"LAST","quantity":1}`)
		}
		s.eventually("the unit is another's", func() (bool, string) {
			got := s.state(s.place(s.world, "tok_ok", `{"sku":"LAST","quantity":1}`))
			return strings.HasPrefix(got, "CONFIRMED"), got
		})
		close(s.away.answer(id))
		return id
	}
	id := s.place(s.world, "tok_ok", "")
	switch state {
	case "CONFIRMED CAPTURED":
	case "PARTIALLY_FULFILLED CAPTURED":
		s.wantNoError(s.staff("fulfilOrder", `"idempotencyKey":"f0","lines":[{"sku":"A","quantity":1}],"tracking":"T-0"`, id))
	case "FULFILLED CAPTURED":
		s.wantNoError(s.staff("fulfilOrder", `"idempotencyKey":"f0"`, id))
	case "CANCELLED REFUNDED":
		s.wantNoError(s.staff("refundOrder", `"idempotencyKey":"r0"`, id))
	case "CONFIRMED PARTIALLY_REFUNDED":
		s.wantNoError(s.staff("refundOrder", `"idempotencyKey":"r0","lines":[{"sku":"B","quantity":1}],"restock":false`, id))
	case "FULFILLED REFUNDED":
		s.wantNoError(s.staff("fulfilOrder", `"idempotencyKey":"f0"`, id))
		s.wantNoError(s.staff("refundOrder", `"idempotencyKey":"r0"`, id))
	default:
		s.t.Fatalf("no way to %s", state)
	}
	return id
}

// TestOrderTable is every state × every command through the API: what it is
// answered with, and the state after it.
func TestOrderTable(t *testing.T) {
	s := newOrderShop(t)
	const illegal = "ILLEGAL_TRANSITION "
	table := []struct{ state, pay, cancel, fulfil, refund string }{
		{"RESERVED NONE", "CONFIRMED CAPTURED", "CANCELLED NONE", illegal + "RESERVED NONE", illegal + "RESERVED NONE"},
		{"RESERVED DECLINED", "CONFIRMED CAPTURED", "CANCELLED DECLINED", illegal + "RESERVED DECLINED", illegal + "RESERVED DECLINED"},
		{"REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE", illegal + "REJECTED NONE"},
		{"PAYING PENDING", "IN_PROGRESS PAYING PENDING", "IN_PROGRESS PAYING PENDING", illegal + "PAYING PENDING", illegal + "PAYING PENDING"},
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
	for _, row := range table {
		for _, c := range []struct {
			name, want string
			send       func(id string) map[string]any
		}{
			{"pay", row.pay, func(id string) map[string]any {
				return s.mutate(s.asEve, "payOrder", "PayOrderInput", `{"idempotencyKey":"p9","orderId":"`+id+`","paymentToken":"tok_ok"}`, stateFields)
			}},
			{"cancel", row.cancel, func(id string) map[string]any {
				return s.mutate(s.asEve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+id+`"}`, stateFields)
			}},
			{"fulfil", row.fulfil, func(id string) map[string]any { return s.staff("fulfilOrder", `"idempotencyKey":"f9"`, id) }},
			{"refund", row.refund, func(id string) map[string]any { return s.staff("refundOrder", `"idempotencyKey":"r9"`, id) }},
		} {
			t.Run(c.name+" when "+row.state, func(t *testing.T) {
				s.t = t
				id := s.in(row.state)
				s.until(id, row.state)
				p := c.send(id)
				code, want, refused := "", c.want, strings.Count(c.want, " ") > 1
				if refused {
					code, want, _ = strings.Cut(c.want, " ")
				}
				if got := at(p, "userErrors", 0, "code"); refused && got != code || !refused && got != nil {
					t.Errorf("%v, want %q", p, c.want)
				}
				s.until(id, want)
			})
		}
	}
}

// TestOrderAfterPayment: parts, keys that come again, and what the order, the
// stock and its history say of it.
func TestOrderAfterPayment(t *testing.T) {
	s := newOrderShop(t)
	id := s.place(s.world, "tok_ok", `{"sku":"A","quantity":4},{"sku":"B","quantity":2}`)
	first := `"idempotencyKey":"f1","lines":[{"sku":"A","quantity":3}],"tracking":"T-1"`
	for range 2 { // the same again is the same
		p := s.staff("fulfilOrder", first, id)
		if text(at(p, "order", "lines", 0, "fulfilled")) != "3" || at(p, "order", "state") != "PARTIALLY_FULFILLED" || at(p, "order", "history", 4, "tracking") != "T-1" {
			t.Fatalf("fulfilled: %v", p)
		}
	}
	s.wantError(s.staff("fulfilOrder", `"idempotencyKey":"f1","lines":[{"sku":"A","quantity":1}]`, id), "IDEMPOTENCY_MISMATCH", "idempotencyKey")
	s.wantError(s.staff("fulfilOrder", `"idempotencyKey":"f2","lines":[{"sku":"A","quantity":2}]`, id), "INVALID", "lines.0.quantity")
	s.wantError(s.staff("fulfilOrder", `"idempotencyKey":"f2","lines":[{"sku":"C","quantity":1}]`, id), "INVALID", "lines.0.sku")
	s.wantError(s.staff("refundOrder", `"idempotencyKey":"r1","lines":[]`, id), "INVALID", "lines")
	for range 2 { // one A that never leaves, one that did
		p := s.staff("refundOrder", `"idempotencyKey":"r1","lines":[{"sku":"A","quantity":2}],"reason":"too small"`, id)
		if at(p, "order", "payment", "refunded", "amount") != "20.00" || at(p, "order", "payment", "state") != "PARTIALLY_REFUNDED" || text(at(p, "order", "lines", 0, "refunded")) != "2" || at(p, "order", "history", 5, "reason") != "refunded: too small" {
			t.Fatalf("refunded: %v", p)
		}
	}
	s.wantError(s.staff("refundOrder", `"idempotencyKey":"r2","lines":[{"sku":"A","quantity":3}]`, id), "INVALID", "lines.0.quantity")
	p := s.staff("refundOrder", `"idempotencyKey":"r3","lines":[{"sku":"B","quantity":2}],"restock":false`, id)
	if at(p, "order", "state") != "FULFILLED" || text(at(p, "order", "allowedTransitions")) != "[]" || at(p, "order", "payment", "captured", "amount") != "50.00" || at(p, "order", "payment", "refunded", "amount") != "30.00" {
		t.Errorf("nothing left: %v", p)
	}
	a := s.ask("", `{ stock(skus: ["A", "B"]) { onHand available held committed unavailable } }`, nil)
	if got := text(at(a.Data, "stock")); got != "[map[available:998 committed:0 held:0 onHand:998 unavailable:0] map[available:998 committed:0 held:0 onHand:1000 unavailable:2]]" {
		t.Errorf("stock: %s", got)
	}
}

// TestShopperActs: the order goes on when the shopper has agreed at the
// provider and pays again with the same key; and is declined when not.
func TestShopperActs(t *testing.T) {
	s := newOrderShop(t)
	for agree, want := range map[bool]string{true: "CONFIRMED CAPTURED", false: "RESERVED DECLINED"} {
		id := s.in("RESERVED NONE")
		pay := `{"idempotencyKey":"p","orderId":"` + id + `","paymentToken":"` + payments.TokenRequiresAction + `"}`
		p := s.mutate(s.asEve, "payOrder", "PayOrderInput", pay, stateFields)
		if at(p, "order", "payment", "nextActionUrl") == nil || at(p, "order", "state") != "PAYING" {
			t.Fatalf("%v", p)
		}
		if err := s.bank.Act(t.Context(), id, 1, agree); err != nil {
			t.Fatal(err)
		}
		s.mutate(s.asEve, "payOrder", "PayOrderInput", pay, stateFields)
		s.until(id, want)
	}
}

// TestCancelRacingPayAndFulfil: whichever comes first, the others know it.
func TestCancelRacingPayAndFulfil(t *testing.T) {
	s := newOrderShop(t)
	const rounds = 40
	for i := range rounds {
		id := s.in("RESERVED NONE")
		commands := []func(){
			func() {
				s.mutate(s.asEve, "payOrder", "PayOrderInput", `{"idempotencyKey":"p","orderId":"`+id+`","paymentToken":"tok_ok"}`, ``)
			},
			func() { s.mutate(s.asEve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+id+`"}`, ``) },
			func() { s.staff("fulfilOrder", `"idempotencyKey":"f"`, id) },
		}
		var racing sync.WaitGroup
		for k := range commands {
			racing.Go(commands[(i+k)%len(commands)])
		}
		racing.Wait()
		s.eventually("the order is at rest", func() (bool, string) {
			got := s.state(id)
			return got == "CANCELLED NONE" || got == "CONFIRMED CAPTURED" || got == "FULFILLED CAPTURED", got
		})
	}
	a := s.ask("", `{ stock(skus: ["A"]) { onHand available held committed unavailable } }`, nil)
	sold := 1000 - int(at(a.Data, "stock", 0, "available").(float64))
	gone := 1000 - int(at(a.Data, "stock", 0, "onHand").(float64))
	confirmed, fulfilled := 0, 0
	for n := 1; n <= rounds; n++ {
		switch p := s.mutate(s.asEve, "placeOrder", "PlaceOrderInput", fmt.Sprintf(`{"idempotencyKey":"o%d","lines":[{"sku":"A","quantity":1},{"sku":"B","quantity":2}]}`, n), `order { state }`); at(p, "order", "state") {
		case "CONFIRMED":
			confirmed++
		case "FULFILLED":
			fulfilled++
		}
	}
	if sold != confirmed+fulfilled || gone != fulfilled || text(at(a.Data, "stock", 0, "held")) != "0" {
		t.Errorf("%d sold and %d gone of %d confirmed and %d fulfilled: %s", sold, gone, confirmed, fulfilled, a.text)
	}
}
