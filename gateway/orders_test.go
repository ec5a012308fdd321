package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"stampede/gateway/auth"
	"stampede/internal/memstore"
	"stampede/payments"
)

// orderShop is a shop in which orders are paid, and go on. Every state × every
// command is in internal/walk, on every store and on several nodes.
type orderShop struct {
	*world
	bank           *payments.Simulator
	asStaff, asEve string
	orders         int
}

func newOrderShop(t *testing.T) *orderShop {
	t.Helper()
	bank := payments.NewSimulator()
	w, accounts := realShopWith(t, memstore.New(), bank, time.Now)
	s := &orderShop{world: w, bank: bank}
	s.asStaff = s.logIn(t, accounts)
	eve := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"a long password"}`, `tokens { accessToken }`)
	s.asEve = text(at(eve, "tokens", "accessToken"))
	w.wantNoError(w.mutate(s.asStaff, "createProduct", "CreateProductInput",
		`{"idempotencyKey":"p","slug":"p","name":"P","variants":[{"sku":"A","price":{"amount":"10","currency":"EUR"},"initialStock":1000},{"sku":"B","price":{"amount":"5","currency":"EUR"},"initialStock":1000},{"sku":"LAST","price":{"amount":"5","currency":"EUR"},"initialStock":0}]}`, ``))
	return s
}

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
func (s *orderShop) place(token, lines string) string {
	s.t.Helper()
	s.orders++
	if lines == "" {
		lines = `{"sku":"A","quantity":1},{"sku":"B","quantity":2}`
	}
	pay := ""
	if token != "" {
		pay = `,"paymentToken":"` + token + `"`
	}
	p := s.mutate(s.asEve, "placeOrder", "PlaceOrderInput", fmt.Sprintf(`{"idempotencyKey":"o%d","lines":[%s]%s}`, s.orders, lines, pay), stateFields)
	return text(at(p, "order", "id"))
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

// TestOrderAfterPayment: parts, keys that come again, and what the order, the
// stock and its history say of it.
func TestOrderAfterPayment(t *testing.T) {
	s := newOrderShop(t)
	id := s.place("tok_ok", `{"sku":"A","quantity":4},{"sku":"B","quantity":2}`)
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
		id := s.place("", "")
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
		id := s.place("", "")
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
	// A cancellation is answered when the SKUs have their units: none is held.
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
