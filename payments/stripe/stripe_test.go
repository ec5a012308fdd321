package stripe

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/payments"
	"stampede/payments/stripe/stripetest"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/paymentpb"
)

var (
	t0   = time.UnixMilli(1_800_000_000_000)
	port = entity.Address{Kind: "payment", ID: "ord_1"}
)

func eur(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }

func provider(url string, now time.Time) payments.Port {
	return payments.Port{Provider: New(Config{
		Key: "sk_test_123", ReturnURL: "https://shop.example/orders", APIURL: url, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})}
}

func authorize(token string) *paymentpb.Authorize {
	return &paymentpb.Authorize{OrderId: "ord_1", Attempt: 1, Amount: eur(1990), Token: token, RequestedAtMs: t0.UnixMilli()}
}

func capture(ref string) *paymentpb.Capture {
	return &paymentpb.Capture{OrderId: "ord_1", Attempt: 1, Reference: ref, Amount: eur(1990)}
}

func void(ref string) *paymentpb.Void {
	return &paymentpb.Void{OrderId: "ord_1", Attempt: 1, Reference: ref}
}

func lookup(ref string) *paymentpb.Lookup {
	return &paymentpb.Lookup{OrderId: "ord_1", Attempt: 1, Reference: ref}
}

func refund(number, minor int64) *paymentpb.Refund {
	return &paymentpb.Refund{OrderId: "ord_1", Attempt: 1, Number: number, Reference: "pi_1", Amount: eur(minor), RequestedAtMs: t0.UnixMilli()}
}

// said is an answer in a word.
func said(m proto.Message, err error) string {
	switch r := m.(type) {
	case *paymentpb.AuthorizeReply:
		return map[paymentpb.AuthorizeReply_Status]string{
			paymentpb.AuthorizeReply_STATUS_AUTHORIZED: "authorized", paymentpb.AuthorizeReply_STATUS_DECLINED: "declined: " + r.GetDeclineReason(),
			paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION: "act at " + r.GetNextActionUrl(),
		}[r.GetStatus()]
	case *paymentpb.CaptureReply:
		return "captured" + r.GetRefused()
	case *paymentpb.VoidReply:
		return "voided"
	case *paymentpb.RefundReply:
		if r.GetStatus() == paymentpb.RefundReply_STATUS_REFUSED {
			return "not refunded: " + r.GetRefuseReason()
		}
		return "refunded"
	}
	for _, e := range []error{payments.ErrUnavailable, payments.ErrInvalid, payments.ErrState} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "?"
}

var noAnswer, invalid = payments.ErrUnavailable.Error(), payments.ErrInvalid.Error()

// TestLives: what one attempt is told, question by question.
func TestLives(t *testing.T) {
	later := func(f func(d *stripetest.Double)) func(d *stripetest.Double) { return f }
	tests := []struct {
		name  string
		steps []any // a command, and what is said to it; or what happens meanwhile
	}{
		{"paid", []any{authorize("pm_card_visa"), "authorized", capture("pi_1"), "captured"}},
		{"paid with a confirmation token", []any{authorize("ctoken_1"), "authorized"}},
		{"asked twice", []any{authorize("pm_card_visa"), "authorized", authorize("pm_card_visa"), "authorized", capture("pi_1"), "captured", capture("pi_1"), "captured"}},
		{"asked otherwise", []any{authorize("pm_card_visa"), "authorized", authorize("pm_other"), invalid}},
		{"declined", []any{authorize("pm_card_visa_chargeDeclined"), "declined: insufficient funds", authorize("pm_card_visa_chargeDeclined"), "declined: insufficient funds"}},
		{"no such card", []any{authorize("pm_nobody"), "declined: resource missing"}},
		{"acted on", []any{
			authorize("pm_card_threeDSecure2Required"), "act at https://hooks.stripe.test/3ds", lookup("pi_1"), "act at https://hooks.stripe.test/3ds",
			later(func(d *stripetest.Double) { d.Set("pi_1", "requires_capture") }), lookup("pi_1"), "authorized", authorize("pm_card_threeDSecure2Required"), "authorized",
		}},
		{"not agreed to", []any{
			authorize("pm_card_threeDSecure2Required"), "act at https://hooks.stripe.test/3ds",
			later(func(d *stripetest.Double) { d.Set("pi_1", "requires_payment_method") }), lookup("pi_1"), "declined: not confirmed",
		}},
		{"voided", []any{authorize("pm_card_visa"), "authorized", void("pi_1"), "voided", void("pi_1"), "voided", capture("pi_1"), "capturedcanceled"}},
		{"captured before it is voided", []any{authorize("pm_card_visa"), "authorized", capture("pi_1"), "captured", void("pi_1"), "payment is in another state"}},
		{"expired at the bank", []any{authorize("pm_card_visa"), "authorized", later(func(d *stripetest.Double) { d.Set("pi_1", "canceled") }), capture("pi_1"), "capturedcanceled"}},
		{"refunded in parts", []any{
			authorize("pm_card_visa"), "authorized", capture("pi_1"), "captured", refund(1, 990), "refunded", refund(1, 990), "refunded", refund(2, 1000), "refunded",
			refund(3, 1), "not refunded: charge already refunded",
		}},
		{"no reference", []any{void(""), invalid, lookup(""), invalid, capture(""), invalid}},
		{"of nothing", []any{
			&paymentpb.Authorize{OrderId: "ord_1", Attempt: 1, Amount: eur(0), Token: "pm"}, "authorized",
			&paymentpb.Capture{OrderId: "ord_1", Attempt: 1, Reference: free, Amount: eur(0)}, "captured",
			lookup(free), "authorized", void(free), "voided", refund(1, 0), "refunded",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := stripetest.New(t, nil)
			for i := 0; i < len(tt.steps); i++ {
				if f, ok := tt.steps[i].(func(*stripetest.Double)); ok {
					f(d)
					continue
				}
				got := said(provider(d.URL, t0).Call(t.Context(), port, tt.steps[i].(proto.Message)))
				if i++; got != tt.steps[i] {
					t.Fatalf("step %d, %v: %s, want %s", i, tt.steps[i-1], got, tt.steps[i])
				}
			}
		})
	}
}

