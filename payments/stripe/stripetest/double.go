// Package stripetest is Stripe's API as far as an order sees it, over real HTTP,
// for tests of what talks to it. The shapes are those of Stripe's documentation;
// that our requests are Stripe's is stripe-mock's to say.
package stripetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Double keeps PaymentIntents and refunds, replays the first answer to an
// idempotency key (failures too), and fails where a test says so.
type Double struct {
	// URL is where it is.
	URL string

	t  testing.TB
	mu sync.Mutex
	// intents are made in order: pi_1, pi_2, …
	intents map[string]map[string]any
	refunds []map[string]any
	answers map[string]recorded // by idempotency key
	hits    map[string]int      // by method and what follows /v1/, ids as ID
	fault   Fault
}

// Fault may spoil the answer to a call ("POST refunds", "GET payment_intents/ID")
// that comes for the hit-th time, after it was carried out: a status of 500 or
// above, Lost, or 0 for none.
type Fault func(call string, hit int) int

// Lost is a connection that ends without an answer.
const Lost = -1

type recorded struct {
	status int
	body   map[string]any
	form   string
}

// New serves until the test ends.
func New(t testing.TB, fault Fault) *Double {
	d := &Double{t: t, fault: fault, intents: map[string]map[string]any{}, answers: map[string]recorded{}, hits: map[string]int{}}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// Made is how many PaymentIntents and refunds there are.
func (d *Double) Made() (intents, refunds int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.intents), len(d.refunds)
}

// Hits is how often a call came.
func (d *Double) Hits(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits[call]
}

// Status is a PaymentIntent's.
func (d *Double) Status(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprint(d.intents[id]["status"])
}

// ServeHTTP implements http.Handler.
func (d *Double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := r.ParseForm(); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer sk_test_") {
		d.t.Errorf("%s %s: %v, %q", r.Method, r.URL, err, r.Header.Get("Authorization"))
	}
	call := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/")
	for id := range d.intents {
		call = strings.Replace(call, id, "ID", 1)
	}
	d.hits[call]++
	key := r.Header.Get("Idempotency-Key")
	if before, ok := d.answers[key]; ok && r.Method == http.MethodPost && (call == "POST payment_intents" || call == "POST refunds") {
		if before.form != r.PostForm.Encode() {
			before = recorded{status: 400, body: failure("idempotency_error", "", "")}
		}
		d.reply(w, before)
		return
	}
	answer := d.do(call, r)
	answer.form = r.PostForm.Encode()
	status := 0
	if d.fault != nil {
		status = d.fault(call, d.hits[call])
	}
	if status >= 500 {
		answer.status, answer.body = status, failure("api_error", "", "")
	}
	if r.Method == http.MethodPost {
		d.answers[key] = answer
	}
	if status == Lost { // done, and the connection is lost
		panic(http.ErrAbortHandler)
	}
	d.reply(w, answer)
}

func (d *Double) reply(w http.ResponseWriter, a recorded) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	if err := json.NewEncoder(w).Encode(a.body); err != nil {
		d.t.Error(err)
	}
}

func failure(typ, code, decline string) map[string]any {
	return map[string]any{"error": map[string]any{"type": typ, "code": code, "decline_code": decline, "message": "no"}}
}

