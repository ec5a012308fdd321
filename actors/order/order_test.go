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
	"stampede/proto/gen/paymentpb"
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

func eur(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }

// place is an order of 1 A and 2 B, or of as many other SKUs as are named.
func place(token string, skus ...string) *orderpb.Place {
	if len(skus) == 0 {
		skus = []string{"A", "B"}
	}
	c := &orderpb.Place{CustomerId: "usr_1", IdempotencyKey: "k1", PaymentToken: token, HoldMs: hold.Milliseconds()}
	for i, s := range skus {
		c.Lines = append(c.Lines, &orderpb.PlaceLine{Sku: s, Quantity: int64(i + 1)})
	}
	return c
}

func pay(key, token string) *orderpb.Pay {
	return &orderpb.Pay{Actor: owner, IdempotencyKey: key, PaymentToken: token}
}

// fulfil is by the staff, of all that is left or of SKUs and quantities.
func fulfil(key string, of ...any) *orderpb.Fulfil {
	return &orderpb.Fulfil{Actor: staff, IdempotencyKey: key, Tracking: "T-1", Lines: quantities(of)}
}

func refund(key string, restock bool, of ...any) *orderpb.Refund {
	return &orderpb.Refund{Actor: staff, IdempotencyKey: key, Restock: restock, Reason: "broken", Lines: quantities(of)}
}

func quantities(of []any) []*orderpb.LineQuantity {
	var lines []*orderpb.LineQuantity
	for i := 0; i+1 < len(of); i += 2 {
		lines = append(lines, &orderpb.LineQuantity{Sku: of[i].(string), Quantity: int64(of[i+1].(int))})
	}
	return lines
}

func notRefunded() *paymentpb.RefundReply {
	return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUSED, RefuseReason: "no balance"}
}

// held is a SKU's answer that grants the units: at 10.00 EUR, version 7.
func held() *skupb.ReserveReply {
	return &skupb.ReserveReply{Version: 7, UnitPrice: eur(1000), Name: "Shoe", ExpiresAtMs: t0.Add(hold).UnixMilli()}
}

func refused(reason commonpb.Reason, field ...string) *skupb.ReserveReply {
	return &skupb.ReserveReply{Refusal: refuse(reason, "no", field...)}
}

func authorized() *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_AUTHORIZED, Provider: "test", Reference: "ref"}
}

func cardDeclined() *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_DECLINED, Provider: "test", DeclineReason: "no money"}
}

func mustAct() *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION, Provider: "test", Reference: "ref", NextActionUrl: "https://x.invalid/"}
}

func unanswered() *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_UNANSWERED}
}

func confirmedAt(version int64) *skupb.ConfirmReply { return &skupb.ConfirmReply{Version: version} }

func unconfirmed() *skupb.ConfirmReply {
	return &skupb.ConfirmReply{Refusal: refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "gone", "sku")}
}

// decide decides once, and verifies what must hold for every decision: it
// changes neither state nor command, is one of the four shapes, its events fit.
func decide(t testing.TB, s *State, cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	t.Helper()
	before, input := Snapshot(s), proto.Clone(cmd)
	d := Decide(s, cmd, now, heard)
	if after := Snapshot(s); !proto.Equal(before, after) {
		t.Fatalf("Decide(%T) changed the state: %s", cmd, cmp.Diff(before, after, protocmp.Transform()))
	}
	if !proto.Equal(input, cmd) {
		t.Fatalf("Decide(%T) changed the command: %s", cmd, cmp.Diff(input, cmd, protocmp.Transform()))
	}
	if d.Reply != nil && len(d.Asks) > 0 {
		t.Fatalf("Decide(%T) answers and asks", cmd)
	}
	for _, e := range d.Events {
		Evolve(s, e)
	}
	if err := check(s); err != nil {
		t.Fatalf("after %T: %v", cmd, err)
	}
	if o := replyOf(d).GetOrder(); o != nil {
		if !proto.Equal(s.shown(), o) {
			t.Fatalf("Decide(%T) answered another order than there is: %s", cmd, cmp.Diff(s.shown(), o, protocmp.Transform()))
		}
	}
	return d
}

// answers make the replies to asks, by kind of command and id.
type answers map[string]proto.Message

// to is what is heard to the asks.
func (a answers) to(t testing.TB, asks []Ask) map[string]proto.Message {
	t.Helper()
	heard := map[string]proto.Message{}
	for _, q := range asks {
		name := strings.ToLower(string(q.Command.ProtoReflect().Descriptor().Name()))
		reply := a[name+" "+q.ID]
		if reply == nil {
			reply = a[name]
		}
		if reply == nil {
			t.Fatalf("nobody answers %s to %s", name, q.ID)
		}
		heard[q.Key] = reply
	}
	return heard
}

var grant = answers{
	"reserve": held(), "confirm": confirmedAt(9), "release": &skupb.ReleaseReply{},
	"authorize": authorized(), "capture": &paymentpb.CaptureReply{}, "void": &paymentpb.VoidReply{},
	"lookup": authorized(), "refund": &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: "re"},
	"fulfil": &skupb.FulfilReply{}, "return": &skupb.ReturnReply{}, "settlereturn": &skupb.SettleReturnReply{},
}

// but is the same answers with others in some places.
func (a answers) but(name string, reply proto.Message, more ...any) answers {
	out := answers{name: reply}
	for k, v := range a {
		if k != name {
			out[k] = v
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i].(string)] = more[i+1].(proto.Message)
	}
	return out
}

