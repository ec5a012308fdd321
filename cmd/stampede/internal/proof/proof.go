package proof

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	"stampede/cmd/stampede/internal/shop"
)

// Prove judges a history. It checks that
//   - no SKU has more accepted units than it had, and none was left while
//     shoppers who wanted it were refused;
//   - the answers fit one order of events in real time: an order that was
//     answered before another was sent has the lower version, and nobody is
//     accepted who came after somebody was refused for want of stock;
//   - every acknowledged order is there and is what was acknowledged;
//   - a repeated key gets the same answer, and no two orders share a version
//     of a SKU;
//   - every accepted order was published once by its first occurrence, with the
//     SKU version that the shopper was told, in order and without gaps;
//   - every unit is accounted for.
func Prove(h *History) *Verdict {
	p := &prover{h: h, v: &Verdict{Refused: map[string]int{}, Shoppers: len(h.Attempts), Nodes: h.Nodes, Crashes: h.Crashes, Drained: h.Drained}}
	p.sortAnswers()
	p.checkUnits()
	p.checkVersions()
	p.checkRealTime()
	p.checkReadBack()
	p.checkRepeats()
	p.checkEvents()
	p.checkConservation()
	return p.v
}

type prover struct {
	h *History
	v *Verdict
	// accepted are the accepted attempts by SKU.
	accepted map[string][]*Attempt
	// orders are the accepted attempts by order id.
	orders map[string]*Attempt
}

func (p *prover) violated(format string, args ...any) {
	if len(p.v.Violations) == maxViolations {
		p.v.Suppressed++
		return
	}
	p.v.Violations = append(p.v.Violations, fmt.Sprintf(format, args...))
}

// sortAnswers counts what the shoppers were told.
func (p *prover) sortAnswers() {
	p.accepted, p.orders = map[string][]*Attempt{}, map[string]*Attempt{}
	for i := range p.h.Attempts {
		a := &p.h.Attempts[i]
		switch a.Answer.Kind {
		case shop.Accepted:
			p.v.Accepted++
			p.accept(a)
		case shop.Refused:
			p.v.Refused[a.Answer.Reason]++
			if a.Answer.Reason != insufficientStock {
				p.violated("shopper %d was refused with %s: nothing but a lack of stock may refuse here", a.Shopper, a.Answer.Reason)
			}
		case shop.Retry, shop.Failed:
			p.v.Unanswered++
			p.violated("shopper %d got no decision: %s", a.Shopper, a.Answer.Reason)
		}
	}
}

const insufficientStock = "INSUFFICIENT_STOCK"

func (p *prover) accept(a *Attempt) {
	p.accepted[a.SKU] = append(p.accepted[a.SKU], a)
	order := a.Answer.Order
	if order == nil || len(order.Lines) != 1 || order.Lines[0].SKU != a.SKU || order.Lines[0].Quantity != a.Quantity || order.Lines[0].SKUVersion < 1 {
		p.violated("shopper %d was acknowledged an order that is not what was asked for: %s", a.Shopper, describe(order))
		return
	}
	if other := p.orders[order.ID]; other != nil {
		p.v.Duplicates++
		p.violated("shoppers %d and %d were acknowledged the same order %s", other.Shopper, a.Shopper, order.ID)
		return
	}
	p.orders[order.ID] = a
}

// checkUnits compares what was accepted with what there was and what was wanted.
func (p *prover) checkUnits() {
	wanted := map[string]int{}
	for i := range p.h.Attempts {
		wanted[p.h.Attempts[i].SKU] += p.h.Attempts[i].Quantity
	}
	for _, sku := range slices.Sorted(maps.Keys(p.h.Units)) {
		units, sold := p.h.Units[sku], p.soldUnits(sku)
		p.v.Units += units
		if sold > units {
			p.v.Oversold += sold - units
			p.violated("%s: %d units were accepted, but there were %d", sku, sold, units)
		}
		if expected := min(units, wanted[sku]); sold < expected {
			p.v.Unsold += expected - sold
			p.violated("%s: %d units were accepted, but %d were wanted and there", sku, sold, expected)
		}
	}
}

func (p *prover) soldUnits(sku string) int {
	sold := 0
	for _, a := range p.accepted[sku] {
		sold += a.Quantity
	}
	return sold
}

// checkVersions looks for units that two orders were given: a version of a SKU
// belongs to one order.
func (p *prover) checkVersions() {
	for sku, attempts := range p.accepted {
		byVersion := map[int64]*Attempt{}
		for _, a := range attempts {
			version, ok := versionOf(a)
			if !ok {
				continue
			}
			if other := byVersion[version]; other != nil {
				p.v.Duplicates++
				p.violated("%s: shoppers %d and %d were both given version %d", sku, other.Shopper, a.Shopper, version)
			}
			byVersion[version] = a
		}
	}
}

func versionOf(a *Attempt) (int64, bool) {
	if a.Answer.Order == nil || len(a.Answer.Order.Lines) != 1 {
		return 0, false
	}
	return a.Answer.Order.Lines[0].SKUVersion, true
}

