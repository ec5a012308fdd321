package sku

import (
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// What happens to units after they were sold. An order's moves (fulfilments and
// refunds) are numbered, and reach a SKU one by one in that order, so the last
// number is all that there is to remember: a move that is not above it was
// taken in already. An order whose units are all moved has no allocation any
// more, and its last number is remembered like the end of a hold. That is enough
// for what needs units that are sold: of those there are none any more. Fulfilled
// units could come back twice, so a return of them is remembered until the order
// has written down that it knows of it (SettleReturn).

// fulfil takes units that have left the building out of committed.
func (d *draft) fulfil(c *skupb.Fulfil) *skupb.FulfilReply {
	if r := checkMove(c.GetOrderId(), c.GetMove(), c.GetQuantity()); r != nil {
		return &skupb.FulfilReply{Refusal: r}
	}
	a := d.bought(c.GetOrderId())
	if d.movedAlready(c.GetOrderId(), a, c.GetMove()) {
		return &skupb.FulfilReply{}
	}
	if r := refuseCommitted(a, c.GetQuantity()); r != nil {
		return &skupb.FulfilReply{Refusal: r}
	}
	after := d.stock
	after.committed -= c.GetQuantity()
	d.add(&skupb.Event{Event: &skupb.Event_Fulfilled{Fulfilled: &skupb.Fulfilled{
		OrderId: c.GetOrderId(), CustomerId: c.GetCustomerId(), Move: c.GetMove(), Quantity: c.GetQuantity(),
	}}}, after)
	return &skupb.FulfilReply{}
}

// takeBack takes in refunded units. Those that are restocked are available;
// committed ones that are not are set aside, because nothing leaves the building
// but by a fulfilment or a count.
func (d *draft) takeBack(c *skupb.Return) *skupb.ReturnReply {
	committed, fulfilled := c.GetCommitted(), c.GetFulfilled()
	if committed < 0 || fulfilled < 0 {
		return &skupb.ReturnReply{Refusal: refuse(commonpb.Reason_REASON_INVALID, "at least 0 units come back", "quantity")}
	}
	if r := checkMove(c.GetOrderId(), c.GetMove(), committed+fulfilled); r != nil {
		return &skupb.ReturnReply{Refusal: r}
	}
	a := d.bought(c.GetOrderId())
	if d.movedAlready(c.GetOrderId(), a, c.GetMove()) {
		return &skupb.ReturnReply{}
	}
	if r := d.refuseReturn(c, a); r != nil {
		return &skupb.ReturnReply{Refusal: r}
	}
	d.add(&skupb.Event{Event: &skupb.Event_Returned{Returned: &skupb.Returned{
		OrderId: c.GetOrderId(), CustomerId: c.GetCustomerId(), Move: c.GetMove(), Committed: committed, Fulfilled: fulfilled, Restocked: c.GetRestock(), SaleId: c.GetSaleId(),
		SettledLater: c.GetSettledLater() && a == nil,
	}}}, d.stock.returned(committed, fulfilled, c.GetRestock()))
	return &skupb.ReturnReply{}
}

func (d *draft) refuseReturn(c *skupb.Return, a *allocation) *commonpb.Refusal {
	switch {
	case c.GetCommitted() > 0:
		if r := refuseCommitted(a, c.GetCommitted()); r != nil {
			return r
		}
	case a != nil && !a.committed():
		return refuseCommitted(a, c.GetFulfilled())
	}
	switch {
	case d.s.config.productID == "":
		return d.notConfigured()
	case c.GetRestock() && d.stock.onHand()+c.GetFulfilled() > maxStock: // unless the journal is made up
		return refuse(commonpb.Reason_REASON_INVALID, "there are not that many units in the world", "quantity")
	case a == nil && d.s.ended(c.GetOrderId()) == nil:
		return d.refuseOrder()
	}
	return nil
}

// settleReturn forgets, in a day, what the order will not ask for again.
func (d *draft) settleReturn(c *skupb.SettleReturn) *skupb.SettleReturnReply {
	if r := checkMove(c.GetOrderId(), c.GetMove(), 1); r != nil {
		return &skupb.SettleReturnReply{Refusal: r}
	}
	if m := d.s.unsettled.get(c.GetOrderId()); m != nil && m.value.move <= c.GetMove() {
		d.add(&skupb.Event{Event: &skupb.Event_ReturnSettled{ReturnSettled: &skupb.ReturnSettled{OrderId: c.GetOrderId(), Move: m.value.move}}}, d.stock)
	}
	return &skupb.SettleReturnReply{}
}

// bought is what the order has here, unless its hold has just ended.
func (d *draft) bought(orderID string) *allocation {
	a, expired := d.allocation(orderID)
	if expired {
		return nil
	}
	return a
}

// movedAlready reports whether the move was taken in, as far as is remembered.
func (d *draft) movedAlready(orderID string, a *allocation, move int64) bool {
	if a != nil {
		return int64(a.move) >= move
	}
	m := d.s.ended(orderID)
	return m != nil && m.value.move >= move
}

func refuseCommitted(a *allocation, quantity int64) *commonpb.Refusal {
	switch {
	case a == nil || !a.committed():
		return refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the order has no units of this SKU that are sold", "orderId")
	case int64(a.quantity) < quantity:
		return refuse(commonpb.Reason_REASON_INVALID, "the order has "+decimal(int64(a.quantity))+" units of this SKU that are sold", "quantity")
	}
	return nil
}

func checkMove(orderID string, move, quantity int64) *commonpb.Refusal {
	if r := checkOrder(orderID, quantity); r != nil {
		return r
	}
	if move < 1 || move > maxMove {
		return refuse(commonpb.Reason_REASON_INVALID, "an order's moves are numbered from 1 to "+decimal(maxMove), "move")
	}
	return nil
}
