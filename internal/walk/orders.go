package walk

import (
	"maps"
	"slices"
)

const orderFields = `order { id state saleId expiresAt total { amount } payment { state captured { amount } refunded { amount } } lines { sku quantity unitPrice { amount } fulfilled refunded } rejection { code } }`

// card is a payment token.
func (w *Walk) card() string {
	return pick(w, []string{"tok_ok", "tok_ok", "tok_ok", "tok_decline", "tok_requires_action"})
}

// wish is an order that somebody would like to have.
type wish struct {
	customer, key, token string
	sale                 *sale
	admitted             bool
	lines                []*wishLine
}

type wishLine struct {
	sku      *sku
	id       string
	quantity int64
	expect   int64 // -1: any price
}

func (w *Walk) placeOrder() *move {
	o := &wish{customer: w.person(), key: w.key()}
	from := slices.Clone(w.model.skus)
	if w.chance(85) {
		from = slices.DeleteFunc(from, func(k *sku) bool { return !k.active() || k.available == 0 })
	}
	if len(from) == 0 {
		return nil
	}
	if s := w.aSale(); s != nil && w.chance(60) {
		o.sale = s
		if w.chance(93) {
			from = slices.Clone(s.order)
		}
	}
	w.random.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	for _, k := range from[:min(len(from), 1+w.random.IntN(3))] {
		l := &wishLine{sku: k, id: k.id, quantity: 1 + w.random.Int64N(3), expect: -1}
		if w.chance(5) {
			l.quantity = 1 + w.random.Int64N(30)
		}
		if w.chance(40) {
			l.expect = l.price(o)
			if w.chance(10) {
				l.expect++
			}
		}
		o.lines = append(o.lines, l)
	}
	if w.chance(3) {
		o.lines = append(o.lines, &wishLine{id: w.name + "-nothing", quantity: 1, expect: -1})
	}
	if w.chance(50) {
		o.token = w.card()
	}
	input := o.input()
	if o.sale != nil && o.sale.room {
		holder := o.customer
		if w.chance(10) {
			holder = w.person()
		}
		if t := w.admission(o.sale, holder); t != "" && w.chance(90) {
			input["admissionToken"] = t
			o.admitted = holder == o.customer && !o.sale.over // its own expiry is 5 minutes, or the sale's end
		}
	}
	return w.wish(o, input)
}

func (l *wishLine) price(o *wish) int64 {
	if o.sale != nil {
		if item, ok := o.sale.items[l.sku]; ok {
			return item.price
		}
	}
	return l.sku.price
}

func (o *wish) input() map[string]any {
	lines := []any{}
	for _, l := range o.lines {
		line := map[string]any{"sku": l.id, "quantity": l.quantity}
		if l.expect >= 0 {
			line["expectedPrice"] = money(l.expect)
		}
		lines = append(lines, line)
	}
	input := map[string]any{"idempotencyKey": o.key, "lines": lines}
	if o.token != "" {
		input["paymentToken"] = o.token
	}
	if o.sale != nil {
		input["saleId"] = o.sale.id
	}
	return input
}

// refusal is why a line cannot be had; later: the order may be sent again.
func (w *Walk) refusal(o *wish, l *wishLine) (code string, later bool) {
	k := l.sku
	switch {
	case k == nil || !k.active():
		return "NOT_FOUND", false
	case o.sale != nil && k.sale != o.sale:
		if _, was := o.sale.items[k]; was && o.sale.over {
			return "SALE_ENDED", false
		}
		return "INVALID", false
	case o.sale != nil && w.shop.Now().Before(o.sale.starts):
		return "SALE_NOT_OPEN", true
	case o.sale != nil && o.sale.paused:
		return "SALE_PAUSED", true
	case o.sale != nil && o.sale.room && !o.admitted:
		return "ADMISSION_REQUIRED", true
	case l.expect >= 0 && l.expect != l.price(o):
		return "PRICE_CHANGED", false
	case o.sale != nil && o.sale.limit > 0 && k.used[o.customer]+l.quantity > o.sale.limit:
		return "CUSTOMER_LIMIT", false
	case k.free(o.sale) < l.quantity:
		return "INSUFFICIENT_STOCK", false
	}
	return "", false
}

