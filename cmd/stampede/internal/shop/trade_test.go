package shop

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJudgeTrade(t *testing.T) {
	payload := func(order, errors string) string {
		return `{"data":{"payload":{"order":` + order + `,"userErrors":[` + errors + `]}}}`
	}
	order := func(state, payment string) string {
		return `{"id":"o","state":"` + state + `","payment":{"state":"` + payment + `"}}`
	}
	for _, c := range []struct {
		name, body string
		want       Answer
		order      bool
	}{
		{"reserved", payload(order("RESERVED", "NONE"), ""), Answer{Kind: Accepted}, true},
		{"paid", payload(order("CONFIRMED", "CAPTURED"), ""), Answer{Kind: Accepted}, true},
		{"waits for the shopper", payload(order("PAYING", "REQUIRES_ACTION"), ""), Answer{Kind: Accepted}, true},
		{"still being paid", payload(order("PAYING", "PENDING"), ""), Answer{Kind: Retry, Reason: "IN_PROGRESS"}, true},
		{"still reserving", payload(order("RESERVING", "NONE"), ""), Answer{Kind: Retry, Reason: "IN_PROGRESS"}, true},
		{"the provider does not answer", payload(order("PAYING", "PENDING"), `{"code":"PAYMENT_UNAVAILABLE","retryAfterMs":30}`), Answer{Kind: Retry, Reason: "PAYMENT_UNAVAILABLE", After: 30 * time.Millisecond}, true},
		{"declined", payload(order("RESERVED", "DECLINED"), `{"code":"PAYMENT_DECLINED"}`), Answer{Kind: Refused, Reason: "PAYMENT_DECLINED"}, true},
		{"rejected", payload(`{"id":"o","state":"REJECTED","rejection":{"code":"CUSTOMER_LIMIT"}}`, ""), Answer{Kind: Refused, Reason: "CUSTOMER_LIMIT"}, true},
		{"later", payload("null", `{"code":"IN_PROGRESS","retryAfterMs":30}`), Answer{Kind: Retry, Reason: "IN_PROGRESS", After: 30 * time.Millisecond}, false},
		{"nothing", payload("null", ""), Answer{Kind: Failed, Reason: "neither an order nor an error"}, false},
		{"no payload", `{"data":null}`, Answer{Kind: Failed, Reason: "answer without a payload"}, false},
		{"a fault", `{"errors":[{"message":"m","extensions":{"code":"FORBIDDEN"}}]}`, Answer{Kind: Failed, Reason: "FORBIDDEN: m"}, false},
	} {
		found := &Trade{ID: "of the try before"}
		if diff := cmp.Diff(c.want, JudgeTrade(&found)(http.StatusOK, 0, []byte(c.body))); diff != "" || (found != nil) != c.order {
			t.Errorf("%s: found %v: %s", c.name, found, diff)
		}
	}
}

func TestJudgeTickets(t *testing.T) {
	var ticket *Ticket
	for _, c := range []struct {
		name, body string
		judge      func(int, time.Duration, []byte) Answer
		want       Answer
		found      bool
	}{
		{"joined", `{"data":{"payload":{"ticket":{"id":"t","position":4},"userErrors":[]}}}`, JudgeJoin(&ticket), Answer{Kind: Accepted}, true},
		{"full", `{"data":{"payload":{"ticket":null,"userErrors":[{"code":"CONFLICT"}]}}}`, JudgeJoin(&ticket), Answer{Kind: Refused, Reason: "CONFLICT"}, false},
		{"later", `{"data":{"payload":{"ticket":null,"userErrors":[{"code":"THROTTLED","retryAfterMs":5}]}}}`, JudgeJoin(&ticket), Answer{Kind: Retry, Reason: "THROTTLED", After: 5 * time.Millisecond}, false},
		{"neither", `{"data":{"payload":{"ticket":null,"userErrors":[]}}}`, JudgeJoin(&ticket), Answer{Kind: Failed, Reason: "neither a ticket nor an error"}, false},
		{"polled", `{"data":{"payload":{"id":"t","position":4,"admissionToken":"a"}}}`, JudgeRead(&ticket), Answer{Kind: Accepted}, true},
		{"gone", `{"data":{"payload":null}}`, JudgeRead(&ticket), Answer{Kind: Refused, Reason: "NOT_FOUND"}, false},
	} {
		if diff := cmp.Diff(c.want, c.judge(http.StatusOK, 0, []byte(c.body))); diff != "" || (ticket != nil) != c.found {
			t.Errorf("%s: found %v: %s", c.name, ticket, diff)
		}
	}
}

func TestJudgePaid(t *testing.T) {
	for state, want := range map[string]Kind{"CONFIRMED": Accepted, "PAYING": Retry, "RESERVED": Refused, "EXPIRED": Refused} {
		body := `{"data":{"placeOrder":{"order":{"id":"o","state":"` + state + `"},"userErrors":[]}}}`
		if got := JudgePaid(http.StatusOK, 0, []byte(body)); got.Kind != want {
			t.Errorf("%s: %+v", state, got)
		}
	}
}

// What is appended by hand is the JSON that it should be.
func TestAppendedOrders(t *testing.T) {
	for want, body := range map[string][]byte{
		`{"idempotencyKey":"k","lines":[{"quantity":2,"sku":"S"}]}`:                      AppendPlaceOrder(nil, "k", "S", 2),
		`{"idempotencyKey":"k","lines":[{"quantity":2,"sku":"S"}],"paymentToken":"tok"}`: AppendPaidOrder(nil, "k", "S", 2, "tok"),
		`{"idempotencyKey":"k","lines":[{"quantity":2,"sku":"S"}],"saleId":"sal_1"}`:     AppendSaleOrder(nil, "k", "S", 2, "sal_1"),
	} {
		var request struct {
			Query     string
			Variables struct{ Input any }
		}
		if err := json.Unmarshal(body, &request); err != nil || request.Query != placeOrderDocument {
			t.Errorf("%s: %v", body, err)
		}
		if got, err := json.Marshal(request.Variables.Input); err != nil || string(got) != want {
			t.Errorf("%s: %v, want %s", got, err, want)
		}
	}
}
