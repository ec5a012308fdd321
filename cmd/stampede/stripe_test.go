package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"stampede/payments/stripe/stripetest"
)

// stripeShop is a node that takes money through Stripe, or what it takes for it.
type stripeShop struct {
	t      *testing.T
	node   *node
	double *stripetest.Double
	eve    string // her access token
}

func newStripeShop(t *testing.T) *stripeShop {
	t.Helper()
	double := stripetest.New(t, nil)
	s := newPaidShop(t, func(f *nodeFlags) {
		f.Payments = "stripe"
		f.stripeFlags = stripeFlags{StripeReturnURL: "https://shop.example/orders", StripeAPIURL: double.URL, stripeKey: "sk_test_1", stripeWebhookSecret: "whsec_1"}
	})
	s.double = double
	return s
}

// newPaidShop is a node with a product, and with what change makes of its flags.
func newPaidShop(t *testing.T, change func(*nodeFlags)) *stripeShop {
	t.Helper()
	s := &stripeShop{t: t}
	flags := nodeFlags{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Payments: "simulator", HoldMinutes: 10, NodeName: "paid", BootAdmin: "admin@example.test", bootPassword: "correct horse battery",
		storeFlags: storeFlags{DataDir: t.TempDir()}, brokerFlags: brokerFlags{KafkaListen: "127.0.0.1:0", KafkaReplication: 1, EventsFormat: "json"},
	}
	change(&flags)
	var err error
	if s.node, err = startNode(t.Context(), nodeConfig{nodeFlags: flags}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.node.Close(); err != nil {
			t.Error(err)
		}
	})
	s.eve = fmt.Sprint(s.ask("", `mutation { it: registerUser(input: {email: "eve@example.test", password: "a long password"}) { tokens { accessToken } } }`, "tokens", "accessToken"))
	s.staff(`createProduct(input: {idempotencyKey: "p", slug: "p", name: "P", variants: [{sku: "A", price: {amount: "10", currency: "EUR"}, initialStock: 10}]}) { product { id } }`, "product", "id")
	return s
}

// ask sends a document and follows a path through the answer's field "it".
func (s *stripeShop) ask(token, document string, path ...string) any {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"query": document})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.node.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	_, text := s.do(r)
	var answer struct{ Data map[string]any }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Data["it"] == nil {
		s.t.Fatalf("%s: %v %s", document, err, text)
	}
	at := answer.Data["it"]
	for _, p := range path {
		fields, _ := at.(map[string]any)
		at = fields[p]
	}
	return at
}

func (s *stripeShop) do(r *http.Request) (status int, text string) {
	s.t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func (s *stripeShop) staff(mutation string, path ...string) any {
	s.t.Helper()
	token, err := s.node.operatorToken()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.ask(token, `mutation { it: `+mutation+` }`, path...)
}

func (s *stripeShop) place(key, token string) (id string) {
	s.t.Helper()
	return fmt.Sprint(s.ask(s.eve, `mutation { it: placeOrder(input: {idempotencyKey: "`+key+`", paymentToken: "`+token+`", lines: [{sku: "A", quantity: 2}]}) { order { id } } }`, "order", "id"))
}

func (s *stripeShop) until(id, want string) {
	s.t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		o, _ := s.ask(s.eve, `{ it: order(id: "`+id+`") { state payment { state } } }`).(map[string]any)
		payment, _ := o["payment"].(map[string]any)
		if got = fmt.Sprint(o["state"], " ", payment["state"]); got == want {
			return
		}
	}
	s.t.Fatalf("the order is %s, want %s", got, want)
}

// notice is what Stripe sends when something happens to a PaymentIntent.
func (s *stripeShop) notice(order, secret string) int {
	s.t.Helper()
	body := `{"id":"evt_1","object":"event","type":"payment_intent.amount_capturable_updated","data":{"object":{"metadata":{"stampede_order":"` + order + `","stampede_attempt":"1"}}}}`
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: secret})
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.node.url+"/webhooks/stripe", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Stripe-Signature", signed.Header)
	status, _ := s.do(r)
	return status
}

// TestStripeShop: a node with --payments stripe takes money, hears of what a
// shopper did at the bank by a signed notice alone, and gives money back.
func TestStripeShop(t *testing.T) {
	s := newStripeShop(t)
	paid := s.place("o1", "pm_card_visa")
	s.until(paid, "CONFIRMED CAPTURED")
	if got := s.double.Status("pi_1"); got != "succeeded" {
		t.Errorf("at Stripe it is %s", got)
	}
	s.until(s.place("o2", "pm_card_visa_chargeDeclined"), "RESERVED DECLINED")

	acting := s.place("o3", "pm_card_threeDSecure2Required")
	s.until(acting, "PAYING REQUIRES_ACTION")
	if got := s.notice(acting, "whsec_1"); got != http.StatusOK {
		t.Errorf("a notice without news: %d", got)
	}
	s.until(acting, "PAYING REQUIRES_ACTION")
	s.double.Set("pi_2", "requires_capture")
	if got := s.notice(acting, "whsec_other"); got != http.StatusBadRequest {
		t.Errorf("a forged notice: %d", got)
	}
	for range 2 { // they come twice
		if got := s.notice(acting, "whsec_1"); got != http.StatusOK {
			t.Errorf("a notice: %d", got)
		}
	}
	s.until(acting, "CONFIRMED CAPTURED")
	if got := s.notice("ord_aaaaaaaaaaaaaaaaaaaaaaaaaa", "whsec_1"); got != http.StatusOK {
		t.Errorf("a notice of an unknown order: %d", got)
	}

	cancelled := s.place("o4", "pm_card_threeDSecure2Required")
	s.ask(s.eve, `mutation { it: cancelOrder(input: {orderId: "`+cancelled+`"}) { order { state } } }`)
	s.until(cancelled, "CANCELLED VOIDED")
	if got := s.double.Status("pi_3"); got != "canceled" {
		t.Errorf("at Stripe it is %s", got)
	}
	for range 2 {
		s.staff(`refundOrder(input: {idempotencyKey: "r", orderId: "`+paid+`", lines: [{sku: "A", quantity: 1}]}) { order { state } }`, "order", "state")
	}
	s.until(paid, "CONFIRMED PARTIALLY_REFUNDED")
	if intents, refunds := s.double.Made(); intents != 3 || refunds != 1 {
		t.Errorf("%d payments and %d refunds were made", intents, refunds)
	}
}
