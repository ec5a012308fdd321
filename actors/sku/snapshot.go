package sku

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// Snapshot is the state as a skupb.State. Equal states have equal snapshots. It
// shares nothing with the state but prices, which are never changed in place.
func Snapshot(s *State) proto.Message {
	return &skupb.State{
		Sku:            s.id,
		Version:        s.version,
		Stock:          s.stock.message(),
		ProductId:      s.config.productID,
		ProductVersion: s.config.productVersion,
		Name:           s.config.name,
		Price:          s.config.price,
		Active:         s.config.active,
		Stocked:        s.stocked,
		Allocations:    snapshotAllocations(s),
		Remembered:     snapshotRemembered(s),
		Settled:        snapshotSettled(s),
		UpdatedAtMs:    s.updatedAtMs,
		Sale:           snapshotSale(s),
		PastSales:      slices.Clone(s.pastSales),
	}
}

// snapshotAllocations has the oldest first.
func snapshotAllocations(s *State) []*skupb.Allocation {
	if len(s.allocations) == 0 {
		return nil
	}
	sorted := make([]*allocation, 0, len(s.allocations))
	for _, a := range s.allocations {
		sorted = append(sorted, a)
	}
	slices.SortFunc(sorted, func(a, b *allocation) int { return cmp.Compare(a.reservedVersion, b.reservedVersion) })
	messages := make([]skupb.Allocation, len(sorted))
	out := make([]*skupb.Allocation, len(sorted))
	for i, a := range sorted {
		m := &messages[i]
		m.OrderId, m.CustomerId, m.Quantity = a.orderID, a.customerID, int64(a.quantity)
		m.ExpiresAtMs, m.Committed = a.expiresAtMs, a.committed()
		m.ReservedVersion, m.CommittedVersion, m.UnitPrice = a.reservedVersion, a.committedVersion, a.unitPrice
		m.Move = int64(a.move)
		m.InSale = a.saleNo != 0 && a.saleNo == s.saleNo
		out[i] = m
	}
	return out
}

func snapshotRemembered(s *State) []*skupb.Remembered {
	var out []*skupb.Remembered
	for m := s.remembered.first; m != nil; m = m.next {
		out = append(out, &skupb.Remembered{
			IdempotencyKey: m.key, InputHash: []byte(m.value.inputHash), AtMs: m.atMs, After: m.value.after.message(), Version: m.value.version,
		})
	}
	return out
}

func snapshotSettled(s *State) []*skupb.Settled {
	if s.settled.len()+s.unsettled.len() == 0 {
		return nil
	}
	messages := make([]skupb.Settled, s.settled.len()+s.unsettled.len())
	out := make([]*skupb.Settled, 0, len(messages))
	for _, from := range [...]*recent[settled]{&s.settled, &s.unsettled} {
		for m := from.first; m != nil; m = m.next {
			one := &messages[len(out)]
			one.OrderId, one.AtMs, one.Expired, one.Move, one.Unsettled = m.key, m.atMs, m.value.expired, m.value.move, from == &s.unsettled
			out = append(out, one)
		}
	}
	return out
}

// Restore rebuilds a state from a marshalled Snapshot. It refuses a snapshot
// that is not of this SKU or that breaks an invariant.
func Restore(id string, snapshot []byte) (*State, error) {
	m := &skupb.State{}
	if err := proto.Unmarshal(snapshot, m); err != nil {
		return nil, fmt.Errorf("restore sku %q: %w", id, err)
	}
	if m.GetSku() != id {
		return nil, fmt.Errorf("restore sku %q: the snapshot is of %q", id, m.GetSku())
	}
	s := New(id)
	s.version, s.updatedAtMs = m.GetVersion(), m.GetUpdatedAtMs()
	s.stock, s.stocked = stockOf(m.GetStock()), m.GetStocked()
	s.config = config{
		productID: m.GetProductId(), productVersion: m.GetProductVersion(), name: m.GetName(), price: m.GetPrice(), active: m.GetActive(),
	}
	s.restoreSale(m)
	s.restoreAllocations(m.GetAllocations())
	for _, e := range m.GetSettled() {
		in := &s.settled
		if e.GetUnsettled() {
			in = &s.unsettled
		}
		in.put(e.GetOrderId(), e.GetAtMs(), settled{expired: e.GetExpired(), move: e.GetMove()})
	}
	for _, e := range m.GetRemembered() {
		s.remembered.put(e.GetIdempotencyKey(), e.GetAtMs(), remembered{inputHash: string(e.GetInputHash()), after: stockOf(e.GetAfter()), version: e.GetVersion()})
	}
	if len(s.allocations) != len(m.GetAllocations()) || s.settled.len()+s.unsettled.len() != len(m.GetSettled()) || s.remembered.len() != len(m.GetRemembered()) {
		return nil, fmt.Errorf("restore sku %q: an entry is there twice", id)
	}
	if err := check(s); err != nil {
		return nil, fmt.Errorf("restore sku %q: %w", id, err)
	}
	return s, nil
}

func (s *State) restoreAllocations(list []*skupb.Allocation) {
	if len(list) == 0 {
		return
	}
	s.allocations = make(map[string]*allocation, len(list))
	for _, e := range list {
		a := &allocation{
			orderID:          e.GetOrderId(),
			customerID:       e.GetCustomerId(),
			unitPrice:        e.GetUnitPrice(),
			expiresAtMs:      e.GetExpiresAtMs(),
			reservedVersion:  e.GetReservedVersion(),
			committedVersion: e.GetCommittedVersion(),
			quantity:         int32(max(0, min(e.GetQuantity(), MaxQuantity+1))),
			move:             int32(max(-1, min(e.GetMove(), maxMove+1))),
			place:            -1,
		}
		for _, price := range [...]*commonpb.Money{s.config.price, s.sale.config.GetPrice()} {
			if proto.Equal(a.unitPrice, price) {
				a.unitPrice = price // one price in memory, not one per hold
			}
		}
		if e.GetInSale() {
			a.saleNo = s.saleNo
		}
		s.allocations[a.orderID] = a
		if !a.committed() {
			s.deadlines.push(a)
		}
	}
}
