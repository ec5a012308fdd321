package sku

import (
	"errors"
	"fmt"
	"slices"
)

// maxVersion leaves room for more events than any SKU can have.
const maxVersion = 1 << 62

// check verifies the invariants of State. It costs as much as the SKU has
// orders, so it is for snapshots that come back, and for tests.
func check(s *State) error {
	if !s.stock.possible() {
		return fmt.Errorf("a stock of %+v cannot be", s.stock)
	}
	if err := checkAllocations(s); err != nil {
		return err
	}
	if err := checkDeadlines(s); err != nil {
		return err
	}
	if err := checkSale(s); err != nil {
		return err
	}
	if len(s.allocations) > MaxAllocations || len(s.allocations)+s.settled.len()+s.unsettled.len() > MaxOrders || s.remembered.len() > MaxRemembered {
		return fmt.Errorf("%d allocations, %d ended holds, %d remembered answers: over a bound", len(s.allocations), s.settled.len()+s.unsettled.len(), s.remembered.len())
	}
	if s.version < 0 || s.version > maxVersion {
		return fmt.Errorf("version %d cannot be", s.version)
	}
	if s.config.productID != "" && !s.stocked {
		return errors.New("configured and never stocked")
	}
	if s.config.productID == "" && (s.config.active || s.stocked || s.stock.onHand() != 0) {
		return errors.New("stock or a sale without a product")
	}
	for m := s.unsettled.first; m != nil; m = m.next {
		if s.settled.get(m.key) != nil || m.value.move < 1 || m.value.move > maxMove || m.value.expired {
			return fmt.Errorf("order %q has an open return numbered %d", m.key, m.value.move)
		}
	}
	return nil
}

func checkAllocations(s *State) error {
	var held, committed int64
	for id, a := range s.allocations {
		switch {
		case a.orderID != id:
			return fmt.Errorf("order %q is filed under %q", a.orderID, id)
		case a.quantity < 1 || a.quantity > MaxQuantity:
			return fmt.Errorf("order %q has %d units", id, a.quantity)
		case s.ended(id) != nil:
			return fmt.Errorf("the hold of order %q is over, and it has units", id)
		case a.reservedVersion < 1 || a.reservedVersion > s.version || a.committed() && (a.committedVersion < a.reservedVersion || a.committedVersion > s.version):
			return fmt.Errorf("order %q has versions %d and %d of %d", id, a.reservedVersion, a.committedVersion, s.version)
		case a.move < 0 || a.move > maxMove || a.move > 0 && !a.committed():
			return fmt.Errorf("order %q has moved %d times", id, a.move)
		case a.committed() != (a.place == -1):
			return fmt.Errorf("order %q is at place %d among the deadlines", id, a.place)
		case a.committed():
			committed += int64(a.quantity)
		default:
			held += int64(a.quantity)
		}
	}
	if held != s.stock.held || committed != s.stock.committed {
		return fmt.Errorf("orders hold %d and have %d committed, the stock says %+v", held, committed, s.stock)
	}
	return nil
}

func checkDeadlines(s *State) error {
	versions := make([]int64, 0, len(s.deadlines.items))
	for i, a := range s.deadlines.items {
		switch {
		case int(a.place) != i || s.allocations[a.orderID] != a:
			return fmt.Errorf("the deadline of order %q is misfiled", a.orderID)
		case i > 0 && endsBefore(a, s.deadlines.items[(i-1)/2]):
			return fmt.Errorf("the deadline of order %q is out of order", a.orderID)
		}
		versions = append(versions, a.reservedVersion)
	}
	slices.Sort(versions)
	if n := len(slices.Compact(versions)); n != len(s.deadlines.items) {
		return errors.New("two holds have one version")
	}
	held := 0
	for _, a := range s.allocations {
		if !a.committed() {
			held++
		}
	}
	if held != len(s.deadlines.items) {
		return fmt.Errorf("%d holds and %d deadlines", held, len(s.deadlines.items))
	}
	return nil
}
