package walk

import (
	"fmt"
	"slices"
	"strings"
)

const (
	stockFields   = `stock { sku onHand available held committed unavailable version }`
	productFields = `product { id version name published variants { sku price { amount } } }`
	maxProducts   = 3
)

func (w *Walk) createProduct() *move {
	if len(w.model.products) >= maxProducts {
		return nil
	}
	key := w.key()
	p := &product{name: "A product", published: w.chance(95)}
	variants := []any{}
	for n := range 1 + w.random.IntN(3) {
		k := &sku{id: fmt.Sprintf("%s-%d", key, n), product: p, price: w.price(), listed: true, available: w.random.Int64N(30)}
		p.skus = append(p.skus, k)
		variants = append(variants, map[string]any{"sku": k.id, "price": money(k.price), "initialStock": k.available})
	}
	m := &move{who: w.staff, field: "createProduct", selection: productFields, input: map[string]any{
		"idempotencyKey": key, "slug": strings.ToLower(key), "name": p.name, "published": p.published, "variants": variants,
	}}
	m.took = func(_ string, payload map[string]any) {
		p.id = text(at(payload, "product", "id"))
		p.see(payload)
		w.model.products = append(w.model.products, p)
		w.model.skus = append(w.model.skus, p.skus...)
	}
	m.again = func() *move {
		again := *m
		again.took = func(_ string, payload map[string]any) {
			if at(payload, "product", "id") != p.id {
				w.fail("another product: %v", payload)
			}
		}
		return &again
	}
	m.other = func(input map[string]any) { input["name"] = "Another" }
	return m
}

// see notes the version that an answer shows.
func (p *product) see(payload map[string]any) {
	if version, ok := at(payload, "product", "version").(float64); ok {
		p.version = version
	}
}

// price is one, which may be 0.
func (w *Walk) price() int64 {
	if w.chance(5) {
		return 0
	}
	return 1 + w.random.Int64N(10_000)
}

// updateProduct changes a price, publishes or unpublishes, retires a variant or
// brings one back.
func (w *Walk) updateProduct() *move {
	p := pick(w, w.model.products)
	m := &move{who: w.staff, field: "updateProduct", selection: productFields, input: map[string]any{"id": p.id}}
	if w.chance(30) {
		m.input["ifVersion"] = p.version
	}
	if w.chance(10) { // somebody else was first
		m.input["ifVersion"], m.input["name"], m.want = p.version+5, w.key(), codes("CONFLICT")
		return m
	}
	if w.chance(30) {
		published := w.chance(85)
		m.input["published"] = published
		m.took = func(_ string, payload map[string]any) {
			p.published = published
			p.see(payload)
		}
		return m
	}
	skus, gone := slices.Clone(p.skus), slices.Clone(p.gone)
	switch {
	case len(gone) > 0 && w.chance(70):
		skus, gone = append(skus, gone[0]), gone[1:]
	case len(skus) > 1 && w.chance(40):
		skus, gone = skus[1:], append(gone, skus[0])
	}
	variants, prices := []any{}, make([]int64, len(skus))
	for i, k := range skus {
		prices[i] = k.price
		if w.chance(40) {
			prices[i] = w.price()
		}
		// Only a SKU that is new is given its first stock.
		variants = append(variants, map[string]any{"sku": k.id, "price": money(prices[i]), "initialStock": 1000})
	}
	m.input["variants"] = variants
	m.took = func(_ string, payload map[string]any) {
		p.see(payload)
		p.skus, p.gone = skus, gone
		for i, k := range skus {
			k.listed, k.price = true, prices[i]
		}
		for _, k := range gone {
			k.listed = false
		}
	}
	return m
}

// ofStock is a change of stock: it is remembered by its key, with its answer.
func (w *Walk) ofStock(field string, input map[string]any, want map[string]bool, took func(), other func(map[string]any)) *move {
	m := &move{who: w.staff, field: field, input: input, selection: stockFields, want: want}
	if len(want) > 0 {
		return m
	}
	var first string
	m.took = func(_ string, payload map[string]any) {
		first = text(payload)
		took()
	}
	m.again = func() *move {
		again := *m
		again.took = func(_ string, payload map[string]any) {
			if text(payload) != first {
				w.fail("the same key was answered with %v, and first with %s", payload, first)
			}
		}
		return &again
	}
	m.other = other
	return m
}

func (w *Walk) adjustStock() *move {
	k := pick(w, w.model.skus)
	delta := w.random.Int64N(25) - 12
	want := map[string]bool{}
	switch {
	case delta == 0:
		want["INVALID"] = true
	case k.available+delta < 0:
		want["INSUFFICIENT_STOCK"] = true
	}
	input := map[string]any{"idempotencyKey": w.key(), "sku": k.id, "delta": delta, "reason": "delivery"}
	w.stale(input, want)
	return w.ofStock("adjustStock", input, want, func() { k.available += delta }, func(input map[string]any) { input["delta"] = delta + 20 })
}

func (w *Walk) setStock() *move {
	k := pick(w, w.model.skus)
	count, short := w.random.Int64N(25), w.chance(50)
	missing := k.onHand() - count
	want := map[string]bool{}
	if missing > k.available+k.unavailable && !short {
		want["INSUFFICIENT_STOCK"] = true
	}
	input := map[string]any{"idempotencyKey": w.key(), "sku": k.id, "onHand": count, "reason": "count", "allowShortfall": short}
	w.stale(input, want)
	return w.ofStock("setStock", input, want, func() {
		fromAvailable := min(missing, k.available) // below 0: units were found
		k.available -= fromAvailable
		k.unavailable -= min(missing-fromAvailable, k.unavailable)
	}, func(input map[string]any) { input["onHand"] = count + 1 })
}

func (w *Walk) markUnavailable() *move {
	k := pick(w, w.model.skus)
	n := 1 + w.random.Int64N(4)
	want := map[string]bool{}
	if n > k.available {
		want["INSUFFICIENT_STOCK"] = true
	}
	input := map[string]any{"idempotencyKey": w.key(), "sku": k.id, "quantity": n, "reason": "chipped"}
	return w.ofStock("markUnavailable", input, want, func() {
		k.available -= n
		k.unavailable += n
	}, func(input map[string]any) { input["quantity"] = n + 1 })
}

// stale has some changes decided on a stock that nobody has seen.
func (w *Walk) stale(input map[string]any, want map[string]bool) {
	if w.chance(8) {
		input["ifVersion"] = 1_000_000
		want["CONFLICT"] = true
	}
}
