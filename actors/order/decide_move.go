package order

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// What happens to an order after it was paid: units leave the building (a
// fulfilment) and money goes back (a refund). Both are moves: numbered together,
// one under way at a time, remembered by their keys. A refund is money first:
// if the provider refuses, nothing else has changed; when it has paid, the units
// follow, whatever happens in between.

// fulfil says that units have left, and is answered when the SKUs know.
func (d *draft) fulfil(c *orderpb.Fulfil) Decision {
	s := d.s
	if r := s.checkStaff(c.GetActor()); r != nil {
		return d.refuse(r)
	}
	if r := checkMove(c.GetIdempotencyKey(), c.GetTracking(), maxTrackingRunes, "tracking"); r != nil {
		return d.refuse(r)
	}
	hash := moveHash("fulfil", c.GetTracking(), false, c.GetLines())
	if k := s.moveKey(c.GetIdempotencyKey()); k != nil {
		return d.movedBefore(k, hash)
	}
	switch {
	case s.status != orderpb.Status_STATUS_CONFIRMED && s.status != orderpb.Status_STATUS_PARTIALLY_FULFILLED:
		return d.answer(illegal(s.status, orderpb.Status_STATUS_FULFILLED))
	case s.busy():
		return d.wait()
	case len(s.moves) >= MaxMoves:
		return d.answer(tooManyMoves())
	}
	lines, r := s.moved(c.GetLines(), (*line).left, "left to fulfil")
	if r != nil {
		return d.answer(r)
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_Fulfilled{Fulfilled: &orderpb.Fulfilled{
		Number: s.nextMove(), IdempotencyKey: c.GetIdempotencyKey(), InputHash: hash, Lines: lines,
		Tracking: c.GetTracking(), ActorId: c.GetActor().GetUserId(), Complete: s.leftAfter(lines) == 0,
	}}})
	return d.wait()
}

// refund gives money back, and is answered when the provider has paid and the
// SKUs have the units, or when the provider has refused.
func (d *draft) refund(c *orderpb.Refund) Decision {
	s := d.s
	if r := s.checkStaff(c.GetActor()); r != nil {
		return d.refuse(r)
	}
	if r := checkMove(c.GetIdempotencyKey(), c.GetReason(), maxReasonRunes, "reason"); r != nil {
		return d.refuse(r)
	}
	hash := moveHash("refund", c.GetReason(), c.GetRestock(), c.GetLines())
	if k := s.moveKey(c.GetIdempotencyKey()); k != nil {
		return d.movedBefore(k, hash)
	}
	switch {
	case !s.sold():
		return d.answer(refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, nameOf(s.status)+" orders are not refunded, only those that are paid"))
	case s.busy():
		return d.wait()
	case len(s.moves) >= MaxMoves:
		return d.answer(tooManyMoves())
	}
	lines, r := s.moved(c.GetLines(), (*line).unrefunded, "left to refund")
	if r != nil {
		return d.answer(r)
	}
	amount := &commonpb.Money{Currency: s.total.GetCurrency()}
	for _, m := range lines {
		l := &s.lines[m.GetLine()]
		m.Unfulfilled = min(m.GetQuantity(), l.left())
		amount.MinorUnits += l.unitPrice.GetMinorUnits() * m.GetQuantity()
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_RefundRequested{RefundRequested: &orderpb.RefundRequested{
		Number: s.nextMove(), IdempotencyKey: c.GetIdempotencyKey(), InputHash: hash, Lines: lines, Amount: amount,
		Restock: c.GetRestock(), Reason: c.GetReason(), ActorId: c.GetActor().GetUserId(),
	}}})
	return d.wait()
}

// movedBefore is the answer to the key of a move, when there is one.
func (d *draft) movedBefore(k *moveKey, hash []byte) Decision {
	switch {
	case string(k.inputHash) != string(hash):
		return d.refuse(mismatch())
	case d.s.move != nil && d.s.move.number == k.number && !d.s.move.moved:
		return d.wait()
	}
	return d.answer(k.refusal)
}

// moved are the lines of a move, in the order's order: the ones asked for, or
// all that have anything left.
func (s *State) moved(asked []*orderpb.LineQuantity, left func(*line) int64, what string) ([]*orderpb.MovedLine, *commonpb.Refusal) {
	var lines []*orderpb.MovedLine
	if len(asked) == 0 {
		for i := range s.lines {
			if n := left(&s.lines[i]); n > 0 {
				lines = append(lines, &orderpb.MovedLine{Line: int32(i), Sku: s.lines[i].sku, Quantity: n}) //nolint:gosec // at most MaxLines
			}
		}
		if len(lines) == 0 {
			return nil, refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "nothing is "+what)
		}
		return lines, nil
	}
	for i, a := range asked {
		at := slices.IndexFunc(s.lines, func(l line) bool { return l.sku == a.GetSku() })
		if at < 0 {
			return nil, ofLine(refuse(commonpb.Reason_REASON_INVALID, "the order has no such SKU", "sku"), i)
		}
		if slices.ContainsFunc(lines, func(m *orderpb.MovedLine) bool { return int(m.GetLine()) == at }) {
			return nil, ofLine(refuse(commonpb.Reason_REASON_INVALID, "a SKU is there once", "sku"), i)
		}
		if n := left(&s.lines[at]); a.GetQuantity() < 1 || a.GetQuantity() > n {
			return nil, ofLine(refuse(commonpb.Reason_REASON_INVALID, "between 1 and the "+strconv.FormatInt(n, 10)+" units that are "+what, "quantity"), i)
		}
		lines = append(lines, &orderpb.MovedLine{Line: int32(at), Sku: a.GetSku(), Quantity: a.GetQuantity()}) //nolint:gosec // at most MaxLines
	}
	slices.SortFunc(lines, func(a, b *orderpb.MovedLine) int { return int(a.GetLine() - b.GetLine()) })
	return lines, nil
}

