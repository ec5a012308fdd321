package order

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// TestEvolveRefusesWhatCannotBe: an event that was not decided in this state is
// a corrupt journal.
func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	refusal := refuse(commonpb.Reason_REASON_INVALID, "no")
	requested := &orderpb.Event{Event: &orderpb.Event_PaymentRequested{PaymentRequested: &orderpb.PaymentRequested{Attempt: 1}}}
	requested2 := &orderpb.Event{Event: &orderpb.Event_PaymentRequested{PaymentRequested: &orderpb.PaymentRequested{Attempt: 2}}}
	authorized := func(attempt int64) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_PaymentAuthorized{PaymentAuthorized: &orderpb.PaymentAuthorized{Attempt: attempt}}}
	}
	declined := &orderpb.Event{Event: &orderpb.Event_PaymentDeclined{PaymentDeclined: &orderpb.PaymentDeclined{Attempt: 1}}}
	acting := &orderpb.Event{Event: &orderpb.Event_PaymentActionRequired{PaymentActionRequired: &orderpb.PaymentActionRequired{Attempt: 1}}}
	captured := &orderpb.Event{Event: &orderpb.Event_PaymentCaptured{PaymentCaptured: &orderpb.PaymentCaptured{}}}
	voided := &orderpb.Event{Event: &orderpb.Event_PaymentVoided{PaymentVoided: &orderpb.PaymentVoided{Attempt: 1}}}
	expired := &orderpb.Event{Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}}
	cancelled := &orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{}}}
	undelivered := &orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Refusal: refusal}}}
	confirmed := &orderpb.Event{Event: &orderpb.Event_Confirmed{Confirmed: &orderpb.Confirmed{}}}
	released := &orderpb.Event{Event: &orderpb.Event_HoldsReleased{HoldsReleased: &orderpb.HoldsReleased{}}}
	placed := &orderpb.Event{Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{CustomerId: "usr_1", Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1}}}}}
	reserved := func(lines int, total *commonpb.Money) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{Lines: make([]*orderpb.LineHold, lines), Total: total, ExpiresAtMs: 1}}}
	}
	rejected := func(r *commonpb.Refusal, held ...int32) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_Rejected{Rejected: &orderpb.Rejected{Refusal: r, HeldLines: held}}}
	}
	tests := []struct {
		name   string
		state  string
		before []*orderpb.Event
		event  *orderpb.Event
	}{
		{"nothing", "reserved", nil, &orderpb.Event{}},
		{"placed twice", "reserved", nil, placed},
		{"placed without lines", "unknown", nil, &orderpb.Event{Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{}}}},
		{"reserved before placed", "unknown", nil, reserved(0, eur(1))},
		{"reserved other lines", "unknown", []*orderpb.Event{placed}, reserved(2, eur(1))},
		{"reserved without a total", "unknown", []*orderpb.Event{placed}, reserved(1, nil)},
		{"reserved twice", "reserved", nil, reserved(2, eur(1))},
		{"rejected without a reason", "unknown", []*orderpb.Event{placed}, rejected(nil)},
		{"rejected with a line that is not there", "unknown", []*orderpb.Event{placed}, rejected(refusal, 1)},
		{"rejected with a negative line", "unknown", []*orderpb.Event{placed}, rejected(refusal, -1)},
		{"rejected after reserved", "reserved", nil, rejected(refusal)},
		{"requested out of order", "reserved", nil, requested2},
		{"requested while paying", "paying", nil, requested2},
		{"requested after the end", "expired", nil, requested},
		{"authorized without a request", "reserved", nil, authorized(0)},
		{"authorized another attempt", "paying", nil, authorized(2)},
		{"authorized twice", "authorized", nil, authorized(1)},
		{"declined after authorized", "authorized", nil, declined},
		{"action after action", "acting", nil, acting},
		{"confirmed without money", "paying", nil, confirmed},
		{"captured before confirmed", "authorized", nil, captured},
		{"captured twice", "confirmed", nil, captured},
		{"voided what is captured", "confirmed", nil, voided},
		{"voided twice", "undelivered", nil, voided},
		{"expired while paying", "paying", nil, expired},
		{"expired when confirmed", "confirmed", nil, expired},
		{"cancelled while paying", "paying", nil, cancelled},
		{"cancelled for no reason with the money there", "authorized", nil, cancelled},
		{"undelivered without money", "reserved", nil, undelivered},
		{"cancelled twice", "cancelled", nil, cancelled},
		{"released without holding", "reserved", nil, released},
		{"released twice", "cancelled", nil, released},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := inState(t, tt.state)
			for _, e := range tt.before {
				Evolve(s, e)
			}
			defer func() {
				if v, _ := recover().(string); !strings.Contains(v, s.id) || !strings.Contains(v, "corrupt") {
					t.Errorf("panicked with %q", v)
				}
			}()
			Evolve(s, tt.event)
			t.Error("the event was taken")
		})
	}
}