func (d *Double) do(call string, r *http.Request) recorded {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/payment_intents/"), "/")
	intent := d.intents[parts[0]]
	switch call {
	case "POST payment_intents":
		return d.create(r)
	case "GET payment_intents/search":
		var found []any
		for _, i := range d.intents {
			meta := i["metadata"].(map[string]any)
			if r.Form.Get("query") == fmt.Sprintf("metadata['stampede_order']:'%s' AND metadata['stampede_attempt']:'%s'", meta["stampede_order"], meta["stampede_attempt"]) {
				found = append(found, i)
			}
		}
		return recorded{status: 200, body: map[string]any{"object": "search_result", "data": found, "has_more": false}}
	case "GET payment_intents/ID":
		return recorded{status: 200, body: intent}
	case "POST payment_intents/ID/capture":
		if intent["status"] != "requires_capture" {
			return recorded{status: 400, body: failure("invalid_request_error", "payment_intent_unexpected_state", "")}
		}
		intent["status"], intent["amount_received"] = "succeeded", json.Number(r.Form.Get("amount_to_capture"))
		return recorded{status: 200, body: intent}
	case "POST payment_intents/ID/cancel":
		if s := intent["status"]; s == "succeeded" || s == "canceled" {
			return recorded{status: 400, body: failure("invalid_request_error", "payment_intent_unexpected_state", "")}
		}
		intent["status"] = "canceled"
		return recorded{status: 200, body: intent}
	case "POST refunds":
		return d.refund(r)
	case "GET refunds":
		var made []any
		for _, f := range d.refunds {
			if f["payment_intent"] == r.Form.Get("payment_intent") {
				made = append(made, f)
			}
		}
		return recorded{status: 200, body: map[string]any{"object": "list", "data": made, "has_more": false}}
	}
	return recorded{status: 404, body: failure("invalid_request_error", "resource_missing", "")}
}

func (d *Double) create(r *http.Request) recorded {
	f := r.PostForm
	if f.Get("capture_method") != "manual" || f.Get("confirm") != "true" || f.Get("amount") == "" || f.Get("currency") != strings.ToLower(f.Get("currency")) {
		d.t.Errorf("created with %v", f)
	}
	token := f.Get("payment_method") + f.Get("confirmation_token")
	intent := map[string]any{
		"id": fmt.Sprintf("pi_%d", len(d.intents)+1), "object": "payment_intent", "status": "requires_capture", "amount": json.Number(f.Get("amount")),
		"metadata": map[string]any{"stampede_order": f.Get("metadata[stampede_order]"), "stampede_attempt": f.Get("metadata[stampede_attempt]")},
	}
	switch token {
	case "pm_card_visa_chargeDeclined":
		intent["status"] = "requires_payment_method"
		body := failure("card_error", "card_declined", "insufficient_funds")
		body["error"].(map[string]any)["payment_intent"] = intent
		return recorded{status: 402, body: body}
	case "pm_nobody":
		return recorded{status: 400, body: failure("invalid_request_error", "resource_missing", "")}
	case "pm_card_threeDSecure2Required":
		intent["status"] = "requires_action"
		intent["next_action"] = map[string]any{"type": "redirect_to_url", "redirect_to_url": map[string]any{"url": "https://hooks.stripe.test/3ds"}}
	}
	d.intents[intent["id"].(string)] = intent
	return recorded{status: 200, body: intent}
}

func (d *Double) refund(r *http.Request) recorded {
	f := r.PostForm
	var total int64
	asked, err := strconv.ParseInt(f.Get("amount"), 10, 64)
	amount, err2 := strconv.ParseInt(fmt.Sprint(d.intents[f.Get("payment_intent")]["amount"]), 10, 64)
	if err != nil || err2 != nil {
		d.t.Errorf("refund %v: %v, %v", f, err, err2)
	}
	for _, m := range d.refunds {
		if m["payment_intent"] == f.Get("payment_intent") {
			total += m["amount"].(int64)
		}
	}
	if total+asked > amount {
		return recorded{status: 400, body: failure("invalid_request_error", "charge_already_refunded", "")}
	}
	made := map[string]any{
		"id": fmt.Sprintf("re_%d", len(d.refunds)+1), "object": "refund", "status": "succeeded", "amount": asked, "payment_intent": f.Get("payment_intent"),
		"metadata": map[string]any{"stampede_refund": f.Get("metadata[stampede_refund]")},
	}
	d.refunds = append(d.refunds, made)
	return recorded{status: 200, body: made}
}

// Set changes a PaymentIntent, as a shopper or a bank does.
func (d *Double) Set(id, status string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copied := map[string]any{}
	for k, v := range d.intents[id] {
		copied[k] = v
	}
	copied["status"] = status
	d.intents[id] = copied
}

// Lose forgets every PaymentIntent, as if none had been made.
func (d *Double) Lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intents = map[string]map[string]any{}
}

// Forget is a day passing: idempotency keys are gone.
func (d *Double) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = map[string]recorded{}
}
