package sku

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

const (
	// maxPastSales bounds the sales that are remembered to be over.
	maxPastSales = 16
	saleKind     = "sale"
)

// sale is a SKU's part in a sale. Units are set aside for it without moving: of
// the available ones, as many as the sale has not taken yet are not for
// ordinary orders. The four states of stock know nothing of it, so what the
// staff takes away is gone for the sale too.
//
// Invariants: while it is not over, taken is at least the units of the
// allocations in it and at most the allocation; used has, by customer, what
// counts against the limit, and is empty without one.
type sale struct {
	// config is what the sale says; nil: there never was one. Never changed in place.
	config *skupb.ConfigureSale
	over   bool
	taken  int64
	used   map[string]int64
	// soldOut: nothing can be had. changes counts how often that changed, told
	// how many of the changes the sale knows.
	soldOut       bool
	changes, told int64
}

func (s *sale) id() string { return s.config.GetSaleId() }

// closed: there is no sale, or it is over.
func (s *sale) closed() bool { return s.config == nil || s.over }

// inSale reports whether the units are of the sale that is under way.
func (s *State) inSale(a *allocation) bool {
	return a.saleNo != 0 && a.saleNo == s.saleNo && !s.sale.over
}

// takeInSale counts an allocation's units as the sale's.
func (s *State) takeInSale(a *allocation, saleID string) {
	if saleID == "" {
		return
	}
	s.require(saleID == s.sale.id() && !s.sale.closed(), "units taken in a sale that was not under way")
	a.saleNo = s.saleNo
	s.sale.taken += int64(a.quantity)
	s.require(s.sale.taken <= s.sale.config.GetAllocation(), "more units taken in the sale than it has")
	if s.sale.config.GetPerCustomerLimit() == 0 {
		return
	}
	if s.sale.used == nil {
		s.sale.used = map[string]int64{}
	}
	s.sale.used[a.customerID] += int64(a.quantity)
}

// giveBack ends that an allocation's units are the sale's and count against
// their customer's limit: they were released, or their hold ended. Of a sale
// that is over there is nothing to count.
func (s *State) giveBack(a *allocation) {
	if !s.inSale(a) {
		return
	}
	units := int64(a.quantity)
	s.sale.taken -= units
	s.require(s.sale.taken >= 0, "the sale got more units back than it took")
	s.require(s.sale.config.GetPerCustomerLimit() == 0 || s.sale.used[a.customerID] >= units, "a customer gave more units back than they had")
	s.giveBackLimit(a.customerID, units)
}

// refundedInSale: refunded units count against no limit any more. Restocked
// ones can be had in the sale again; those that did not come back stay taken.
// The order may have no allocation any more, so its word is taken for what it
// had, within what was counted.
func (s *State) refundedInSale(e *skupb.Returned) {
	if e.GetSaleId() == "" || e.GetSaleId() != s.sale.id() || s.sale.closed() {
		return
	}
	units := e.GetCommitted() + e.GetFulfilled()
	if e.GetRestocked() {
		s.sale.taken = max(0, s.sale.taken-units)
	}
	s.giveBackLimit(e.GetCustomerId(), units)
}

func (s *State) giveBackLimit(customerID string, units int64) {
	left := s.sale.used[customerID] - units
	if left <= 0 {
		delete(s.sale.used, customerID)
		return
	}
	s.sale.used[customerID] = left
}

func (s *State) saleConfigured(c *skupb.ConfigureSale) {
	s.require(c.GetSaleId() != "", "a sale without an id")
	switch same := c.GetSaleId() == s.sale.id(); {
	case same:
		s.require(!s.sale.over && c.GetSaleVersion() > s.sale.config.GetSaleVersion(), "an old configuration of a sale")
		s.sale.config = c
		if c.GetEnded() {
			s.endSale()
		}
	case c.GetEnded():
		s.rememberPast(c.GetSaleId())
	default:
		s.require(s.sale.closed(), "two sales at a time")
		s.rememberPast(s.sale.id())
		s.sale = sale{config: c}
		s.saleNo++
	}
}

func (s *State) rememberPast(id string) {
	if id == "" {
		return
	}
	s.pastSales = append(s.pastSales, id)
	if n := len(s.pastSales) - maxPastSales; n > 0 {
		s.pastSales = slices.Delete(s.pastSales, 0, n)
	}
}

func (s *State) endSale() {
	s.sale.over, s.sale.used = true, nil
}

func (s *State) saleReported(e *skupb.SaleReported) {
	s.require(e.GetSaleId() == s.sale.id() && e.GetChanges() > s.sale.told && e.GetChanges() <= s.sale.changes, "a report that was not due")
	s.sale.told = e.GetChanges()
}

// noteSoldOut follows whether the sale has anything left.
func (s *State) noteSoldOut() {
	if s.sale.closed() {
		return
	}
	if out := min(s.sale.config.GetAllocation()-s.sale.taken, s.stock.available) <= 0; out != s.sale.soldOut {
		s.sale.soldOut = out
		s.sale.changes++
	}
}

