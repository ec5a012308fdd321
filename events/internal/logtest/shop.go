package logtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// Shop appends the records of orders, SKUs and accounts that could have
// happened, in an order that a seed decides.
type Shop struct {
	Journal *Journal
	Rand    *rand.Rand
	SKUs    int
	orders  int
	stock   map[string]*skupb.Stock
}

// NewShop returns a shop with some SKUs.
func NewShop(j *Journal, seed uint64, skus int) *Shop {
	return &Shop{Journal: j, Rand: rand.New(rand.NewPCG(seed, 1)), SKUs: skus, stock: make(map[string]*skupb.Stock)} //nolint:gosec // a test's seed
}

// Trade appends n records to an incarnation's log.
func (s *Shop) Trade(epoch entity.Epoch, n int) {
	for range n {
		switch s.Rand.IntN(4) {
		case 0, 1:
			s.reserve(epoch)
		case 2:
			s.order(epoch)
		case 3:
			s.account(epoch)
		}
	}
}

func now() int64 { return time.Now().UnixMilli() }

func (s *Shop) reserve(epoch entity.Epoch) {
	sku := fmt.Sprintf("SKU-%d", s.Rand.IntN(s.SKUs))
	stock := s.stock[sku]
	if stock == nil {
		stock = &skupb.Stock{Available: 1_000_000}
		s.stock[sku] = stock
	}
	events := make([]*skupb.Event, 1+s.Rand.IntN(3))
	for i := range events {
		stock.Available--
		stock.Held++
		events[i] = &skupb.Event{
			AtMs: now(), After: &skupb.Stock{Available: stock.Available, Held: stock.Held},
			Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: OrderID(s.orders), CustomerId: "usr_1", Quantity: 1, ExpiresAtMs: now() + 600_000}},
		}
	}
	appendAll(s.Journal, epoch, "sku", sku, events)
}

// OrderID is the id of a shop's order.
func OrderID(n int) string { return fmt.Sprintf("ord_%026d", n) }

func (s *Shop) order(epoch entity.Epoch) {
	s.orders++
	id := OrderID(s.orders)
	price := &commonpb.Money{MinorUnits: 1990, Currency: "EUR"}
	appendAll(s.Journal, epoch, "order", id, []*orderpb.Event{
		{AtMs: now(), Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{CustomerId: "usr_1", Lines: []*orderpb.PlaceLine{{Sku: "SKU-1", Quantity: 1}}, HoldMs: 600_000}}},
		{AtMs: now(), Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{Total: price, ExpiresAtMs: now() + 600_000, Lines: []*orderpb.LineHold{{Sku: "SKU-1", Quantity: 1, Name: "Mug", UnitPrice: price, SkuVersion: 1}}}}},
	})
	if s.Rand.IntN(2) == 0 {
		appendAll(s.Journal, epoch, "order", id, []*orderpb.Event{{AtMs: now(), Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}}})
	}
}

// account appends records that are private, in whole or in part: they have
// positions and no messages.
func (s *Shop) account(epoch entity.Epoch) {
	id := fmt.Sprintf("usr_%026d", s.Rand.IntN(3))
	appendAll(s.Journal, epoch, "account", id, []*accountpb.Event{
		{AtMs: now(), Event: &accountpb.Event_SessionStarted{SessionStarted: &accountpb.SessionStarted{}}},
	})
	if s.Rand.IntN(3) == 0 {
		appendAll(s.Journal, epoch, "account", id, []*accountpb.Event{
			{AtMs: now(), Event: &accountpb.Event_RolesChanged{RolesChanged: &accountpb.RolesChanged{Roles: []accountpb.Role{accountpb.Role_ROLE_STAFF}}}},
		})
	}
}
