package proof

import (
	"fmt"
	"maps"
	"slices"

	"stampede/cmd/stampede/internal/shop"
)

// The topics alone: stock, money, limits and allocations are made again from
// what a consumer group has read, and nothing else.

// ledgers is what is rebuilt.
type ledgers struct {
	streams map[[2]string]*stream
	stock   map[string]*ledger
	// customers of orders; captured and refunded money of orders.
	customers          map[string]string
	captured, refunded map[string]int64
	confirmed          map[string]bool
	// bySKU are the stock events in order, once each.
	bySKU map[string][]*Event
}

// ledger is one SKU's stock. units are what each order has of it.
type ledger struct {
	level  publishedLevel
	begun  bool
	broken bool
	units  map[string]int64
	// taken and used are counted in a sale: all units, and by customer.
	taken   int64
	used    map[string]int64
	overdue map[string]bool // customers over the limit, reported once
	// whose an order is.
	whose func(order string) string
}

func (p *tradeProver) rebuild() {
	l := &ledgers{
		streams: map[[2]string]*stream{}, stock: map[string]*ledger{}, customers: map[string]string{},
		captured: map[string]int64{}, refunded: map[string]int64{}, confirmed: map[string]bool{}, bySKU: map[string][]*Event{},
	}
	for i := range p.h.Events {
		e := &p.h.Events[i]
		if !p.concerns(e) {
			continue
		}
		p.v.EventsSeen++
		if !p.follow(l.streams, e) {
			p.v.EventsRepeated++
			continue
		}
		if e.Topic == StockTopic {
			l.bySKU[e.Key] = append(l.bySKU[e.Key], e)
		} else {
			l.order(e)
		}
	}
	// Whose orders they are is known only now: the topics are not in step.
	for _, sku := range slices.Sorted(maps.Keys(p.h.Stock)) {
		p.rebuildStock(l, sku)
	}
	p.compareOrders(l)
	p.comparePhantoms(l)
}

// concerns reports whether an event is of this trade. An order that nobody was
// told of is found by its SKUs.
func (p *tradeProver) concerns(e *Event) bool {
	switch e.Topic {
	case StockTopic:
		_, ours := p.h.Stock[e.Key]
		return ours
	case SalesTopic:
		return p.h.Sale != nil && e.Key == p.h.Sale.ID
	}
	return e.Topic == OrdersTopic
}

// follow adds an event to its stream and reports whether it is new.
func (p *tradeProver) follow(streams map[[2]string]*stream, e *Event) bool {
	name := [2]string{e.Topic, e.Key}
	s := streams[name]
	if s == nil {
		s = &stream{ids: map[int64]string{}}
		streams[name] = s
	}
	if id, seen := s.ids[e.Sequence]; seen {
		if id != e.ID {
			p.violated("%s %s: sequence %d was published as %s and as %s", e.Topic, e.Key, e.Sequence, id, e.ID)
		}
		return false
	}
	s.ids[e.Sequence] = e.ID
	if e.Sequence != s.newest+1 && !s.broken {
		s.broken = true
		p.v.EventsMissing++
		p.violated("%s %s: sequence %d came after %d", e.Topic, e.Key, e.Sequence, s.newest)
	}
	s.newest = max(s.newest, e.Sequence)
	return true
}

// order takes in an event of an order.
func (l *ledgers) order(e *Event) {
	if e.Facts == nil {
		return
	}
	amount := int64(0)
	if e.Facts.Amount != nil {
		amount = int64(e.Facts.Amount.MinorUnits)
	}
	switch e.Type {
	case "OrderPlaced":
		l.customers[e.Key] = e.Facts.CustomerID
	case "OrderConfirmed":
		l.confirmed[e.Key] = true
	case "PaymentCaptured":
		l.captured[e.Key] += amount
	case "OrderRefunded":
		l.refunded[e.Key] += amount
	}
}

// rebuildStock adds a SKU's events up and compares at each of them.
func (p *tradeProver) rebuildStock(l *ledgers, sku string) {
	g := &ledger{units: map[string]int64{}, used: map[string]int64{}, overdue: map[string]bool{}, whose: func(order string) string { return p.whose(l, order) }}
	l.stock[sku] = g
	for _, e := range l.bySKU[sku] {
		if e.Facts == nil || e.Facts.Level == nil {
			p.wrong("%s: event %s has no level", sku, e.ID)
			return
		}
		g.apply(e)
		if g.level != *e.Facts.Level && !g.broken {
			g.broken = true // what follows cannot fit either
			p.wrong("%s: at version %d the events add up to %+v, the event says %+v", sku, e.Sequence, g.level, *e.Facts.Level)
		}
		p.checkTaken(g, sku, e)
	}
	level, ok := p.h.Levels[sku]
	if !ok {
		return // reported with the units
	}
	if newest := newestOf(l.streams[[2]string{StockTopic, sku}]); newest < level.Version {
		p.v.EventsMissing++
		p.violated("%s: its stock is at version %d, but events came only up to version %d", sku, level.Version, newest)
		return
	}
	rebuilt := shop.Level{
		SKU: sku, OnHand: int(g.level.OnHand), Available: int(g.level.Available), Held: int(g.level.Held),
		Committed: int(g.level.Committed), Unavailable: int(g.level.Unavailable), Version: level.Version,
	}
	if rebuilt != level {
		p.wrong("%s: the topics make its stock %+v, the API says %+v", sku, rebuilt, level)
	}
}

// whose an order is: the shopper who placed it, under whatever name; of one that
// nobody was told of the topic's word is taken.
func (p *tradeProver) whose(l *ledgers, order string) string {
	if o := p.orders[order]; o != nil {
		return fmt.Sprintf("shopper %d", o.Shopper)
	}
	return l.customers[order]
}