// Ask is a question to another actor. It is repeated until answered.
type Ask struct {
	// Key names the ask within the SKU.
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Pending tells the sale when it has sold out here, and when it has not any
// more. What changes to and fro meanwhile is told once, as it is then.
func Pending(s *State) []Ask {
	if s.sale.closed() || s.sale.told == s.sale.changes {
		return nil
	}
	return []Ask{{Key: reportKey(s.sale.id(), s.sale.changes), Kind: saleKind, ID: s.sale.id(), Command: &salepb.Report{
		Sku: s.id, SkuVersion: s.version, SoldOut: s.sale.soldOut,
	}}}
}

func reportKey(saleID string, changes int64) string {
	return "report/" + saleID + "/" + strconv.FormatInt(changes, 10)
}

// Heard takes in the answers to what Pending asked.
func Heard(s *State, heard map[string]proto.Message, now time.Time) []*skupb.Event {
	for n := s.sale.changes; !s.sale.closed() && n > s.sale.told && n > s.sale.changes-maxUntold; n-- {
		if _, ok := heard[reportKey(s.sale.id(), n)].(*salepb.ReportReply); !ok {
			continue
		}
		return []*skupb.Event{{AtMs: now.UnixMilli(), After: s.stock.message(), Event: &skupb.Event_SaleReported{SaleReported: &skupb.SaleReported{
			SaleId: s.sale.id(), SoldOut: s.sale.soldOut, Changes: n,
		}}}}
	}
	return nil
}

// maxUntold is how far back an answer is looked for: one that came too late to
// be found is asked for again.
const maxUntold = 1024

func snapshotSale(s *State) *skupb.SaleState {
	if s.sale.config == nil {
		return nil
	}
	out := &skupb.SaleState{
		Config: s.sale.config, Over: s.sale.over, Taken: s.sale.taken, SoldOut: s.sale.soldOut, Changes: s.sale.changes, Told: s.sale.told,
	}
	for id, units := range s.sale.used {
		out.Used = append(out.Used, &skupb.CustomerUse{CustomerId: id, Units: units})
	}
	slices.SortFunc(out.Used, func(a, b *skupb.CustomerUse) int { return cmp.Compare(a.CustomerId, b.CustomerId) })
	return out
}

func (s *State) restoreSale(m *skupb.State) {
	s.pastSales = m.GetPastSales()
	from := m.GetSale()
	if from.GetConfig() == nil {
		return
	}
	s.saleNo = 1
	s.sale = sale{
		config: from.GetConfig(), over: from.GetOver(), taken: from.GetTaken(), soldOut: from.GetSoldOut(), changes: from.GetChanges(), told: from.GetTold(),
	}
	for _, u := range from.GetUsed() {
		if s.sale.used == nil {
			s.sale.used = make(map[string]int64, len(from.GetUsed()))
		}
		s.sale.used[u.GetCustomerId()] += u.GetUnits()
	}
}

func checkSale(s *State) error {
	if len(s.pastSales) > maxPastSales {
		return fmt.Errorf("%d past sales", len(s.pastSales))
	}
	k := &s.sale
	if (k.config == nil) != (s.saleNo == 0) {
		return fmt.Errorf("sale %q is number %d", k.id(), s.saleNo)
	}
	if k.closed() {
		if len(k.used) > 0 {
			return fmt.Errorf("%d customers have used a limit of no sale", len(k.used))
		}
		return nil
	}
	taken, used := int64(0), map[string]int64{}
	for _, a := range s.allocations {
		if s.inSale(a) {
			taken += int64(a.quantity)
			used[a.customerID] += int64(a.quantity)
		}
	}
	if k.taken < taken || k.taken > k.config.GetAllocation() {
		return fmt.Errorf("%d units taken of %d in sale %q, allocations have %d", k.taken, k.config.GetAllocation(), k.id(), taken)
	}
	if out := min(k.config.GetAllocation()-k.taken, s.stock.available) <= 0; out != k.soldOut || k.told > k.changes || k.told < 0 {
		return fmt.Errorf("sale %q: sold out %v, noted %v; told of %d changes of %d", k.id(), out, k.soldOut, k.told, k.changes)
	}
	return checkLimit(k, used)
}

func checkLimit(k *sale, used map[string]int64) error {
	limit := k.config.GetPerCustomerLimit()
	if limit == 0 {
		if len(k.used) > 0 {
			return fmt.Errorf("%d customers have used a limit that there is not", len(k.used))
		}
		return nil
	}
	for id, units := range used {
		if k.used[id] < units {
			return fmt.Errorf("customer %q has %d units and has used %d of the limit", id, units, k.used[id])
		}
	}
	for id, units := range k.used {
		if units < 1 || units > limit {
			return fmt.Errorf("customer %q has used %d of a limit of %d", id, units, limit)
		}
	}
	return nil
}
