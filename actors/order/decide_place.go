package order

import (
	"encoding/hex"
	"math"
	"strconv"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// place asks every line's SKU for its units, and then decides in one record
// what became of the order: all lines are held, or none shall be.
func (d *draft) place(c *orderpb.Place, heard map[string]proto.Message) Decision {
	if r := checkPlace(c); r != nil {
		return d.refuse(r)
	}
	if d.s.placed() {
		return d.placedBefore(c, heard)
	}
	hash := placeHash(c)
	if asks := d.reserveAsks(c, hash, heard); len(asks) > 0 {
		return Decision{Asks: asks}
	}
	replies := make([]*skupb.ReserveReply, len(c.GetLines()))
	for i := range replies {
		replies[i], _ = heard[reserveKey(c, hash, i)].(*skupb.ReserveReply)
	}
	if r := undecided(replies); r != nil {
		return d.refuse(r)
	}
	d.addPlaced(c, hash)
	refusal, held := refusedLine(c, replies)
	var total *commonpb.Money
	expiresAtMs := earliest(replies)
	if refusal == nil {
		total, refusal = totalOf(c, replies)
	}
	if refusal == nil && expiresAtMs <= d.nowMs {
		refusal = refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "the holds ended before the order was placed: place it again with another key")
	}
	if refusal != nil {
		d.add(&orderpb.Event{Event: &orderpb.Event_Rejected{Rejected: &orderpb.Rejected{Refusal: refusal, HeldLines: held}}})
		return d.answer(refusal)
	}
	d.addReserved(c, replies, total, expiresAtMs)
	if c.GetPaymentToken() == "" {
		return d.answer(nil)
	}
	d.addPaymentRequested(c.GetIdempotencyKey(), c.GetPaymentToken())
	return d.wait()
}

// placedBefore answers the same Place again like the first time, with the
// order as it is now.
func (d *draft) placedBefore(c *orderpb.Place, heard map[string]proto.Message) Decision {
	if string(placeHash(c)) != string(d.s.inputHash) {
		return d.refuse(mismatch())
	}
	if d.s.status == orderpb.Status_STATUS_REJECTED {
		return d.answer(d.s.rejection)
	}
	if k := d.s.key(c.GetIdempotencyKey()); k != nil && c.GetPaymentToken() != "" {
		return d.paidBefore(k, heard)
	}
	return d.answer(nil)
}

// reserveKey names a line's question by the whole input: two inputs that come
// under one key at one time do not hear each other's answers, nor do one that
// was let into a sale and one that was not.
func reserveKey(c *orderpb.Place, hash []byte, i int) string {
	key := askKey("reserve", i) + "/" + hex.EncodeToString(hash[:8])
	if c.GetAdmitted() {
		key += "/admitted"
	}
	return key
}

// reserveAsks are the questions that have not been answered yet.
func (d *draft) reserveAsks(c *orderpb.Place, hash []byte, heard map[string]proto.Message) []Ask {
	var asks []Ask
	for i, l := range c.GetLines() {
		key := reserveKey(c, hash, i)
		if _, ok := heard[key]; ok {
			continue
		}
		asks = append(asks, Ask{Key: key, Kind: "sku", ID: l.GetSku(), Command: &skupb.Reserve{
			OrderId:       d.s.id,
			CustomerId:    c.GetCustomerId(),
			Quantity:      l.GetQuantity(),
			ExpiresAtMs:   d.nowMs + c.GetHoldMs(),
			ExpectedPrice: l.GetExpectedPrice(),
			SaleId:        c.GetSaleId(),
			Admitted:      c.GetAdmitted(),
		}})
	}
	return asks
}

// undecided is a refusal that says nothing about the order, so that no order
// comes of it: the units are this order's already, from another input under the
// same key; or nothing else is refused, and a line may be had a moment later,
// with the same key. What other lines hold, they hold for that, until it ends.
// A sale that is not open to the customer yet is no reason for an order either,
// but none to hold anything: where a line is held all the same, it decides.
func undecided(replies []*skupb.ReserveReply) *commonpb.Refusal {
	var later, closed *commonpb.Refusal
	final, held := false, false
	for i, reply := range replies {
		switch r := reply.GetRefusal(); r.GetReason() {
		case commonpb.Reason_REASON_UNSPECIFIED:
			final, held = final || reply == nil, held || reply != nil
		case commonpb.Reason_REASON_SALE_NOT_OPEN, commonpb.Reason_REASON_SALE_PAUSED, commonpb.Reason_REASON_ADMISSION_REQUIRED:
			if closed == nil {
				closed = ofLine(r, i)
			}
		case commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH:
			return mismatch()
		case commonpb.Reason_REASON_THROTTLED, commonpb.Reason_REASON_IN_PROGRESS:
			if later == nil {
				later = ofLine(r, i)
			}
		default:
			final = true
		}
	}
	switch {
	case final, closed != nil && held:
		return nil
	case closed != nil:
		return closed
	}
	return later
}

