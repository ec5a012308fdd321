package sku

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// reserve holds units for an order. An order that has units gets the answer
// that it got; one whose hold is over gets none again.
func (d *draft) reserve(c *skupb.Reserve) *skupb.ReserveReply {
	if r := checkOrder(c.GetOrderId(), c.GetQuantity()); r != nil {
		return &skupb.ReserveReply{Refusal: r}
	}
	a, expired := d.allocation(c.GetOrderId())
	if a != nil && !expired {
		return d.reservedAlready(a, c)
	}
	if r := d.refuseEnded(c.GetOrderId(), expired); r != nil {
		return &skupb.ReserveReply{Refusal: r}
	}
	if r := d.refuseReserve(c); r != nil {
		return &skupb.ReserveReply{Refusal: r}
	}
	after := d.stock
	after.available -= c.GetQuantity()
	after.held += c.GetQuantity()
	price := d.priceIn(c.GetSaleId())
	n := &newHold{
		reserved: skupb.Reserved{
			OrderId:     c.GetOrderId(),
			CustomerId:  c.GetCustomerId(),
			Quantity:    c.GetQuantity(),
			ExpiresAtMs: c.GetExpiresAtMs(),
			UnitPrice:   price,
			SaleId:      c.GetSaleId(),
		},
		reply: skupb.ReserveReply{
			Version:     d.version + 1,
			UnitPrice:   price,
			Name:        d.s.config.name,
			ExpiresAtMs: c.GetExpiresAtMs(),
		},
	}
	n.oneof.Reserved = &n.reserved
	n.event.Event = &n.oneof
	if d.events == nil {
		d.events = n.events[:0]
	}
	d.add(&n.event, after)
	return &n.reply
}

// newHold is what one Reserve makes, in one piece of memory: it is what a SKU
// does most.
type newHold struct {
	event    skupb.Event
	oneof    skupb.Event_Reserved
	reserved skupb.Reserved
	reply    skupb.ReserveReply
	events   [2]*skupb.Event
}

func (d *draft) reservedAlready(a *allocation, c *skupb.Reserve) *skupb.ReserveReply {
	if a.move == 0 && int64(a.quantity) != c.GetQuantity() {
		return &skupb.ReserveReply{Refusal: refuse(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH,
			"the order has "+decimal(int64(a.quantity))+" units of this SKU already: it cannot ask for another quantity", "quantity")}
	}
	return &skupb.ReserveReply{
		Version:     a.reservedVersion,
		UnitPrice:   a.unitPrice,
		Name:        d.s.config.name,
		ExpiresAtMs: a.expiresAtMs,
	}
}

// refuseEnded is for an order whose hold is over, just now or earlier.
func (d *draft) refuseEnded(orderID string, expired bool) *commonpb.Refusal {
	m := d.s.ended(orderID)
	switch {
	case expired || m != nil && m.value.expired:
		return refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "the order's hold has ended: place a new order", "sku")
	case m != nil:
		return refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the order has given its units back: place a new order", "sku")
	default:
		return nil
	}
}

// refuseReserve is why an order that the SKU does not know cannot have units.
func (d *draft) refuseReserve(c *skupb.Reserve) *commonpb.Refusal {
	conf := &d.s.config
	switch {
	case conf.productID == "":
		return d.notConfigured()
	case !conf.active:
		return d.notActive()
	case c.GetExpiresAtMs() <= d.nowMs:
		return refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "the hold would have ended before it began: place a new order", "sku")
	case c.GetExpiresAtMs()-MaxHold.Milliseconds() > d.nowMs:
		return refuse(commonpb.Reason_REASON_INVALID, "a hold ends after "+decimal(int64(MaxHold/time.Hour))+" hours at most", "expiresAt")
	}
	if c.GetSaleId() != "" {
		if r := d.refuseInSale(c); r != nil {
			return r
		}
	}
	if c.GetExpectedPrice() != nil && !proto.Equal(c.GetExpectedPrice(), d.priceIn(c.GetSaleId())) {
		r := refuse(commonpb.Reason_REASON_PRICE_CHANGED, "the price is another one now: read it again", "expectedPrice")
		r.Sku = d.s.id
		return r
	}
	if r := d.refuseAllocation(); r != nil {
		return r
	}
	if c.GetSaleId() != "" {
		return d.refuseSaleUnits(c.GetCustomerId(), c.GetQuantity())
	}
	return d.refuseUnits(c.GetQuantity(), ordinaryUnits, "quantity")
}

// refuseAllocation keeps the memory that orders take within its bounds.
func (d *draft) refuseAllocation() *commonpb.Refusal {
	s := d.s
	if len(s.allocations)-d.ended >= MaxAllocations {
		r := refuse(commonpb.Reason_REASON_THROTTLED, "units of this SKU are held by or sold to "+decimal(MaxAllocations)+" orders: at most that many at a time")
		r.RetryAfterMs = int64(time.Minute / time.Millisecond)
		return r
	}
	return d.refuseOrder()
}

func (d *draft) refuseOrder() *commonpb.Refusal {
	s := d.s
	if len(s.allocations)+s.settled.len()+s.unsettled.len()-s.settled.forgettable(d.nowMs) < MaxOrders {
		return nil
	}
	r := refuse(commonpb.Reason_REASON_THROTTLED, "this SKU knows "+decimal(MaxOrders)+" orders of the last "+decimal(int64(KeepFor/time.Hour))+" hours: at most that many at a time")
	r.RetryAfterMs = s.settled.retryAfterMs(d.nowMs)
	return r
}

