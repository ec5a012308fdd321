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

// stocked is 10 available, 2 held, 3 committed, 1 set aside: 16 on hand.
var stocked = at0(onSale(16), reserve("o1", 2), reserve("o2", 3), confirm("o2", 3), aside("k0", 1))

func TestStockCommands(t *testing.T) {
	before := stock{10, 2, 3, 1}
	long := strings.Repeat("ä", maxReasonRunes+1)
	tests := []struct {
		name   string
		cmd    proto.Message
		events string
		reason string
		after  stock
	}{
		{"more", adjust("k", 5), "Adjusted 5", "UNSPECIFIED", stock{15, 2, 3, 1}},
		{"fewer", adjust("k", -4), "Adjusted -4", "UNSPECIFIED", stock{6, 2, 3, 1}},
		{"all that are free", adjust("k", -10), "Adjusted -10, Depleted", "UNSPECIFIED", stock{0, 2, 3, 1}},
		{"one that is held", adjust("k", -11), "", "INSUFFICIENT_STOCK", before},
		{"nothing", adjust("k", 0), "", "INVALID", before},
		{"up to the bound", adjust("k", MaxOnHand-16), "Adjusted 999999984", "UNSPECIFIED", stock{MaxOnHand - 6, 2, 3, 1}},
		{"over the bound", adjust("k", MaxOnHand-15), "", "INVALID", before},
		{"far over the bound", adjust("k", 1<<62), "", "INVALID", before},
		{"far below", adjust("k", -1<<63), "", "INVALID", before},
		{"no key", adjust("", 1), "", "INVALID", before},
		{"long key", adjust(strings.Repeat("k", 256), 1), "", "INVALID", before},
		{"key with NUL", adjust("k\x00", 1), "", "INVALID", before},
		{"key that is no text", adjust("k\xff", 1), "", "INVALID", before},
		{"key in another script", adjust("ключ", 1), "Adjusted 1", "UNSPECIFIED", stock{11, 2, 3, 1}},
		{"key with a C1 control", adjust("k\u0085", 1), "", "INVALID", before},
		{"long reason", &skupb.Adjust{IdempotencyKey: "k", Delta: 1, Reason: long}, "", "INVALID", before},
		{"right version", &skupb.Adjust{IdempotencyKey: "k", Delta: 1, IfVersion: 6}, "Adjusted 1", "UNSPECIFIED", stock{11, 2, 3, 1}},
		{"wrong version", &skupb.Adjust{IdempotencyKey: "k", Delta: 1, IfVersion: 5}, "", "VERSION_CONFLICT", before},

		{"counted the same", count("k", 16, false), "Adjusted 0", "UNSPECIFIED", before},
		{"counted more", count("k", 20, false), "Adjusted 4", "UNSPECIFIED", stock{14, 2, 3, 1}},
		{"counted fewer", count("k", 7, false), "Adjusted -9", "UNSPECIFIED", stock{1, 2, 3, 1}},
		{"counted what is taken", count("k", 6, false), "Adjusted -10, Depleted", "UNSPECIFIED", stock{0, 2, 3, 1}},
		{"counted fewer than are not set aside", count("k", 5, false), "Adjusted -11, Depleted", "UNSPECIFIED", stock{0, 2, 3, 0}},
		{"counted less than is promised", count("k", 4, false), "", "INSUFFICIENT_STOCK", before},
		{"short of those set aside", count("k", 5, true), "Adjusted -11, Depleted", "UNSPECIFIED", stock{0, 2, 3, 0}},
		{"short of those promised", count("k", 4, true), "Adjusted -11, Depleted, Shortfall 1", "UNSPECIFIED", stock{0, 2, 3, 0}},
		{"nothing there", count("k", 0, true), "Adjusted -11, Depleted, Shortfall 5", "UNSPECIFIED", stock{0, 2, 3, 0}},
		{"allowed and not short", count("k", 16, true), "Adjusted 0", "UNSPECIFIED", before},
		{"counted below 0", count("k", -1, true), "", "INVALID", before},
		{"counted over the bound", count("k", MaxOnHand+1, false), "", "INVALID", before},
		{"counted at another version", &skupb.SetOnHand{IdempotencyKey: "k", OnHand: 20, IfVersion: 1}, "", "VERSION_CONFLICT", before},

		{"set aside", aside("k", 4), "MarkedUnavailable", "UNSPECIFIED", stock{6, 2, 3, 5}},
		{"set all aside", aside("k", 10), "MarkedUnavailable, Depleted", "UNSPECIFIED", stock{0, 2, 3, 11}},
		{"set aside more", aside("k", 11), "", "INSUFFICIENT_STOCK", before},
		{"set nothing aside", aside("k", 0), "", "INVALID", before},
		{"set aside far too much", aside("k", 1<<62), "", "INVALID", before},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := given(t, stocked)
			events, reply := decide(t, s, tt.cmd, t0)
			if names(events) != tt.events || reasonOf(reply) != tt.reason || s.stock != tt.after {
				t.Fatalf("%s; %s (%s); %+v\nwant %s; %s; %+v", names(events), reasonOf(reply), refusalOf(reply).GetMessage(), s.stock, tt.events, tt.reason, tt.after)
			}
			if r := refusalOf(reply); tt.reason == "VERSION_CONFLICT" && r.GetCurrentVersion() != 6 {
				t.Errorf("current version %d, want 6", r.GetCurrentVersion())
			}
			if tt.reason != "UNSPECIFIED" {
				return
			}
			level := reply.(*skupb.StockReply).GetLevel()
			if stockOf(level.GetStock()) != tt.after || level.GetVersion() != s.version || level.GetSku() != "SHOE-42" {
				t.Errorf("answered %v, at version %d", level, s.version)
			}
			// Whatever happens in between, the key keeps its answer.
			decide(t, s, release("o1"), t0.Add(time.Hour))
			again, second := decide(t, s, tt.cmd, t0.Add(time.Hour))
			if diff := cmp.Diff(reply, second, protocmp.Transform()); diff != "" || len(again) != 0 {
				t.Errorf("the same again: %s %s", names(again), diff)
			}
		})
	}
}

