package sku

import "stampede/proto/gen/skupb"

func (s *State) fulfilled(e *skupb.Fulfilled) {
	s.take(e.GetOrderId(), e.GetMove(), e.GetQuantity())
	s.stock.committed -= e.GetQuantity()
}

func (s *State) returned(e *skupb.Returned) {
	s.require(e.GetCommitted() >= 0 && e.GetFulfilled() >= 0 && e.GetCommitted()+e.GetFulfilled() > 0, "returned nothing")
	if s.allocations[e.GetOrderId()] != nil || e.GetCommitted() > 0 {
		s.take(e.GetOrderId(), e.GetMove(), e.GetCommitted())
	} else {
		s.settleMoved(e.GetOrderId(), e.GetMove(), e.GetSettledLater())
	}
	s.refundedInSale(e)
	s.stock = s.stock.returned(e.GetCommitted(), e.GetFulfilled(), e.GetRestocked())
}

// take moves committed units away from an order.
func (s *State) take(orderID string, move, quantity int64) {
	a := s.allocations[orderID]
	s.require(a != nil && a.committed(), "units were moved that were not sold")
	s.require(quantity >= 0 && quantity <= int64(a.quantity), "more units were moved than the order has")
	s.require(move > int64(a.move) && move <= maxMove, "a move out of order")
	a.move = int32(move)          //nolint:gosec // at most maxMove
	a.quantity -= int32(quantity) //nolint:gosec // at most what the order has
	if a.quantity == 0 {
		delete(s.allocations, orderID)
		s.settleMoved(orderID, move, false)
	}
}

// settleMoved remembers the last move of an order that has no units here: for
// KeepFor, or until the order says that it knows of it.
func (s *State) settleMoved(orderID string, move int64, later bool) {
	if m := s.ended(orderID); m != nil {
		s.require(move > m.value.move, "a move out of order")
	}
	s.settled.remove(orderID)
	s.unsettled.remove(orderID)
	if later {
		s.unsettled.put(orderID, s.updatedAtMs, settled{move: move})
		return
	}
	s.settled.put(orderID, s.updatedAtMs, settled{move: move})
}

func (s *State) returnSettled(e *skupb.ReturnSettled) {
	m := s.unsettled.get(e.GetOrderId())
	s.require(m != nil && m.value.move <= e.GetMove(), "settled what was not open")
	s.unsettled.remove(e.GetOrderId())
	s.settled.put(e.GetOrderId(), s.updatedAtMs, m.value)
}

// ended is what is remembered of an order that has no units here.
func (s *State) ended(orderID string) *memory[settled] {
	if m := s.unsettled.get(orderID); m != nil {
		return m
	}
	return s.settled.get(orderID)
}