// refuseUnits is for more units than there are to be had, also when everything
// that is due has ended.
func (d *draft) refuseUnits(units int64, of pool, field string) *commonpb.Refusal {
	if d.free(of) >= units {
		return nil
	}
	all := d.expireUntil(func() bool { return d.free(of) >= units })
	if d.free(of) >= units {
		return nil
	}
	if !all {
		return throttledByExpiry()
	}
	return d.insufficient(commonpb.Reason_REASON_INSUFFICIENT_STOCK, units, d.free(of), field)
}

// confirm commits an order's units. Units whose hold is over, and units of an
// order that the SKU does not know (any more), are taken again if there are
// any: whoever confirms has been promised them. Only an order that gave its
// units back gets none.
func (d *draft) confirm(c *skupb.Confirm) *skupb.ConfirmReply {
	if r := checkOrder(c.GetOrderId(), c.GetQuantity()); r != nil {
		return &skupb.ConfirmReply{Refusal: r}
	}
	a, expired := d.allocation(c.GetOrderId())
	if a == nil || expired {
		return d.reacquire(c, expired)
	}
	if a.move == 0 && int64(a.quantity) != c.GetQuantity() {
		return &skupb.ConfirmReply{Refusal: refuse(commonpb.Reason_REASON_INVALID,
			"the order has "+decimal(int64(a.quantity))+" units of this SKU: it can confirm these only", "quantity")}
	}
	if a.committed() {
		return &skupb.ConfirmReply{Version: a.committedVersion}
	}
	after := d.stock
	after.held -= c.GetQuantity()
	after.committed += c.GetQuantity()
	return d.confirmed(c, 0, "", after)
}

func (d *draft) reacquire(c *skupb.Confirm, expired bool) *skupb.ConfirmReply {
	m := d.s.ended(c.GetOrderId())
	if m != nil && !m.value.expired {
		return &skupb.ConfirmReply{Refusal: refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the order has given its units back", "sku")}
	}
	saleID := ""
	if d.sells(c.GetSaleId()) {
		saleID = c.GetSaleId()
	}
	if r := d.refuseReacquire(c, saleID, expired || m != nil); r != nil {
		return &skupb.ConfirmReply{Refusal: r}
	}
	after := d.stock
	after.available -= c.GetQuantity()
	after.committed += c.GetQuantity()
	return d.confirmed(c, c.GetQuantity(), saleID, after)
}

func (d *draft) refuseReacquire(c *skupb.Confirm, saleID string, expired bool) *commonpb.Refusal {
	switch {
	case d.s.config.productID == "":
		return d.notConfigured()
	case !d.s.config.active && expired:
		return refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "the order's hold has ended, and the SKU is not on sale any more", "sku")
	case !d.s.config.active:
		return d.notActive()
	}
	if r := d.refuseAllocation(); r != nil {
		return r
	}
	var r *commonpb.Refusal
	if saleID != "" {
		r = d.refuseSaleUnits(c.GetCustomerId(), c.GetQuantity())
	} else {
		r = d.refuseUnits(c.GetQuantity(), ordinaryUnits, "quantity")
	}
	final := r.GetReason() == commonpb.Reason_REASON_INSUFFICIENT_STOCK || r.GetReason() == commonpb.Reason_REASON_CUSTOMER_LIMIT
	if final && expired {
		r.Reason = commonpb.Reason_REASON_HOLD_EXPIRED
		r.Message = "the order's hold has ended, and its units are gone: " + r.GetMessage()
	}
	return r
}

func (d *draft) confirmed(c *skupb.Confirm, reacquired int64, saleID string, after stock) *skupb.ConfirmReply {
	version := d.version + 1
	d.add(&skupb.Event{Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{
		OrderId: c.GetOrderId(), Quantity: c.GetQuantity(), Reacquired: reacquired, CustomerId: c.GetCustomerId(), SaleId: saleID,
	}}}, after)
	return &skupb.ConfirmReply{Version: version}
}

// release gives an order's units back. An order that has none is remembered,
// so that a Reserve or Confirm of it that is still on its way gets none either.
func (d *draft) release(c *skupb.Release) *skupb.ReleaseReply {
	if r := checkOrder(c.GetOrderId(), 1); r != nil {
		return &skupb.ReleaseReply{Refusal: r}
	}
	a, expired := d.allocation(c.GetOrderId())
	if a == nil || expired {
		return d.rememberRelease(c.GetOrderId(), expired)
	}
	quantity := int64(a.quantity)
	after := d.stock
	after.available += quantity
	switch {
	case !a.committed():
		after.held -= quantity
	case c.GetIncludeCommitted():
		after.committed -= quantity
	default:
		return &skupb.ReleaseReply{Refusal: refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the order's units are sold: a release of held units cannot take them back", "sku")}
	}
	d.add(&skupb.Event{Event: &skupb.Event_Released{Released: &skupb.Released{
		OrderId: c.GetOrderId(), Quantity: quantity, Committed: a.committed(),
	}}}, after)
	return &skupb.ReleaseReply{Quantity: quantity}
}

func (d *draft) rememberRelease(orderID string, expired bool) *skupb.ReleaseReply {
	m := d.s.ended(orderID)
	if m != nil && !m.value.expired {
		return &skupb.ReleaseReply{}
	}
	if m == nil && !expired {
		if r := d.refuseOrder(); r != nil {
			return &skupb.ReleaseReply{Refusal: r}
		}
	}
	d.add(&skupb.Event{Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{
		OrderId: orderID, Unclaimed: d.s.config.productID == "",
	}}}, d.stock)
	return &skupb.ReleaseReply{}
}
