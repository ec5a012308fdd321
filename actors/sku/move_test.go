package sku

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/skupb"
)

func fulfil(order string, move, quantity int64) *skupb.Fulfil {
	return &skupb.Fulfil{OrderId: order, CustomerId: "usr_" + order, Move: move, Quantity: quantity}
}

func returned(order string, move, committed, fulfilled int64, restock bool) *skupb.Return {
	return &skupb.Return{OrderId: order, CustomerId: "usr_" + order, Move: move, Committed: committed, Fulfilled: fulfilled, Restock: restock}
}

// TestMoves: which of the four states units leave and enter after they were
// sold, and that every move is taken in once. Of 10 units o1 has bought 4.
func TestMoves(t *testing.T) {
	bought := at0(onSale(10), reserve("o1", 4), confirm("o1", 4))
	tests := []struct {
		name   string
		cmds   []proto.Message
		reason string // of the last one
		stock  stock
	}{
		{"all fulfilled", []proto.Message{fulfil("o1", 1, 4)}, "UNSPECIFIED", stock{6, 0, 0, 0}},
		{"some fulfilled", []proto.Message{fulfil("o1", 1, 1)}, "UNSPECIFIED", stock{6, 0, 3, 0}},
		{"fulfilled in two goes", []proto.Message{fulfil("o1", 1, 1), fulfil("o1", 2, 3)}, "UNSPECIFIED", stock{6, 0, 0, 0}},
		{"the same again", []proto.Message{fulfil("o1", 1, 1), fulfil("o1", 1, 1)}, "UNSPECIFIED", stock{6, 0, 3, 0}},
		{"the same again, all gone", []proto.Message{fulfil("o1", 1, 4), fulfil("o1", 1, 4)}, "UNSPECIFIED", stock{6, 0, 0, 0}},
		{"an old one again", []proto.Message{fulfil("o1", 1, 1), fulfil("o1", 3, 1), fulfil("o1", 2, 1)}, "UNSPECIFIED", stock{6, 0, 2, 0}},
		{"more than was bought", []proto.Message{fulfil("o1", 1, 5)}, "INVALID", stock{6, 0, 4, 0}},
		{"more than is left", []proto.Message{fulfil("o1", 1, 3), fulfil("o1", 2, 2)}, "INVALID", stock{6, 0, 1, 0}},
		{"what is only held", []proto.Message{reserve("o2", 2), fulfil("o2", 1, 2)}, "ILLEGAL_TRANSITION", stock{4, 2, 4, 0}},
		{"what nobody bought", []proto.Message{fulfil("o3", 1, 1)}, "ILLEGAL_TRANSITION", stock{6, 0, 4, 0}},
		{"no number", []proto.Message{fulfil("o1", 0, 1)}, "INVALID", stock{6, 0, 4, 0}},
		{"refunded and restocked", []proto.Message{returned("o1", 1, 4, 0, true)}, "UNSPECIFIED", stock{10, 0, 0, 0}},
		{"refunded, not restocked", []proto.Message{returned("o1", 1, 3, 0, false)}, "UNSPECIFIED", stock{6, 0, 1, 3}},
		{"sent back and restocked", []proto.Message{fulfil("o1", 1, 4), returned("o1", 2, 0, 2, true)}, "UNSPECIFIED", stock{8, 0, 0, 0}},
		{"sent back twice", []proto.Message{fulfil("o1", 1, 4), returned("o1", 2, 0, 2, true), returned("o1", 2, 0, 2, true)}, "UNSPECIFIED", stock{8, 0, 0, 0}},
		{"not sent back", []proto.Message{fulfil("o1", 1, 4), returned("o1", 2, 0, 2, false)}, "UNSPECIFIED", stock{6, 0, 0, 0}},
		{"some of each", []proto.Message{fulfil("o1", 1, 2), returned("o1", 2, 1, 2, true)}, "UNSPECIFIED", stock{9, 0, 1, 0}},
		{"back before it left", []proto.Message{returned("o1", 1, 5, 0, true)}, "INVALID", stock{6, 0, 4, 0}},
		{"nothing", []proto.Message{returned("o1", 1, 0, 0, true)}, "INVALID", stock{6, 0, 4, 0}},
		{"less than nothing", []proto.Message{returned("o1", 1, -1, 2, true)}, "INVALID", stock{6, 0, 4, 0}},
		{"of what is only held", []proto.Message{reserve("o2", 2), returned("o2", 1, 0, 2, true)}, "ILLEGAL_TRANSITION", stock{4, 2, 4, 0}},
		{"reserved after all left", []proto.Message{fulfil("o1", 1, 4), reserve("o1", 4)}, "ILLEGAL_TRANSITION", stock{6, 0, 0, 0}},
		{"confirmed after all left", []proto.Message{fulfil("o1", 1, 4), confirm("o1", 4)}, "ILLEGAL_TRANSITION", stock{6, 0, 0, 0}},
		{"confirmed after some left", []proto.Message{fulfil("o1", 1, 1), confirm("o1", 4)}, "UNSPECIFIED", stock{6, 0, 3, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := given(t, bought)
			var reply proto.Message
			for _, cmd := range tt.cmds {
				_, reply = decide(t, s, cmd, t0)
			}
			if reasonOf(reply) != tt.reason || s.stock != tt.stock {
				t.Errorf("%v, %+v; want %s, %+v", reply, s.stock, tt.reason, tt.stock)
			}
		})
	}
}

