package order_test

import (
	"stampede/actors/sku"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// books are what an order's events mean to whoever counts units and money, kept
// without looking at the order: what was bought, what has left, what came back.
type books struct {
	read     int // events of the journal so far
	lines    map[string]*bookLine
	price    int64
	captured int64
	refunded int64
	restock  bool // of the refund that is requested
	asked    map[string]int64
}

type bookLine struct{ bought, left, gone, back, aside, refunded int64 }

// keep reads what was written since.
func (b *books) keep(fail func(string, ...any), journal []*orderpb.Event) {
	for ; b.read < len(journal); b.read++ {
		switch e := journal[b.read].GetEvent().(type) {
		case *orderpb.Event_Placed:
			for _, l := range e.Placed.GetLines() {
				b.lines[l.GetSku()] = &bookLine{bought: l.GetQuantity()}
			}
		case *orderpb.Event_Confirmed:
			for _, l := range b.lines {
				l.left = l.bought
			}
		case *orderpb.Event_Cancelled:
			for _, l := range b.lines {
				l.left = 0
			}
		case *orderpb.Event_PaymentCaptured:
			b.captured += e.PaymentCaptured.GetAmount().GetMinorUnits()
		case *orderpb.Event_Fulfilled:
			for _, m := range e.Fulfilled.GetLines() {
				l := b.lines[m.GetSku()]
				l.left -= m.GetQuantity()
				l.gone += m.GetQuantity()
			}
		case *orderpb.Event_RefundRequested:
			b.restock, b.asked = e.RefundRequested.GetRestock(), map[string]int64{}
			for _, m := range e.RefundRequested.GetLines() {
				b.asked[m.GetSku()] = m.GetQuantity()
			}
		case *orderpb.Event_Refunded:
			b.refund(fail, e.Refunded)
		}
		for id, l := range b.lines {
			if l.left < 0 || l.gone < 0 || l.refunded > l.bought {
				fail("event %d leaves %s with %+v", b.read+1, id, *l)
			}
		}
		if b.refunded > b.captured {
			fail("event %d: %d are refunded of %d", b.read+1, b.refunded, b.captured)
		}
	}
}

// refund takes units that have not left first.
func (b *books) refund(fail func(string, ...any), e *orderpb.Refunded) {
	money := int64(0)
	for id, n := range b.asked {
		l := b.lines[id]
		stay := min(n, l.left)
		l.left -= stay
		l.refunded += n
		if b.restock {
			l.back += n - stay
		} else {
			l.aside += stay
		}
		money += n * b.price
	}
	if b.refunded += money; e.GetAmount().GetMinorUnits() != money || e.GetTotal().GetMinorUnits() != b.refunded {
		fail("refunded %v for %d", e, money)
	}
}

// checkBooks holds the SKUs and the bank against the books. While a move is
// under way they may be one move behind or ahead; the sums hold always.
func (d *walk) checkBooks() {
	d.books.keep(d.fail, d.journal)
	o := d.order()
	resting := o.GetOpenMove() == nil
	for _, id := range d.skuIDs() {
		k := sku.Snapshot(d.skus[id]).(*skupb.State).GetStock()
		if k.GetAvailable() < 0 || k.GetHeld() < 0 || k.GetCommitted() < 0 || k.GetUnavailable() < 0 {
			d.fail("%s has %v", id, k)
		}
		l := d.books.lines[id]
		if l == nil {
			l = &bookLine{}
		}
		want := d.initial[id] - l.gone + l.back
		got := k.GetAvailable() + k.GetHeld() + k.GetCommitted() + k.GetUnavailable()
		if resting && (got != want || k.GetUnavailable() != l.aside) {
			d.fail("%s has %d on hand (%v), the books say %d and %+v", id, got, k, want, *l)
		}
	}
	var captured, refunded int64
	for _, k := range d.bank {
		captured += k.amount
		for _, n := range k.refunds {
			refunded += max(n, 0)
		}
	}
	switch {
	case refunded > captured:
		d.fail("the bank has given back %d of %d", refunded, captured)
	case d.books.refunded > refunded || resting && d.books.refunded != refunded:
		d.fail("the bank has given back %d, the books say %d", refunded, d.books.refunded)
	case d.books.captured > captured:
		d.fail("the bank has taken %d, the books say %d", captured, d.books.captured)
	}
	if o.GetPayment().GetRefunded().GetMinorUnits() != d.books.refunded || o.GetPayment().GetCaptured().GetMinorUnits() != d.books.captured {
		d.fail("the order says %v, the books %d and %d", o.GetPayment(), d.books.captured, d.books.refunded)
	}
}