func TestStockOfAnUnknownSKU(t *testing.T) {
	for _, cmd := range []proto.Message{adjust("k", 1), count("k", 1, true), aside("k", 1), &skupb.GetLevel{}} {
		if _, reply := decide(t, New("SHOE-42"), cmd, t0); reasonOf(reply) != "NOT_FOUND" {
			t.Errorf("%T: %v", cmd, reply)
		}
	}
}

// TestKeyWithAnotherInput: whatever differs, and whatever kind of change it is.
func TestKeyWithAnotherInput(t *testing.T) {
	s := given(t, append(stocked, step{0, adjust("k", 5)}))
	reason, actor, version := adjust("k", 5), adjust("k", 5), adjust("k", 5)
	reason.Reason, actor.Actor.UserId, version.IfVersion = "other", "usr_t", 7
	for _, cmd := range []proto.Message{adjust("k", 4), adjust("k", -5), reason, actor, version, count("k", 5, false), aside("k", 5)} {
		if events, reply := decide(t, s, cmd, t0); reasonOf(reply) != "IDEMPOTENCY_MISMATCH" || len(events) != 0 {
			t.Errorf("%v: %v", cmd, reply)
		}
	}
	if a, b := count("k2", 50, false), count("k2", 50, true); true {
		decide(t, s, a, t0)
		if _, reply := decide(t, s, b, t0); reasonOf(reply) != "IDEMPOTENCY_MISMATCH" {
			t.Errorf("allowShortfall: %v", reply)
		}
	}
}

