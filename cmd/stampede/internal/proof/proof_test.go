package proof

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/cmd/stampede/internal/shop"
)

// honest builds the history of a sale that went right: each SKU has units and
// is wanted by shoppers one after the other, half of them overlapping.
func honest(skus, units, shoppers int) *History {
	h := &History{Units: map[string]int{}, ReadBack: map[string]shop.Order{}, Levels: map[string]shop.Level{}}
	start := time.Date(2030, 11, 29, 9, 0, 0, 0, time.UTC)
	n := 0
	for s := range skus {
		sku := fmt.Sprintf("SKU-%d", s)
		h.Units[sku] = units
		level := shop.Level{SKU: sku, OnHand: units, Available: units, Version: 1}
		h.publishStock(level, "SkuConfigured", "")
		for i := range shoppers {
			at := start.Add(time.Duration(n) * time.Millisecond)
			a := Attempt{
				Shopper: n, Key: fmt.Sprintf("key-%d", n), SKU: sku, Quantity: 1,
				Sent: at, Answered: at.Add(1500 * time.Microsecond),
			}
			n++
			if i >= units {
				a.Answer = shop.Answer{Kind: shop.Refused, Reason: insufficientStock}
				h.Attempts = append(h.Attempts, a)
				continue
			}
			level.Available--
			level.Held++
			level.Version++
			order := shop.Order{
				ID: fmt.Sprintf("order-%d", n), State: "RESERVED", Total: shop.Money{Amount: "9.90", Currency: "EUR"},
				Lines: []shop.Line{{SKU: sku, Quantity: 1, SKUVersion: level.Version}},
			}
			a.Answer = shop.Answer{Kind: shop.Accepted, Order: &order}
			h.Attempts = append(h.Attempts, a)
			h.ReadBack[order.ID] = order
			h.publishStock(level, stockReserved, order.ID)
			h.publishOrder(order.ID, 1, "OrderPlaced")
			h.publishOrder(order.ID, 2, orderReserved)
		}
		level.Version++
		h.publishStock(level, "StockDepleted", "")
		h.Levels[sku] = level
	}
	for i := range h.Attempts {
		h.Repeats = append(h.Repeats, Repeat{Attempt: i, Answer: h.Attempts[i].Answer})
	}
	return h
}

func (h *History) publishStock(level shop.Level, kind, order string) {
	h.Events = append(h.Events, Event{
		Topic: StockTopic, Key: level.SKU, Type: kind, Sequence: level.Version,
		ID: fmt.Sprintf("sku/%s/%d", level.SKU, level.Version), OrderID: order, Quantity: min(1, len(order)), Level: &level,
	})
}

func (h *History) publishOrder(id string, sequence int64, kind string) {
	h.Events = append(h.Events, Event{Topic: OrdersTopic, Key: id, Type: kind, Sequence: sequence, ID: fmt.Sprintf("order/%s/%d", id, sequence)})
}

// find returns the index of the first event of a type.
func (h *History) find(kind string) int {
	for i := range h.Events {
		if h.Events[i].Type == kind {
			return i
		}
	}
	panic("no event " + kind)
}

func TestAnHonestSaleHolds(t *testing.T) {
	for _, c := range []struct{ skus, units, shoppers int }{{1, 3, 10}, {4, 5, 5}, {3, 10, 4}, {1, 0, 3}} {
		h := honest(c.skus, c.units, c.shoppers)
		v := Prove(h)
		if !v.Holds() || !v.Conserved {
			t.Errorf("%+v: %v", c, v.Violations)
		}
		sold := min(c.units, c.shoppers) * c.skus
		want := &Verdict{
			Units: c.units * c.skus, Shoppers: c.shoppers * c.skus, Accepted: sold, Refused: map[string]int{},
			Conserved: true, EventsSeen: 3*sold + 2*c.skus,
		}
		if refused := c.shoppers*c.skus - sold; refused > 0 {
			want.Refused[insufficientStock] = refused
		}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
	}
}

// Repetitions are allowed, whole and in part, and so are the events of others.
func TestRepeatedEventsAreAllowed(t *testing.T) {
	h := honest(2, 3, 6)
	n := len(h.Events)
	h.Events = append(h.Events, h.Events[n-7:]...)
	h.Events = append(h.Events, h.Events...)
	h.Events = append(h.Events, Event{Topic: StockTopic, Key: "OTHER", Sequence: 77}, Event{Topic: OrdersTopic, Key: "other", Sequence: 9})
	v := Prove(h)
	if !v.Holds() || v.EventsSeen != 2*(n+7) || v.EventsRepeated != n+14 {
		t.Errorf("seen %d, repeated %d, %v", v.EventsSeen, v.EventsRepeated, v.Violations)
	}
}

