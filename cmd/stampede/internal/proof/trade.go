package proof

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stampede/cmd/stampede/internal/shop"
)

// ProveTrade judges a trade. It checks that
//   - every step of every order is legal, and what anybody was told of it is
//     part of its history;
//   - the captured money is what the confirmed orders cost, the refunded money
//     what the staff gave back, order by order, also by the payment provider's
//     own books where it can be asked;
//   - every unit is where orders, fulfilments and refunds have put it;
//   - stock and money that are rebuilt from the topics alone are the same, at
//     every version of every SKU;
//   - keys that are sent again give the same order;
//   - in a sale: nobody had more than the limit at any moment, the allocation
//     was never exceeded, nobody ordered who was not let in, nobody was let in
//     early, and the places follow from the secret that was committed to.
func ProveTrade(h *Trade) *TradeVerdict {
	p := newTradeProver(h)
	p.countPlaced()
	p.checkOrders()
	p.checkTradeRepeats()
	p.checkMoney()
	p.checkBooks()
	p.checkUnits()
	p.rebuild()
	p.checkRoom()
	return p.v
}

type tradeProver struct {
	h *Trade
	v *TradeVerdict
	// orders are the acknowledged ones, by id.
	orders map[string]*Placed
}

func newTradeProver(h *Trade) *tradeProver {
	v := &TradeVerdict{
		Verdict: Verdict{Refused: map[string]int{}, Shoppers: h.Shoppers, Nodes: h.Nodes, Crashes: h.Crashes, Drained: h.Drained, Conserved: true},
		Paid:    h.Settles, Currency: h.Price.Currency, MoneyConserved: true, Rebuilt: true, SaleSettled: true,
	}
	for sku, units := range h.Stock {
		if h.Sale != nil {
			units = h.Sale.Allocation[sku]
		}
		v.Units += units
	}
	return &tradeProver{h: h, v: v, orders: map[string]*Placed{}}
}

func (p *tradeProver) violated(format string, args ...any) {
	if len(p.v.Violations) == maxViolations {
		p.v.Suppressed++
		return
	}
	p.v.Violations = append(p.v.Violations, fmt.Sprintf(format, args...))
}

// countPlaced counts what was asked for and looks at the refusals.
func (p *tradeProver) countPlaced() {
	for i := range p.h.Placed {
		o := &p.h.Placed[i]
		switch o.Kind {
		case shop.Accepted:
			p.v.Accepted++
			if other := p.orders[o.ID]; other != nil {
				p.v.Duplicates++
				p.violated("the keys %s and %s were acknowledged the same order %s", other.Key, o.Key, o.ID)
			}
			p.orders[o.ID] = o
		case shop.Refused:
			p.v.Refused[o.Reason]++
			if o.Reason != insufficientStock && (o.Reason != customerLimit || !o.Greedy) {
				p.violated("shopper %d was refused with %s, for no reason", o.Shopper, o.Reason)
			}
		case shop.Retry, shop.Failed:
			p.v.Unanswered++
			p.violated("shopper %d got no decision for %s: %s", o.Shopper, o.Key, o.Reason)
		}
	}
	for _, broken := range p.h.Broken {
		p.violated("%s", broken)
	}
}

const customerLimit = "CUSTOMER_LIMIT"

// The states of an order.
const (
	stateReserved  = "RESERVED"
	statePaying    = "PAYING"
	stateConfirmed = "CONFIRMED"
	statePartially = "PARTIALLY_FULFILLED"
	stateFulfilled = "FULFILLED"
	stateCancelled = "CANCELLED"
	stateExpired   = "EXPIRED"
)

// legal reports whether a state may come after another. To stay in one is legal.
func legal(from, to string) bool {
	next := map[string]string{
		"":             "RESERVING RESERVED",
		"RESERVING":    "RESERVED REJECTED",
		stateReserved:  "PAYING CANCELLED EXPIRED",
		statePaying:    "RESERVED CONFIRMED CANCELLED EXPIRED",
		stateConfirmed: "PARTIALLY_FULFILLED FULFILLED CANCELLED",
		statePartially: "FULFILLED",
		stateFulfilled: "",
		stateCancelled: "",
		stateExpired:   "",
	}
	return from == to || slices.Contains(strings.Fields(next[from]), to)
}

// checkOrders reads every acknowledged order's history.
func (p *tradeProver) checkOrders() {
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		found, ok := p.h.Final[id]
		if !ok {
			p.v.Lost++
			p.violated("order %s was acknowledged and is not there", id)
			continue
		}
		p.checkHistory(&found)
		p.checkTold(p.orders[id], &found)
		p.checkLines(p.orders[id], &found)
		switch found.State {
		case stateCancelled:
			p.v.Cancelled++
		case stateExpired:
			p.v.Expired++
		case stateFulfilled:
			p.v.Fulfilled++
		case stateReserved, statePaying:
			if p.h.Settles {
				p.violated("order %s is %s (its payment %s) long after its hold has ended", id, found.State, found.Payment.State)
			}
		}
		if wasConfirmed(&found) {
			p.v.Confirmed++
		}
	}
}

