package walk

import (
	"slices"
	"time"
)

// model is the shop as it has to be: units, money, and whose they are. It knows
// nothing of versions, events, actors or nodes.
type model struct {
	products []*product
	skus     []*sku
	sales    []*sale
	orders   []*order
	accounts []*account
	keys     []*apiKey
}

type product struct {
	id        string
	name      string
	version   float64
	published bool
	skus      []*sku
	gone      []*sku
}

// sku is the units of one. sale is the one that it takes part in and that is
// not over; taken and used are its.
type sku struct {
	id                                      string
	product                                 *product
	price                                   int64
	listed                                  bool // among the product's variants
	available, held, committed, unavailable int64
	sale                                    *sale
	taken                                   int64
	used                                    map[string]int64
}

func (s *sku) onHand() int64 { return s.available + s.held + s.committed + s.unavailable }

func (s *sku) active() bool { return s.listed && s.product.published }

// free is what an order may have: of the sale, or else of what is not its.
func (s *sku) free(of *sale) int64 {
	unsold := int64(0)
	if s.sale != nil {
		unsold = s.sale.items[s].allocation - s.taken
	}
	if of != nil {
		return min(unsold, s.available)
	}
	return max(0, s.available-unsold)
}

type saleItem struct{ price, allocation int64 }

type sale struct {
	id           string
	starts, ends time.Time
	limit        int64
	room, paused bool
	// shuffled: who had joined when it opened, early of them, has a place by lot.
	shuffled   bool
	early      int64
	commitment string // of the lot
	version    float64
	over       bool
	order      []*sku
	items      map[*sku]saleItem
	joined     map[string]string // tickets
}

func (s *sale) state(now time.Time) string {
	out := true
	for _, k := range s.order {
		out = out && k.sale == s && k.free(s) <= 0
	}
	switch {
	case s.over:
		return "ENDED"
	case now.Before(s.starts):
		return "SCHEDULED"
	case s.paused:
		return "PAUSED"
	case out:
		return "SOLD_OUT"
	}
	return "OPEN"
}

type orderLine struct {
	sku                            *sku
	quantity, price                int64
	fulfilled, refunded, withdrawn int64
}

func (l *orderLine) left() int64       { return l.quantity - l.fulfilled - l.withdrawn }
func (l *orderLine) unrefunded() int64 { return l.quantity - l.refunded }

// payment is a try to pay, by its key.
type payment struct {
	token    string
	declined bool
}

type order struct {
	id, customer       string
	sale               *sale
	lines              []*orderLine
	state, payment     string
	rejection          string
	expires            time.Time
	captured, refunded int64
	paid               map[string]*payment
	waits              *payment // for the shopper
}

func (o *order) total() (sum int64) {
	for _, l := range o.lines {
		sum += l.price * l.quantity
	}
	return sum
}

func (o *order) open() bool { return o.state == "RESERVED" || o.state == "PAYING" }

// tick is what time does.
func (m *model) tick(now time.Time) {
	now = now.Truncate(time.Millisecond)
	for _, o := range m.orders {
		if o.open() && !now.Before(o.expires) {
			o.end("EXPIRED")
		}
	}
	for _, s := range m.sales {
		if !s.over && !now.Before(s.ends) {
			s.end()
		}
	}
}

func (s *sale) end() {
	s.over = true
	for _, k := range s.order {
		k.sale, k.taken, k.used = nil, 0, nil
	}
}

// hold gives an order its units.
func (o *order) hold() {
	for _, l := range o.lines {
		l.sku.available -= l.quantity
		l.sku.held += l.quantity
		if o.sale == nil {
			continue
		}
		l.sku.taken += l.quantity
		if l.sku.used == nil {
			l.sku.used = map[string]int64{}
		}
		l.sku.used[o.customer] += l.quantity
	}
}

// end is that an order is over before it was paid.
func (o *order) end(state string) {
	o.state = state
	if o.waits != nil {
		o.payment, o.waits = "VOIDED", nil
	}
	for _, l := range o.lines {
		l.sku.held -= l.quantity
		l.sku.available += l.quantity
		if o.sale != nil && l.sku.sale == o.sale {
			l.sku.taken -= l.quantity
			l.sku.used[o.customer] -= l.quantity
		}
	}
}

// pay is a payment by a token.
func (o *order) pay(key, token string) {
	p := &payment{token: token}
	o.paid[key] = p
	if o.waits != nil {
		o.waits.declined, o.waits = true, nil // another took its place
	}
	switch token {
	case "tok_decline":
		o.state, o.payment, p.declined = "RESERVED", "DECLINED", true
	case "tok_requires_action":
		o.state, o.payment, o.waits = "PAYING", "REQUIRES_ACTION", p
	default:
		o.state, o.payment, o.captured = "CONFIRMED", "CAPTURED", o.total()
		for _, l := range o.lines {
			l.sku.held -= l.quantity
			l.sku.committed += l.quantity
		}
	}
}

// paidAgain is what the key of a payment is answered with later.
func (o *order) paidAgain(p *payment) []string {
	switch {
	case p.declined:
		return []string{"PAYMENT_DECLINED"}
	case o.state == "EXPIRED":
		return []string{"HOLD_EXPIRED"}
	case o.state == "CANCELLED" && !o.sold():
		return []string{"ILLEGAL_TRANSITION"}
	}
	return nil
}

func (o *order) sold() bool {
	return slices.Contains([]string{"CONFIRMED", "PARTIALLY_FULFILLED", "FULFILLED"}, o.state) || o.payment == "REFUNDED"
}

// afterMove is the state by what was fulfilled and refunded.
func (o *order) afterMove() {
	left, gone := int64(0), int64(0)
	for _, l := range o.lines {
		left, gone = left+l.left(), gone+l.fulfilled
	}
	switch {
	case left == 0 && gone == 0:
		o.state = "CANCELLED"
	case left == 0:
		o.state = "FULFILLED"
	case gone > 0:
		o.state = "PARTIALLY_FULFILLED"
	}
}

func (o *order) fulfil(units map[*orderLine]int64) {
	for l, n := range units {
		l.fulfilled += n
		l.sku.committed -= n
	}
	o.afterMove()
}

func (o *order) refund(units map[*orderLine]int64, restock bool) {
	whole := true
	for l, n := range units {
		inside := min(n, l.left())
		l.refunded += n
		l.withdrawn += inside
		o.refunded += n * l.price
		l.sku.committed -= inside
		if restock {
			l.sku.available += n
		} else {
			l.sku.unavailable += inside
		}
		if o.sale != nil && l.sku.sale == o.sale {
			l.sku.used[o.customer] -= n
			if restock {
				l.sku.taken -= n
			}
		}
	}
	for _, l := range o.lines {
		whole = whole && l.unrefunded() == 0
	}
	o.payment = "PARTIALLY_REFUNDED"
	if whole || o.captured > 0 && o.refunded >= o.captured {
		o.payment = "REFUNDED"
	}
	o.afterMove()
}
