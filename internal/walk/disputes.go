package walk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// Disputes has several do things with the same order at the same time: place it
// twice, pay it twice, cancel it while it is paid, refund more than there is.
// Whoever is let, its units and its money are somewhere, once.
func (c *Crowd) Disputes(orders int, seed uint64) {
	c.t.Helper()
	const units = 3
	sku, saleID := c.stockUp(units*orders, units*orders, units)
	var group errgroup.Group
	group.SetLimit(atOnce / 4)
	left, committed := make([]int64, orders), make([]int64, orders)
	for n := range orders {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		group.Go(func() error {
			left[n], committed[n] = c.dispute(n, random, sku, saleID, units)
			return nil
		})
	}
	_ = group.Wait() // nobody returns an error
	available, sold := int64(0), int64(0)
	for n := range orders {
		available, sold = available+left[n], sold+committed[n]
	}
	c.level(sku, fmt.Sprintf("%d 0 %d", available, sold))
}

// dispute is one order's; it returns what of its units is to be had again, and
// what is sold.
func (c *Crowd) dispute(n int, random *rand.Rand, sku, saleID string, units int64) (left, committed int64) {
	who := c.customer(n)
	place := placing("k", sku, saleID)
	place["lines"] = []any{map[string]any{"sku": sku, "quantity": units}}
	ids := make([]string, 3)
	c.together(len(ids), func(i int) {
		ids[i] = text(at(c.act(c.shop, who, "placeOrder", place, crowdFields), "order", "id"))
	})
	if ids[0] != ids[1] || ids[1] != ids[2] {
		c.t.Errorf("one key made the orders %v", ids)
	}
	cancels := random.IntN(2) == 0
	c.together(3, func(i int) {
		if i == 2 && cancels {
			c.act(c.shop, who, "cancelOrder", map[string]any{"orderId": ids[0]}, crowdFields)
			return
		}
		key, token := fmt.Sprint("p", i), []string{"tok_ok", "tok_ok", "tok_decline"}[i]
		c.act(c.shop, who, "payOrder", map[string]any{"idempotencyKey": key, "orderId": ids[0], "paymentToken": token}, crowdFields)
	})
	refunds := make([]bool, 3)
	c.together(len(refunds), func(i int) {
		refunded := c.act(c.shop, c.staff(), "refundOrder", map[string]any{
			"idempotencyKey": fmt.Sprint("r", i), "orderId": ids[0], "lines": []any{map[string]any{"sku": sku, "quantity": 2}},
		}, crowdFields)
		refunds[i] = codeOf(refunded) == ""
	})
	return c.settledOrder(n, ids[0], refunds, units)
}

// together does some things at the same time.
func (c *Crowd) together(n int, do func(i int)) {
	var group errgroup.Group
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // nobody returns an error
}

// settledOrder waits until the order is at rest and checks its money.
func (c *Crowd) settledOrder(n int, id string, refunds []bool, units int64) (left, committed int64) {
	const document = `query($id: ID!) { order(id: $id) { state payment { state captured { amount } refunded { amount } } lines { refunded } } }`
	back := int64(0)
	for _, yes := range refunds {
		if yes {
			back += 2
		}
	}
	want := []string{
		fmt.Sprint("CANCELLED NONE <nil> <nil> ", back), fmt.Sprint("CANCELLED DECLINED <nil> <nil> ", back), fmt.Sprint("CANCELLED VOIDED <nil> <nil> ", back),
		fmt.Sprintf("CONFIRMED PARTIALLY_REFUNDED %s %s %d", amount(990*units), amount(990*back), back),
	}
	var is string
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		a, err := c.shop.Ask(context.Background(), c.shop.Token(c.customer(n), false), document, map[string]any{"id": id})
		o := at(answered(a), "order")
		is = fmt.Sprint(at(o, "state"), " ", at(o, "payment", "state"), " ", at(o, "payment", "captured", "amount"), " ", at(o, "payment", "refunded", "amount"), " ", at(o, "lines", 0, "refunded"))
		switch {
		case err != nil:
		case back == 0 && (is == want[0] || is == want[1] || is == want[2]):
			return units, 0
		case back == 2 && is == want[3]:
			return back, units - back
		}
	}
	c.t.Errorf("order %s: refunds taken %v, and it is %s", id, refunds, is)
	return 0, 0
}
