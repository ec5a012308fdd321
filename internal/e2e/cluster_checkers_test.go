package e2e

// The checks of a cluster's history are checked themselves: a history that could
// have happened passes, and each way to doctor it is noticed.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// evidenceOf is everything that is judged.
type evidenceOf struct {
	history     []entry
	orders      map[string]*order
	levels      map[string]*level
	orderEvents map[string][]published
	stockEvents map[string][]published
}

func (w *evidenceOf) judge() error {
	stock := map[string]int{"S": 5}
	for _, err := range []error{
		checkAcknowledged(w.history, stock), checkReadBack(w.history, w.orders), checkConserved(w.history, w.levels, stock),
		checkPublished(w.history, w.orderEvents, w.stockEvents),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func event(key, kind string, sequence int, value string) published {
	return published{kind: kind, id: fmt.Sprintf("%s/%d", key, sequence), sequence: fmt.Sprintf("%020d", sequence), value: value}
}

// honest is three orders of one SKU, one of them paid, a look, and a refusal.
func honest() *evidenceOf {
	version := func(v int64) *int64 { return &v }
	line := func(units int, v int64) []orderLine {
		return []orderLine{{SKU: "S", Quantity: units, SKUVersion: version(v)}}
	}
	of := func(id string) string { return `{"sku":"S","orderId":"` + id + `"}` }
	return &evidenceOf{
		history: []entry{
			{operation: reserved(1, 0, 10, 3), key: "a", sku: "S", order: "oa"},
			{operation: reserved(1, 5, 20, 4), key: "b", sku: "S", order: "ob", paid: true},
			{operation: seen(3, 1, 21, 22, 4), key: "l", sku: "S"},
			{operation: reserved(2, 30, 40, 5), key: "c", sku: "S", order: "oc"},
			{operation: refusedWith(1, 2, 50, 60), key: "d", sku: "S"},
		},
		orders: map[string]*order{
			"oa": {ID: "oa", State: "RESERVED", Lines: line(1, 3)}, "ob": {ID: "ob", State: "CONFIRMED", Lines: line(1, 4)},
			"oc": {ID: "oc", State: "RESERVED", Lines: line(2, 5)},
		},
		levels: map[string]*level{"S": {SKU: "S", OnHand: 5, Available: 1, Held: 3, Committed: 1}},
		orderEvents: map[string][]published{
			"oa": {event("oa", "OrderPlaced", 1, ""), event("oa", "OrderReserved", 2, "")},
			"ob": {
				event("ob", "OrderPlaced", 1, ""), event("ob", "OrderReserved", 2, ""), event("ob", "OrderPlaced", 1, ""),
				event("ob", "PaymentAuthorized", 3, ""), event("ob", "OrderConfirmed", 4, ""),
			},
			"oc": {event("oc", "OrderPlaced", 1, ""), event("oc", "OrderReserved", 2, "")},
		},
		stockEvents: map[string][]published{"S": {
			event("S", "SkuConfigured", 1, ""), event("S", "StockAdjusted", 2, ""), event("S", "StockReserved", 3, of("oa")),
			event("S", "StockReserved", 4, of("ob")), event("S", "StockReserved", 4, of("ob")), event("S", "StockReserved", 5, of("oc")),
		}},
	}
}

func TestClusterCheckersAreNotFooled(t *testing.T) {
	if err := honest().judge(); err != nil {
		t.Fatalf("a history that could have happened: %v", err)
	}
	for _, c := range []struct {
		name   string
		doctor func(*evidenceOf)
		says   string
	}{
		{"an order is lost", func(w *evidenceOf) { delete(w.orders, "ob") }, "is not there"},
		{"an order is another one", func(w *evidenceOf) { w.orders["oa"].Lines[0].Quantity = 2 }, "was acknowledged as"},
		{"an order has gone back", func(w *evidenceOf) { w.orders["ob"].State = "RESERVED" }, "was acknowledged as"},
		{"an order was reserved again", func(w *evidenceOf) { *w.orders["oc"].Lines[0].SKUVersion = 6 }, "was acknowledged as"},
		{"two keys, one order", func(w *evidenceOf) { w.history[1].order = "oa" }, "acknowledged for a and for b"},
		{"an acknowledgement without an order", func(w *evidenceOf) { w.history[1].order = "" }, "acknowledged for"},
		{"two owners gave one version", func(w *evidenceOf) { w.history[1].version = 3 }, "one version"},
		{"a later order has an earlier version", func(w *evidenceOf) { w.history[3].version, w.history[1].version = 4, 5 }, "disagree"},
		{"a node answered from the past", func(w *evidenceOf) { w.history[2].version = 3 }, "disagree"},
		{"oversold", func(w *evidenceOf) { w.history[3].units = 4 }, "oversold"},
		{"a unit was lost", func(w *evidenceOf) { w.levels["S"].Available-- }, "not conserved"},
		{"a unit was made", func(w *evidenceOf) { w.levels["S"].OnHand++; w.levels["S"].Available++ }, "were acknowledged"},
		{"a unit is held by nobody", func(w *evidenceOf) { w.levels["S"].Available--; w.levels["S"].Held++ }, "were acknowledged"},
		{"a unit was given back", func(w *evidenceOf) { w.levels["S"].Available++; w.levels["S"].Held-- }, "were acknowledged"},
		{"no level", func(w *evidenceOf) { delete(w.levels, "S") }, "no level"},
		{"an order's event is missing", func(w *evidenceOf) { w.orderEvents["ob"] = slices.Delete(w.orderEvents["ob"], 1, 2) }, "where"},
		{"an order's last event is missing", func(w *evidenceOf) { w.orderEvents["oa"] = w.orderEvents["oa"][:1] }, "has no OrderReserved"},
		{"events are out of order", func(w *evidenceOf) { s := w.stockEvents["S"]; s[2], s[3] = s[3], s[2] }, "where"},
		{"a gap in a SKU's events", func(w *evidenceOf) { w.stockEvents["S"] = slices.Delete(w.stockEvents["S"], 1, 2) }, "where"},
		{"two events have one id", func(w *evidenceOf) { w.stockEvents["S"][4].value = `{"orderId":"oz"}` }, "was not the same"},
		{"an order reserved twice", func(w *evidenceOf) {
			w.stockEvents["S"] = append(w.stockEvents["S"], event("S", "StockReserved", 6, `{"orderId":"oa"}`))
		}, "the topic says"},
		{"an order never reserved", func(w *evidenceOf) { w.stockEvents["S"] = w.stockEvents["S"][:5] }, "the topic says"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := honest()
			c.doctor(w)
			if err := w.judge(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the checks say %v, and should say %q", err, c.says)
			}
		})
	}
	t.Run("an unknown outcome may be done or not", func(t *testing.T) {
		for _, held := range []int{3, 4} {
			w := honest()
			w.history = append(w.history, entry{operation: givenUp(reserved(1, 70, 80, 0)), key: "e", sku: "S"})
			w.levels["S"].Held, w.levels["S"].Available = held, 4-held
			if err := w.judge(); err != nil {
				t.Errorf("%d held: %v", held, err)
			}
		}
	})
}