// Each doctored history breaks one promise, and the proof must say which.
func TestDoctoredHistoriesFail(t *testing.T) {
	const accepted, refused = 1, 4 // indexes of attempts
	accept := func(h *History, i int, version int64) {
		a := &h.Attempts[i]
		order := shop.Order{
			ID: "extra", State: "RESERVED", Total: shop.Money{Amount: "9.90", Currency: "EUR"},
			Lines: []shop.Line{{SKU: a.SKU, Quantity: 1, SKUVersion: version}},
		}
		a.Answer = shop.Answer{Kind: shop.Accepted, Order: &order}
		h.ReadBack[order.ID] = order
		h.Repeats[i].Answer = a.Answer
	}
	for _, c := range []struct {
		name   string
		doctor func(h *History)
		says   string
		check  func(v *Verdict) bool
	}{
		{"one unit too many", func(h *History) { accept(h, refused, 9) }, "4 units were accepted, but there were 3", func(v *Verdict) bool { return v.Oversold == 1 }},
		{"two get the same unit", func(h *History) { accept(h, refused, 3) }, "both given version 3", func(v *Verdict) bool { return v.Duplicates == 1 }},
		{
			"one order for two shoppers",
			func(h *History) { h.Attempts[2].Answer.Order = h.Attempts[1].Answer.Order },
			"were acknowledged the same order", func(v *Verdict) bool { return v.Duplicates >= 1 },
		},
		{
			"refused while units are left",
			func(h *History) {
				h.Attempts[2].Answer = shop.Answer{Kind: shop.Refused, Reason: insufficientStock}
				h.Repeats[2].Answer = h.Attempts[2].Answer
			},
			"2 units were accepted, but 3 were wanted and there", func(v *Verdict) bool { return v.Unsold == 1 && v.Phantoms == 1 },
		},
		{
			"refused for another reason",
			func(h *History) {
				h.Attempts[refused].Answer.Reason = "NOT_FOUND"
				h.Repeats[refused].Answer.Reason = "NOT_FOUND"
			},
			"refused with NOT_FOUND", nil,
		},
		{
			"never answered",
			func(h *History) { h.Attempts[refused].Answer = shop.Answer{Kind: shop.Retry, Reason: "HTTP_503"} },
			"shopper 4 got no decision", func(v *Verdict) bool { return v.Unanswered == 1 },
		},
		{
			"another order than was asked for",
			func(h *History) {
				order := *h.Attempts[accepted].Answer.Order
				order.Lines = []shop.Line{{SKU: "SKU-0", Quantity: 2, SKUVersion: 3}}
				h.Attempts[accepted].Answer.Order = &order
			},
			"is not what was asked for", nil,
		},
		{
			"acknowledged and gone",
			func(h *History) { delete(h.ReadBack, h.Attempts[accepted].Answer.Order.ID) },
			"is not there", func(v *Verdict) bool { return v.Lost == 1 },
		},
		{
			"acknowledged and changed",
			func(h *History) {
				order := h.ReadBack[h.Attempts[accepted].Answer.Order.ID]
				order.Lines = []shop.Line{{SKU: "SKU-0", Quantity: 1, SKUVersion: 8}}
				h.ReadBack[order.ID] = order
			},
			"was acknowledged as", func(v *Verdict) bool { return v.Lost == 1 },
		},
		{
			"another total",
			func(h *History) {
				order := h.ReadBack[h.Attempts[accepted].Answer.Order.ID]
				order.Total.Amount = "9.91"
				h.ReadBack[order.ID] = order
			},
			"was acknowledged as", func(v *Verdict) bool { return v.Lost == 1 },
		},
		{
			"a repeated key buys again",
			func(h *History) {
				order := *h.Attempts[accepted].Answer.Order
				order.ID = "second"
				h.Repeats[accepted].Answer.Order = &order
			},
			"with the same key again", func(v *Verdict) bool { return v.Duplicates == 1 },
		},
		{
			"a refused key is accepted later",
			func(h *History) { h.Repeats[refused].Answer = h.Attempts[accepted].Answer },
			"was told INSUFFICIENT_STOCK, and with the same key again", func(v *Verdict) bool { return v.Duplicates == 1 },
		},
		{
			"an order without its event",
			func(h *History) { i := h.find(orderReserved); h.Events = append(h.Events[:i], h.Events[i+1:]...) },
			"its OrderReserved was not published", func(v *Verdict) bool { return v.EventsMissing == 1 },
		},
		{
			"a reservation without its event",
			func(h *History) { i := h.find(stockReserved); h.Events = append(h.Events[:i], h.Events[i+1:]...) },
			"sequence 3 came after 1", func(v *Verdict) bool { return v.EventsMissing == 2 },
		},
		{
			"the last events are missing",
			func(h *History) { i := h.find("StockDepleted"); h.Events = append(h.Events[:i], h.Events[i+1:]...) },
			"events came only up to version 4", func(v *Verdict) bool { return v.EventsMissing == 1 },
		},
		{
			"no events at all", func(h *History) { h.Events = nil },
			"events came only up to version 0", func(v *Verdict) bool { return v.EventsMissing == 14 },
		},
		{
			"events out of order",
			func(h *History) {
				i, j := h.find("OrderPlaced"), h.find(orderReserved)
				h.Events[i], h.Events[j] = h.Events[j], h.Events[i]
			},
			"sequence 2 came after 0", nil,
		},
		{
			"one sequence, two events",
			func(h *History) {
				e := h.Events[h.find("OrderPlaced")]
				e.ID = "another"
				h.Events = append(h.Events, e)
			},
			"and as another", nil,
		},
		{
			"an event says another version",
			func(h *History) {
				i := h.find(stockReserved)
				h.Events[i].OrderID, h.Events[i+3].OrderID = h.Events[i+3].OrderID, h.Events[i].OrderID
			},
			"but its event says", nil,
		},
		{
			"units held for an order that nobody knows",
			func(h *History) { h.Events[h.find("StockDepleted")].Type = stockReserved },
			"but nobody was told so", func(v *Verdict) bool { return v.Phantoms == 1 },
		},
		{
			"a unit vanished",
			func(h *History) { l := h.Levels["SKU-0"]; l.OnHand--; l.Held--; h.Levels["SKU-0"] = l },
			"2 units on hand, but there were 3", func(v *Verdict) bool { return !v.Conserved },
		},
		{
			"the states do not add up",
			func(h *History) { l := h.Levels["SKU-0"]; l.Available++; h.Levels["SKU-0"] = l },
			"add up to 4", func(v *Verdict) bool { return !v.Conserved },
		},
		{
			"held for nobody",
			func(h *History) { l := h.Levels["SKU-1"]; l.Held--; l.Available++; h.Levels["SKU-1"] = l },
			"2 units are held or committed, but orders for 3", func(v *Verdict) bool { return !v.Conserved },
		},
		{
			"negative stock",
			func(h *History) { l := h.Levels["SKU-1"]; l.Unavailable, l.Available = 1, -1; h.Levels["SKU-1"] = l },
			"a state is negative", func(v *Verdict) bool { return !v.Conserved },
		},
		{"no level", func(h *History) { delete(h.Levels, "SKU-1") }, "its stock level is not there", func(v *Verdict) bool { return !v.Conserved }},
		{
			"the last event has another level",
			func(h *History) { h.Events[h.find("StockDepleted")].Level.Unavailable = 5 },
			"the last event says", nil,
		},
		{
			"accepted after the sale was over",
			func(h *History) {
				a := &h.Attempts[2]
				a.Sent, a.Answered = a.Sent.Add(time.Hour), a.Answered.Add(time.Hour)
			},
			"was accepted after shopper 3 had been refused", nil,
		},
		{
			"versions against the clock",
			func(h *History) {
				h.Attempts[0].Answer, h.Attempts[2].Answer = h.Attempts[2].Answer, h.Attempts[0].Answer
				h.Repeats[0].Answer, h.Repeats[2].Answer = h.Repeats[2].Answer, h.Repeats[0].Answer
			},
			"was given version 2 after version 4 had been acknowledged", nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := honest(2, 3, 6)
			c.doctor(h)
			v := Prove(h)
			if v.Holds() {
				t.Fatal("the proof holds")
			}
			if all := strings.Join(v.Violations, "\n"); !strings.Contains(all, c.says) {
				t.Errorf("want %q among\n%s", c.says, all)
			}
			if c.check != nil && !c.check(v) {
				t.Errorf("figures: %+v", v)
			}
		})
	}
}

// Thousands of violations are counted, not listed.
func TestViolationsAreBounded(t *testing.T) {
	h := honest(1, 500, 500)
	h.ReadBack = nil
	v := Prove(h)
	if v.Lost != 500 || len(v.Violations) != maxViolations || v.Suppressed != 500-maxViolations {
		t.Errorf("lost %d, listed %d, suppressed %d", v.Lost, len(v.Violations), v.Suppressed)
	}
}
