package sku

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// manyHolds is a SKU whose units are all held, one an order, the first until
// end and each next one a millisecond longer.
func manyHolds(t testing.TB, holds int, end time.Time) *State {
	t.Helper()
	s := New("SHOE-42")
	apply(t, s, onSale(int64(holds)), t0)
	for i := range holds {
		c := reserve(fmt.Sprint("o", i), 1)
		c.ExpiresAtMs = end.UnixMilli() + int64(i)
		if r := refusalOf(apply(t, s, c, t0)); r != nil {
			t.Fatal(r)
		}
	}
	return s
}

func TestWakeAt(t *testing.T) {
	s := New("SHOE-42")
	want := func(after time.Duration) {
		t.Helper()
		at := WakeAt(s)
		if after == 0 && !at.IsZero() || after != 0 && !at.Equal(t0.Add(after)) {
			t.Fatalf("wakes at %v", at)
		}
	}
	hold := func(order string, d time.Duration) {
		c := reserve(order, 1)
		c.ExpiresAtMs = t0.Add(d).UnixMilli()
		decide(t, s, c, t0)
	}
	want(0)
	decide(t, s, onSale(9), t0)
	want(0)
	hold("o1", 5*time.Minute)
	hold("o2", 3*time.Minute)
	hold("o3", 4*time.Minute)
	want(3 * time.Minute)
	decide(t, s, confirm("o2", 1), t0)
	want(4 * time.Minute)
	decide(t, s, release("o3"), t0)
	want(5 * time.Minute)
	decide(t, s, &commonpb.Tick{}, t0.Add(5*time.Minute-time.Millisecond))
	want(5 * time.Minute)
	decide(t, s, &commonpb.Tick{}, t0.Add(5*time.Minute))
	want(0)
}

// TestExpiryIsBounded: a decision ends 256 holds, in the order of their
// deadlines; the wake-up stays in the past until all are ended.
func TestExpiryIsBounded(t *testing.T) {
	end := t0.Add(time.Minute)
	s := manyHolds(t, 1000, end)
	now := end.Add(599 * time.Millisecond) // 600 are due
	next := 0
	for _, want := range []int{256, 256, 88, 0} {
		events, _ := decide(t, s, &commonpb.Tick{}, now)
		n := 0
		for _, e := range events {
			if e.GetExpired() == nil {
				continue
			}
			if got := e.GetExpired().GetOrderId(); got != fmt.Sprint("o", next) {
				t.Fatalf("%s ends, want o%d", got, next)
			}
			next++
			n++
		}
		if n != want {
			t.Fatalf("%d end, want %d", n, want)
		}
		if more := !WakeAt(s).After(now); more != (next < 600) {
			t.Fatalf("wakes at %v with %d ended", WakeAt(s), next)
		}
	}
}

// TestUnitsOfDueHoldsAreAvailable: a hold that is due holds nothing back, however many there are.
func TestUnitsOfDueHoldsAreAvailable(t *testing.T) {
	end := t0.Add(time.Minute)
	now := end.Add(time.Second)
	s := manyHolds(t, 1000, end)
	c := reserve("late", 700)
	c.ExpiresAtMs = now.Add(time.Minute).UnixMilli()
	events, reply := decide(t, s, c, now)
	if refusalOf(reply) != nil {
		t.Fatal(reply)
	}
	if want := 700 + 3; len(events) != want { // each end, one Replenished, the Reserved, one Depleted
		t.Errorf("%d events, want %d", len(events), want)
	}
	if s.stock != (stock{held: 1000}) {
		t.Errorf("%+v", s.stock)
	}
}

// TestOwnHoldIsDueOutOfTurn: of an order that asks, the hold ends at its
// deadline, even with more than a decision's worth of holds before it.
func TestOwnHoldIsDueOutOfTurn(t *testing.T) {
	end := t0.Add(time.Minute)
	now := end.Add(time.Second)
	tests := []struct {
		name   string
		order  string
		cmd    string
		reason string
		extra  string
	}{
		{"reserve", "o900", "reserve", "HOLD_EXPIRED", ""},
		{"reserve, first in turn", "o0", "reserve", "HOLD_EXPIRED", ""},
		{"reserve, last in turn", "o255", "reserve", "HOLD_EXPIRED", ""},
		{"reserve, next in turn", "o256", "reserve", "HOLD_EXPIRED", ""},
		{"confirm", "o900", "confirm", "UNSPECIFIED", "Confirmed 1/1"},
		{"release", "o900", "release", "UNSPECIFIED", "ReleaseRemembered"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := manyHolds(t, 1000, end)
			var events []*skupb.Event
			var reason string
			switch tt.cmd {
			case "reserve":
				e, r := decide(t, s, reserve(tt.order, 1), now)
				events, reason = e, reasonOf(r)
			case "confirm":
				e, r := decide(t, s, confirm(tt.order, 1), now)
				events, reason = e, reasonOf(r)
			case "release":
				e, r := decide(t, s, release(tt.order), now)
				events, reason = e, reasonOf(r)
			}
			if reason != tt.reason || !strings.HasSuffix(names(events), tt.extra) {
				t.Errorf("%s: …%s", reason, names(events[len(events)-1:]))
			}
			if s.allocations[tt.order] != nil && tt.cmd != "confirm" {
				t.Error("the hold is still there")
			}
		})
	}
}

