package sku

import (
	"fmt"

	"stampede/proto/gen/skupb"
)

// Evolve applies one event. It panics when the event cannot have been decided
// in this state, or when the stock that it makes is not the one that the event
// was written with: the journal is then corrupt.
func Evolve(s *State, e *skupb.Event) {
	s.version++
	s.updatedAtMs = e.GetAtMs()
	s.settled.forget(s.updatedAtMs)
	s.remembered.forget(s.updatedAtMs)
	switch v := e.GetEvent().(type) {
	case *skupb.Event_Reserved:
		s.reserved(v.Reserved)
	case *skupb.Event_Released:
		s.released(v.Released)
	case *skupb.Event_Expired:
		s.expired(v.Expired)
	case *skupb.Event_Confirmed:
		s.confirmed(v.Confirmed)
	case *skupb.Event_Fulfilled:
		s.fulfilled(v.Fulfilled)
	case *skupb.Event_Returned:
		s.returned(v.Returned)
	case *skupb.Event_ReturnSettled:
		s.returnSettled(v.ReturnSettled)
	case *skupb.Event_ReleaseRemembered:
		s.require(s.allocations[v.ReleaseRemembered.GetOrderId()] == nil, "units are the order's, and it was taken for unknown")
		s.settle(v.ReleaseRemembered.GetOrderId(), false)
	case *skupb.Event_Configured:
		s.configured(v.Configured)
	case *skupb.Event_Unconfigured:
		s.unconfigured(v.Unconfigured)
	case *skupb.Event_Adjusted:
		s.adjusted(v.Adjusted)
	case *skupb.Event_MarkedUnavailable:
		s.markedUnavailable(v.MarkedUnavailable)
	case *skupb.Event_Shortfall:
		s.sameAnswer()
	case *skupb.Event_Depleted:
		s.require(s.stock.available == 0, "depleted with units available")
		s.sameAnswer()
	case *skupb.Event_Replenished:
		s.require(s.stock.available > 0, "replenished without units available")
		s.sameAnswer()
	case *skupb.Event_SaleConfigured:
		s.saleConfigured(v.SaleConfigured.GetSale())
	case *skupb.Event_SaleClosed:
		s.require(v.SaleClosed.GetSaleId() == s.sale.id() && !s.sale.closed(), "a sale closed that was not there")
		s.endSale()
	case *skupb.Event_SaleReported:
		s.saleReported(v.SaleReported)
	default:
		s.require(false, "unknown event")
	}
	s.require(e.GetAfter() != nil && stockOf(e.GetAfter()) == s.stock, "the stock is not the one that the event says")
	s.require(s.stock.possible(), "such a stock cannot be")
	s.noteSoldOut()
}

func (s *State) reserved(e *skupb.Reserved) {
	s.require(s.allocations[e.GetOrderId()] == nil, "reserved twice")
	s.require(e.GetQuantity() > 0 && e.GetQuantity() <= MaxQuantity, "reserved an impossible quantity")
	a := &allocation{
		orderID:         e.GetOrderId(),
		customerID:      e.GetCustomerId(),
		unitPrice:       e.GetUnitPrice(),
		expiresAtMs:     e.GetExpiresAtMs(),
		reservedVersion: s.version,
		quantity:        int32(e.GetQuantity()), //nolint:gosec // at most MaxQuantity
	}
	s.allocate(a)
	s.takeInSale(a, e.GetSaleId())
	s.deadlines.push(a)
	s.stock.available -= e.GetQuantity()
	s.stock.held += e.GetQuantity()
}

func (s *State) released(e *skupb.Released) {
	a := s.allocation(e.GetOrderId(), e.GetQuantity())
	s.require(a.committed() == e.GetCommitted(), "released from another state")
	if a.committed() {
		s.stock.committed -= e.GetQuantity()
	} else {
		s.deadlines.remove(int(a.place))
		s.stock.held -= e.GetQuantity()
	}
	s.stock.available += e.GetQuantity()
	s.giveBack(a)
	s.settle(e.GetOrderId(), false)
}

func (s *State) expired(e *skupb.Expired) {
	a := s.allocation(e.GetOrderId(), e.GetQuantity())
	s.require(!a.committed(), "a committed allocation expired")
	s.deadlines.remove(int(a.place))
	s.stock.held -= e.GetQuantity()
	s.stock.available += e.GetQuantity()
	s.giveBack(a)
	s.settle(e.GetOrderId(), true)
}

