package sku

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// t0 is when all tests begin.
var t0 = time.UnixMilli(1_800_000_000_000).UTC()

func eur(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }

// step is a command and when it comes, after t0.
type step struct {
	after time.Duration
	cmd   proto.Message
}

func at0(cmds ...proto.Message) []step {
	var steps []step
	for _, c := range cmds {
		steps = append(steps, step{0, c})
	}
	return steps
}

func claim(stock int64) *skupb.Configure {
	return &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: "Shoe", Price: eur(1990), InitialStock: stock}
}

func onSale(stock int64) *skupb.Configure {
	c := claim(stock)
	c.Active = true
	return c
}

func reserve(order string, quantity int64) *skupb.Reserve {
	return &skupb.Reserve{OrderId: order, CustomerId: "usr_" + order, Quantity: quantity, ExpiresAtMs: t0.Add(10 * time.Minute).UnixMilli()}
}

func confirm(order string, quantity int64) *skupb.Confirm {
	return &skupb.Confirm{OrderId: order, CustomerId: "usr_" + order, Quantity: quantity}
}

func release(order string) *skupb.Release { return &skupb.Release{OrderId: order} }

func takeBack(order string) *skupb.Release {
	return &skupb.Release{OrderId: order, IncludeCommitted: true}
}

func adjust(key string, delta int64) *skupb.Adjust {
	return &skupb.Adjust{IdempotencyKey: key, Delta: delta, Reason: "count", Actor: &commonpb.Actor{UserId: "usr_s", Staff: true}}
}

func count(key string, onHand int64, allow bool) *skupb.SetOnHand {
	return &skupb.SetOnHand{IdempotencyKey: key, OnHand: onHand, Reason: "count", AllowShortfall: allow}
}

func aside(key string, quantity int64) *skupb.MarkUnavailable {
	return &skupb.MarkUnavailable{IdempotencyKey: key, Quantity: quantity, Reason: "damaged"}
}

// decide runs one command, and verifies what must hold for every one: Decide
// changes nothing, the events fit, the invariants hold.
func decide(t testing.TB, s *State, cmd proto.Message, now time.Time) ([]*skupb.Event, proto.Message) {
	t.Helper()
	small := len(s.allocations)+s.settled.len()+s.remembered.len() < 100 // else it takes too long
	var before proto.Message
	if small {
		before = Snapshot(s)
	}
	input := proto.Clone(cmd)
	events, reply := Decide(s, cmd, now)
	if small && !proto.Equal(before, Snapshot(s)) {
		t.Fatalf("Decide changed the state: %s", cmp.Diff(before, Snapshot(s), protocmp.Transform()))
	}
	if diff := cmp.Diff(input, cmd, protocmp.Transform()); diff != "" {
		t.Fatalf("Decide changed the command: %s", diff)
	}
	for _, e := range events {
		Evolve(s, e)
	}
	if err := check(s); err != nil {
		t.Fatalf("after %T: %v", cmd, err)
	}
	return events, reply
}

func given(t testing.TB, steps []step) *State {
	t.Helper()
	s := New("SHOE-42")
	for _, st := range steps {
		_, reply := decide(t, s, st.cmd, t0.Add(st.after))
		if r := refusalOf(reply); r != nil {
			t.Fatalf("given %T was refused: %v", st.cmd, r)
		}
	}
	return s
}

func refusalOf(reply proto.Message) *commonpb.Refusal {
	if r, ok := reply.(interface{ GetRefusal() *commonpb.Refusal }); ok {
		return r.GetRefusal()
	}
	return nil
}

func reasonOf(reply proto.Message) string {
	return strings.TrimPrefix(refusalOf(reply).GetReason().String(), "REASON_")
}

