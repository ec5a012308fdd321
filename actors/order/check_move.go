package order

import (
	"errors"
	"fmt"

	"stampede/proto/gen/orderpb"
)

// checkMoves verifies what was fulfilled and refunded.
func (s *State) checkMoves() error {
	if len(s.moves) > MaxMoves || s.move != nil && s.move.number != int64(len(s.moves)) {
		return fmt.Errorf("%d moves", len(s.moves))
	}
	for i, k := range s.moves {
		if k.number != int64(i+1) {
			return fmt.Errorf("move %d is number %d", i+1, k.number)
		}
	}
	if !s.sold() && len(s.moves) > 0 {
		return fmt.Errorf("%d moves of an order that is not sold", len(s.moves))
	}
	var left, gone, money int64
	for i := range s.lines {
		l := &s.lines[i]
		if l.quantity < 1 || l.fulfilled < 0 || l.withdrawn < 0 || l.withdrawn > l.refunded || l.unrefunded() < 0 || l.left() < 0 {
			return fmt.Errorf("line %d of %d has %d fulfilled, %d refunded, %d withdrawn", i, l.quantity, l.fulfilled, l.refunded, l.withdrawn)
		}
		left, gone = left+l.left(), gone+l.fulfilled
		money += l.refunded * l.unitPrice.GetMinorUnits()
	}
	if money != s.payment.refunded.GetMinorUnits() || money < 0 || money > s.payment.captured.GetMinorUnits() {
		return fmt.Errorf("%d are refunded for units of %d, %d were captured", s.payment.refunded.GetMinorUnits(), money, s.payment.captured.GetMinorUnits())
	}
	if err := s.checkStatusOfLines(left, gone); err != nil {
		return err
	}
	return s.checkOpenMove()
}

func (s *State) checkStatusOfLines(left, gone int64) error {
	var bad bool
	switch s.status {
	case orderpb.Status_STATUS_CONFIRMED:
		bad = gone != 0 || left == 0
	case orderpb.Status_STATUS_PARTIALLY_FULFILLED:
		bad = gone == 0 || left == 0
	case orderpb.Status_STATUS_FULFILLED:
		bad = gone == 0 || left != 0
	case orderpb.Status_STATUS_CANCELLED:
		bad = gone != 0 || s.sold() && left != 0
	default:
		bad = gone != 0
	}
	if bad {
		return fmt.Errorf("%s with %d units gone and %d left", nameOf(s.status), gone, left)
	}
	return nil
}

func (s *State) checkOpenMove() error {
	if s.move == nil {
		return nil
	}
	m := s.move
	if len(m.lines) == 0 || m.refunded && m.refund == nil || m.moved && (!m.refunded || len(m.settles()) == 0) || m.refund != nil && m.refund.GetAmount() == nil {
		return errors.New("half a move is under way")
	}
	before, amount := int32(-1), int64(0)
	for _, u := range m.lines {
		i := u.GetLine()
		if i <= before || int(i) >= len(s.lines) || s.lines[i].sku != u.GetSku() || u.GetQuantity() < 1 || u.GetUnfulfilled() < 0 || u.GetUnfulfilled() > u.GetQuantity() {
			return fmt.Errorf("line %d is moved", i)
		}
		l := &s.lines[i]
		if m.refund != nil && !m.refunded && (u.GetQuantity() > l.unrefunded() || u.GetUnfulfilled() > l.left()) {
			return fmt.Errorf("more of line %d is moved than there is", i)
		}
		before = i
		amount += u.GetQuantity() * l.unitPrice.GetMinorUnits()
	}
	if m.refund != nil && amount != m.refund.GetAmount().GetMinorUnits() {
		return fmt.Errorf("%d are to be refunded for units of %d", m.refund.GetAmount().GetMinorUnits(), amount)
	}
	return nil
}
