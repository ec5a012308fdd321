package order_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

var races = flag.Int("races", 2000, "how often a payment races the deadline")

// TestPayRacingExpiry: the last unit, a payment that comes at the deadline, and
// somebody who takes the unit the moment it is free. Messages take any time.
// Exactly one has it in the end; the money is taken if and only if it is the
// one who pays. A failure names its seed.
func TestPayRacingExpiry(t *testing.T) {
	ends := map[string]int{}
	for seed := range uint64(*races) {
		ends[raceForTheLastUnit(t, seed)]++
	}
	for _, want := range []string{"paid", "paid late", "expired", "undelivered"} {
		if ends[want] == 0 {
			t.Errorf("no race ends %s: %v", want, ends)
		}
	}
}

func raceForTheLastUnit(t *testing.T, seed uint64) string {
	const hold = 10 * time.Minute
	rng := rand.New(rand.NewPCG(seed, 11))
	w := newWorld(t, rng, map[string]int64{"A": 1})
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: %s\n%v", seed, fmt.Sprintf(format, args...), w.order())
	}
	w.command(&orderpb.Place{CustomerId: "usr_1", IdempotencyKey: "k1", HoldMs: hold.Milliseconds(), Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1}}}, func(*orderpb.OrderReply) {})
	w.quiet()
	rival := func() bool {
		r := w.tell("A", &skupb.Reserve{OrderId: "rival", CustomerId: "usr_2", Quantity: 1, ExpiresAtMs: w.now.Add(time.Hour).UnixMilli()})
		return r.(*skupb.ReserveReply).GetRefusal() == nil
	}
	w.advance(hold - 5*time.Millisecond)
	payAt, eager, theirs := rng.IntN(10), rng.IntN(2) == 0, false
	for ms := range 30 {
		if ms == payAt {
			w.command(&orderpb.Pay{Actor: customer, IdempotencyKey: "p", PaymentToken: "ok"}, func(*orderpb.OrderReply) {})
		}
		if keys := w.keys(); len(keys) > 0 && rng.IntN(4) == 0 {
			key := keys[rng.IntN(len(keys))]
			w.hear(key, w.send(w.asks[key].ask))
		}
		if eager && rng.IntN(3) == 0 {
			theirs = rival() || theirs
		}
		w.advance(time.Millisecond)
	}
	w.quiet()
	w.advance(time.Minute)
	w.quiet()
	theirs = rival() || theirs
	held, committed := w.units("A")
	o := w.order()
	ours := o.GetStatus() == orderpb.Status_STATUS_CONFIRMED
	captured, kept := 0, false
	for _, k := range w.bank {
		captured += k.captured
		kept = kept || k.authorized && k.captured == 0 && !k.voided
	}
	switch {
	case ours == theirs:
		fail("the unit is ours: %t, theirs: %t", ours, theirs)
	case ours && (committed != 1 || captured != 1), !ours && (committed != 0 || captured != 0), held != 0, kept:
		fail("%d held, %d committed, %d captured, money reserved for ever: %t", held, committed, captured, kept)
	case !ours && o.GetStatus() != orderpb.Status_STATUS_EXPIRED && o.GetRejection() == nil:
		fail("it ends otherwise")
	}
	late := o.GetHistory()[len(o.GetHistory())-1].GetAtMs() >= o.GetPlacedAtMs()+hold.Milliseconds()
	switch {
	case ours && late:
		return "paid late"
	case ours:
		return "paid"
	case o.GetStatus() == orderpb.Status_STATUS_EXPIRED:
		return "expired"
	default:
		return "undelivered"
	}
}