// TestMovesAreRemembered: a move that comes again after a restart, or just
// within a day, changes nothing.
func TestMovesAreRemembered(t *testing.T) {
	s := given(t, append(at0(onSale(10), reserve("o1", 4), confirm("o1", 4), fulfil("o1", 1, 4)), step{0, returned("o1", 2, 0, 4, true)}))
	for _, after := range []time.Duration{0, time.Hour, KeepFor} {
		s = restored(t, s)
		if events, _ := decide(t, s, returned("o1", 2, 0, 4, true), t0.Add(after)); len(events) != 0 {
			t.Errorf("after %s: %s", after, names(events))
		}
		decide(t, s, adjust(fmt.Sprint("k", after), 1), t0.Add(after))
	}
	if s.stock != (stock{13, 0, 0, 0}) {
		t.Errorf("%+v", s.stock)
	}
}

func lastingReturn(order string, move, fulfilled int64) *skupb.Return {
	r := returned(order, move, 0, fulfilled, true)
	r.SettledLater = true
	return r
}

func settleReturn(order string, move int64) *skupb.SettleReturn {
	return &skupb.SettleReturn{OrderId: order, Move: move}
}

// TestReturnsAreRememberedUntilSettled: units that came back are counted once,
// however late the order asks again, and what else happened meanwhile.
func TestReturnsAreRememberedUntilSettled(t *testing.T) {
	s := given(t, at0(onSale(10), reserve("o1", 4), confirm("o1", 4), fulfil("o1", 1, 4)))
	now := t0
	meanwhile := func(d time.Duration) { // and the SKU forgets what it may
		now = now.Add(d)
		for i := range 3 * maxForgotten {
			decide(t, s, adjust(fmt.Sprint(now, i), 1), now)
			decide(t, s, adjust(fmt.Sprint(now, i, "back"), -1), now)
		}
		s = restored(t, s)
	}
	meanwhile(40 * 24 * time.Hour)
	for range 3 { // 40 days later each time
		decide(t, s, lastingReturn("o1", 2, 3), now)
		meanwhile(40 * 24 * time.Hour)
	}
	if s.stock != (stock{9, 0, 0, 0}) {
		t.Fatalf("%+v", s.stock)
	}
	if events, reply := decide(t, s, settleReturn("o1", 1), now); len(events) != 0 || refusalOf(reply) != nil {
		t.Errorf("an older one is settled: %s, %v", names(events), reply)
	}
	decide(t, s, lastingReturn("o1", 3, 1), now)
	for _, want := range []string{"ReturnSettled", ""} {
		if events, reply := decide(t, s, settleReturn("o1", 3), now); names(events) != want || refusalOf(reply) != nil {
			t.Errorf("%s, %v; want %s", names(events), reply, want)
		}
	}
	if events, _ := decide(t, s, lastingReturn("o1", 3, 1), now.Add(KeepFor)); len(events) != 0 || s.stock != (stock{10, 0, 0, 0}) {
		t.Errorf("a late repeat of what is settled: %s, %+v", names(events), s.stock)
	}
	meanwhile(KeepFor + time.Millisecond)
	if s.ended("o1") != nil {
		t.Error("what is settled is kept for ever")
	}
}

// TestReturnsAboveTheBound: what customers send back is counted, whatever the
// staff has put on hand meanwhile; only the staff is held to the bound.
func TestReturnsAboveTheBound(t *testing.T) {
	for _, r := range []*skupb.Return{returned("o1", 2, 0, 4, true), lastingReturn("o1", 2, 4)} {
		s := given(t, at0(onSale(MaxOnHand), reserve("o1", 4), confirm("o1", 4), fulfil("o1", 1, 4), adjust("k1", 4), r))
		if s = restored(t, s); s.stock.available != MaxOnHand+4 {
			t.Fatalf("%+v", s.stock)
		}
		for _, tt := range []struct {
			cmd    proto.Message
			reason string
			onHand int64
		}{
			{adjust("k2", 1), "INVALID", MaxOnHand + 4},
			{aside("k3", 5), "UNSPECIFIED", MaxOnHand + 4},
			{reserve("o2", 5), "UNSPECIFIED", MaxOnHand + 4},
			{adjust("k4", -1), "UNSPECIFIED", MaxOnHand + 3},
			{count("k5", MaxOnHand+1, false), "INVALID", MaxOnHand + 3},
			{count("k6", MaxOnHand-1, false), "UNSPECIFIED", MaxOnHand - 1},
			{adjust("k7", 1), "UNSPECIFIED", MaxOnHand},
		} {
			if _, reply := decide(t, s, tt.cmd, t0); reasonOf(reply) != tt.reason || s.stock.onHand() != tt.onHand {
				t.Errorf("%v: %v, %+v", tt.cmd, reply, s.stock)
			}
		}
	}
}
