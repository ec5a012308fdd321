package proof

// What the payment provider has in its own books, beside what the orders say.

import (
	"fmt"
	"maps"
	"slices"
)

// Books are the payment provider's own.
type Books struct {
	Orders map[string]Book
	// Partial: something is missing that it did, in a process that was killed or
	// too long ago. Then it must have done nothing beyond what the orders say.
	Partial bool
}

// Book is what the provider has of one order, in minor units.
type Book struct {
	Captured, Refunded int64
	// Open is how many payments are authorized, or wait for the shopper, and are
	// neither captured nor let go of.
	Open int
}

// BooksDiffer says in what the provider's books are not what the orders come
// to. That can pass: what nobody waits for is captured and let go of a moment later.
func (h *Trade) BooksDiffer() []string {
	p := newTradeProver(h)
	p.countPlaced()
	return p.booksDiffer()
}

func (p *tradeProver) booksDiffer() (differ []string) {
	books := p.h.Books
	if books == nil {
		return nil
	}
	wrong := func(format string, args ...any) { differ = append(differ, fmt.Sprintf(format, args...)) }
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		o, ok := p.h.Final[id]
		if !ok {
			continue // reported as lost
		}
		b := books.Orders[id]
		captured, refunded := p.minor(o.Payment.Captured), p.minor(o.Payment.Refunded)
		beyond := b.Captured > captured || b.Refunded > refunded
		if beyond || !books.Partial && (b.Captured != captured || b.Refunded != refunded) {
			wrong("order %s says %s captured and %s refunded, the payment provider %s and %s", id, decimal(captured), decimal(refunded), decimal(b.Captured), decimal(b.Refunded))
		}
		if may := underWay(o.State); b.Open > may {
			wrong("order %s is %s, and the payment provider still has %d of its payments open", id, o.State, b.Open)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(books.Orders)) {
		if b := books.Orders[id]; p.orders[id] == nil && (b.Captured != 0 || b.Open != 0) {
			wrong("order %s paid %s at the payment provider, but nobody was told of it", id, decimal(b.Captured))
		}
	}
	return differ
}

// underWay is how many payments of an order may be open.
func underWay(state string) int {
	if state == statePaying {
		return 1
	}
	return 0
}

// checkBooks holds the provider's books against the orders.
func (p *tradeProver) checkBooks() {
	if p.h.Books == nil {
		return
	}
	p.v.BooksAsked, p.v.BooksPartial = true, p.h.Books.Partial
	for _, one := range p.booksDiffer() {
		p.v.BooksDiffer++
		p.v.MoneyConserved = false
		p.violated("%s", one)
	}
}

func (v *TradeVerdict) booksRow(row func(string, any, string)) {
	note := "the payment provider's own books say the same of each order"
	if v.BooksPartial {
		note = "the payment provider's own books, as far back as they go, have nothing beyond it"
	}
	row("wrong in the books", v.BooksDiffer, mark(v.BooksDiffer == 0)+", "+note)
}
