package proof

import (
	"maps"
	"slices"

	"stampede/cmd/stampede/internal/shop"
)

// whereabouts is where a SKU's units are, by what the API says of the orders
// and what the staff was acknowledged.
type whereabouts struct {
	held, committed, unavailable, left int
	// taken are those that a sale does not get back.
	taken int
}

// checkUnits holds the levels against the orders: initial = available + held +
// committed + unavailable + left.
func (p *tradeProver) checkUnits() {
	units := map[string]*whereabouts{}
	for sku := range p.h.Stock {
		units[sku] = &whereabouts{}
	}
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		if o, ok := p.h.Final[id]; ok {
			p.place(units, p.orders[id], &o)
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(p.h.Stock)) {
		w, initial := units[sku], p.h.Stock[sku]
		if out := w.held + w.committed + w.unavailable + w.left; out > initial {
			p.v.Oversold += out - initial
		}
		level, ok := p.h.Levels[sku]
		if !ok {
			p.v.Conserved = false
			p.violated("%s: its stock level is not there", sku)
			continue
		}
		want := shop.Level{
			SKU: sku, OnHand: initial - w.left, Held: w.held, Committed: w.committed, Unavailable: w.unavailable, Version: level.Version,
			Available: initial - w.left - w.held - w.committed - w.unavailable,
		}
		if level != want {
			p.v.Conserved = false
			p.violated("%s began with %d units, %d have left; the orders make its stock %+v, the API says %+v", sku, initial, w.left, want, level)
		}
		p.checkRemaining(sku, w)
	}
}

// place puts an order's units where its state and the staff's acts have put them.
func (p *tradeProver) place(units map[string]*whereabouts, o *Placed, found *shop.Trade) {
	lines := map[string]*lineUnits{}
	for _, l := range found.Lines {
		lines[l.SKU] = &lineUnits{left: l.Quantity}
	}
	for _, m := range o.Moves {
		for _, l := range m.Lines {
			if on := lines[l.SKU]; on != nil {
				on.move(m, l.Quantity)
			}
		}
	}
	for _, l := range found.Lines {
		w, moved := units[l.SKU], lines[l.SKU]
		if w == nil {
			p.violated("order %s has %s, which is not sold here", found.ID, l.SKU)
			continue
		}
		if l.Fulfilled != moved.fulfilled || l.Refunded != moved.refunded {
			p.v.Lost++
			p.violated("order %s: of %s %d units are fulfilled and %d refunded, the staff was acknowledged %d and %d",
				found.ID, l.SKU, l.Fulfilled, l.Refunded, moved.fulfilled, moved.refunded)
		}
		p.v.UnitsFulfilled += moved.fulfilled
		p.v.UnitsRefunded += moved.refunded
		switch {
		case wasConfirmed(found):
			w.committed += moved.left
			w.unavailable += moved.aside
			w.left += moved.outside
			w.taken += l.Quantity - moved.restocked
		case found.State == stateReserved || found.State == statePaying:
			w.held += l.Quantity
			w.taken += l.Quantity
		}
	}
}

// lineUnits are a line's units as they are moved. Of a refund, those that are
// still there come first.
type lineUnits struct {
	left, outside, aside           int
	fulfilled, refunded, restocked int
}

func (l *lineUnits) move(m Move, quantity int) {
	if !m.Refund {
		l.left -= quantity
		l.outside += quantity
		l.fulfilled += quantity
		return
	}
	l.refunded += quantity
	here := min(quantity, l.left)
	l.left -= here
	switch {
	case m.Restock:
		l.restocked += quantity
		l.outside -= quantity - here
	default:
		l.aside += here
	}
}

// checkRemaining holds what a sale says it has left against what it sold.
func (p *tradeProver) checkRemaining(sku string, w *whereabouts) {
	s := p.h.Sale
	if s == nil {
		return
	}
	for _, item := range s.Final.Items {
		if item.Variant.SKU != sku {
			continue
		}
		p.v.Remaining += item.Remaining
		if want := s.Allocation[sku] - w.taken; item.Remaining != want || item.Allocation != s.Allocation[sku] {
			p.v.SaleSettled = false
			p.violated("%s: the sale has %d of %d units left, but the orders leave it %d of %d", sku, item.Remaining, item.Allocation, want, s.Allocation[sku])
		}
		return
	}
	p.v.SaleSettled = false
	p.violated("%s: the sale does not have it", sku)
}