func (p *tradeProver) checkHistory(o *shop.Trade) {
	before := shop.OrderChange{}
	for _, change := range o.History {
		if !legal(before.State, change.State) || change.Version <= before.Version {
			p.v.Illegal++
			p.violated("order %s went from %s at version %d to %s at version %d", o.ID, before.State, before.Version, change.State, change.Version)
		}
		before = change
	}
	if before.State != o.State || before.Version > o.Version {
		p.v.Illegal++
		p.violated("order %s is %s at version %d, but its history ends with %s at version %d", o.ID, o.State, o.Version, before.State, before.Version)
	}
}

// checkTold looks for acknowledgements that the order does not remember.
func (p *tradeProver) checkTold(o *Placed, found *shop.Trade) {
	for _, told := range o.Told {
		if state := stateAt(found, told.Version); state != told.State || told.Version > found.Version {
			p.v.Lost++
			p.violated("order %s was acknowledged as %s at version %d, where its history has %s (it is at %d)", o.ID, told.State, told.Version, state, found.Version)
		}
	}
}

func stateAt(o *shop.Trade, version int64) string {
	state := ""
	for _, change := range o.History {
		if change.Version <= version {
			state = change.State
		}
	}
	return state
}

func wasConfirmed(o *shop.Trade) bool {
	return slices.ContainsFunc(o.History, func(c shop.OrderChange) bool { return c.State == stateConfirmed })
}

// checkLines holds the order against what was asked for.
func (p *tradeProver) checkLines(o *Placed, found *shop.Trade) {
	asked := map[string]int{}
	for _, l := range o.Lines {
		asked[l.SKU] += l.Quantity
	}
	total := int64(0)
	for _, l := range found.Lines {
		asked[l.SKU] -= l.Quantity
		if l.UnitPrice != p.h.Price {
			p.violated("order %s has %s for %s %s, which costs %s", o.ID, l.SKU, l.UnitPrice.Amount, l.UnitPrice.Currency, p.h.Price.Amount)
		}
		total += int64(l.Quantity) * p.minor(&l.UnitPrice)
	}
	for sku, missing := range asked {
		if missing != 0 {
			p.v.Lost++
			p.violated("order %s has %d units of %s less than was asked for", o.ID, missing, sku)
		}
	}
	if total != p.minor(&found.Total) {
		p.violated("order %s costs %s, but its lines add up to %s", o.ID, found.Total.Amount, decimal(total))
	}
}

func (p *tradeProver) checkTradeRepeats() {
	for _, again := range p.h.Repeats {
		first := &p.h.Placed[again.Placed]
		// An order that has moved on may be told by its key to be over.
		if again.ID != first.ID || first.Kind == shop.Refused && (again.Kind != first.Kind || again.Reason != first.Reason) {
			p.v.Duplicates++
			p.violated("the key %s was acknowledged as %q (%s), and again as %q (%s)", first.Key, first.ID, first.Reason, again.ID, again.Reason)
		}
	}
}

// checkMoney holds each order's money against its history and the staff's acts.
func (p *tradeProver) checkMoney() {
	broken := func(format string, args ...any) {
		p.v.MoneyConserved = false
		p.violated(format, args...)
	}
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		o, ok := p.h.Final[id]
		if !ok {
			continue // reported as lost
		}
		due := int64(0)
		if wasConfirmed(&o) {
			due = p.minor(&o.Total)
		}
		captured, refunded := p.minor(o.Payment.Captured), p.minor(o.Payment.Refunded)
		if captured != due {
			broken("order %s (%s, payment %s): %s was captured, %s is due", id, o.State, o.Payment.State, decimal(captured), decimal(due))
		}
		back := int64(0)
		for _, m := range p.orders[id].Moves {
			if m.Refund {
				back += int64(unitsOf(m.Lines)) * p.minor(&p.h.Price)
			}
		}
		if refunded != back {
			broken("order %s: %s is refunded, the staff gave %s back", id, decimal(refunded), decimal(back))
		}
		p.v.CapturedMinor += captured
		p.v.RefundedMinor += refunded
	}
}

func unitsOf(lines []shop.LineQuantity) int {
	n := 0
	for _, l := range lines {
		n += l.Quantity
	}
	return n
}

// minor is an amount in hundredths; nil is none.
func (p *tradeProver) minor(m *shop.Money) int64 {
	if m == nil {
		return 0
	}
	whole, part, _ := strings.Cut(m.Amount, ".")
	n, err := strconv.ParseInt(whole+(part + "00")[:2], 10, 64)
	if err != nil || len(part) > 2 || m.Currency != p.h.Price.Currency {
		p.violated("%q %q is no amount of this sale", m.Amount, m.Currency)
		return 0
	}
	return n
}

// decimal is an amount of hundredths as people write it.
func decimal(minor int64) string {
	sign := ""
	if minor < 0 {
		sign, minor = "-", -minor
	}
	return fmt.Sprintf("%s%d.%02d", sign, minor/100, minor%100)
}
