package order

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// TestMoveAsks: what others are asked, in which order: the money, then the
// units, those that had not left apart from those that had.
func TestMoveAsks(t *testing.T) {
	s := then(t, "partly", refund("r1", true, "B", 2, "A", 1)) // the A has left, the Bs have not
	money := Pending(s)
	r, ok := money[0].Command.(*paymentpb.Refund)
	if !ok || len(money) != 1 || r.GetAmount().GetMinorUnits() != 3000 || r.GetNumber() != 2 || r.GetReference() != "ref" || r.GetRequestedAtMs() != t0.UnixMilli() {
		t.Fatalf("%v", money)
	}
	follow(t, s, t0, grant)
	for i, want := range []*skupb.Return{
		{OrderId: s.id, CustomerId: "usr_1", Move: 2, Fulfilled: 1, Restock: true, SettledLater: true},
		{OrderId: s.id, CustomerId: "usr_1", Move: 2, Committed: 2, Restock: true},
	} {
		if a := Pending(s)[i]; a.ID != s.lines[i].sku || !proto.Equal(a.Command, want) {
			t.Errorf("%v, want %v", a, want)
		}
	}
	if got := settle(t, s, t0, grant); got != "UnitsMoved, ReturnSettled" || statusName(s) != "FULFILLED REFUNDED" {
		t.Errorf("%s, %s", got, statusName(s))
	}
}

// TestMovesAreAskedAgain: an answer that says nothing, and a SKU that has no
// room now, decide nothing; a SKU that refuses for good does not hold up the order.
func TestMovesAreAskedAgain(t *testing.T) {
	full := refuse(commonpb.Reason_REASON_THROTTLED, "later")
	for _, tt := range []struct {
		state   string
		answers answers
		events  string
	}{
		{"refunding", grant.but("refund", &paymentpb.RefundReply{}), ""},
		{"refunding", grant.but("refund", &paymentpb.VoidReply{}), ""},
		{"refunding", grant.but("refund", notRefunded()), "RefundRefused"},
		{"returning", grant.but("return B", &skupb.ReturnReply{Refusal: full}), ""},
		{"returning", grant.but("return B", &skupb.StockReply{}), ""},
		{"returning", grant.but("return B", &skupb.ReturnReply{Refusal: notFound()}), "UnitsMoved"},
		{"fulfilling", grant.but("fulfil", &skupb.FulfilReply{Refusal: full}), ""},
		{"fulfilling", grant.but("fulfil", &skupb.FulfilReply{Refusal: notFound()}), "UnitsMoved"},
	} {
		if got := names(follow(t, inState(t, tt.state), t0, tt.answers)); got != tt.events {
			t.Errorf("%s, %v: %s", tt.state, tt.answers, got)
		}
	}
}

// TestMovesInvalid: what cannot be moved is refused by its field, and says what
// would be right.
func TestMovesInvalid(t *testing.T) {
	long := fulfil("f")
	long.Tracking = strings.Repeat("ä", MaxTrackingRunes+1)
	for name, tt := range map[string]struct {
		cmd   proto.Message
		field string
	}{
		"no key":              {fulfil(""), "idempotencyKey"},
		"no key of a refund":  {refund("", true), "idempotencyKey"},
		"long tracking":       {long, "tracking"},
		"more than left":      {fulfil("f", "A", 1, "B", 3), "lines.1.quantity"},
		"nothing of a line":   {fulfil("f", "A", 0), "lines.0.quantity"},
		"less than nothing":   {refund("r", true, "A", -1), "lines.0.quantity"},
		"another SKU":         {refund("r", true, "A", 1, "C", 1), "lines.1.sku"},
		"a SKU twice":         {refund("r", true, "B", 1, "B", 1), "lines.1.sku"},
		"more than is bought": {refund("r", true, "A", 2), "lines.0.quantity"},
	} {
		d := decide(t, inState(t, "confirmed"), tt.cmd, t0, nil)
		if r := replyOf(d).GetRefusal(); r.GetReason() != commonpb.Reason_REASON_INVALID || strings.Join(r.GetField(), ".") != tt.field || len(d.Events) != 0 {
			t.Errorf("%s: %v", name, d.Reply)
		}
	}
}

// TestMovesAreTheStaffs: a customer neither fulfils nor refunds, and to others
// there is no such order.
func TestMovesAreTheStaffs(t *testing.T) {
	for actor, want := range map[*commonpb.Actor]string{owner: "FORBIDDEN", stranger: "NOT_FOUND", nobody: "NOT_FOUND"} {
		f, r := fulfil("f"), refund("r", true)
		f.Actor, r.Actor = actor, actor
		for _, cmd := range []proto.Message{f, r} {
			if d := decide(t, inState(t, "confirmed"), cmd, t0, nil); reasonOf(d) != want || len(d.Events) != 0 {
				t.Errorf("%T by %v: %v", cmd, actor, d.Reply)
			}
		}
	}
}

