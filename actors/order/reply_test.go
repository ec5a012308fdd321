package order

// What a reply says, and to whom.

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// TestWhoMay: an order is its customer's and the staff's; for others it is not
// there, and nothing happens.
func TestWhoMay(t *testing.T) {
	commands := func(a *commonpb.Actor) []proto.Message {
		return []proto.Message{
			&orderpb.Get{Actor: a}, &orderpb.Pay{Actor: a, IdempotencyKey: "p", PaymentToken: "tok"}, &orderpb.Cancel{Actor: a},
		}
	}
	for _, state := range stateNames {
		for _, actor := range []*commonpb.Actor{stranger, nobody, nil} {
			for _, cmd := range commands(actor) {
				d := decide(t, inState(t, state), cmd, t0, nil)
				if reasonOf(d) != "NOT_FOUND" || len(d.Events) != 0 || replyOf(d).GetOrder() != nil {
					t.Errorf("%T by %v when %s: %v", cmd, actor, state, d.Reply)
				}
			}
		}
		for _, cmd := range commands(staff) {
			if got := reasonOf(decide(t, inState(t, state), cmd, t0, nil)); (got == "NOT_FOUND") != (state == "unknown") {
				t.Errorf("%T by staff when %s: %s", cmd, state, got)
			}
		}
	}
}

func TestIllegalTransitionsSayWhatIsLegal(t *testing.T) {
	d := decide(t, inState(t, "confirmed"), &orderpb.Cancel{Actor: owner}, t0, nil)
	if got := replyOf(d).GetRefusal().GetMessage(); got != "the order is paid: it is not cancelled, the shop refunds it" {
		t.Error(got)
	}
	if got := illegal(orderpb.Status_STATUS_RESERVED, orderpb.Status_STATUS_FULFILLED).GetMessage(); got != "RESERVED orders do not become FULFILLED, only PAYING, CANCELLED, EXPIRED" {
		t.Error(got)
	}
}

func TestUnknownCommands(t *testing.T) {
	for _, cmd := range []proto.Message{nil, (*orderpb.Place)(nil), &commonpb.Money{}, &skupb.Reserve{}} {
		if d := Decide(inState(t, "due"), cmd, t0.Add(hold), nil); reasonOf(d) != "INVALID" || names(d.Events) != "Expired" {
			t.Errorf("%T: %v", cmd, d)
		}
	}
}

// TestRepliesAreTheCallers: whoever gets an order may scribble on it.
func TestRepliesAreTheCallers(t *testing.T) {
	for _, state := range stateNames {
		s := inState(t, state)
		before := proto.Clone(Snapshot(s))
		for _, m := range []proto.Message{decide(t, s, &orderpb.Get{Actor: owner}, t0, nil).Reply, decide(t, s, place(""), t0, nil).Reply, Snapshot(s)} {
			if m != nil {
				scribble(m)
			}
		}
		for _, a := range Pending(s) {
			scribble(a.Command)
		}
		if !proto.Equal(before, Snapshot(s)) {
			t.Errorf("%s: the state was changed from outside", state)
		}
	}
}

// TestNoSecretsInReplies: payment tokens, keys and hashes stay with the order.
func TestNoSecretsInReplies(t *testing.T) {
	for _, state := range stateNames {
		d := decide(t, inState(t, state), &orderpb.Get{Actor: owner}, t0, nil)
		o := replyOf(d).GetOrder()
		if o.GetPayment().GetToken() != "" || o.GetIdempotencyKey() != "" || len(o.GetInputHash())+len(o.GetPaymentKeys())+len(o.GetToVoid()) != 0 {
			t.Errorf("%s: %v", state, o)
		}
	}
}