func (p *tradeProver) wrong(format string, args ...any) {
	p.v.Rebuilt = false
	p.violated(format, args...)
}

// apply takes one event in. Only the first one's level is believed: what a SKU
// begins with is said by nothing else.
func (g *ledger) apply(e *Event) {
	f, v := e.Facts, &g.level
	n := f.Quantity
	switch e.Type {
	case "SkuConfigured":
		if !g.begun {
			*v, g.begun = *f.Level, true
		}
	case "StockAdjusted":
		v.Available += f.Delta
	case stockReserved:
		v.Available, v.Held = v.Available-n, v.Held+n
		g.take(f.OrderID, int64(n))
	case "ReservationReleased":
		if f.Committed == 1 {
			v.Committed -= n
		} else {
			v.Held -= n
		}
		v.Available += n
		g.take(f.OrderID, -int64(n))
	case "ReservationExpired":
		v.Held, v.Available = v.Held-n, v.Available+n
		g.take(f.OrderID, -int64(n))
	case "ReservationConfirmed":
		v.Available, v.Held, v.Committed = v.Available-f.Reacquired, v.Held-(n-f.Reacquired), v.Committed+n
		g.take(f.OrderID, int64(f.Reacquired))
	case "ReservationFulfilled":
		v.Committed -= n
	case "ReservationReturned":
		g.giveBack(f)
	}
	v.OnHand = v.Available + v.Held + v.Committed + v.Unavailable
}

// giveBack takes a refund in. It counts against nobody's limit any more; in the
// sale it can be had again only if it was restocked.
func (g *ledger) giveBack(f *Facts) {
	units := int64(f.Committed + f.Fulfilled)
	g.level.Committed -= f.Committed
	if f.Restocked {
		g.level.Available += f.Committed + f.Fulfilled
	} else {
		g.level.Unavailable += f.Committed
		g.taken += units // stays taken
	}
	g.take(f.OrderID, -units)
}

func (g *ledger) take(order string, units int64) {
	g.units[order] += units
	g.taken += units
	g.used[g.whose(order)] += units
}

// checkTaken holds a moment of a SKU against the stock, and in a sale against
// the allocation and the limit.
func (p *tradeProver) checkTaken(g *ledger, sku string, e *Event) {
	if g.level.Available < 0 || g.level.Held < 0 || g.level.Committed < 0 || g.level.Unavailable < 0 {
		p.v.Oversold = max(p.v.Oversold, int(-min(g.level.Available, 0)))
		p.wrong("%s: at version %d a state is negative: %+v", sku, e.Sequence, g.level)
	}
	s := p.h.Sale
	if s == nil {
		return
	}
	if over := int(g.taken) - s.Allocation[sku]; over > 0 {
		p.v.AllocationExceeded = max(p.v.AllocationExceeded, over)
		p.violated("%s: at version %d the sale has taken %d units of %d", sku, e.Sequence, g.taken, s.Allocation[sku])
	}
	whose := g.whose(e.Facts.OrderID)
	if used := g.used[whose]; s.Limit > 0 && used > int64(s.Limit) && !g.overdue[whose] {
		g.overdue[whose] = true
		p.v.LimitExceeded++
		p.violated("%s: at version %d %s has %d units, the limit is %d", sku, e.Sequence, whose, used, s.Limit)
	}
}

// compareOrders holds each order's events against the API's order.
func (p *tradeProver) compareOrders(l *ledgers) {
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		o, ok := p.h.Final[id]
		if !ok {
			continue // reported as lost
		}
		if newest := newestOf(l.streams[[2]string{OrdersTopic, id}]); newest < o.Version {
			p.v.EventsMissing++
			p.violated("order %s is at version %d, but events came only up to version %d", id, o.Version, newest)
			continue
		}
		if l.confirmed[id] != wasConfirmed(&o) {
			p.wrong("order %s: the topics say confirmed is %t, the API says %t", id, l.confirmed[id], wasConfirmed(&o))
		}
		if captured, refunded := p.minor(o.Payment.Captured), p.minor(o.Payment.Refunded); l.captured[id] != captured || l.refunded[id] != refunded {
			p.v.MoneyConserved = false
			p.wrong("order %s: the topics say %s captured and %s refunded, the API says %s and %s",
				id, decimal(l.captured[id]), decimal(l.refunded[id]), decimal(captured), decimal(refunded))
		}
	}
}

// comparePhantoms looks for units and money of orders that nobody was told of.
func (p *tradeProver) comparePhantoms(l *ledgers) {
	refused := map[string]bool{}
	for i := range p.h.Placed {
		if o := &p.h.Placed[i]; o.Kind == shop.Refused && o.ID != "" {
			refused[o.ID] = true // it may have held some of its lines for a moment
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(l.stock)) {
		for _, id := range slices.Sorted(maps.Keys(l.stock[sku].units)) {
			units := l.stock[sku].units[id]
			if p.orders[id] == nil && (units != 0 || !refused[id]) && id != "" {
				p.v.Phantoms++
				p.violated("order %s has %d units of %s in the topics, but nobody was told of it", id, units, sku)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.captured)) {
		if p.orders[id] == nil && p.ofThisTrade(l, id) {
			p.v.Phantoms++
			p.v.MoneyConserved = false
			p.violated("order %s paid %s in the topics, but nobody was told of it", id, decimal(l.captured[id]))
		}
	}
}

// ofThisTrade: the broker may hold the orders of others.
func (p *tradeProver) ofThisTrade(l *ledgers, id string) bool {
	for _, g := range l.stock {
		if _, ok := g.units[id]; ok {
			return true
		}
	}
	return false
}