// busy: others have to answer before the order's units and money can be moved.
func (s *State) busy() bool {
	return s.move != nil || s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED
}

func (s *State) nextMove() int64 { return int64(len(s.moves)) + 1 }

// leftAfter is how many units there will be to fulfil when these have been.
func (s *State) leftAfter(lines []*orderpb.MovedLine) int64 {
	n := s.unitsLeft()
	for _, m := range lines {
		n -= m.GetQuantity()
	}
	return n
}

func tooManyMoves() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "an order has at most "+strconv.Itoa(MaxMoves)+" fulfilments and refunds")
}

// moveAsks is what a move wants of others: the money, then the units, and then
// that nobody remembers it for this order's sake.
func (s *State) moveAsks() []Ask {
	m := s.move
	if m.refund != nil && !m.refunded {
		return []Ask{{Key: attemptKey("refund", m.number), Kind: "payment", ID: s.id, Command: &paymentpb.Refund{
			OrderId: s.id, Attempt: s.payment.attempt, Number: m.number, Reference: s.payment.reference,
			Amount: proto.CloneOf(m.refund.GetAmount()), RequestedAtMs: m.requestedAtMs,
		}}}
	}
	if m.moved {
		return s.settleAsks()
	}
	asks := make([]Ask, len(m.lines))
	for i, l := range m.lines {
		asks[i] = Ask{Key: askKey(attemptKey("move", m.number), int(l.GetLine())), Kind: "sku", ID: l.GetSku()}
		if m.refund == nil {
			asks[i].Command = &skupb.Fulfil{OrderId: s.id, CustomerId: s.customerID, Move: m.number, Quantity: l.GetQuantity()}
			continue
		}
		asks[i].Command = &skupb.Return{
			OrderId: s.id, CustomerId: s.customerID, Move: m.number, Committed: l.GetUnfulfilled(),
			Fulfilled: l.GetQuantity() - l.GetUnfulfilled(), Restock: m.refund.GetRestock(), SettledLater: l.GetUnfulfilled() == 0, SaleId: s.saleID,
		}
	}
	return asks
}

func (s *State) settleAsks() []Ask {
	var asks []Ask
	for _, l := range s.move.settles() {
		asks = append(asks, Ask{Key: askKey(attemptKey("settle", s.move.number), int(l.GetLine())), Kind: "sku", ID: l.GetSku(), Command: &skupb.SettleReturn{
			OrderId: s.id, Move: s.move.number,
		}})
	}
	return asks
}

// refunded takes in what the provider made of a refund.
func (d *draft) refunded(heard proto.Message) {
	reply, _ := heard.(*paymentpb.RefundReply)
	m := d.s.move
	switch reply.GetStatus() {
	case paymentpb.RefundReply_STATUS_REFUNDED:
		total := proto.CloneOf(m.refund.GetAmount())
		total.MinorUnits += d.s.payment.refunded.GetMinorUnits()
		d.add(&orderpb.Event{Event: &orderpb.Event_Refunded{Refunded: &orderpb.Refunded{
			Number: m.number, Lines: m.lines, Amount: m.refund.GetAmount(), Total: total, Reference: reply.GetReference(),
			Reason: m.refund.GetReason(), Restock: m.refund.GetRestock(),
		}}})
	case paymentpb.RefundReply_STATUS_REFUSED:
		d.add(&orderpb.Event{Event: &orderpb.Event_RefundRefused{RefundRefused: &orderpb.RefundRefused{Number: m.number, Reason: reply.GetRefuseReason()}}})
	default: // it says nothing: asked again
	}
}

// unitsMoved: every SKU has taken the move in. One that has no room for it at
// the moment is asked again; one that refuses for good is not: it has nothing
// of the order's that it could keep.
func (d *draft) unitsMoved(asks []Ask, heard map[string]proto.Message) {
	for _, a := range asks {
		var r *commonpb.Refusal
		switch reply := heard[a.Key].(type) {
		case *skupb.FulfilReply:
			r = reply.GetRefusal()
		case *skupb.ReturnReply:
			r = reply.GetRefusal()
		default:
			return
		}
		if r.GetReason() == commonpb.Reason_REASON_THROTTLED {
			return
		}
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_UnitsMoved{UnitsMoved: &orderpb.UnitsMoved{
		Number: d.s.move.number, SettledLater: len(d.s.move.settles()) > 0,
	}}})
}

// returnSettled: every SKU knows that the move is not asked for again.
func (d *draft) returnSettled(asks []Ask, heard map[string]proto.Message) {
	for _, a := range asks {
		if _, ok := heard[a.Key].(*skupb.SettleReturnReply); !ok {
			return
		}
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_ReturnSettled{ReturnSettled: &orderpb.ReturnSettled{Number: d.s.move.number}}})
}