// refusedLine is the first refusal that decides the order, and the lines that
// are held all the same.
func refusedLine(c *orderpb.Place, replies []*skupb.ReserveReply) (refusal *commonpb.Refusal, held []int32) {
	for i, reply := range replies {
		r := reply.GetRefusal()
		switch {
		case reply == nil:
			r = refuse(commonpb.Reason_REASON_INVALID, "no SKU answered for this line", "sku")
		case r == nil:
			held = append(held, int32(i))
			want := c.GetLines()[i].GetExpectedPrice()
			if want == nil || proto.Equal(want, reply.GetUnitPrice()) {
				continue
			}
			// Held earlier, at another price than this input expects.
			r = refuse(commonpb.Reason_REASON_PRICE_CHANGED, "the units are held at another price: place a new order with another key", "expectedPrice")
		}
		if refusal == nil {
			refusal = ofLine(r, i)
		}
	}
	return refusal, held
}

// ofLine is a SKU's refusal with its field as a path into the order.
func ofLine(r *commonpb.Refusal, i int) *commonpb.Refusal {
	out := proto.CloneOf(r)
	if field := r.GetField(); len(field) != 1 || field[0] != "saleId" && field[0] != "admissionToken" {
		out.Field = append([]string{"lines", strconv.Itoa(i)}, field...)
	}
	return out
}

func earliest(replies []*skupb.ReserveReply) int64 {
	first := int64(math.MaxInt64)
	for _, reply := range replies {
		first = min(first, reply.GetExpiresAtMs())
	}
	return first
}

// totalOf is the sum of the lines, which are of one currency, or why there is
// none.
func totalOf(c *orderpb.Place, replies []*skupb.ReserveReply) (*commonpb.Money, *commonpb.Refusal) {
	total := &commonpb.Money{Currency: replies[0].GetUnitPrice().GetCurrency()}
	for i, reply := range replies {
		price, quantity := reply.GetUnitPrice(), c.GetLines()[i].GetQuantity()
		if price.GetCurrency() != total.Currency {
			return nil, ofLine(refuse(commonpb.Reason_REASON_INVALID, "one order has one currency: this line is in "+price.GetCurrency()+", the first in "+total.Currency, "sku"), i)
		}
		if price.GetMinorUnits() < 0 || price.GetMinorUnits() > (math.MaxInt64-total.MinorUnits)/quantity {
			return nil, ofLine(refuse(commonpb.Reason_REASON_INVALID, "the order's total is more than can be counted: order fewer units", "quantity"), i)
		}
		total.MinorUnits += price.GetMinorUnits() * quantity
	}
	return total, nil
}

func (d *draft) addPlaced(c *orderpb.Place, hash []byte) {
	lines := make([]*orderpb.PlaceLine, len(c.GetLines()))
	for i, l := range c.GetLines() {
		lines[i] = proto.CloneOf(l)
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{
		CustomerId: c.GetCustomerId(), IdempotencyKey: c.GetIdempotencyKey(), InputHash: hash, Lines: lines, HoldMs: c.GetHoldMs(), SaleId: c.GetSaleId(),
	}}})
}

func (d *draft) addReserved(c *orderpb.Place, replies []*skupb.ReserveReply, total *commonpb.Money, expiresAtMs int64) {
	lines := make([]*orderpb.LineHold, len(replies))
	for i, r := range replies {
		l := c.GetLines()[i]
		lines[i] = &orderpb.LineHold{SkuVersion: r.GetVersion(), UnitPrice: r.GetUnitPrice(), Name: r.GetName(), Sku: l.GetSku(), Quantity: l.GetQuantity()}
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{Lines: lines, Total: total, ExpiresAtMs: expiresAtMs}}})
}
