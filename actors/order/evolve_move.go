package order

import (
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

func (s *State) evolveFulfilled(e *orderpb.Fulfilled, atMs int64) {
	s.require(s.status == orderpb.Status_STATUS_CONFIRMED || s.status == orderpb.Status_STATUS_PARTIALLY_FULFILLED, "fulfilled at the wrong moment")
	s.beginMove(e.GetNumber(), e.GetIdempotencyKey(), e.GetInputHash(), openMove{lines: e.GetLines(), requestedAtMs: atMs})
	for _, m := range e.GetLines() {
		l := s.movedLine(m)
		s.require(m.GetQuantity() <= l.left(), "more was fulfilled than was left")
		l.fulfilled += m.GetQuantity()
	}
	s.require(e.GetComplete() == (s.unitsLeft() == 0), "complete or not")
	s.fulfilledOrNot("", e.GetTracking(), atMs)
}

func (s *State) evolveRefundRequested(e *orderpb.RefundRequested, atMs int64) {
	s.require(s.sold(), "refunded at the wrong moment")
	s.require(e.GetAmount() != nil, "a refund without an amount")
	s.beginMove(e.GetNumber(), e.GetIdempotencyKey(), e.GetInputHash(), openMove{lines: e.GetLines(), refund: e, requestedAtMs: atMs})
	for _, m := range e.GetLines() {
		l := s.movedLine(m)
		s.require(m.GetQuantity() <= l.unrefunded(), "more is to be refunded than there is")
		s.require(m.GetUnfulfilled() >= 0 && m.GetUnfulfilled() <= min(l.left(), m.GetQuantity()), "more is withdrawn than there is")
	}
}

func (s *State) evolveRefunded(e *orderpb.Refunded, atMs int64) {
	s.requireMove(e.GetNumber())
	s.require(s.move.refund != nil && !s.move.refunded, "refunded what was not requested")
	s.require(e.GetTotal().GetMinorUnits() == s.payment.refunded.GetMinorUnits()+s.move.refund.GetAmount().GetMinorUnits(), "another total is refunded")
	s.require(e.GetTotal().GetMinorUnits() <= s.payment.captured.GetMinorUnits(), "more is refunded than was captured")
	whole := true
	for _, m := range s.move.lines {
		l := s.movedLine(m)
		l.refunded += m.GetQuantity()
		l.withdrawn += m.GetUnfulfilled()
	}
	for i := range s.lines {
		whole = whole && s.lines[i].unrefunded() == 0
	}
	next := *s.move
	next.refunded = true
	s.move = &next
	s.payment.refunded = e.GetTotal()
	s.payment.status = refundedOf(whole, s.payment.refunded, s.payment.captured)
	s.fulfilledOrNot(because("refunded", e.GetReason()), "", atMs)
}

// refundedOf: all of the money, or all of the units, is all.
func refundedOf(whole bool, refunded, captured *commonpb.Money) orderpb.PaymentStatus {
	if whole || captured.GetMinorUnits() > 0 && refunded.GetMinorUnits() >= captured.GetMinorUnits() {
		return orderpb.PaymentStatus_PAYMENT_STATUS_REFUNDED
	}
	return orderpb.PaymentStatus_PAYMENT_STATUS_PARTIALLY_REFUNDED
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

func (s *State) evolveRefundRefused(e *orderpb.RefundRefused, atMs int64) {
	s.requireMove(e.GetNumber())
	s.require(s.move.refund != nil && !s.move.refunded, "refused what was not requested")
	s.moves[len(s.moves)-1].refusal = refuse(commonpb.Reason_REASON_PAYMENT_DECLINED,
		"the provider did not refund ("+e.GetReason()+") and nothing was changed: refund with another key")
	s.move = nil
	s.note(because("refund refused", e.GetReason()), "", atMs)
}

func (s *State) evolveUnitsMoved(e *orderpb.UnitsMoved) {
	s.requireMove(e.GetNumber())
	s.require(s.move.refund == nil || s.move.refunded, "units moved before the money")
	s.require(!s.move.moved, "units moved twice")
	if e.GetSettledLater() {
		s.require(len(s.move.settles()) > 0, "nothing to settle")
		next := *s.move
		next.moved = true
		s.move = &next
	} else {
		s.move = nil
	}
	for i := range s.lines {
		if s.lines[i].left() == 0 {
			s.lines[i].status = orderpb.LineStatus_LINE_STATUS_NONE
		}
	}
}

// fulfilledOrNot enters the status that the lines say, or notes that something
// has happened in the one that it has.
func (s *State) fulfilledOrNot(reason, tracking string, atMs int64) {
	left, gone := s.unitsLeft(), int64(0)
	for i := range s.lines {
		gone += s.lines[i].fulfilled
	}
	next := orderpb.Status_STATUS_CONFIRMED
	switch {
	case left == 0 && gone == 0:
		next = orderpb.Status_STATUS_CANCELLED
	case left == 0:
		next = orderpb.Status_STATUS_FULFILLED
	case gone > 0:
		next = orderpb.Status_STATUS_PARTIALLY_FULFILLED
	}
	if next == s.status {
		s.note(reason, tracking, atMs)
		return
	}
	s.enterTracked(next, reason, tracking, atMs)
}

func (s *State) beginMove(number int64, key string, hash []byte, m openMove) {
	s.require(s.move == nil && number == s.nextMove(), "a move out of order")
	s.require(len(m.lines) > 0, "a move of nothing")
	s.moves = append(s.moves, moveKey{key: key, inputHash: hash, number: number})
	m.number = number
	s.move = &m
}

func (s *State) requireMove(number int64) {
	s.require(s.move != nil && s.move.number == number, "another move")
}

func (s *State) movedLine(m *orderpb.MovedLine) *line {
	i := m.GetLine()
	s.require(i >= 0 && int(i) < len(s.lines) && s.lines[i].sku == m.GetSku(), "a line that is not there")
	s.require(m.GetQuantity() > 0, "nothing of a line")
	return &s.lines[i]
}

func (s *State) evolveReturnSettled(e *orderpb.ReturnSettled) {
	s.requireMove(e.GetNumber())
	s.require(s.move.moved, "settled before the units moved")
	s.move = nil
}
