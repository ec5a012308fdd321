package resolve

// What subscriptions hear of: which actors, what of them may be seen by whom,
// and what it looks like.

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"stampede/gateway/fault"
	"stampede/gateway/live"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// maxLevelsPerSecond is the most that maxPerSecond may be: nobody reads faster.
const maxLevelsPerSecond = 50

func stockKind() *live.Kind {
	return &live.Kind{Name: kindSKU, Get: &skupb.GetLevel{}, Version: func(reply proto.Message) uint64 {
		level, _ := reply.(*skupb.StockReply)
		return uint64(max(level.GetLevel().GetVersion(), 0))
	}}
}

// orderKind asks as the shop itself: what of the answer a subscriber may see is
// decided for each by itself.
func orderKind() *live.Kind {
	return &live.Kind{Name: kindOrder, Get: &orderpb.Get{Actor: &commonpb.Actor{Staff: true}}, Version: func(reply proto.Message) uint64 {
		order, _ := reply.(*orderpb.OrderReply)
		return uint64(max(order.GetOrder().GetVersion(), 0))
	}}
}

func stockSource(ctx context.Context, skus []string, maxPerSecond *int32) (*live.Source, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	perSecond := int32(4)
	if maxPerSecond != nil {
		perSecond = *maxPerSecond
	}
	if perSecond < 1 || perSecond > maxLevelsPerSecond {
		return nil, fault.InvalidField(oneTo("", maxLevelsPerSecond), "maxPerSecond")
	}
	ids := slices.Clone(skus)
	slices.Sort(ids)
	return &live.Source{
		Kind: stockKind(), IDs: slices.Compact(ids), PerSecond: int(perSecond),
		// What is not on sale may be put on sale.
		Allowed: func(reply proto.Message) bool { return reply.(*skupb.StockReply).Level.Active || v.IsStaff() },
		Later:   true,
		Value:   func(reply proto.Message) any { return levelOf(reply.(*skupb.StockReply).Level) },
	}, nil
}

// saleKind is told of everybody who joins too: how many wait is what many look at.
func saleKind() *live.Kind {
	return &live.Kind{Name: kindSale, Get: &salepb.Get{}, Version: func(reply proto.Message) uint64 {
		sale, _ := reply.(*salepb.SaleReply)
		if sale.GetSale() == nil {
			return 0
		}
		return uint64(max(sale.GetEventVersion(), 0))
	}}
}

// maxSaleStatesPerSecond is how often a subscriber hears of one sale at most: a
// crowd that joins changes it with every one of them.
const maxSaleStatesPerSecond = 4

func (r *Resolver) saleSource(ctx context.Context, id string) (*live.Source, error) {
	if _, err := viewerOf(ctx); err != nil {
		return nil, err
	}
	if err := checkID(id, salePrefix); err != nil {
		return nil, err
	}
	return &live.Source{
		Kind: saleKind(), IDs: []string{id}, PerSecond: maxSaleStatesPerSecond,
		Allowed: func(proto.Message) bool { return true },
		Value:   func(reply proto.Message) any { return r.saleOf(reply.(*salepb.SaleReply).Sale) },
	}, nil
}

func orderSource(ctx context.Context, id string, afterVersion *int32) (*live.Source, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkID(id, orderPrefix); err != nil {
		return nil, err
	}
	after := deref(afterVersion)
	if after < 0 {
		return nil, fault.InvalidField("must be the version that was read last, or left out", "afterVersion")
	}
	return &live.Source{
		Kind: orderKind(), IDs: []string{id}, After: uint64(after),
		Allowed: func(reply proto.Message) bool { return !notTheirs(v, reply.(*orderpb.OrderReply)) },
		Value:   func(reply proto.Message) any { return orderOf(reply.(*orderpb.OrderReply).Order) },
	}, nil
}
