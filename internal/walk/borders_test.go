package walk

import (
	"fmt"
	"testing"

	"stampede/internal/testshop"
)

// TestLargestOrder places, pays, refunds and repeats an order of as many lines
// as there may be.
func TestLargestOrder(t *testing.T) {
	c := NewCrowd(t, openShop(t, memory(), testshop.Config{}), nil, "LARGE")
	const products, each, units = 2, 50, 10_000
	var lines []any
	for p := range products {
		var variants []any
		for v := range each {
			sku := fmt.Sprintf("L-%d-%d", p, v)
			variants = append(variants, map[string]any{"sku": sku, "price": map[string]any{"amount": "1000000.00", "currency": "EUR"}, "initialStock": units})
			lines = append(lines, map[string]any{"sku": sku, "quantity": units})
		}
		c.must(c.act(c.shop, c.staff(), "createProduct", map[string]any{"idempotencyKey": fmt.Sprint(p), "slug": fmt.Sprint("large-", p), "name": "Large", "variants": variants}, `product { id }`))
	}
	input := map[string]any{"idempotencyKey": "k", "lines": lines, "paymentToken": "tok_ok"}
	paid := c.act(c.shop, c.customer(0), "placeOrder", input, `order { id state total { amount } }`)
	if at(paid, "order", "total", "amount") != "1000000000000.00" || state(paid) != "CONFIRMED" {
		t.Fatalf("placed: %v", paid)
	}
	if again := c.act(c.shop, c.customer(0), "placeOrder", input, `order { id state total { amount } }`); text(again) != text(paid) {
		t.Errorf("again: %v", again)
	}
	c.level("L-1-49", fmt.Sprintf("0 0 %d", units))
	refund := map[string]any{"idempotencyKey": "r", "orderId": at(paid, "order", "id")}
	if refunded := c.act(c.shop, c.staff(), "refundOrder", refund, `order { state payment { refunded { amount } } }`); state(refunded) != "CANCELLED" || at(refunded, "order", "payment", "refunded", "amount") != "1000000000000.00" {
		t.Errorf("refunded: %v", refunded)
	}
	c.level("L-1-49", fmt.Sprintf("%d 0 0", units))
}

// TestBordersOfStock: what does not fit is refused, and changes nothing.
func TestBordersOfStock(t *testing.T) {
	c := NewCrowd(t, openShop(t, memory(), testshop.Config{}), nil, "BORDER")
	const most = 1_000_000_000
	sku, _ := c.stockUp(1, 0, 0)
	for i, step := range []struct {
		field, number string
		n             int64
		want          string
		available     int64
	}{
		{"setStock", "onHand", most + 1, "INVALID", 1},
		{"setStock", "onHand", -1, "INVALID", 1},
		{"setStock", "onHand", most, "", most},
		{"adjustStock", "delta", 1, "INVALID", most},
		{"adjustStock", "delta", 2147483647, "INVALID", most},
		{"adjustStock", "delta", -2147483648, "INVALID", most},
		{"markUnavailable", "quantity", 2147483647, "INVALID", most},
		{"markUnavailable", "quantity", -1, "INVALID", most},
		{"adjustStock", "delta", -most, "", 0},
		{"adjustStock", "delta", most, "", most},
	} {
		input := map[string]any{"idempotencyKey": fmt.Sprint("s", i), "sku": sku, "reason": "count", step.number: step.n}
		if got := codeOf(c.act(c.shop, c.staff(), step.field, input, "")); got != step.want {
			t.Errorf("%s %d: %q, want %q", step.field, step.n, got, step.want)
		}
		c.level(sku, fmt.Sprintf("%v 0 0", float64(step.available)))
	}
}