func (s *State) confirmed(e *skupb.Confirmed) {
	s.stock.committed += e.GetQuantity()
	if e.GetReacquired() == 0 {
		a := s.allocation(e.GetOrderId(), e.GetQuantity())
		s.require(!a.committed(), "confirmed twice")
		s.deadlines.remove(int(a.place))
		a.committedVersion = s.version
		s.stock.held -= e.GetQuantity()
		return
	}
	s.require(e.GetReacquired() == e.GetQuantity(), "some units were held and some were not")
	s.require(s.allocations[e.GetOrderId()] == nil, "reacquired what it had")
	s.require(e.GetQuantity() > 0 && e.GetQuantity() <= MaxQuantity, "confirmed an impossible quantity")
	s.settled.remove(e.GetOrderId())
	a := &allocation{
		orderID:          e.GetOrderId(),
		customerID:       e.GetCustomerId(),
		unitPrice:        s.config.price,
		reservedVersion:  s.version,
		committedVersion: s.version,
		quantity:         int32(e.GetQuantity()), //nolint:gosec // at most MaxQuantity
		place:            -1,
	}
	s.allocate(a)
	s.takeInSale(a, e.GetSaleId())
	if e.GetSaleId() != "" {
		a.unitPrice = s.sale.config.GetPrice()
	}
	s.stock.available -= e.GetQuantity()
}

func (s *State) configured(e *skupb.Configured) {
	s.require(e.GetProductId() != "" && (s.config.productID == "" || s.config.productID == e.GetProductId()), "configured by two products")
	s.require(!s.stocked || e.GetInitialStock() == 0, "stocked twice")
	s.config = config{
		productID:      e.GetProductId(),
		productVersion: e.GetProductVersion(),
		name:           e.GetName(),
		price:          e.GetPrice(),
		active:         e.GetActive(),
	}
	s.stocked = true
	s.stock.available += e.GetInitialStock()
}

func (s *State) unconfigured(e *skupb.Unconfigured) {
	s.require(e.GetProductId() == s.config.productID, "unconfigured by another product")
	s.config = config{}
	s.stocked = false
	s.stock.available, s.stock.unavailable = 0, 0
}

func (s *State) adjusted(e *skupb.Adjusted) {
	if e.GetOnHandCounted() {
		s.stock = s.stock.counted(e.GetDelta())
	} else {
		s.stock.available += e.GetDelta()
	}
	s.remember(e.GetIdempotencyKey(), e.GetInputHash())
}

func (s *State) markedUnavailable(e *skupb.MarkedUnavailable) {
	s.stock.available -= e.GetQuantity()
	s.stock.unavailable += e.GetQuantity()
	s.remember(e.GetIdempotencyKey(), e.GetInputHash())
}

func (s *State) allocate(a *allocation) {
	if s.allocations == nil {
		s.allocations = map[string]*allocation{}
	}
	s.allocations[a.orderID] = a
	s.require(s.ended(a.orderID) == nil, "allocated after its end")
}

// allocation is the one that an event is about.
func (s *State) allocation(orderID string, quantity int64) *allocation {
	a := s.allocations[orderID]
	s.require(a != nil, "no units are the order's")
	s.require(int64(a.quantity) == quantity, "the order has another quantity")
	return a
}

func (s *State) settle(orderID string, expired bool) {
	delete(s.allocations, orderID)
	s.settled.put(orderID, s.updatedAtMs, settled{expired: expired})
}

func (s *State) remember(key string, inputHash []byte) {
	s.remembered.put(key, s.updatedAtMs, remembered{inputHash: string(inputHash), after: s.stock, version: s.version})
}

// sameAnswer takes an event that only remarks on the one before it into the
// answer which that one gave, so that the answer's version is the newest that
// its sender has caused.
func (s *State) sameAnswer() {
	if m := s.remembered.last; m != nil && m.value.version == s.version-1 {
		m.value.version = s.version
	}
}

// require panics when the journal cannot be right.
func (s *State) require(ok bool, what string) {
	if !ok {
		panic(fmt.Sprintf("sku %s version %d is corrupt: %s", s.id, s.version, what))
	}
}