// names are the events' names, with their quantities.
func names(events []*skupb.Event) string {
	var out []string
	for _, e := range events {
		m := e.ProtoReflect()
		name := string(m.WhichOneof(m.Descriptor().Oneofs().ByName("event")).Message().Name())
		switch v := e.GetEvent().(type) {
		case *skupb.Event_Reserved:
			name += fmt.Sprint(" ", v.Reserved.GetQuantity())
		case *skupb.Event_Released:
			name += fmt.Sprint(" ", v.Released.GetQuantity())
		case *skupb.Event_Expired:
			name += fmt.Sprint(" ", v.Expired.GetQuantity())
		case *skupb.Event_Confirmed:
			name += fmt.Sprint(" ", v.Confirmed.GetQuantity(), "/", v.Confirmed.GetReacquired())
		case *skupb.Event_Adjusted:
			name += fmt.Sprint(" ", v.Adjusted.GetDelta())
		case *skupb.Event_Shortfall:
			name += fmt.Sprint(" ", v.Shortfall.GetMissing())
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// the states that the tables begin in. "due": the deadline has come, and
// nothing has been decided since. In all but the first two, 5 units came in.
var states = map[string][]step{
	"unknown":    nil,
	"claimed":    at0(claim(5)),
	"on sale":    at0(onSale(5)),
	"held":       at0(onSale(5), reserve("o1", 2)),
	"due":        at0(onSale(5), reserve("o1", 2)),
	"expired":    append(at0(onSale(5), reserve("o1", 2)), step{10 * time.Minute, &commonpb.Tick{}}),
	"committed":  at0(onSale(5), reserve("o1", 2), confirm("o1", 2)),
	"released":   at0(onSale(5), reserve("o1", 2), release("o1")),
	"tombstone":  at0(onSale(5), release("o1")),
	"sold out":   at0(onSale(5), reserve("o2", 5), confirm("o2", 5)),
	"gone since": append(at0(onSale(5), reserve("o1", 2)), step{10 * time.Minute, &skupb.Confirm{OrderId: "o2", Quantity: 5}}),
	"withdrawn":  at0(onSale(5), reserve("o1", 2), &skupb.Configure{ProductId: "prd_1", ProductVersion: 2, Price: eur(1990)}),
}

// TestHoldCommands is state × command for what orders send. The commands are of
// order o1 and for 2 units, 5 minutes after t0, or 10 where the hold has ended.
func TestHoldCommands(t *testing.T) {
	type want struct {
		events string
		reason string
		stock  stock
	}
	refused := func(reason string, s stock) want { return want{"", reason, s} }
	done := func(events string, s stock) want { return want{events, "UNSPECIFIED", s} }
	none, free, two, sold := stock{}, stock{available: 5}, stock{available: 3, held: 2}, stock{available: 3, committed: 2}
	gone := stock{committed: 5}
	table := map[string]map[string]want{
		"reserve": {
			"unknown":    refused("NOT_FOUND", none),
			"claimed":    refused("NOT_FOUND", free),
			"on sale":    done("Reserved 2", two),
			"held":       done("", two),
			"due":        {"Expired 2", "HOLD_EXPIRED", free},
			"expired":    refused("HOLD_EXPIRED", free),
			"committed":  done("", sold),
			"released":   refused("ILLEGAL_TRANSITION", free),
			"tombstone":  refused("ILLEGAL_TRANSITION", free),
			"sold out":   refused("INSUFFICIENT_STOCK", gone),
			"gone since": refused("HOLD_EXPIRED", gone),
			"withdrawn":  done("", two),
		},
		"confirm": {
			"unknown":    refused("NOT_FOUND", none),
			"claimed":    refused("NOT_FOUND", free),
			"on sale":    done("Confirmed 2/2", sold),
			"held":       done("Confirmed 2/0", sold),
			"due":        done("Expired 2, Confirmed 2/2", sold),
			"expired":    done("Confirmed 2/2", sold),
			"committed":  done("", sold),
			"released":   refused("ILLEGAL_TRANSITION", free),
			"tombstone":  refused("ILLEGAL_TRANSITION", free),
			"sold out":   refused("INSUFFICIENT_STOCK", gone),
			"gone since": refused("HOLD_EXPIRED", gone),
			"withdrawn":  done("Confirmed 2/0", sold),
		},
		"release": {
			"unknown":    done("ReleaseRemembered", none),
			"claimed":    done("ReleaseRemembered", free),
			"on sale":    done("ReleaseRemembered", free),
			"held":       done("Released 2", free),
			"due":        done("Expired 2, ReleaseRemembered", free),
			"expired":    done("ReleaseRemembered", free),
			"committed":  refused("ILLEGAL_TRANSITION", sold),
			"released":   done("", free),
			"tombstone":  done("", free),
			"sold out":   done("ReleaseRemembered", gone),
			"gone since": done("ReleaseRemembered", gone),
			"withdrawn":  done("Released 2", free),
		},
		"take back": {
			"unknown":    done("ReleaseRemembered", none),
			"claimed":    done("ReleaseRemembered", free),
			"on sale":    done("ReleaseRemembered", free),
			"held":       done("Released 2", free),
			"due":        done("Expired 2, ReleaseRemembered", free),
			"expired":    done("ReleaseRemembered", free),
			"committed":  done("Released 2", free),
			"released":   done("", free),
			"tombstone":  done("", free),
			"sold out":   done("ReleaseRemembered", gone),
			"gone since": done("ReleaseRemembered", gone),
			"withdrawn":  done("Released 2", free),
		},
		"tick": {
			"unknown":    done("", none),
			"claimed":    done("", free),
			"on sale":    done("", free),
			"held":       done("", two),
			"due":        done("Expired 2", free),
			"expired":    done("", free),
			"committed":  done("", sold),
			"released":   done("", free),
			"tombstone":  done("", free),
			"sold out":   done("", gone),
			"gone since": done("", gone),
			"withdrawn":  done("", two),
		},
		"level": {
			"unknown":    refused("NOT_FOUND", none),
			"claimed":    done("", free),
			"on sale":    done("", free),
			"held":       done("", two),
			"due":        done("Expired 2", free),
			"expired":    done("", free),
			"committed":  done("", sold),
			"released":   done("", free),
			"tombstone":  done("", free),
			"sold out":   done("", gone),
			"gone since": done("", gone),
			"withdrawn":  done("", two),
		},
	}
	commands := map[string]proto.Message{
		"reserve":   &skupb.Reserve{OrderId: "o1", CustomerId: "usr_o1", Quantity: 2, ExpiresAtMs: t0.Add(30 * time.Minute).UnixMilli()},
		"confirm":   confirm("o1", 2),
		"release":   release("o1"),
		"take back": takeBack("o1"),
		"tick":      &commonpb.Tick{},
		"level":     &skupb.GetLevel{},
	}
	for command, wants := range table {
		for state, steps := range states {
			t.Run(command+" when "+state, func(t *testing.T) {
				want, ok := wants[state]
				if !ok {
					t.Fatal("the table has no such state")
				}
				now := t0.Add(5 * time.Minute)
				if state == "due" || steps != nil && steps[len(steps)-1].after > 0 {
					now = t0.Add(10 * time.Minute)
				}
				s := given(t, steps)
				events, reply := decide(t, s, commands[command], now)
				if got := names(events); got != want.events {
					t.Errorf("events %q, want %q", got, want.events)
				}
				if got := reasonOf(reply); got != want.reason {
					t.Errorf("reason %s, want %s (%s)", got, want.reason, refusalOf(reply).GetMessage())
				}
				if s.stock != want.stock {
					t.Errorf("stock %+v, want %+v", s.stock, want.stock)
				}
				again, second := decide(t, s, commands[command], now)
				if len(again) != 0 {
					t.Errorf("the same again made events: %s", names(again))
				}
				if reply != nil && want.reason == "UNSPECIFIED" && command != "release" && command != "take back" {
					if diff := cmp.Diff(reply, second, protocmp.Transform()); diff != "" {
						t.Errorf("the same again was answered otherwise: %s", diff)
					}
				}
			})
		}
	}
}

func TestReserveAnswers(t *testing.T) {
	s := given(t, at0(onSale(5)))
	_, reply := decide(t, s, reserve("o1", 2), t0)
	want := &skupb.ReserveReply{Version: 3, UnitPrice: eur(1990), Name: "Shoe", ExpiresAtMs: t0.Add(10 * time.Minute).UnixMilli()}
	if diff := cmp.Diff(want, reply, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
	// The price has changed, the hold is committed, the deadline asked for is
	// another one: the answer stays, for as long as the units are the order's.
	decide(t, s, &skupb.Configure{ProductId: "prd_1", ProductVersion: 2, Name: "Shoe", Price: eur(2990), Active: true}, t0)
	again := reserve("o1", 2)
	again.ExpiresAtMs += 60_000
	again.ExpectedPrice = eur(1990)
	for _, cmd := range []proto.Message{again, confirm("o1", 2), again} {
		if _, reply = decide(t, s, cmd, t0); refusalOf(reply) != nil {
			t.Fatalf("%T: %v", cmd, reply)
		}
	}
	if diff := cmp.Diff(want, reply, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
	// The next order pays the new price.
	_, reply = decide(t, s, reserve("o2", 1), t0)
	if got := reply.(*skupb.ReserveReply).GetUnitPrice().GetMinorUnits(); got != 2990 {
		t.Errorf("the next order pays %d", got)
	}
}

func TestReserveRefusals(t *testing.T) {
	change := func(f func(c *skupb.Reserve)) *skupb.Reserve {
		c := reserve("o9", 1)
		f(c)
		return c
	}
	tests := []struct {
		name   string
		cmd    *skupb.Reserve
		reason string
		field  string
	}{
		{"no quantity", change(func(c *skupb.Reserve) { c.Quantity = 0 }), "INVALID", "quantity"},
		{"negative", change(func(c *skupb.Reserve) { c.Quantity = -1 }), "INVALID", "quantity"},
		{"2^31", change(func(c *skupb.Reserve) { c.Quantity = 1 << 31 }), "INVALID", "quantity"},
		{"over the bound", change(func(c *skupb.Reserve) { c.Quantity = MaxQuantity + 1 }), "INVALID", "quantity"},
		{"no order", change(func(c *skupb.Reserve) { c.OrderId = "" }), "INVALID", "orderId"},
		{"order with NUL", change(func(c *skupb.Reserve) { c.OrderId = "o\x00" }), "INVALID", "orderId"},
		{"long order", change(func(c *skupb.Reserve) { c.OrderId = strings.Repeat("o", 65) }), "INVALID", "orderId"},
		{"deadline now", change(func(c *skupb.Reserve) { c.ExpiresAtMs = t0.UnixMilli() }), "HOLD_EXPIRED", "sku"},
		{"no deadline", change(func(c *skupb.Reserve) { c.ExpiresAtMs = 0 }), "HOLD_EXPIRED", "sku"},
		{"deadline far off", change(func(c *skupb.Reserve) { c.ExpiresAtMs = t0.Add(MaxHold + time.Second).UnixMilli() }), "INVALID", "expiresAt"},
		{"other price", change(func(c *skupb.Reserve) { c.ExpectedPrice = eur(1989) }), "PRICE_CHANGED", "expectedPrice"},
		{"other currency", change(func(c *skupb.Reserve) { c.ExpectedPrice = &commonpb.Money{MinorUnits: 1990, Currency: "USD"} }), "PRICE_CHANGED", "expectedPrice"},
		{"more than there are", change(func(c *skupb.Reserve) { c.Quantity = 4 }), "INSUFFICIENT_STOCK", "quantity"},
		{"another quantity", change(func(c *skupb.Reserve) { c.OrderId, c.Quantity = "o1", 1 }), "IDEMPOTENCY_MISMATCH", "quantity"},
		{"right price", change(func(c *skupb.Reserve) { c.ExpectedPrice = eur(1990) }), "UNSPECIFIED", ""},
		{"all there are", change(func(c *skupb.Reserve) { c.Quantity = 3 }), "UNSPECIFIED", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := given(t, states["held"])
			_, reply := decide(t, s, tt.cmd, t0)
			r := refusalOf(reply)
			if reasonOf(reply) != tt.reason || strings.Join(r.GetField(), ".") != tt.field || (r != nil) != (r.GetMessage() != "") {
				t.Errorf("refused with %v, want %s at %q", r, tt.reason, tt.field)
			}
			if tt.reason == "INSUFFICIENT_STOCK" && (r.GetSku() != "SHOE-42" || r.GetRequested() != 4 || r.GetAvailable() != 3) {
				t.Errorf("refused with %v", r)
			}
		})
	}
}

func TestConfirmOfAnotherQuantity(t *testing.T) {
	s := given(t, states["held"])
	if _, reply := decide(t, s, confirm("o1", 1), t0); reasonOf(reply) != "INVALID" {
		t.Errorf("%v", reply)
	}
}

// TestDepletedReplenished: remarks come when available crosses 0, and only then.
func TestDepletedReplenished(t *testing.T) {
	s := New("SHOE-42")
	tests := []struct {
		cmd   proto.Message
		after time.Duration
		want  string
	}{
		{onSale(0), 0, "Configured"},
		{adjust("k1", 3), 0, "Adjusted 3, Replenished"},
		{reserve("o1", 2), 0, "Reserved 2"},
		{reserve("o2", 1), 0, "Reserved 1, Depleted"},
		{confirm("o1", 2), 0, "Confirmed 2/0"},
		{release("o2"), 0, "Released 1, Replenished"},
		{aside("k2", 1), 0, "MarkedUnavailable, Depleted"},
		{takeBack("o1"), 0, "Released 2, Replenished"},
		{count("k3", 1, false), 0, "Adjusted -2, Depleted"},
		{count("k4", 9, false), 0, "Adjusted 8, Replenished"},
		{reserve("o3", 8), 0, "Reserved 8, Depleted"},
		{&commonpb.Tick{}, 10 * time.Minute, "Expired 8, Replenished"},
	}
	for _, tt := range tests {
		events, _ := decide(t, s, tt.cmd, t0.Add(tt.after))
		if got := names(events); got != tt.want {
			t.Fatalf("%T: %s, want %s", tt.cmd, got, tt.want)
		}
	}
}

func TestUnknownCommands(t *testing.T) {
	s := given(t, states["due"])
	for _, cmd := range []proto.Message{nil, (*skupb.Reserve)(nil), &commonpb.Money{}, &skupb.Event{}} {
		events, reply := Decide(s, cmd, t0.Add(10*time.Minute))
		if names(events) != "Expired 2" || reasonOf(reply) != "INVALID" {
			t.Errorf("%T: %s, %v", cmd, names(events), reply)
		}
	}
	if events, reply := Decide(s, &commonpb.Continue{}, t0); len(events) != 0 || reply != nil {
		t.Errorf("Continue: %s, %v", names(events), reply)
	}
}
