package walk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stampede/payments"
)

// ask asks what changes nothing, until there is an answer.
func (w *Walk) ask(who, document string, variables map[string]any) *Answer {
	w.t.Helper()
	return w.askAs(w.shop.Token(who, who == w.staff), document, variables)
}

// askAs is ask with a token.
func (w *Walk) askAs(token, document string, variables map[string]any) *Answer {
	w.t.Helper()
	for deadline := time.Now().Add(settleWithin); ; <-time.After(20 * time.Millisecond) {
		a, err := w.shop.Ask(w.t.Context(), token, document, variables)
		if err == nil && len(a.Errors) == 0 {
			return a
		}
		if time.Now().After(deadline) {
			w.fail("%s: %v %v", document, a, err)
		}
	}
}

// check compares everything that there is units of, every sale, all money, and
// one order.
// What an answer does not wait for gets some time.
func (w *Walk) check(about *order) {
	w.t.Helper()
	orders := []*order{}
	if about != nil {
		orders = append(orders, about)
	}
	if o := pick(w, w.model.orders); o != nil && o != about {
		orders = append(orders, o)
	}
	w.compare(orders)
	w.compareMoney()
	if about != nil && w.chance(30) {
		w.compareViewer(about)
	}
}

func (w *Walk) compare(orders []*order) {
	w.t.Helper()
	document, variables := w.everything(orders)
	for deadline := time.Now().Add(settleWithin); ; <-time.After(time.Millisecond) {
		a := w.ask(w.staff, document, variables)
		w.model.tick(w.shop.Now())
		difference := w.difference(a.Data, orders)
		if difference == "" {
			return
		}
		if time.Now().After(deadline) {
			w.fail("%s", difference)
		}
	}
}

// everything asks for all that is compared. Ids are variables: the same document
// comes again, and is known.
func (w *Walk) everything(orders []*order) (document string, variables map[string]any) {
	var declared, fields strings.Builder
	skus := []string{}
	for _, k := range w.model.skus {
		skus = append(skus, k.id)
	}
	variables = map[string]any{"skus": skus}
	one := func(name, id, field, selection string) {
		variables[name] = id
		fmt.Fprintf(&declared, ", $%s: ID!", name)
		fmt.Fprintf(&fields, "%s: %s(id: $%s) %s ", name, field, name, selection)
	}
	for i, s := range w.newestSales() {
		one(fmt.Sprintf("s%d", i), s.id, "sale", `{ state joinedBeforeOpening shuffleCommitment shuffleSecret items { remaining allocation variant { sku } } }`)
	}
	for i, o := range orders {
		one(fmt.Sprintf("o%d", i), o.id, "order", strings.TrimPrefix(orderFields, "order "))
	}
	return "query($skus: [String!]!" + declared.String() + ") { stock(skus: $skus) { sku onHand available held committed unavailable version } " + fields.String() + "}", variables
}

// newestSales are as many as one document may ask for.
func (w *Walk) newestSales() []*sale {
	const most = 6
	return w.model.sales[max(0, len(w.model.sales)-most):]
}

func (w *Walk) difference(data map[string]any, orders []*order) string {
	for i, k := range w.model.skus {
		got := at(data, "stock", i)
		want := fmt.Sprintf("%d = %d %d %d %d", k.onHand(), k.available, k.held, k.committed, k.unavailable)
		if is := fmt.Sprintf("%v = %v %v %v %v", at(got, "onHand"), at(got, "available"), at(got, "held"), at(got, "committed"), at(got, "unavailable")); is != want {
			return fmt.Sprintf("stock of %s (available, held, committed, unavailable) is %s and has to be %s", k.id, is, want)
		}
	}
	for i, s := range w.newestSales() {
		got := at(data, fmt.Sprintf("s%d", i))
		if d := s.difference(got, w.shop.Now()); d != "" {
			return d
		}
	}
	for i, o := range orders {
		if d := o.difference(at(data, fmt.Sprintf("o%d", i))); d != "" {
			return d
		}
	}
	return ""
}

func (s *sale) difference(got any, now time.Time) string {
	if want := s.state(now); at(got, "state") != want {
		return fmt.Sprintf("sale %s has to be %s: %v", s.id, want, got)
	}
	if d := s.compareLot(got, now); d != "" {
		return d
	}
	for i, k := range s.order {
		want := int64(0)
		if k.sale == s {
			want = max(0, k.free(s))
		}
		if item := at(got, "items", i); text(at(item, "remaining")) != text(want) || text(at(item, "allocation")) != text(s.items[k].allocation) {
			return fmt.Sprintf("sale %s has to have %d of %s left, of %d: %v", s.id, want, k.id, s.items[k].allocation, got)
		}
	}
	return ""
}

func (o *order) difference(got any) string {
	want := []string{o.state, o.payment}
	is := []string{text(at(got, "state")), text(at(got, "payment", "state"))}
	add := func(name string, wanted, value any) {
		want, is = append(want, name+" "+text(wanted)), append(is, name+" "+text(value))
	}
	if o.rejection == "" {
		add("total", amount(o.total()), at(got, "total", "amount"))
	} else {
		add("rejection", o.rejection, at(got, "rejection", "code"))
	}
	if o.captured > 0 {
		add("captured", amount(o.captured), at(got, "payment", "captured", "amount"))
	}
	if o.refunded > 0 {
		add("refunded", amount(o.refunded), at(got, "payment", "refunded", "amount"))
	}
	for i, l := range o.lines {
		line := at(got, "lines", i)
		add("line", fmt.Sprint(l.quantity, l.fulfilled, l.refunded), fmt.Sprint(at(line, "quantity"), at(line, "fulfilled"), at(line, "refunded")))
		if o.rejection == "" {
			add("price", amount(l.price), at(line, "unitPrice", "amount"))
		}
	}
	if !slices.Equal(want, is) {
		return fmt.Sprintf("order %s is %v and has to be %v", o.id, is, want)
	}
	return ""
}

