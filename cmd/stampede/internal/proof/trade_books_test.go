package proof

import (
	"strings"
	"testing"
)

// honestBooks are of honestTrade, and what a provider has besides: payments
// that were declined or let go of.
func honestBooks() *Books {
	const unit = 29900
	return &Books{Orders: map[string]Book{
		"ord_0": {Captured: 2 * unit}, "ord_1": {Captured: 2 * unit, Refunded: unit}, "ord_2": {Captured: unit, Refunded: unit},
		"ord_3": {Captured: 2 * unit, Refunded: 2 * unit}, "ord_5": {}, "ord_6": {Captured: 2 * unit}, "ord_unheard": {},
	}}
}

func TestBooks(t *testing.T) {
	set := func(id string, b Book) func(*Trade) { return func(h *Trade) { h.Books.Orders[id] = b } }
	partial := func(then func(*Trade)) func(*Trade) {
		return func(h *Trade) {
			h.Books.Partial = true
			then(h)
		}
	}
	for _, c := range []struct {
		name   string
		doctor func(*Trade)
		says   string // empty: the proof holds
	}{
		{"as they should be", func(*Trade) {}, ""},
		{"captured too much", set("ord_0", Book{Captured: 59801}), "order ord_0 says 598.00 captured and 0.00 refunded, the payment provider 598.01 and 0.00"},
		{"captured too little", set("ord_0", Book{Captured: 59799}), "the payment provider 597.99"},
		{"captured of a cancelled order", set("ord_4", Book{Captured: 1}), "order ord_4 says 0.00 captured"},
		{"never refunded", set("ord_2", Book{Captured: 29900}), "the payment provider 299.00 and 0.00"},
		{"not let go of", set("ord_5", Book{Open: 1}), "order ord_5 is EXPIRED, and the payment provider still has 1 of its payments open"},
		{"of an order that nobody was told of", set("ord_unheard", Book{Captured: 5}), "order ord_unheard paid 0.05 at the payment provider"},
		{"nothing is there", func(h *Trade) { h.Books.Orders = nil }, "the payment provider 0.00 and 0.00"},
		{"nothing is there any more", partial(func(h *Trade) { h.Books.Orders = nil }), ""},
		{"partial, refunds without captures", partial(set("ord_2", Book{Refunded: 29900})), ""},
		{"partial, captured too much", partial(set("ord_0", Book{Captured: 59801})), "the payment provider 598.01"},
		{"partial, refunded too much", partial(set("ord_2", Book{Refunded: 29901})), "and 299.01"},
		{"partial, not let go of", partial(set("ord_4", Book{Open: 1})), "order ord_4 is CANCELLED"},
		{"the provider was not asked", func(h *Trade) { h.Books = nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := honestTrade()
			h.Books = honestBooks()
			c.doctor(h)
			v := ProveTrade(h)
			said := strings.Join(v.Violations, "\n")
			if holds := c.says == ""; v.Holds() != holds || v.MoneyConserved != holds || (v.BooksDiffer == 0) != holds || !strings.Contains(said, c.says) {
				t.Errorf("want %q, got %d: %s", c.says, v.BooksDiffer, said)
			}
			if differ := h.BooksDiffer(); len(differ) != v.BooksDiffer {
				t.Errorf("the history says %v", differ)
			}
			var table strings.Builder
			if err := v.WriteTable(&table, Speed{}); err != nil {
				t.Fatal(err)
			}
			if shown := strings.Contains(table.String(), "wrong in the books"); shown != (h.Books != nil) {
				t.Errorf("table:\n%s", &table)
			}
		})
	}
}