// checkRealTime holds the answers against the clock, a SKU at a time. Nothing
// is given back during a sale, so one refusal for want of stock ends it for
// everyone who comes later.
func (p *prover) checkRealTime() {
	for sku := range p.h.Units {
		sent := p.accepted[sku]
		slices.SortFunc(sent, func(a, b *Attempt) int { return a.Sent.Compare(b.Sent) })
		answered := slices.Clone(sent)
		slices.SortFunc(answered, func(a, b *Attempt) int { return a.Answered.Compare(b.Answered) })

		firstRefusal := p.firstRefusal(sku)
		newest, next := int64(0), 0
		for _, a := range sent {
			for ; next < len(answered) && answered[next].Answered.Before(a.Sent); next++ {
				if version, ok := versionOf(answered[next]); ok {
					newest = max(newest, version)
				}
			}
			if version, ok := versionOf(a); ok && version < newest {
				p.violated("%s: shopper %d was given version %d after version %d had been acknowledged", sku, a.Shopper, version, newest)
			}
			if firstRefusal != nil && firstRefusal.Answered.Before(a.Sent) {
				p.violated("%s: shopper %d was accepted after shopper %d had been refused for want of stock", sku, a.Shopper, firstRefusal.Shopper)
			}
		}
	}
}

// firstRefusal is the refusal that was answered first, or nil.
func (p *prover) firstRefusal(sku string) *Attempt {
	var first *Attempt
	for i := range p.h.Attempts {
		a := &p.h.Attempts[i]
		if a.SKU != sku || a.Answer.Kind != shop.Refused || a.Answer.Reason != insufficientStock {
			continue
		}
		if first == nil || a.Answered.Before(first.Answered) {
			first = a
		}
	}
	return first
}

// checkReadBack looks for acknowledged orders that are gone or have changed.
func (p *prover) checkReadBack() {
	for _, id := range sortedKeys(p.orders) {
		told := p.orders[id].Answer.Order
		found, ok := p.h.ReadBack[id]
		switch {
		case !ok:
			p.v.Lost++
			p.violated("order %s was acknowledged and is not there", id)
		case !same(told, &found):
			p.v.Lost++
			p.violated("order %s was acknowledged as %s and is %s", id, describe(told), describe(&found))
		}
	}
}

// checkRepeats looks for keys that gave another answer the second time.
func (p *prover) checkRepeats() {
	for _, repeat := range p.h.Repeats {
		first := &p.h.Attempts[repeat.Attempt]
		if first.Answer.Kind != shop.Accepted && first.Answer.Kind != shop.Refused {
			continue // never decided: reported already
		}
		if repeat.Answer.Kind != first.Answer.Kind || repeat.Answer.Reason != first.Answer.Reason || !same(first.Answer.Order, repeat.Answer.Order) {
			p.v.Duplicates++
			p.violated("shopper %d was told %s, and with the same key again %s", first.Shopper, tell(first.Answer), tell(repeat.Answer))
		}
	}
}

// checkConservation accounts for every unit at the end of the sale.
func (p *prover) checkConservation() {
	p.v.Conserved = true
	broken := func(format string, args ...any) {
		p.v.Conserved = false
		p.violated(format, args...)
	}
	for _, sku := range slices.Sorted(maps.Keys(p.h.Units)) {
		units, sold := p.h.Units[sku], p.soldUnits(sku)
		level, ok := p.h.Levels[sku]
		if !ok {
			broken("%s: its stock level is not there", sku)
			continue
		}
		if sum := level.Available + level.Held + level.Committed + level.Unavailable; sum != level.OnHand {
			broken("%s: %d units on hand, but the states add up to %d", sku, level.OnHand, sum)
		}
		if level.OnHand != units {
			broken("%s: %d units on hand, but there were %d", sku, level.OnHand, units)
		}
		if taken := level.Held + level.Committed; taken != sold {
			broken("%s: %d units are held or committed, but orders for %d were acknowledged", sku, taken, sold)
		}
		if level.Available < 0 || level.Held < 0 || level.Committed < 0 || level.Unavailable < 0 {
			broken("%s: a state is negative: %+v", sku, level)
		}
	}
}

// same compares what a shopper can rely on.
func same(a, b *shop.Order) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.State == b.State && a.Total == b.Total && slices.Equal(a.Lines, b.Lines)
}

func describe(o *shop.Order) string {
	if o == nil {
		return "no order"
	}
	return fmt.Sprintf("%s %s %s %s %+v", o.ID, o.State, o.Total.Amount, o.Total.Currency, o.Lines)
}

func tell(a shop.Answer) string {
	switch a.Kind {
	case shop.Accepted:
		return describe(a.Order)
	case shop.Refused:
		return a.Reason
	case shop.Retry, shop.Failed:
	}
	return "nothing (" + a.Reason + ")"
}

func sortedKeys(m map[string]*Attempt) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