func TestMovesAreBounded(t *testing.T) {
	s := inState(t, "confirmed")
	for i := range MaxMoves {
		if d := decide(t, s, refund(fmt.Sprint("r", i), true), t0, nil); reasonOf(d) != "waits" {
			t.Fatalf("refund %d: %v", i, d.Reply)
		}
		settle(t, s, t0, grant.but("refund", notRefunded()))
	}
	for _, cmd := range []proto.Message{refund("more", true), fulfil("more")} {
		d := decide(t, s, cmd, t0, nil)
		if r := replyOf(d).GetRefusal(); r.GetReason() != commonpb.Reason_REASON_ILLEGAL_TRANSITION || !strings.Contains(r.GetMessage(), "100") {
			t.Errorf("%v", r)
		}
	}
}

// TestWaitsForTheMoney: nothing leaves before the payment is captured.
func TestWaitsForTheMoney(t *testing.T) {
	s := inState(t, "authorized")
	follow(t, s, t0, grant) // confirmed
	for _, cmd := range []proto.Message{fulfil("f"), refund("r", true)} {
		if d := decide(t, s, cmd, t0, nil); reasonOf(d) != "waits" || len(d.Events) != 0 {
			t.Errorf("%T: %v", cmd, d)
		}
	}
	follow(t, s, t0, grant.but("capture", &paymentpb.CaptureReply{Refused: "stolen"}))
	for _, cmd := range []proto.Message{fulfil("f"), refund("r", true)} {
		if d := decide(t, s, cmd, t0, nil); reasonOf(d) != "ILLEGAL_TRANSITION" {
			t.Errorf("%T: %v", cmd, d)
		}
	}
	if got := settle(t, s, t0, grant); got != "HoldsReleased, PaymentVoided" || statusName(s) != "CANCELLED VOIDED" {
		t.Errorf("%s, %s", got, statusName(s))
	}
}

// TestCorruptMoves: events that cannot have been decided are not applied.
func TestCorruptMoves(t *testing.T) {
	of := func(line int32, sku string, quantity, unfulfilled int64) []*orderpb.MovedLine {
		return []*orderpb.MovedLine{{Line: line, Sku: sku, Quantity: quantity, Unfulfilled: unfulfilled}}
	}
	left := func(number int64, complete bool, lines []*orderpb.MovedLine) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_Fulfilled{Fulfilled: &orderpb.Fulfilled{Number: number, Lines: lines, Complete: complete}}}
	}
	wanted := func(number int64, lines []*orderpb.MovedLine) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_RefundRequested{RefundRequested: &orderpb.RefundRequested{Number: number, Lines: lines, Amount: eur(1000)}}}
	}
	paid := func(number, total int64) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_Refunded{Refunded: &orderpb.Refunded{Number: number, Total: eur(total)}}}
	}
	moved := func(number int64) *orderpb.Event {
		return &orderpb.Event{Event: &orderpb.Event_UnitsMoved{UnitsMoved: &orderpb.UnitsMoved{Number: number}}}
	}
	for name, tt := range map[string]struct {
		state string
		event *orderpb.Event
	}{
		"fulfilled before it is paid":  {"authorized", left(1, false, of(0, "A", 1, 0))},
		"fulfilled out of order":       {"confirmed", left(2, false, of(0, "A", 1, 0))},
		"fulfilled nothing":            {"confirmed", left(1, false, nil)},
		"fulfilled more than there is": {"confirmed", left(1, false, of(0, "A", 2, 0))},
		"fulfilled another line":       {"confirmed", left(1, false, of(2, "C", 1, 0))},
		"fulfilled another SKU":        {"confirmed", left(1, false, of(0, "B", 1, 0))},
		"complete too early":           {"confirmed", left(1, true, of(0, "A", 1, 0))},
		"two moves at a time":          {"fulfilling", left(2, false, of(1, "B", 1, 0))},
		"refund of what is not sold":   {"reserved", wanted(1, of(0, "A", 1, 1))},
		"refund of more than there is": {"confirmed", wanted(1, of(0, "A", 2, 1))},
		"withdrawn more than there is": {"partly", wanted(2, of(0, "A", 1, 1))},
		"money without a request":      {"confirmed", paid(1, 1000)},
		"money of a fulfilment":        {"fulfilling", paid(1, 1000)},
		"another total":                {"refunding", paid(1, 2999)},
		"money twice":                  {"returning", paid(1, 3000)},
		"units before the money":       {"refunding", moved(1)},
		"units of nothing":             {"confirmed", moved(1)},
		"units of another move":        {"fulfilling", moved(2)},
	} {
		t.Run(name, func(t *testing.T) {
			s := inState(t, tt.state)
			defer func() {
				if v, _ := recover().(string); !strings.Contains(v, "corrupt") {
					t.Errorf("panicked with %q", v)
				}
			}()
			Evolve(s, tt.event)
			t.Error("the event was taken")
		})
	}
}