// wish predicts what becomes of an order. All lines are held or none; when
// nothing is wrong but that a sale is not open, there is no order.
func (w *Walk) wish(o *wish, input map[string]any) *move {
	want, all := map[string]bool{}, true
	w.model.tick(w.shop.Now())
	for _, l := range o.lines {
		code, later := w.refusal(o, l)
		if code != "" {
			want[code] = true
		}
		all = all && later
	}
	refused := len(want) > 0
	if !refused && o.token == "tok_decline" {
		want = codes("PAYMENT_DECLINED")
	}
	var made *order
	m := &move{who: o.customer, field: "placeOrder", input: input, selection: orderFields, want: want}
	m.order = func() *order { return made }
	m.took = func(code string, payload map[string]any) {
		id, _ := at(payload, "order", "id").(string)
		if (id == "") != (refused && all) {
			w.fail("is there an order? %v", payload)
		}
		if id == "" {
			return
		}
		made = w.placed(o, id, refused, code)
	}
	m.again = func() *move {
		if made == nil {
			return nil
		}
		return w.placedAgain(m, o, made)
	}
	m.other = func(input map[string]any) {
		lines := slices.Clone(input["lines"].([]any))
		first := maps.Clone(lines[0].(map[string]any))
		first["quantity"] = o.lines[0].quantity + 1
		lines[0], input["lines"] = first, lines
	}
	return m
}

func (w *Walk) placed(o *wish, id string, refused bool, code string) *order {
	made := &order{id: id, customer: o.customer, sale: o.sale, state: "RESERVED", payment: "NONE", expires: w.shop.Now().Add(HoldFor), paid: map[string]*payment{}}
	for _, l := range o.lines {
		made.lines = append(made.lines, &orderLine{sku: l.sku, quantity: l.quantity, price: 0})
	}
	if refused {
		made.state, made.rejection = "REJECTED", code
		return made
	}
	for i, l := range o.lines {
		made.lines[i].price = l.price(o)
	}
	made.hold()
	if o.token != "" {
		made.pay(o.key, o.token)
	}
	w.model.orders = append(w.model.orders, made)
	return made
}

func (w *Walk) placedAgain(m *move, o *wish, made *order) *move {
	again := *m
	again.took = nil
	switch p := made.paid[o.key]; {
	case made.rejection != "":
		again.want = codes(made.rejection)
	case p != nil:
		again.want = codes(made.paidAgain(p)...)
	default:
		again.want = nil
	}
	return &again
}

// whose is who does something with an order, and whether it is theirs.
func (w *Walk) whose(o *order) (who string, theirs bool) {
	who = o.customer
	if w.chance(8) {
		who = w.person()
	}
	return who, who == o.customer
}

// anOrder is mostly one that fits.
func (w *Walk) anOrder(fits func(*order) bool) *order {
	if w.chance(80) {
		if o := pick(w, slices.DeleteFunc(slices.Clone(w.model.orders), func(o *order) bool { return !fits(o) })); o != nil {
			return o
		}
	}
	return pick(w, w.model.orders)
}

func (w *Walk) payOrder() *move {
	o := w.anOrder((*order).open)
	if o == nil {
		return nil
	}
	who, theirs := w.whose(o)
	key, card := w.key(), w.card()
	m := &move{
		who: who, field: "payOrder", selection: orderFields, order: func() *order { return o },
		input: map[string]any{"idempotencyKey": key, "orderId": o.id, "paymentToken": card},
	}
	switch {
	case !theirs:
		m.want = codes("NOT_FOUND")
	case o.state == "EXPIRED":
		m.want = codes("HOLD_EXPIRED")
	case !o.open():
		m.want = codes("ILLEGAL_TRANSITION")
	default:
		if card == "tok_decline" {
			m.want = codes("PAYMENT_DECLINED")
		}
		m.took = func(string, map[string]any) { o.pay(key, card) }
		m.again = func() *move {
			again := *m
			again.took, again.want = nil, codes(o.paidAgain(o.paid[key])...)
			return &again
		}
		m.other = func(input map[string]any) { input["paymentToken"] = "tok_other" }
	}
	return m
}