// compareViewer: to everybody but its customer there is no such order.
func (w *Walk) compareViewer(o *order) {
	w.t.Helper()
	const document = `query($id: ID!) { order(id: $id) { id } node(id: $id) { id } }`
	who := w.person()
	a := w.ask(who, document, map[string]any{"id": o.id})
	if sees := at(a.Data, "order") != nil || at(a.Data, "node") != nil; sees != (who == o.customer) {
		w.fail("%s's order, asked for by %s: %v", o.customer, who, a.Data)
	}
}

// atTheEnd looks at all orders, and at the past of every SKU.
func (w *Walk) atTheEnd() {
	w.t.Helper()
	const some = 3 // with the sales and the stock, as many fields as a document may have
	for list := range slices.Chunk(w.model.orders, some) {
		w.compare(list)
	}
	w.compareMoney()
	committed := map[*sku]int64{}
	for _, o := range w.model.orders {
		for _, l := range o.lines {
			if o.sold() {
				committed[l.sku] += l.left()
			}
		}
	}
	for _, k := range w.model.skus {
		if committed[k] != k.committed {
			w.fail("%s: %d units are committed, orders have %d", k.id, k.committed, committed[k])
		}
		w.checkPast(k)
	}
}

// compareMoney: what was taken and kept is the price of what was sold and not
// refunded, and the payment provider has the same in its books.
func (w *Walk) compareMoney() {
	w.t.Helper()
	kept, sold := int64(0), int64(0)
	for _, o := range w.model.orders {
		kept += o.captured - o.refunded
		for _, l := range o.lines {
			if o.sold() {
				sold += l.price * l.unrefunded()
			}
		}
	}
	if kept != sold {
		w.fail("%d were taken and kept, for units of %d", kept, sold)
	}
	w.compareBooks()
}

// compareBooks: what the payment provider took, gave back and let go of, by its
// own books, is what the orders came to. It may hear of the last a moment later
// than who asked for it.
func (w *Walk) compareBooks() {
	w.t.Helper()
	bank, ok := w.shop.(Banker)
	if !ok {
		return
	}
	wrong := ""
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if wrong = w.wrongInBooks(bank.Books()); wrong == "" {
			return
		}
	}
	w.fail("the provider's books: %s", wrong)
}

func (w *Walk) wrongInBooks(books map[string]payments.Book) string {
	for _, o := range w.model.orders {
		b := books[o.id]
		underWay := 0
		if o.state == "PAYING" {
			underWay = 1
		}
		if b.Captured != o.captured || b.Refunded != o.refunded || b.Open > underWay {
			return fmt.Sprintf("order %s is %s, %d captured and %d refunded; the provider has %+v", o.id, o.state, o.captured, o.refunded, b)
		}
	}
	return ""
}

// levelOfPast are the four states of a level or of a line of the ledger.
type levelOfPast [4]float64

func levelOf(v any) (l levelOfPast) {
	for i, name := range []string{"available", "held", "committed", "unavailable"} {
		l[i], _ = at(v, name).(float64)
	}
	return l
}

// checkPast: the ledger adds up to the level, and so it did at every version.
func (w *Walk) checkPast(k *sku) {
	w.t.Helper()
	const page = `query($sku: String!, $after: String) { stock(skus: [$sku]) { available held committed unavailable version }
		stockLedger(sku: $sku, first: 50, after: $after) { edges { node { version available held committed unavailable } } pageInfo { hasNextPage endCursor } } }`
	var entries []any
	var level any
	for variables := map[string]any{"sku": k.id}; ; {
		a := w.ask(w.staff, page, variables)
		edges, _ := at(a.Data, "stockLedger", "edges").([]any)
		entries, level = append(entries, edges...), at(a.Data, "stock", 0)
		if at(a.Data, "stockLedger", "pageInfo", "hasNextPage") != true {
			break
		}
		variables["after"] = at(a.Data, "stockLedger", "pageInfo", "endCursor")
	}
	slices.Reverse(entries)
	var sum levelOfPast
	last, then := 0.0, w.random.IntN(len(entries))
	for i, e := range entries {
		version, _ := at(e, "node", "version").(float64)
		if version <= last {
			w.fail("ledger of %s: version %v after %v", k.id, version, last)
		}
		last = version
		for state, delta := range levelOf(at(e, "node")) {
			sum[state] += delta
		}
		if i == then {
			a := w.ask(w.staff, `query($sku: String!, $v: Int) { stockAt(sku: $sku, version: $v) { available held committed unavailable } }`, map[string]any{"sku": k.id, "v": version})
			if got := levelOf(at(a.Data, "stockAt")); got != sum {
				w.fail("%s at version %v was %v, by its ledger %v", k.id, version, got, sum)
			}
		}
	}
	if sum != levelOf(level) || last > at(level, "version").(float64) {
		w.fail("the ledger of %s adds up to %v at version %v: %v", k.id, sum, last, level)
	}
}