// ask runs a command through what it asks, to a reply or until it waits.
func ask(t testing.TB, s *State, cmd proto.Message, now time.Time, a answers) Decision {
	t.Helper()
	d := decide(t, s, cmd, now, nil)
	if len(d.Asks) == 0 {
		return d
	}
	return decide(t, s, cmd, now, a.to(t, d.Asks))
}

// follow runs one stage of what is pending.
func follow(t testing.TB, s *State, now time.Time, a answers) []*orderpb.Event {
	t.Helper()
	return decide(t, s, &commonpb.Continue{}, now, a.to(t, Pending(s))).Events
}

// settle runs what is pending to its end.
func settle(t testing.TB, s *State, now time.Time, a answers) string {
	t.Helper()
	var all []*orderpb.Event
	for range 10 {
		if len(Pending(s)) == 0 {
			return names(all)
		}
		all = append(all, follow(t, s, now, a)...)
	}
	t.Fatalf("still pending: %v", Pending(s))
	return ""
}

func names(events []*orderpb.Event) string {
	var out []string
	for _, e := range events {
		m := e.ProtoReflect()
		out = append(out, string(m.WhichOneof(m.Descriptor().Oneofs().ByName("event")).Message().Name()))
	}
	return strings.Join(out, ", ")
}

func replyOf(d Decision) *orderpb.OrderReply {
	r, _ := d.Reply.(*orderpb.OrderReply)
	return r
}

func reasonOf(d Decision) string {
	if d.Reply == nil {
		return "waits"
	}
	return strings.TrimPrefix(replyOf(d).GetRefusal().GetReason().String(), "REASON_")
}

func statusName(s *State) string {
	return nameOf(s.status) + " " + strings.TrimPrefix(s.payment.status.String(), "PAYMENT_STATUS_")
}

// stateNames are the states that tables begin in. "due": the deadline has come,
// and nothing has been decided since.
var stateNames = []string{
	"unknown", "reserved", "due", "rejected", "paying", "acting", "authorized", "declined", "confirmed", "cancelling", "cancelled", "undelivered", "expired",
	"unanswered", "uncaptured", "fulfilling", "partly", "fulfilled", "refunding", "returning", "refunded", "partly refunded", "settling", "sent back", "unrefunded",
}

func inState(t testing.TB, name string) *State {
	t.Helper()
	s := New(ID("usr_1", "k1"))
	switch name {
	case "unknown":
	case "reserved", "due":
		ask(t, s, place(""), t0, grant)
	case "rejected":
		ask(t, s, place(""), t0, grant.but("reserve B", refused(commonpb.Reason_REASON_INSUFFICIENT_STOCK, "quantity")))
		settle(t, s, t0, grant)
	case "paying":
		return then(t, "reserved", pay("p1", "tok"))
	case "acting":
		s = inState(t, "paying")
		follow(t, s, t0, grant.but("authorize", mustAct()))
	case "authorized":
		s = inState(t, "paying")
		follow(t, s, t0, grant)
	case "declined":
		s = inState(t, "paying")
		follow(t, s, t0, grant.but("authorize", cardDeclined()))
	case "confirmed":
		s = inState(t, "paying")
		settle(t, s, t0, grant)
	case "cancelling":
		return then(t, "reserved", &orderpb.Cancel{Actor: owner})
	case "cancelled":
		s = inState(t, "cancelling")
		settle(t, s, t0, grant)
	case "undelivered":
		s = inState(t, "paying")
		settle(t, s, t0, grant.but("confirm B", unconfirmed()))
	case "expired":
		s = inState(t, "reserved")
		decide(t, s, &commonpb.Tick{}, t0.Add(hold), nil)
	case "unanswered": // the provider does not answer
		s = inState(t, "paying")
		follow(t, s, t0, grant.but("authorize", unanswered()))
	case "uncaptured": // confirmed, and then not paid after all
		s = inState(t, "paying")
		settle(t, s, t0, grant.but("capture", &paymentpb.CaptureReply{Refused: "stolen"}))
	case "fulfilling":
		return then(t, "confirmed", fulfil("f1", "A", 1))
	case "partly":
		s = inState(t, "fulfilling")
		settle(t, s, t0, grant)
	case "fulfilled":
		s = then(t, "partly", fulfil("f2"))
		settle(t, s, t0, grant)
	case "refunding": // the provider is asked
		return then(t, "confirmed", refund("r1", true))
	case "returning": // the SKUs are asked
		s = inState(t, "refunding")
		follow(t, s, t0, grant)
	case "refunded":
		s = inState(t, "returning")
		settle(t, s, t0, grant)
	case "partly refunded":
		s = then(t, "partly", refund("r1", true, "B", 1))
		settle(t, s, t0, grant)
	case "settling": // the SKUs are told that the order knows
		s = then(t, "fulfilled", refund("r1", true))
		follow(t, s, t0, grant)
		follow(t, s, t0, grant)
	case "sent back":
		s = then(t, "fulfilled", refund("r1", true))
		settle(t, s, t0, grant)
	case "unrefunded":
		s = inState(t, "refunding")
		settle(t, s, t0, grant.but("refund", notRefunded()))
	default:
		t.Fatalf("no state %s", name)
	}
	return s
}

func then(t testing.TB, state string, cmd proto.Message) *State {
	s := inState(t, state)
	decide(t, s, cmd, t0, nil)
	return s
}

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