// TestUnknownOutcomes: whatever becomes of a question's answer, the money is
// reserved, taken and given back once, and the order is told in the end.
func TestUnknownOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault int
		call  string
		end   string // of asking until there is an answer
	}{
		{"authorize, answer lost", -1, "POST payment_intents", "authorized"},
		{"authorize, failed", 500, "POST payment_intents", "authorized"},
		{"capture, answer lost", -1, "POST payment_intents/ID/capture", "captured"},
		{"capture, failed", 500, "POST payment_intents/ID/capture", "captured"},
		{"void, answer lost", -1, "POST payment_intents/ID/cancel", "voided"},
		{"void, failed", 500, "POST payment_intents/ID/cancel", "voided"},
		{"refund, answer lost", -1, "POST refunds", "refunded"},
		{"refund, failed", 500, "POST refunds", "refunded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := stripetest.New(t, func(call string, hit int) int {
				if call == tt.call && hit == 1 {
					return tt.fault
				}
				return 0
			})
			commands := []proto.Message{authorize("pm_card_visa"), capture("pi_1"), refund(1, 990)}
			if tt.end == "voided" {
				commands = []proto.Message{authorize("pm_card_visa"), void("pi_1")}
			}
			for _, cmd := range commands {
				got := noAnswer
				for range 3 {
					if got = said(provider(d.URL, t0).Call(t.Context(), port, cmd)); got != noAnswer {
						break
					}
				}
				if want := map[string]string{"Authorize": "authorized", "Capture": "captured", "Refund": "refunded", "Void": "voided"}[string(cmd.ProtoReflect().Descriptor().Name())]; got != want {
					t.Fatalf("%T: %s", cmd, got)
				}
			}
			if made, back := d.Made(); d.Hits(tt.call) == 0 || made != 1 || back > 1 {
				t.Errorf("%d payments and %d refunds were made; %s came %d times", made, back, tt.call, d.Hits(tt.call))
			}
		})
	}
}

// TestAfterADay: Stripe has forgotten the keys, so nothing is asked for again;
// it is looked for.
func TestAfterADay(t *testing.T) {
	d := stripetest.New(t, nil)
	now := provider(d.URL, t0)
	for _, cmd := range []proto.Message{authorize("pm_card_visa"), capture("pi_1"), refund(1, 990)} {
		if _, err := now.Call(t.Context(), port, cmd); err != nil {
			t.Fatal(err)
		}
	}
	d.Forget()
	tomorrow := provider(d.URL, t0.Add(24*time.Hour))
	if got := said(tomorrow.Call(t.Context(), port, authorize("pm_card_visa"))); got != "authorized" || made(d) != 1 {
		t.Errorf("%s, %d payments", got, made(d))
	}
	if got := said(tomorrow.Call(t.Context(), port, refund(1, 990))); got != "refunded" || d.Hits("POST refunds") != 1 {
		t.Errorf("%s, %d refunds", got, d.Hits("POST refunds"))
	}
	never := authorize("pm_card_visa")
	never.Attempt = 2
	if got := said(tomorrow.Call(t.Context(), port, never)); got != "declined: the provider has no such payment" || made(d) != 1 {
		t.Errorf("what never came: %s, %d payments", got, made(d))
	}
}

// TestFailedBeforeAnything: Stripe fails without having made a payment. What it
// says to a search may be behind, so the order waits before it is told no.
func TestFailedBeforeAnything(t *testing.T) {
	d := stripetest.New(t, func(call string, _ int) int {
		if call == "POST payment_intents" {
			return 500
		}
		return 0
	})
	notSearchable := authorize("pm_card_visa")
	if _, err := provider(d.URL, t0).Call(t.Context(), port, notSearchable); err != nil {
		t.Fatal(err) // it was made, and is found
	}
	d.Lose()
	if got := said(provider(d.URL, t0).Call(t.Context(), port, authorize("pm_card_visa"))); got != noAnswer {
		t.Errorf("at once: %s", got)
	}
	if got := said(provider(d.URL, t0.Add(2*time.Hour)).Call(t.Context(), port, authorize("pm_card_visa"))); got != "declined: the provider has no such payment" {
		t.Errorf("later: %s", got)
	}
}

func TestAmounts(t *testing.T) {
	for currency, want := range map[string]int64{"EUR": 1990, "JPY": 1990, "ISK": 199_000, "UGX": 199_000, "KWD": 1990} {
		n, c, err := amountOf(&commonpb.Money{MinorUnits: 1990, Currency: currency})
		if err != nil || *n != want || *c == currency {
			t.Errorf("%s: %d %s, %v", currency, *n, *c, err)
		}
	}
}

func made(d *stripetest.Double) int {
	intents, _ := d.Made()
	return intents
}
