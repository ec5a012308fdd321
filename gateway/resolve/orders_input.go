package resolve

import (
	"fmt"

	"stampede/actors/order"
	"stampede/gateway/graph"
	"stampede/proto/gen/orderpb"
)

// placeCommand turns an input into the command, or says everything that is wrong with it.
func (r *Resolver) placeCommand(v Viewer, in *graph.PlaceOrderInput) (*orderpb.Place, problems) {
	var bad problems
	bad.key(in.IdempotencyKey)
	if n := len(in.Lines); n < 1 || n > order.MaxLines {
		bad.add(fmt.Sprintf("must be 1 to %d lines, not %d", order.MaxLines, n), "lines")
		return nil, bad
	}
	cmd := &orderpb.Place{
		CustomerId: v.ID, IdempotencyKey: in.IdempotencyKey, HoldMs: r.HoldFor.Milliseconds(),
		Lines: make([]*orderpb.PlaceLine, len(in.Lines)),
	}
	lines := make([]orderpb.PlaceLine, len(in.Lines))
	for i := range in.Lines {
		bad.line(&in.Lines[i], i, &lines[i])
		if earlier := earlierLine(in.Lines[:i], in.Lines[i].Sku); earlier >= 0 {
			bad.add(fmt.Sprintf("must be in one line: line %d has it already", earlier), "lines", index(i), "sku")
		}
		cmd.Lines[i] = &lines[i]
	}
	if in.PaymentToken != nil {
		bad.paymentToken(*in.PaymentToken)
		cmd.PaymentToken = *in.PaymentToken
	}
	r.ofSale(v, in, cmd, &bad)
	return cmd, bad
}

func (p *problems) line(in *graph.LineInput, i int, out *orderpb.PlaceLine) {
	if !isSKU(in.Sku) {
		p.add(wantSKU, "lines", index(i), "sku")
	}
	if in.Quantity < 1 || in.Quantity > order.MaxQuantity {
		p.add(oneTo("", order.MaxQuantity), "lines", index(i), "quantity")
	}
	out.Sku, out.Quantity = in.Sku, int64(in.Quantity)
	if in.ExpectedPrice != nil {
		out.ExpectedPrice = p.price(in.ExpectedPrice, "lines", index(i), "expectedPrice")
	}
}

// earlierLine is the line that has the SKU, or -1. At most a hundred lines: no map.
func earlierLine(lines []graph.LineInput, sku string) int {
	for i := range lines {
		if lines[i].Sku == sku {
			return i
		}
	}
	return -1
}

// fulfilCommand and refundCommand turn their inputs into commands, or say
// everything that is wrong with them.
func fulfilCommand(v Viewer, in *graph.FulfilOrderInput) (*orderpb.Fulfil, problems) {
	var bad problems
	bad.key(in.IdempotencyKey)
	bad.id(in.OrderID, orderPrefix, "orderId")
	bad.require(text(deref(in.Tracking), order.MaxTrackingRunes), fmt.Sprintf("must be at most %d characters without control characters", order.MaxTrackingRunes), "tracking")
	return &orderpb.Fulfil{Actor: v.actor(), IdempotencyKey: in.IdempotencyKey, Lines: bad.quantities(in.Lines), Tracking: deref(in.Tracking)}, bad
}

func refundCommand(v Viewer, in *graph.RefundOrderInput) (*orderpb.Refund, problems) {
	var bad problems
	bad.key(in.IdempotencyKey)
	bad.id(in.OrderID, orderPrefix, "orderId")
	bad.require(text(deref(in.Reason), maxReasonCharacters), "must be at most 500 characters without control characters", "reason")
	return &orderpb.Refund{
		Actor: v.actor(), IdempotencyKey: in.IdempotencyKey, Lines: bad.quantities(in.Lines), Restock: in.Restock == nil || *in.Restock, Reason: deref(in.Reason),
	}, bad
}

// quantities are units of some of the lines; nil means all of them, and an empty
// list nothing at all, which is refused.
func (p *problems) quantities(in []graph.LineQuantityInput) []*orderpb.LineQuantity {
	if in == nil {
		return nil
	}
	if n := len(in); n < 1 || n > order.MaxLines {
		p.add(fmt.Sprintf("must be 1 to %d lines, not %d; leave them out for all", order.MaxLines, n), "lines")
		return nil
	}
	out := make([]*orderpb.LineQuantity, len(in))
	for i, l := range in {
		if !isSKU(l.Sku) {
			p.add(wantSKU, "lines", index(i), "sku")
		}
		if l.Quantity < 1 || l.Quantity > order.MaxQuantity {
			p.add(oneTo("", order.MaxQuantity), "lines", index(i), "quantity")
		}
		out[i] = &orderpb.LineQuantity{Sku: l.Sku, Quantity: int64(l.Quantity)}
	}
	return out
}
