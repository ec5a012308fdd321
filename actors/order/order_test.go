package order

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// t0 is when all tests begin; hold is how long their orders are held.
var t0 = time.UnixMilli(1_800_000_000_000).UTC()

const hold = 10 * time.Minute

var (
	owner    = &commonpb.Actor{UserId: "usr_1"}
	staff    = &commonpb.Actor{UserId: "usr_s", Staff: true}
	stranger = &commonpb.Actor{UserId: "usr_2"}
	nobody   = &commonpb.Actor{}
)

func TestIDAndNumber(t *testing.T) {
	id := ID("usr_1", "k1")
	if len(id) != 30 || !strings.HasPrefix(id, "ord_") || strings.ToLower(id) != id {
		t.Errorf("id %q", id)
	}
	if id == ID("usr_1", "k2") || id == ID("usr_2", "k1") || ID("a", "b\x00c") == ID("a\x00b", "d") {
		t.Error("ids meet")
	}
	for id, want := range map[string]string{
		"ord_abcdefgh234567abcdefgh2345": "S-ABCD-EFGH", "ord_abcde": "S-ABCD-E", "ord_": "S--", "": "S--", "x": "S-X-",
	} {
		if got := Number(id); got != want {
			t.Errorf("Number(%q) = %q, want %q", id, got, want)
		}
	}
	// The id is a promise: the same in every build.
	if want := "ord_pn6ywse334qrrd55hxyq47pbiq"; id != want {
		t.Errorf("ID(usr_1, k1) = %q, want %q", id, want)
	}
}

func TestPlace(t *testing.T) {
	due := held()
	due.ExpiresAtMs = t0.UnixMilli()
	soon := held()
	soon.ExpiresAtMs = t0.Add(time.Minute).UnixMilli()
	dollars := held()
	dollars.UnitPrice = &commonpb.Money{MinorUnits: 1000, Currency: "USD"}
	dear := held()
	dear.UnitPrice = eur(math.MaxInt64 / 2)
	expecting := place("")
	expecting.Lines[1].ExpectedPrice = eur(999)
	stock, notFound, throttled := refused(commonpb.Reason_REASON_INSUFFICIENT_STOCK, "quantity"), refused(commonpb.Reason_REASON_NOT_FOUND, "sku"), refused(commonpb.Reason_REASON_THROTTLED)
	tests := []struct {
		name    string
		cmd     *orderpb.Place
		answers answers
		events  string
		reason  string
		field   string
		pending string
	}{
		{"one line", place("", "A"), grant, "Placed, Reserved", "UNSPECIFIED", "", ""},
		{"two lines", place(""), grant, "Placed, Reserved", "UNSPECIFIED", "", ""},
		{"with a payment", place("tok"), grant, "Placed, Reserved, PaymentRequested", "waits", "", "authorize/1"},
		{"the only line refused", place("", "A"), grant.but("reserve", stock), "Placed, Rejected", "INSUFFICIENT_STOCK", "lines.0.quantity", ""},
		{"the first refused", place(""), grant.but("reserve A", stock), "Placed, Rejected", "INSUFFICIENT_STOCK", "lines.0.quantity", "release/1"},
		{"the second refused", place("tok"), grant.but("reserve B", notFound), "Placed, Rejected", "NOT_FOUND", "lines.1.sku", "release/0"},
		{"both refused", place(""), grant.but("reserve A", notFound, "reserve B", stock), "Placed, Rejected", "NOT_FOUND", "lines.0.sku", ""},
		{"throttled", place(""), grant.but("reserve B", throttled), "", "THROTTLED", "lines.1", ""},
		{"throttled and refused", place(""), grant.but("reserve A", throttled, "reserve B", stock), "Placed, Rejected", "THROTTLED", "lines.0", ""},
		{"the units are of another input", place(""), grant.but("reserve B", refused(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH)), "", "IDEMPOTENCY_MISMATCH", "idempotencyKey", ""},
		{"no usable answer", place(""), grant.but("reserve B", &skupb.StockReply{}), "Placed, Rejected", "INVALID", "lines.1.sku", "release/0"},
		{"two currencies", place(""), grant.but("reserve B", dollars), "Placed, Rejected", "INVALID", "lines.1.sku", "release/0 release/1"},
		{"more than can be counted", place(""), grant.but("reserve B", dear), "Placed, Rejected", "INVALID", "lines.1.quantity", "release/0 release/1"},
		{"held earlier at another price", expecting, grant, "Placed, Rejected", "PRICE_CHANGED", "lines.1.expectedPrice", "release/0 release/1"},
		{"held until now", place(""), grant.but("reserve B", due), "Placed, Rejected", "HOLD_EXPIRED", "", "release/0 release/1"},
		{"held for a shorter time", place(""), grant.but("reserve B", soon), "Placed, Reserved", "UNSPECIFIED", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(ID("usr_1", "k1"))
			d := ask(t, s, tt.cmd, t0, tt.answers)
			r := replyOf(d)
			if names(d.Events) != tt.events || reasonOf(d) != tt.reason || strings.Join(r.GetRefusal().GetField(), ".") != tt.field {
				t.Fatalf("%s; %s at %v\nwant %s; %s at %s", names(d.Events), reasonOf(d), r.GetRefusal().GetField(), tt.events, tt.reason, tt.field)
			}
			var pending []string
			for _, a := range Pending(s) {
				pending = append(pending, a.Key)
			}
			if strings.Join(pending, " ") != tt.pending {
				t.Errorf("pending %v, want %s", pending, tt.pending)
			}
			if tt.reason == "waits" || tt.events == "" {
				return
			}
			settle(t, s, t0, grant)
			again := ask(t, s, tt.cmd, t0.Add(time.Second), nil)
			if len(again.Events) != 0 || reasonOf(again) != tt.reason || !proto.Equal(replyOf(again).GetRefusal(), r.GetRefusal()) {
				t.Errorf("the same again: %s, %v", names(again.Events), again.Reply)
			}
		})
	}
}