func (w *Walk) cancelOrder() *move {
	o := w.anOrder((*order).open)
	if o == nil {
		return nil
	}
	who, theirs := w.whose(o)
	m := &move{who: who, field: "cancelOrder", input: map[string]any{"orderId": o.id, "reason": "changed my mind"}, selection: orderFields, order: func() *order { return o }}
	switch {
	case !theirs:
		m.want = codes("NOT_FOUND")
	case o.open():
		m.took = func(string, map[string]any) { o.end("CANCELLED") }
	case o.state == "CANCELLED" && !o.sold():
	default:
		m.want = codes("ILLEGAL_TRANSITION")
	}
	return m
}

// units are some of an order's, or all that are left; too many now and then.
func (w *Walk) units(o *order, left func(*orderLine) int64) (input []any, units map[*orderLine]int64, want map[string]bool) {
	units = map[*orderLine]int64{}
	if w.chance(40) {
		for _, l := range o.lines {
			if n := left(l); n > 0 {
				units[l] = n
			}
		}
		if len(units) == 0 {
			want = codes("ILLEGAL_TRANSITION")
		}
		return nil, units, want
	}
	for i, l := range o.lines {
		if i > 0 && w.chance(50) {
			continue
		}
		n := 1 + w.random.Int64N(max(1, left(l)))
		if w.chance(5) {
			n = left(l) + 1
		}
		if n > left(l) {
			want = codes("INVALID")
		}
		units[l] = n
		input = append(input, map[string]any{"sku": l.sku.id, "quantity": n})
	}
	return input, units, want
}

func (w *Walk) fulfilOrder() *move {
	o := w.anOrder((*order).sold)
	if o == nil {
		return nil
	}
	lines, units, want := w.units(o, (*orderLine).left)
	if o.state != "CONFIRMED" && o.state != "PARTIALLY_FULFILLED" {
		want = codes("ILLEGAL_TRANSITION")
	}
	input := map[string]any{"idempotencyKey": w.key(), "orderId": o.id, "tracking": "T1"}
	if lines != nil {
		input["lines"] = lines
	}
	return w.ofStaff("fulfilOrder", input, o, want, func() { o.fulfil(units) }, func(input map[string]any) { input["tracking"] = "T2" })
}

func (w *Walk) refundOrder() *move {
	o := w.anOrder((*order).sold)
	if o == nil {
		return nil
	}
	lines, units, want := w.units(o, (*orderLine).unrefunded)
	if !o.sold() {
		want = codes("ILLEGAL_TRANSITION")
	}
	restock := w.chance(60)
	input := map[string]any{"idempotencyKey": w.key(), "orderId": o.id, "restock": restock}
	if lines != nil {
		input["lines"] = lines
	}
	return w.ofStaff("refundOrder", input, o, want, func() { o.refund(units, restock) }, func(input map[string]any) { input["restock"] = !restock })
}

// ofStaff is a fulfilment or a refund; customers may not.
func (w *Walk) ofStaff(field string, input map[string]any, o *order, want map[string]bool, took func(), other func(map[string]any)) *move {
	m := &move{who: w.staff, field: field, input: input, selection: orderFields, want: want, order: func() *order { return o }}
	if len(want) > 0 {
		return m
	}
	m.took = func(string, map[string]any) { took() }
	m.again = func() *move {
		again := *m
		again.took = nil
		return &again
	}
	m.other = other
	return m
}

// again sends something once more: the same, which is answered like before, or
// something else under the same key, which is refused.
func (w *Walk) again() *move {
	m := pick(w, w.moves)
	if m == nil {
		return nil
	}
	again := m.again()
	if again == nil {
		return nil
	}
	again.again = nil
	if m.other == nil || w.chance(60) {
		return again
	}
	other := *again
	other.input = maps.Clone(again.input)
	m.other(other.input)
	other.want, other.took = codes("IDEMPOTENCY_MISMATCH"), nil
	return &other
}