// TestOwnHoldEndsOnceOnly: the hold that was ended out of turn is not ended
// again when its turn comes in the same decision.
func TestOwnHoldEndsOnceOnly(t *testing.T) {
	end := t0.Add(time.Minute)
	s := New("SHOE-42")
	apply(t, s, onSale(400), t0)
	for i := range 400 {
		c := reserve(fmt.Sprint("o", i), 1)
		c.ExpiresAtMs = end.UnixMilli() + int64(i)
		apply(t, s, c, t0)
	}
	// The deadline of o300 has come, and it needs more units than are there
	// after 256 ends: all but those of o399, which has not ended.
	big := reserve("big", 1)
	big.ExpiresAtMs = end.UnixMilli() + 390
	apply(t, s, release("o399"), t0)
	apply(t, s, big, t0)
	now := end.Add(395 * time.Millisecond)
	events, reply := decide(t, s, &skupb.Confirm{OrderId: "o300", Quantity: 397}, now)
	if refusalOf(reply) != nil || s.stock != (stock{held: 3, committed: 397}) {
		t.Fatalf("%v %+v after %d events", reply, s.stock, len(events))
	}
}

func TestTooManyDueHolds(t *testing.T) {
	end := t0.Add(time.Minute)
	const holds = maxExpiries + maxExpiriesForUnits + 100
	s := manyHolds(t, holds, end)
	now := end.Add(holds * time.Millisecond)
	events, reply := decide(t, s, adjust("k", -holds), now)
	if r := refusalOf(reply); r.GetReason() != commonpb.Reason_REASON_THROTTLED || r.GetRetryAfterMs() <= 0 {
		t.Fatalf("%v", reply)
	}
	if got := len(events); got != maxExpiries+maxExpiriesForUnits+1 {
		t.Errorf("%d events", got)
	}
	if _, reply := decide(t, s, adjust("k", -holds), now); refusalOf(reply) != nil {
		t.Errorf("the second time: %v", reply)
	}
}

func TestAllocationsAreBounded(t *testing.T) {
	s := benchState(t, MaxAllocations)
	_, reply := Decide(s, benchReserve(MaxAllocations), t0)
	r := refusalOf(reply)
	if r.GetReason() != commonpb.Reason_REASON_THROTTLED || r.GetRetryAfterMs() <= 0 || !strings.Contains(r.GetMessage(), "250000") {
		t.Fatalf("%v", reply)
	}
	if _, reply := Decide(s, benchReserve(0), t0); refusalOf(reply) != nil {
		t.Errorf("an order that has units: %v", reply)
	}
	if _, reply := Decide(s, confirm("unknown", 1), t0); reasonOf(reply) != "THROTTLED" {
		t.Errorf("a confirm of an unknown order: %v", reply)
	}
	apply(t, s, release(benchReserve(0).GetOrderId()), t0)
	if reply := apply(t, s, benchReserve(MaxAllocations), t0); refusalOf(reply) != nil {
		t.Errorf("after a release: %v", reply)
	}
	if err := check(s); err != nil {
		t.Error(err)
	}
}

// TestEndedHoldsAreBounded: what ended within a day is never forgotten; when
// that is too much, no new order is taken, and what has units can still end.
func TestEndedHoldsAreBounded(t *testing.T) {
	s := given(t, at0(onSale(10), reserve("open", 1)))
	for i := range MaxOrders - 1 {
		s.settled.put(fmt.Sprint("old", i), t0.UnixMilli()+int64(i/1000), settled{expired: true})
	}
	_, reply := Decide(s, reserve("new", 1), t0.Add(time.Minute))
	if r := refusalOf(reply); r.GetReason() != commonpb.Reason_REASON_THROTTLED || !strings.Contains(r.GetMessage(), "500000") || r.GetRetryAfterMs() <= 0 {
		t.Fatalf("%v", r)
	}
	if _, r := Decide(s, release("unheard of"), t0.Add(time.Minute)); reasonOf(r) != "THROTTLED" {
		t.Fatalf("tombstone: %v", r)
	}
	if r := apply(t, s, release("open"), t0.Add(time.Minute)); refusalOf(r) != nil {
		t.Fatalf("release of a hold: %v", r)
	}
	if r := apply(t, s, reserve("old0", 1), t0.Add(time.Minute)); reasonOf(r) != "HOLD_EXPIRED" {
		t.Fatalf("the oldest is forgotten: %v", r)
	}
	for i := range 1000 {
		now := t0.Add(KeepFor + time.Second)
		c := reserve(fmt.Sprint("new", i), 1)
		c.ExpiresAtMs = now.Add(time.Minute).UnixMilli()
		apply(t, s, c, now)
		if r := apply(t, s, release(c.GetOrderId()), now); refusalOf(r) != nil || r.(*skupb.ReleaseReply).GetQuantity() != 1 {
			t.Fatalf("%d: %v", i, r)
		}
	}
	if err := check(s); err != nil {
		t.Error(err)
	}
}