func TestPlaceAnswer(t *testing.T) {
	s := New(ID("usr_1", "k1"))
	a := held()
	a.UnitPrice, a.Name, a.Version, a.ExpiresAtMs = eur(250), "Sock", 3, t0.Add(time.Minute).UnixMilli()
	cmd := place("")
	cmd.Lines[0].ExpectedPrice = eur(250)
	got := replyOf(ask(t, s, cmd, t0, grant.but("reserve A", a)))
	want := &orderpb.OrderReply{Order: &orderpb.Order{
		Id: s.id, Number: Number(s.id), CustomerId: "usr_1", Status: orderpb.Status_STATUS_RESERVED,
		Payment: &orderpb.Payment{Status: orderpb.PaymentStatus_PAYMENT_STATUS_NONE},
		Lines: []*orderpb.Line{
			{Sku: "A", Name: "Sock", Quantity: 1, UnitPrice: eur(250), ExpectedPrice: eur(250), SkuVersion: 3, Status: orderpb.LineStatus_LINE_STATUS_HELD},
			{Sku: "B", Name: "Shoe", Quantity: 2, UnitPrice: eur(1000), SkuVersion: 7, Status: orderpb.LineStatus_LINE_STATUS_HELD},
		},
		Total: eur(2250), PlacedAtMs: t0.UnixMilli(), ExpiresAtMs: t0.Add(time.Minute).UnixMilli(), Version: 2,
		History: []*orderpb.Change{
			{Version: 1, Status: orderpb.Status_STATUS_RESERVING, AtMs: t0.UnixMilli()},
			{Version: 2, Status: orderpb.Status_STATUS_RESERVED, AtMs: t0.UnixMilli()},
		},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if at := WakeAt(s); !at.Equal(t0.Add(time.Minute)) {
		t.Errorf("wakes at %v", at)
	}
}

func TestReserveAsks(t *testing.T) {
	s := New(ID("usr_1", "k1"))
	cmd := place("")
	cmd.Lines[1].ExpectedPrice = eur(1000)
	d := decide(t, s, cmd, t0, nil)
	if len(d.Asks) != 2 || d.Asks[1].Kind != "sku" || d.Asks[1].ID != "B" {
		t.Fatalf("%v", d.Asks)
	}
	want := &skupb.Reserve{OrderId: s.id, CustomerId: "usr_1", Quantity: 2, ExpiresAtMs: t0.Add(hold).UnixMilli(), ExpectedPrice: eur(1000)}
	if diff := cmp.Diff(want, d.Asks[1].Command, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	// With one answer, only the other is asked again.
	again := decide(t, s, cmd, t0, map[string]proto.Message{d.Asks[0].Key: held()})
	if len(again.Asks) != 1 || again.Asks[0].Key != d.Asks[1].Key {
		t.Errorf("%v", again.Asks)
	}
	// Another input under the same key does not hear the answers to this one.
	for _, other := range []*orderpb.Place{place(""), place("tok"), place("", "B", "A"), place("", "A")} {
		for _, a := range decide(t, s, other, t0, nil).Asks {
			if a.Key == d.Asks[0].Key || a.Key == d.Asks[1].Key {
				t.Errorf("%v asks by the key %s", other, a.Key)
			}
		}
	}
}

func TestPlaceInvalid(t *testing.T) {
	many := make([]string, MaxLines+1)
	for i := range many {
		many[i] = fmt.Sprint("S", i)
	}
	change := func(f func(c *orderpb.Place)) *orderpb.Place {
		c := place("")
		f(c)
		return c
	}
	tests := map[string]struct {
		cmd   *orderpb.Place
		field string
	}{
		"no customer":       {change(func(c *orderpb.Place) { c.CustomerId = "" }), "customerId"},
		"no key":            {change(func(c *orderpb.Place) { c.IdempotencyKey = "" }), "idempotencyKey"},
		"1 KB key":          {change(func(c *orderpb.Place) { c.IdempotencyKey = strings.Repeat("k", 1024) }), "idempotencyKey"},
		"key with NUL":      {change(func(c *orderpb.Place) { c.IdempotencyKey = "a\x00" }), "idempotencyKey"},
		"key that is bytes": {change(func(c *orderpb.Place) { c.IdempotencyKey = "\xff" }), "idempotencyKey"},
		"no lines":          {change(func(c *orderpb.Place) { c.Lines = nil }), "lines"},
		"101 lines":         {place("", many...), "lines"},
		"a SKU twice":       {place("", "A", "B", "A"), "lines.2.sku"},
		"no SKU":            {place("", "A", ""), "lines.1.sku"},
		"SKU with a dot":    {place("", "A.B"), "lines.0.sku"},
		"SKU with a slash":  {place("", "A/B"), "lines.0.sku"},
		"long SKU":          {place("", strings.Repeat("A", 65)), "lines.0.sku"},
		"quantity 0":        {change(func(c *orderpb.Place) { c.Lines[1].Quantity = 0 }), "lines.1.quantity"},
		"quantity -1":       {change(func(c *orderpb.Place) { c.Lines[0].Quantity = -1 }), "lines.0.quantity"},
		"quantity 10,001":   {change(func(c *orderpb.Place) { c.Lines[0].Quantity = 10_001 }), "lines.0.quantity"},
		"quantity 2^31":     {change(func(c *orderpb.Place) { c.Lines[0].Quantity = 1 << 31 }), "lines.0.quantity"},
		"negative price":    {change(func(c *orderpb.Place) { c.Lines[0].ExpectedPrice = eur(-1) }), "lines.0.expectedPrice"},
		"price of nothing":  {change(func(c *orderpb.Place) { c.Lines[0].ExpectedPrice = &commonpb.Money{} }), "lines.0.expectedPrice"},
		"no hold":           {change(func(c *orderpb.Place) { c.HoldMs = 0 }), "holdMs"},
		"hold for ever":     {change(func(c *orderpb.Place) { c.HoldMs = math.MaxInt64 }), "holdMs"},
		"token with NUL":    {change(func(c *orderpb.Place) { c.PaymentToken = "t\x00" }), "paymentToken"},
		"long token":        {change(func(c *orderpb.Place) { c.PaymentToken = strings.Repeat("t", 256) }), "paymentToken"},
		"a line of nil":     {change(func(c *orderpb.Place) { c.Lines[0] = nil }), "lines.0.sku"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, state := range []string{"unknown", "reserved"} {
				d := decide(t, inState(t, state), tt.cmd, t0, nil)
				r := replyOf(d).GetRefusal()
				if reasonOf(d) != "INVALID" || strings.Join(r.GetField(), ".") != tt.field || r.GetMessage() == "" || len(d.Events) != 0 {
					t.Errorf("when %s: %v", state, r)
				}
			}
		})
	}
	if d := decide(t, New("o"), place("", many[:MaxLines]...), t0, nil); len(d.Asks) != MaxLines {
		t.Errorf("100 lines: %v", d.Reply)
	}
}

// TestPlaceWithAnotherInput: whatever differs but how long the shop holds.
func TestPlaceWithAnotherInput(t *testing.T) {
	change := func(f func(c *orderpb.Place)) *orderpb.Place {
		c := place("")
		f(c)
		return c
	}
	for name, cmd := range map[string]*orderpb.Place{
		"token":    change(func(c *orderpb.Place) { c.PaymentToken = "tok" }),
		"quantity": change(func(c *orderpb.Place) { c.Lines[0].Quantity++ }),
		"SKU":      change(func(c *orderpb.Place) { c.Lines[0].Sku = "C" }),
		"price":    change(func(c *orderpb.Place) { c.Lines[0].ExpectedPrice = eur(0) }),
		"fewer":    change(func(c *orderpb.Place) { c.Lines = c.Lines[:1] }),
		"order":    change(func(c *orderpb.Place) { c.Lines[0], c.Lines[1] = c.Lines[1], c.Lines[0] }),
		"customer": change(func(c *orderpb.Place) { c.CustomerId = "usr_2" }),
	} {
		s := inState(t, "reserved")
		d := decide(t, s, cmd, t0, nil)
		if reasonOf(d) != "IDEMPOTENCY_MISMATCH" || len(d.Events) != 0 || replyOf(d).GetOrder() != nil {
			t.Errorf("another %s: %v", name, d.Reply)
		}
	}
	longer := change(func(c *orderpb.Place) { c.HoldMs++ })
	if d := decide(t, inState(t, "reserved"), longer, t0, nil); reasonOf(d) != "UNSPECIFIED" {
		t.Errorf("another hold time: %v", d.Reply)
	}
}