// TestRefusedKeyIsFree: a refusal changes nothing, not even the key.
func TestRefusedKeyIsFree(t *testing.T) {
	s := given(t, stocked)
	decide(t, s, adjust("k", -11), t0)
	decide(t, s, release("o1"), t0)
	if _, reply := decide(t, s, adjust("k", -11), t0); refusalOf(reply) != nil {
		t.Errorf("%v", reply)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	s := given(t, at0(onSale(0)))
	for i := range MaxRemembered {
		apply(t, s, adjust(fmt.Sprint("k", i), 1), t0.Add(time.Duration(i)*time.Millisecond))
	}
	full := t0.Add(time.Hour)
	events, reply := decide(t, s, adjust("one more", 1), full)
	r := refusalOf(reply)
	if len(events) != 0 || r.GetReason() != commonpb.Reason_REASON_THROTTLED || r.GetRetryAfterMs() <= 0 || !strings.Contains(r.GetMessage(), "65536") {
		t.Fatalf("%v", reply)
	}
	if _, reply := decide(t, s, adjust("k0", 1), full); refusalOf(reply) != nil {
		t.Fatalf("the oldest answer is forgotten: %v", reply)
	}
	// A day after the first one there is room again, for as long as answers grow old.
	for i := range 100 {
		now := t0.Add(KeepFor + time.Duration(i+1)*time.Millisecond)
		if _, reply := decide(t, s, adjust(fmt.Sprint("later", i), 1), now); refusalOf(reply) != nil {
			t.Fatalf("%d: %v", i, reply)
		}
	}
	if s.remembered.len() > MaxRemembered {
		t.Errorf("%d answers", s.remembered.len())
	}
}

func TestConfigure(t *testing.T) {
	other := &skupb.Configure{ProductId: "prd_2", ProductVersion: 9, Price: eur(1), Active: true}
	v := func(version, price int64, active bool) *skupb.Configure {
		return &skupb.Configure{ProductId: "prd_1", ProductVersion: version, Name: "Shoe", Price: eur(price), Active: active, InitialStock: 7}
	}
	undo := func(product string, version int64) *skupb.Unconfigure {
		return &skupb.Unconfigure{ProductId: product, ProductVersion: version}
	}
	free := func(n int64) stock { return stock{available: n} }
	tests := []struct {
		name   string
		given  []step
		cmd    proto.Message
		events string
		reason string
		after  stock
	}{
		{"first", nil, v(1, 1990, false), "Configured, Replenished", "UNSPECIFIED", free(7)},
		{"first without stock", nil, onSale(0), "Configured", "UNSPECIFIED", free(0)},
		{"the same", at0(v(1, 1990, false)), v(1, 1990, false), "", "UNSPECIFIED", free(7)},
		{"claim, then sale", at0(v(1, 1990, false)), v(1, 1990, true), "Configured", "UNSPECIFIED", free(7)},
		{"stock comes once", at0(onSale(0)), v(2, 1990, true), "Configured", "UNSPECIFIED", free(0)},
		{"newer", at0(v(1, 1990, true)), v(2, 2990, true), "Configured", "UNSPECIFIED", free(7)},
		{"older", at0(v(2, 2990, true)), v(1, 1990, false), "", "UNSPECIFIED", free(7)},
		{"another product", at0(v(1, 1990, false)), other, "", "CONFLICT", free(7)},
		{"another product before the sale", at0(v(1, 1990, true)), other, "", "CONFLICT", free(7)},
		{"no product", nil, &skupb.Configure{ProductVersion: 1, Price: eur(1)}, "", "INVALID", stock{}},
		{"no version", nil, v(0, 1, true), "", "INVALID", stock{}},
		{"negative price", nil, v(1, -1, true), "", "INVALID", stock{}},
		{"no price", nil, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1}, "", "INVALID", stock{}},
		{"free of charge", nil, v(1, 0, true), "Configured, Replenished", "UNSPECIFIED", free(7)},
		{"negative stock", nil, onSale(-1), "", "INVALID", stock{}},
		{"too much stock", nil, onSale(MaxOnHand + 1), "", "INVALID", stock{}},
		{"most stock", nil, onSale(MaxOnHand), "Configured, Replenished", "UNSPECIFIED", free(MaxOnHand)},
		{"long name", nil, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Price: eur(1), Name: strings.Repeat("n", maxNameBytes+1)}, "", "INVALID", stock{}},

		{"undo", at0(v(1, 1990, false)), undo("prd_1", 1), "Unconfigured, Depleted", "UNSPECIFIED", stock{}},
		{"undo at any version", at0(v(3, 1990, false)), undo("prd_1", 0), "Unconfigured, Depleted", "UNSPECIFIED", stock{}},
		{"undo without stock", at0(claim(0)), undo("prd_1", 1), "Unconfigured", "UNSPECIFIED", stock{}},
		{"undo nothing", nil, undo("prd_1", 1), "", "UNSPECIFIED", stock{}},
		{"undo another's", at0(v(1, 1990, false)), undo("prd_2", 1), "", "CONFLICT", free(7)},
		{"undo what is newer", at0(v(2, 1990, false)), undo("prd_1", 1), "", "CONFLICT", free(7)},
		{"undo what is on sale", at0(v(1, 1990, true)), undo("prd_1", 1), "", "ILLEGAL_TRANSITION", free(7)},
		{"undo what is held", at0(v(1, 1990, true), reserve("o1", 1), v(2, 1990, false)), undo("prd_1", 2), "", "ILLEGAL_TRANSITION", stock{available: 6, held: 1}},
		{"undo what is sold", at0(v(1, 1990, true), reserve("o1", 1), confirm("o1", 1), v(2, 1990, false)), undo("prd_1", 2), "", "ILLEGAL_TRANSITION", stock{available: 6, committed: 1}},
		{"again after undo", at0(v(1, 1990, false), undo("prd_1", 1)), other, "Configured", "UNSPECIFIED", stock{}},
		{"stock again after undo", at0(v(1, 1990, false), undo("prd_1", 1)), v(1, 1990, false), "Configured, Replenished", "UNSPECIFIED", free(7)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := given(t, tt.given)
			events, reply := decide(t, s, tt.cmd, t0)
			if names(events) != tt.events || reasonOf(reply) != tt.reason || s.stock != tt.after {
				t.Fatalf("%s; %s (%s); %+v\nwant %s; %s; %+v", names(events), reasonOf(reply), refusalOf(reply).GetMessage(), s.stock, tt.events, tt.reason, tt.after)
			}
			c, ok := reply.(*skupb.ConfigureReply)
			if !ok || c.GetRefusal() != nil {
				return
			}
			_, level := decide(t, s, &skupb.GetLevel{}, t0)
			if diff := cmp.Diff(level.(*skupb.StockReply).GetLevel(), c.GetLevel(), protocmp.Transform()); diff != "" {
				t.Errorf("answered another level than there is: %s", diff)
			}
		})
	}
	for _, id := range []string{"", "a b", "a/b", "a.b", "ä", strings.Repeat("x", 65), "a\x00"} {
		if _, reply := decide(t, New(id), onSale(1), t0); reasonOf(reply) != "INVALID" {
			t.Errorf("SKU %q: %v", id, reply)
		}
	}
}

// A release of what nobody claims says so: there is no stock to be told of.
func TestReleaseOfAnUnclaimedSKU(t *testing.T) {
	for name, tt := range map[string]struct {
		given     []step
		unclaimed bool
	}{
		"never claimed": {nil, true},
		"claimed":       {at0(claim(0)), false},
		"given up":      {at0(claim(3), &skupb.Unconfigure{ProductId: "prd_1"}), true},
	} {
		events, _ := decide(t, given(t, tt.given), release("o1"), t0)
		if len(events) != 1 || events[0].GetReleaseRemembered() == nil || events[0].GetReleaseRemembered().GetUnclaimed() != tt.unclaimed {
			t.Errorf("%s: %v", name, events)
		}
	}
}
