package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"stampede/payments"
)

// TestSimulatorPage: where the simulator sends a shopper there is a page, without
// logging in, and what is decided there reaches the order as a provider's news do.
func TestSimulatorPage(t *testing.T) {
	s := newPaidShop(t, func(*nodeFlags) {})
	act := func(order, decision string) (status int, page string) {
		t.Helper()
		o := s.ask(s.eve, `{ it: order(id: "`+order+`") { payment { nextActionUrl } } }`, "payment", "nextActionUrl")
		address := fmt.Sprint(o)
		if !strings.HasPrefix(address, payments.PagePath) {
			t.Fatalf("the shopper is sent to %s", address)
		}
		if decision == "" {
			return s.visit(http.MethodGet, address, "")
		}
		return s.visit(http.MethodPost, address, url.Values{"decision": {decision}}.Encode())
	}
	agreed, declined := s.place("o1", payments.TokenRequiresAction), s.place("o2", payments.TokenRequiresAction)
	for _, id := range []string{agreed, declined} {
		s.until(id, "PAYING REQUIRES_ACTION")
		if status, page := act(id, ""); status != http.StatusOK || !strings.Contains(page, "20.00 EUR") || !strings.Contains(page, id) {
			t.Fatalf("%d %s", status, page)
		}
	}
	address := fmt.Sprint(s.ask(s.eve, `{ it: order(id: "`+agreed+`") { payment { nextActionUrl } } }`, "payment", "nextActionUrl"))
	if status, page := act(agreed, "approve"); status != http.StatusOK || !strings.Contains(page, "Thank you") {
		t.Errorf("%d %s", status, page)
	}
	s.until(agreed, "CONFIRMED CAPTURED")
	if status, page := act(declined, "decline"); status != http.StatusOK || !strings.Contains(page, "Declined") {
		t.Errorf("%d %s", status, page)
	}
	s.until(declined, "RESERVED DECLINED")
	// What was decided stays so.
	if status, page := s.visit(http.MethodPost, address, "decision=decline"); status != http.StatusOK || !strings.Contains(page, "Thank you") {
		t.Errorf("declined after it was approved: %d %s", status, page)
	}
	s.until(agreed, "CONFIRMED CAPTURED")
	if status, _ := s.visit(http.MethodPost, address[:len(address)-2]+"AA", "decision=approve"); status != http.StatusNotFound {
		t.Errorf("another address: %d", status)
	}

	gone := s.place("o3", payments.TokenRequiresAction)
	late := fmt.Sprint(s.ask(s.eve, `{ it: order(id: "`+gone+`") { payment { nextActionUrl } } }`, "payment", "nextActionUrl"))
	s.ask(s.eve, `mutation { it: cancelOrder(input: {orderId: "`+gone+`"}) { order { state } } }`)
	if status, page := s.visit(http.MethodPost, late, "decision=approve"); status != http.StatusOK || !strings.Contains(page, "Too late") {
		t.Errorf("after it was cancelled: %d %s", status, page)
	}
	s.until(gone, "CANCELLED VOIDED")
}

func (s *stripeShop) visit(method, address, form string) (status int, page string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.node.url+address, strings.NewReader(form))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(r)
}