func TestSnapshotRestores(t *testing.T) {
	for _, state := range stateNames {
		if s := inState(t, state); !proto.Equal(Snapshot(s), Snapshot(restored(t, s))) {
			t.Errorf("%s: another state", state)
		}
	}
}

func restored(t testing.TB, s *State) *State {
	t.Helper()
	b, err := proto.Marshal(Snapshot(s))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Restore(s.id, b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRestoreRefuses(t *testing.T) {
	tests := []struct {
		name   string
		state  string
		change func(o *orderpb.Order)
	}{
		{"another order", "reserved", func(o *orderpb.Order) { o.Id = "ord_x" }},
		{"nobody's", "reserved", func(o *orderpb.Order) { o.CustomerId = "" }},
		{"no version", "reserved", func(o *orderpb.Order) { o.Version = 0 }},
		{"no lines", "reserved", func(o *orderpb.Order) { o.Lines = nil }},
		{"no total", "reserved", func(o *orderpb.Order) { o.Total = nil }},
		{"no deadline", "reserved", func(o *orderpb.Order) { o.ExpiresAtMs = 0 }},
		{"a deadline too many", "confirmed", func(o *orderpb.Order) { o.ExpiresAtMs = 1 }},
		{"half placed", "reserved", func(o *orderpb.Order) { o.Status = orderpb.Status_STATUS_RESERVING }},
		{"a status to come", "reserved", func(o *orderpb.Order) { o.Status = 99 }},
		{"not placed and not empty", "reserved", func(o *orderpb.Order) { o.Status = 0 }},
		{"rejected for nothing", "rejected", func(o *orderpb.Order) { o.Rejection = nil }},
		{"reserved and rejected", "reserved", func(o *orderpb.Order) { o.Rejection = &commonpb.Refusal{} }},
		{"a payment without a key", "paying", func(o *orderpb.Order) { o.PaymentKeys = nil }},
		{"keys out of order", "paying", func(o *orderpb.Order) { o.PaymentKeys[0].Attempt = 2 }},
		{"paying nothing", "paying", func(o *orderpb.Order) { o.Payment.Status = orderpb.PaymentStatus_PAYMENT_STATUS_NONE }},
		{"a payment under way and reserved", "declined", func(o *orderpb.Order) { o.Payment.Status = orderpb.PaymentStatus_PAYMENT_STATUS_PENDING }},
		{"confirmed without money", "confirmed", func(o *orderpb.Order) { o.Payment.Status = orderpb.PaymentStatus_PAYMENT_STATUS_DECLINED }},
		{"money without confirmation", "cancelled", func(o *orderpb.Order) { o.Payment.Status = orderpb.PaymentStatus_PAYMENT_STATUS_CAPTURED }},
		{"voiding what is paid with", "paying", func(o *orderpb.Order) { o.ToVoid = []*orderpb.OpenAttempt{{Attempt: 1}} }},
		{"voiding what there was not", "declined", func(o *orderpb.Order) { o.ToVoid = []*orderpb.OpenAttempt{{Attempt: 2}} }},
		{"voiding twice", "declined", func(o *orderpb.Order) { o.ToVoid = []*orderpb.OpenAttempt{{Attempt: 1}, {Attempt: 1}} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := inState(t, tt.state)
			o := Snapshot(s).(*orderpb.Order)
			tt.change(o)
			b, err := proto.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(s.id, b); err == nil {
				t.Error("restored")
			}
		})
	}
	if _, err := Restore("x", []byte{0xff}); err == nil {
		t.Error("restored from garbage")
	}
}
