package resolve

// What subscriptions hear of: which actors, what of them may be seen by whom,
// and what it looks like.

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/sale"
	"stampede/gateway/fault"
	"stampede/gateway/live"
	"stampede/gateway/waiting"
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
		of, _ := reply.(*salepb.SaleReply)
		if of.GetSale() == nil {
			return 0
		}
		return uint64(max(of.GetEventVersion(), 0))
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

const (
	// maxTicketStatesPerSecond is how often a customer hears of one ticket at most.
	maxTicketStatesPerSecond = 1
	// leastTicketWait is the least time until a ticket is looked at again by itself.
	leastTicketWait = 100 * time.Millisecond
)

// admitting is all of a schedule that a ticket depends on: not how many have
// joined, which changes with every one of them.
type admitting struct {
	from, base, perSecond, rate, starts, ends, early int64
	opened, ended                                    bool
}

// ticketSource is the sale, computed for one number. What follows from the
// passing of time is told without asking anybody: as often as a ticket is to be
// polled, when its turn comes, and before its token ends.
func (r *Resolver) ticketSource(ctx context.Context, id string) (*live.Source, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if !waiting.IsTicket(id) {
		return nil, fault.InvalidField(wantTicket, "id")
	}
	saleID, number, ok := r.signer.OpenTicket(id, v.ID)
	if !ok {
		return &live.Source{}, nil // to this viewer there is none: nothing comes
	}
	schedule := func(reply proto.Message) *salepb.Schedule { return reply.(*salepb.SaleReply).Sale.GetSchedule() }
	return &live.Source{
		Kind: saleKind(), IDs: []string{saleID}, PerSecond: maxTicketStatesPerSecond, Own: true,
		Allowed: func(proto.Message) bool { return true },
		Value:   func(reply proto.Message) any { return r.ticket(v, saleID, number, schedule(reply)) },
		Key: func(reply proto.Message) any {
			c := schedule(reply)
			return admitting{
				c.GetFromMs(), c.GetBaseMilli(), c.GetPerSecond(), c.GetAdmitPerSecond(), c.GetStartsAtMs(), c.GetEndsAtMs(), c.GetJoinedEarly(),
				c.GetOpened(), c.GetEnded(),
			}
		},
		Again: func(reply proto.Message) time.Duration {
			turn := sale.TurnOf(schedule(reply), number, r.Clock().UnixMilli())
			switch wait := time.Duration(turn.WaitMs) * time.Millisecond; {
			case turn.Admitted:
				return waiting.AdmittedFor / 2
			case turn.WaitMs < 0: // nobody is let in until the sale changes
				return 0
			default:
				return min(max(wait, leastTicketWait), time.Duration(pollAfter(turn.WaitMs))*time.Millisecond)
			}
		},
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
