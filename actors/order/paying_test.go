package order

// Payments that are abandoned, declined, repeated or late.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// TestPayAgainAfterAction: the order hears of what the shopper did when the
// same payment is asked for again.
func TestPayAgainAfterAction(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer proto.Message
		events string
		end    string
		reason string
	}{
		{"not yet", mustAct(), "", "PAYING REQUIRES_ACTION", "UNSPECIFIED"},
		{"agreed", authorized(), "PaymentAuthorized", "PAYING AUTHORIZED", "waits"},
		{"not agreed", cardDeclined(), "PaymentDeclined", "RESERVED DECLINED", "waits"},
		{"no usable answer", &skupb.StockReply{}, "", "PAYING REQUIRES_ACTION", "UNSPECIFIED"},
	} {
		s := inState(t, "acting")
		d := ask(t, s, pay("p1", "tok"), t0, grant.but("lookup", tt.answer))
		if names(d.Events) != tt.events || statusName(s) != tt.end || reasonOf(d) != tt.reason {
			t.Errorf("%s: %s, %s, %s", tt.name, names(d.Events), statusName(s), reasonOf(d))
		}
		if tt.name == "not yet" && replyOf(d).GetOrder().GetPayment().GetNextActionUrl() == "" {
			t.Error("no way to act")
		}
	}
}

// TestAbandonedPayments: an attempt that waits for the shopper is voided when
// it is not wanted any more, whatever came instead.
func TestAbandonedPayments(t *testing.T) {
	tests := []struct {
		name   string
		cmd    proto.Message
		after  time.Duration
		events string
		end    string
	}{
		{"paid otherwise", pay("p2", "other"), 0, "PaymentAuthorized, Confirmed, PaymentCaptured, PaymentVoided", "CONFIRMED CAPTURED"},
		{"cancelled", &orderpb.Cancel{Actor: owner}, 0, "HoldsReleased, PaymentVoided", "CANCELLED VOIDED"},
		{"expired", &commonpb.Tick{}, hold, "PaymentVoided", "EXPIRED VOIDED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := inState(t, "acting")
			if at := WakeAt(s); !at.Equal(t0.Add(hold)) {
				t.Fatalf("wakes at %v", at)
			}
			decide(t, s, tt.cmd, t0.Add(tt.after), nil)
			if got := settle(t, s, t0.Add(tt.after), grant); got != tt.events || statusName(s) != tt.end || len(s.toVoid) != 0 {
				t.Errorf("%s, %s, to void %v", got, statusName(s), s.toVoid)
			}
			if tt.name == "paid otherwise" {
				if d := decide(t, s, pay("p1", "tok"), t0, nil); reasonOf(d) != "PAYMENT_DECLINED" {
					t.Errorf("the first key: %v", d.Reply)
				}
			}
		})
	}
}

func TestDeclinedPaymentIsPaidAgain(t *testing.T) {
	s := inState(t, "declined")
	if at := WakeAt(s); !at.Equal(t0.Add(hold)) {
		t.Errorf("wakes at %v", at)
	}
	decide(t, s, pay("p2", "tok2"), t0, nil)
	a := Pending(s)[0].Command.(*paymentpb.Authorize)
	if a.GetAttempt() != 2 || a.GetToken() != "tok2" || a.GetAmount().GetMinorUnits() != 3000 {
		t.Errorf("%v", a)
	}
	settle(t, s, t0, grant)
	for key, want := range map[string]string{"p1": "PAYMENT_DECLINED", "p2": "UNSPECIFIED"} {
		token := map[string]string{"p1": "tok", "p2": "tok2"}[key]
		if d := decide(t, s, pay(key, token), t0, nil); reasonOf(d) != want || replyOf(d).GetOrder().GetStatus() != orderpb.Status_STATUS_CONFIRMED {
			t.Errorf("%s: %v", key, d.Reply)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	s := inState(t, "reserved")
	for i := range MaxAttempts {
		d := decide(t, s, pay(fmt.Sprint("p", i), "tok"), t0, nil)
		if reasonOf(d) != "waits" {
			t.Fatalf("payment %d: %v", i, d.Reply)
		}
		follow(t, s, t0, grant.but("authorize", cardDeclined()))
	}
	d := decide(t, s, pay("more", "tok"), t0, nil)
	if r := replyOf(d).GetRefusal(); r.GetReason() != commonpb.Reason_REASON_ILLEGAL_TRANSITION || !strings.Contains(r.GetMessage(), "32") {
		t.Errorf("%v", r)
	}
}

func TestPayInvalid(t *testing.T) {
	for name, tt := range map[string]struct {
		cmd   *orderpb.Pay
		field string
	}{
		"no key":         {pay("", "tok"), "idempotencyKey"},
		"key with NUL":   {pay("a\x00", "tok"), "idempotencyKey"},
		"long key":       {pay(strings.Repeat("k", 256), "tok"), "idempotencyKey"},
		"no token":       {pay("p", ""), "paymentToken"},
		"token with NUL": {pay("p", "a\x00"), "paymentToken"},
		"long token":     {pay("p", strings.Repeat("t", 256)), "paymentToken"},
	} {
		d := decide(t, inState(t, "reserved"), tt.cmd, t0, nil)
		if r := replyOf(d).GetRefusal(); reasonOf(d) != "INVALID" || strings.Join(r.GetField(), ".") != tt.field || len(d.Events) != 0 {
			t.Errorf("%s: %v", name, d.Reply)
		}
	}
	long := &orderpb.Cancel{Actor: owner, Reason: strings.Repeat("ä", 501)}
	if d := decide(t, inState(t, "reserved"), long, t0, nil); reasonOf(d) != "INVALID" {
		t.Errorf("long reason: %v", d.Reply)
	}
	long.Reason = strings.Repeat("ä", 500)
	if d := decide(t, inState(t, "reserved"), long, t0, nil); reasonOf(d) != "waits" {
		t.Errorf("500 characters: %v", d.Reply)
	}
}

// TestPayingOutlivesTheDeadline: while the provider is asked, the deadline
// waits; what is authorized late is confirmed if the SKUs still can.
func TestPayingOutlivesTheDeadline(t *testing.T) {
	late := t0.Add(2 * hold)
	for _, state := range []string{"paying", "authorized"} {
		s := inState(t, state)
		if at := WakeAt(s); !at.IsZero() {
			t.Errorf("%s wakes at %v", state, at)
		}
		decide(t, s, &commonpb.Tick{}, late, nil)
		settle(t, s, late, grant)
		if statusName(s) != "CONFIRMED CAPTURED" {
			t.Errorf("%s ends %s", state, statusName(s))
		}
	}
	s := inState(t, "paying")
	follow(t, s, late, grant.but("authorize", cardDeclined()))
	if WakeAt(s).After(late) {
		t.Errorf("declined late: wakes at %v", WakeAt(s))
	}
	decide(t, s, &commonpb.Tick{}, late, nil)
	if statusName(s) != "EXPIRED DECLINED" {
		t.Errorf("declined late: %s", statusName(s))
	}
	// The key of the payment keeps its answer.
	if d := decide(t, s, pay("p1", "tok"), late, nil); reasonOf(d) != "PAYMENT_DECLINED" {
		t.Errorf("%v", d.Reply)
	}
}
