package e2e

// Holds that nobody pays for end: at their deadline and not before it, told to
// everyone who consumes events, and also when the server was not there.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// hold is how long units are held here. Long enough to be asked about while it
// lasts, short enough to be waited for.
const hold = 8 * time.Second

func serveHolding(t *testing.T, dir string) *server {
	t.Helper()
	return serve(t, dir, "--hold-minutes="+strconv.FormatFloat(hold.Minutes(), 'f', -1, 64))
}

// An order is held until its deadline, and expired with its units given back
// from then on.
func TestHoldEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, t.TempDir())
	sh := openShop(t, s, 1, variant{"HELD", "1.00", 5}, variant{"PAID", "1.00", 5}, variant{"LAST", "1.00", 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shopper := sh.customers[0]
	paid, err := shopper.place(ctx, "paid", "tok_ok", want{"PAID", 1})
	if err != nil {
		t.Fatal(err)
	}
	o, err := shopper.place(ctx, "unpaid", "", want{"HELD", 2})
	if err != nil {
		t.Fatal(err)
	}
	// The deadline counts from when the units were asked for, a moment earlier.
	if last := o.ExpiresAt.Sub(o.PlacedAt); last > hold || last < hold/2 {
		t.Errorf("the hold is for %s, not for %s", last, hold)
	}
	// Nobody looks at this one before its event has come.
	unseen, err := shopper.place(ctx, "unseen", "", want{"LAST", 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shopper.place(ctx, "too early", "", want{"LAST", 1}); codeOf(err) != "INSUFFICIENT_STOCK" {
		t.Errorf("a held unit is sold: %v", err)
	}
	seenHeld := false
	eventually(t, soon, "the units are given back", func() error {
		l := sh.level(t, "HELD")
		switch {
		case l.Held == 2 && l.AsOf.Before(*o.ExpiresAt):
			seenHeld = true
		case l.Held == 2:
			t.Errorf("held at %s, which is after the deadline %s", l.AsOf, o.ExpiresAt)
		case l.AsOf.Before(*o.ExpiresAt):
			t.Errorf("given back at %s, which is before the deadline %s", l.AsOf, o.ExpiresAt)
		case l.Held == 0 && l.Available == 5:
			return nil
		}
		return fmt.Errorf("%+v", *l)
	})
	if !seenHeld {
		t.Error("the units were never seen held: this shows little")
	}
	read, err := shopper.order(ctx, o.ID)
	if err != nil || read.State != "EXPIRED" {
		t.Errorf("after its deadline the order is %+v, %v", read, err)
	}
	if _, err := shopper.pay(ctx, "too late", o.ID, "tok_ok"); codeOf(err) != "HOLD_EXPIRED" {
		t.Errorf("it is paid after its deadline: %v", err)
	}
	expires(t, s, o.ID, unseen.ID)
	if again, err := shopper.place(ctx, "the next", "", want{"LAST", 1}); err != nil || again.State != "RESERVED" {
		t.Errorf("the unit that was given back: %+v, %v", again, err)
	}
	if read, err := shopper.order(ctx, paid.ID); err != nil || read.State != "CONFIRMED" {
		t.Errorf("the paid order is %+v, %v", read, err)
	}
	if l := sh.level(t, "PAID"); l.Committed != 1 {
		t.Errorf("the paid units: %+v", *l)
	}
	s.checkPublished()
	s.stop()
}

// The server is killed while units are held, and comes back before or after the
// deadline: the hold ends all the same, and also where nobody asks for it.
func TestHoldEndsOverAKill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		late bool
	}{{"back before the deadline", false}, {"back after the deadline", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := serveHolding(t, dir)
			sh := openShop(t, s, 1, variant{"HELD", "1.00", 5}, variant{"OTHER", "1.00", 5})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			shopper := sh.customers[0]
			o, err := shopper.place(ctx, "unpaid", "", want{"HELD", 2}, want{"OTHER", 1})
			if err != nil {
				t.Fatal(err)
			}
			s.kill()
			if c.late {
				select {
				case <-time.After(time.Until(*o.ExpiresAt)):
				case <-ctx.Done():
					t.Fatal(ctx.Err())
				}
			}
			s = serveHolding(t, dir)
			sh.at.set(s)
			expires(t, s, o.ID) // nobody has asked for the order or the SKU
			if read, err := shopper.order(ctx, o.ID); err != nil || read.State != "EXPIRED" {
				t.Errorf("the order is %+v, %v", read, err)
			}
			for _, sku := range []string{"HELD", "OTHER"} {
				if l := sh.level(t, sku); l.Held != 0 || l.Available != 5 {
					t.Errorf("the units: %+v", *l)
				}
			}
			s.checkPublished()
			s.stop()
		})
	}
}

// expires waits for the published end of each order.
func expires(t *testing.T, s *server, ids ...string) {
	t.Helper()
	events := consume(t, s.kafka, "stampede.orders.v1", 30*time.Second, func(seen map[string][]published) error {
		var lacking error
		for _, id := range ids {
			if events := seen[id]; len(events) == 0 || events[len(events)-1].kind != "OrderExpired" {
				lacking = errors.Join(lacking, fmt.Errorf("order %s: %v", id, events))
			}
		}
		return lacking
	})
	for _, id := range ids {
		if err := inOrder(events[id]); err != nil {
			t.Errorf("order %s: %v", id, err)
		}
	}
}
