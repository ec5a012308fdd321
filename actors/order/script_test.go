package order

// The words in which the tests of orders are written: commands, answers, and orders in every state.

import (
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
	"unknown", "reserved", "due", "rejected", "paying", "acting", "authorized", "capturing", "declined", "confirmed", "cancelling", "cancelled", "undelivered", "expired",
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
	case "capturing": // the units are the customer's, the money is on its way
		s = inState(t, "authorized")
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
