package gateway_test

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// room is a few SKUs and orders that change when a test says so, and can be
// watched as the runtime's actors can.
type room struct {
	mu       sync.Mutex
	replies  map[string]proto.Message
	changed  chan struct{}
	watching int
}

func newRoom() *room { return &room{replies: map[string]proto.Message{}, changed: make(chan struct{})} }

func (r *room) put(id string, reply proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replies[id] = reply
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *room) stock(sku string, version, available int64) {
	r.put(sku, &skupb.StockReply{Level: &skupb.Level{Sku: sku, Active: true, Version: version, Stock: &skupb.Stock{Available: available}}})
}

func (r *room) order(version int64, status orderpb.Status) {
	r.put(anOrder, &orderpb.OrderReply{Order: &orderpb.Order{Id: anOrder, CustomerId: alice, Version: version, Status: status}})
}

func (r *room) watched() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watching
}

func version(reply proto.Message) int64 {
	switch m := reply.(type) {
	case *skupb.StockReply:
		return m.GetLevel().GetVersion()
	case *orderpb.OrderReply:
		return m.GetOrder().GetVersion()
	case *salepb.SaleReply:
		return m.GetEventVersion()
	}
	return 0
}

func (r *room) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	w, watches := cmd.(*commonpb.Watch)
	r.mu.Lock()
	defer r.mu.Unlock()
	var late <-chan time.Time
	if watches {
		r.watching++
		defer func() { r.watching-- }()
		late = time.After(time.Duration(w.WaitMs) * time.Millisecond)
	}
	for over := false; ; {
		reply := r.replies[to.ID]
		switch {
		case reply == nil && to.Kind == "sku":
			return &skupb.StockReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND}}, nil
		case reply == nil && to.Kind == "sale":
			return &salepb.SaleReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND}}, nil
		case reply == nil:
			return &orderpb.OrderReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND}}, nil
		case !watches || over || version(reply) > int64(w.AfterVersion):
			return reply, nil
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			over = true
		case <-ctx.Done():
			r.mu.Lock()
			return nil, entity.ErrTimeout
		}
		r.mu.Lock()
	}
}

// sale is the sale that is there, its version one higher, joined by so many.
func (r *room) sale(joined int64) *salepb.SaleReply {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := proto.CloneOf(r.replies[aSale].(*salepb.SaleReply))
	next.EventVersion++
	next.Sale.Schedule.Joined = joined
	return next
}
