// Package actors lists the kinds of virtual actor and binds each one's pure
// functions to the runtime. A new kind is a folder here and a line in Kinds.
package actors

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/actors/apikey"
	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/actors/product"
	"stampede/actors/roster"
	"stampede/actors/sale"
	"stampede/actors/sku"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/rosterpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// Kinds makes every kind an actor of the runtime.
func Kinds(rt *entity.Runtime) []entity.Spawner {
	return []entity.Spawner{
		entity.Bind(rt, SKU()),
		entity.Bind(rt, Order()),
		entity.Bind(rt, Product()),
		entity.Bind(rt, Account()),
		entity.Bind(rt, APIKey()),
		entity.Bind(rt, Roster()),
		entity.Bind(rt, Sale()),
	}
}

// SKU is the stock of one SKU.
func SKU() *entity.Kind[sku.State, *skupb.Event] {
	return &entity.Kind[sku.State, *skupb.Event]{
		Name: "sku",
		New:  sku.New,
		Decide: func(s *sku.State, cmd proto.Message, now time.Time, heard entity.Heard) entity.Decision[*skupb.Event] {
			if _, answered := cmd.(*commonpb.Continue); answered {
				return entity.Decision[*skupb.Event]{Events: sku.Heard(s, heard, now)}
			}
			events, reply := sku.Decide(s, cmd, now)
			return entity.Decision[*skupb.Event]{Events: events, Reply: reply}
		},
		Glimpse:  &entity.Glimpse{Reads: sku.Reads, Again: sku.Again},
		Evolve:   sku.Evolve,
		Pending:  func(s *sku.State) []entity.Ask { return asks(sku.Pending(s)) },
		WakeAt:   sku.WakeAt,
		NewEvent: func() *skupb.Event { return &skupb.Event{} },
		Snapshot: sku.Snapshot,
		Restore:  sku.Restore,
	}
}

// Order is one order.
func Order() *entity.Kind[order.State, *orderpb.Event] {
	return &entity.Kind[order.State, *orderpb.Event]{
		Name: "order",
		New:  order.New,
		Decide: func(s *order.State, cmd proto.Message, now time.Time, heard entity.Heard) entity.Decision[*orderpb.Event] {
			d := order.Decide(s, cmd, now, heard)
			return entity.Decision[*orderpb.Event]{Events: d.Events, Reply: d.Reply, Asks: asks(d.Asks)}
		},
		Glimpse:  &entity.Glimpse{Reads: order.Reads, Again: order.Again},
		Evolve:   order.Evolve,
		Pending:  func(s *order.State) []entity.Ask { return asks(order.Pending(s)) },
		WakeAt:   order.WakeAt,
		NewEvent: func() *orderpb.Event { return &orderpb.Event{} },
		Snapshot: order.Snapshot,
		Restore:  order.Restore,
	}
}

// Product is one product of the catalogue.
func Product() *entity.Kind[product.State, *productpb.Event] {
	return &entity.Kind[product.State, *productpb.Event]{
		Name: "product",
		New:  product.New,
		Decide: func(s *product.State, cmd proto.Message, now time.Time, heard entity.Heard) entity.Decision[*productpb.Event] {
			d := product.Decide(s, cmd, now, heard)
			return entity.Decision[*productpb.Event]{Events: d.Events, Reply: d.Reply, Asks: asks(d.Asks)}
		},
		Glimpse:  &entity.Glimpse{Reads: product.Reads, Again: product.Again},
		Evolve:   product.Evolve,
		Pending:  func(s *product.State) []entity.Ask { return asks(product.Pending(s)) },
		NewEvent: func() *productpb.Event { return &productpb.Event{} },
		Snapshot: product.Snapshot,
		Restore:  product.Restore,
	}
}

// Account is one user.
func Account() *entity.Kind[account.State, *accountpb.Event] {
	return &entity.Kind[account.State, *accountpb.Event]{
		Name: "account",
		New:  account.New,
		Decide: func(s *account.State, cmd proto.Message, now time.Time, heard entity.Heard) entity.Decision[*accountpb.Event] {
			d := account.Decide(s, cmd, now, heard)
			return entity.Decision[*accountpb.Event]{Events: d.Events, Reply: d.Reply, Asks: asks(d.Asks)}
		},
		Glimpse:  &entity.Glimpse{Reads: account.Reads, Again: account.Again},
		Evolve:   account.Evolve,
		Pending:  func(s *account.State) []entity.Ask { return asks(account.Pending(s)) },
		NewEvent: func() *accountpb.Event { return &accountpb.Event{} },
		Snapshot: account.Snapshot,
		Restore:  account.Restore,
	}
}

// APIKey is one key of a machine.
func APIKey() *entity.Kind[apikey.State, *apikeypb.Event] {
	return &entity.Kind[apikey.State, *apikeypb.Event]{
		Name:     apikey.Name,
		New:      apikey.New,
		Decide:   alone(apikey.Decide),
		Evolve:   apikey.Evolve,
		NewEvent: func() *apikeypb.Event { return &apikeypb.Event{} },
		Snapshot: apikey.Snapshot,
		Restore:  apikey.Restore,
	}
}

// Roster is who the operators are.
func Roster() *entity.Kind[roster.State, *rosterpb.Event] {
	return &entity.Kind[roster.State, *rosterpb.Event]{
		Name:     roster.Name,
		New:      roster.New,
		Decide:   alone(roster.Decide),
		Evolve:   roster.Evolve,
		NewEvent: func() *rosterpb.Event { return &rosterpb.Event{} },
		Snapshot: roster.Snapshot,
		Restore:  roster.Restore,
	}
}

// Sale is one sale.
func Sale() *entity.Kind[sale.State, *salepb.Event] {
	return &entity.Kind[sale.State, *salepb.Event]{
		Name: sale.Name,
		New:  sale.New,
		Decide: func(s *sale.State, cmd proto.Message, now time.Time, heard entity.Heard) entity.Decision[*salepb.Event] {
			d := sale.Decide(s, cmd, now, heard)
			return entity.Decision[*salepb.Event]{Events: d.Events, Reply: d.Reply, Asks: asks(d.Asks)}
		},
		Evolve:   sale.Evolve,
		Pending:  func(s *sale.State) []entity.Ask { return asks(sale.Pending(s)) },
		WakeAt:   sale.WakeAt,
		NewEvent: func() *salepb.Event { return &salepb.Event{} },
		Snapshot: sale.Snapshot,
		Restore:  sale.Restore,
	}
}

// alone is for kinds that decide without asking anyone.
func alone[S any, E proto.Message](decide func(*S, proto.Message, time.Time) ([]E, proto.Message)) func(*S, proto.Message, time.Time, entity.Heard) entity.Decision[E] {
	return func(s *S, cmd proto.Message, now time.Time, _ entity.Heard) entity.Decision[E] {
		events, reply := decide(s, cmd, now)
		return entity.Decision[E]{Events: events, Reply: reply}
	}
}

// asks turns a kind's own asks, which have the same fields, into the runtime's.
func asks[A ~struct {
	Key, Kind, ID string
	Command       proto.Message
}](own []A) []entity.Ask {
	if len(own) == 0 {
		return nil
	}
	out := make([]entity.Ask, len(own))
	for i, a := range own {
		out[i] = entity.Ask(a)
	}
	return out
}
