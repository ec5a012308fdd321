package e2e

// What must be so after a cluster was treated badly, whoever it was made of. The
// checks know what was acknowledged and what the API and the topics say, and
// nothing of nodes, leases or journals.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkAcknowledged finds what cannot be in what the shoppers were told: two
// orders under one key, or one for two; two reservations of a SKU with one
// version; versions against real time; more units than there were.
func checkAcknowledged(history []entry, stock map[string]int) error {
	var wrong []error
	keyOf, bySKU, sold := map[string]string{}, map[string][]operation{}, map[string]int{}
	for _, e := range history {
		if _, known := stock[e.sku]; !known {
			wrong = append(wrong, fmt.Errorf("a SKU that there is not: %v of %s", e.operation, e.sku))
		}
		bySKU[e.sku] = append(bySKU[e.sku], e.operation)
		if e.action != reserve || e.outcome != done {
			continue
		}
		sold[e.sku] += e.units
		if other, taken := keyOf[e.order]; taken || e.order == "" {
			wrong = append(wrong, fmt.Errorf("order %q was acknowledged for %s and for %s", e.order, other, e.key))
		}
		keyOf[e.order] = e.key
	}
	for sku, operations := range bySKU {
		if err := errors.Join(checkUnique(operations), checkRealTime(operations)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", sku, err))
		}
		if sold[sku] > stock[sku] {
			wrong = append(wrong, fmt.Errorf("%s is oversold: %d units were acknowledged of %d", sku, sold[sku], stock[sku]))
		}
	}
	return errors.Join(wrong...)
}

// checkReadBack compares what was acknowledged with the orders as one node has them.
func checkReadBack(history []entry, orders map[string]*order) error {
	var wrong []error
	for _, e := range history {
		if e.action != reserve || e.outcome != done {
			continue
		}
		state := "RESERVED"
		if e.paid {
			state = "CONFIRMED"
		}
		o := orders[e.order]
		switch {
		case o == nil:
			wrong = append(wrong, fmt.Errorf("order %s was acknowledged and is not there", e.order))
		case o.ID != e.order || o.State != state || len(o.Lines) != 1 || o.Lines[0].SKU != e.sku || o.Lines[0].Quantity != e.units ||
			o.Lines[0].SKUVersion == nil || *o.Lines[0].SKUVersion != e.version:
			wrong = append(wrong, fmt.Errorf("order %s was acknowledged as %s of %d %s at version %d and is %+v", e.order, state, e.units, e.sku, e.version, *o))
		}
	}
	return errors.Join(wrong...)
}

// checkConserved compares the levels with what was acknowledged. Units of
// requests whose outcome nobody knows may be gone, once each.
func checkConserved(history []entry, levels map[string]*level, stock map[string]int) error {
	var wrong []error
	taken, perhaps := map[string]int{}, map[string]int{}
	for _, e := range history {
		switch {
		case e.action == reserve && e.outcome == done:
			taken[e.sku] += e.units
		case e.action == reserve && e.outcome == unknown:
			perhaps[e.sku] += e.units
		}
	}
	for sku, initial := range stock {
		l := levels[sku]
		if l == nil {
			wrong = append(wrong, fmt.Errorf("%s has no level", sku))
			continue
		}
		gone := l.Held + l.Committed
		if err := l.conserved(); err != nil {
			wrong = append(wrong, err)
		}
		if l.OnHand != initial || gone < taken[sku] || gone > taken[sku]+perhaps[sku] {
			wrong = append(wrong, fmt.Errorf("%s: of %d units %d were acknowledged and %d may have been taken: %+v", sku, initial, taken[sku], perhaps[sku], *l))
		}
	}
	return errors.Join(wrong...)
}

// checkPublished compares what was acknowledged with the topics: every event of
// each key, in order of first occurrences and without a gap, and each
// reservation once, at the version that its shopper was told.
func checkPublished(history []entry, orders, stock map[string][]published) error {
	var wrong []error
	reserved := map[string]map[string][]string{} // by SKU: sequences by order
	for sku, events := range stock {
		if err := inOrder(events); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", sku, err))
		}
		reserved[sku] = map[string][]string{}
		for _, e := range events {
			id := e.field("orderId")
			if e.kind == "StockReserved" && !slices.Contains(reserved[sku][id], e.sequence) {
				reserved[sku][id] = append(reserved[sku][id], e.sequence)
			}
		}
	}
	for _, e := range history {
		if e.action != reserve || e.outcome != done {
			continue
		}
		if err := inOrder(orders[e.order]); err != nil {
			wrong = append(wrong, fmt.Errorf("order %s: %w", e.order, err))
		}
		if told := lacks(orders[e.order], e.paid); told != "" {
			wrong = append(wrong, fmt.Errorf("order %s has no %s: %v", e.order, told, orders[e.order]))
		}
		at := reserved[e.sku][e.order]
		if want := fmt.Sprintf("%020d", e.version); len(at) != 1 || at[0] != want {
			wrong = append(wrong, fmt.Errorf("order %s reserved %s at version %d, and the topic says %v", e.order, e.sku, e.version, at))
		}
	}
	return errors.Join(wrong...)
}

// lacks names an event that an order must have and has not.
func lacks(events []published, paid bool) string {
	needed := []string{"OrderPlaced", "OrderReserved"}
	if paid {
		needed = append(needed, "PaymentAuthorized", "OrderConfirmed")
	}
	for _, kind := range needed {
		if !slices.ContainsFunc(events, func(p published) bool { return p.kind == kind }) {
			return kind
		}
	}
	return ""
}

// field is a string of an event's JSON; empty if it has none. The value is not
// parsed whole: it is only looked for.
func (p published) field(name string) string {
	_, rest, ok := strings.Cut(p.value, `"`+name+`":"`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
