package resolve

import (
	"context"

	"stampede/actors/order"
	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/orderpb"
)

func (r *mutationResolver) PlaceOrder(ctx context.Context, input graph.PlaceOrderInput) (*graph.OrderPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := r.placeCommand(v, &input)
	if bad != nil {
		return &graph.OrderPayload{UserErrors: bad}, nil
	}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, order.ID(v.ID, input.IdempotencyKey), cmd)
	payload, err := orderPayload(v, reply, err)
	if payload != nil {
		r.notAdmitted(v, &input, payload)
	}
	return payload, err
}

func (r *mutationResolver) PayOrder(ctx context.Context, input graph.PayOrderInput) (*graph.OrderPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.key(input.IdempotencyKey)
	bad.id(input.OrderID, orderPrefix, "orderId")
	bad.paymentToken(input.PaymentToken)
	if bad != nil {
		return &graph.OrderPayload{UserErrors: bad}, nil
	}
	cmd := &orderpb.Pay{Actor: v.actor(), IdempotencyKey: input.IdempotencyKey, PaymentToken: input.PaymentToken}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, input.OrderID, cmd)
	return orderPayload(v, reply, err)
}

func (r *mutationResolver) CancelOrder(ctx context.Context, input graph.CancelOrderInput) (*graph.OrderPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.id(input.OrderID, orderPrefix, "orderId")
	bad.require(text(deref(input.Reason), maxReasonCharacters), "must be at most 500 characters without control characters", "reason")
	if bad != nil {
		return &graph.OrderPayload{UserErrors: bad}, nil
	}
	cmd := &orderpb.Cancel{Actor: v.actor(), Reason: deref(input.Reason)}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, input.OrderID, cmd)
	return orderPayload(v, reply, err)
}

func (r *mutationResolver) FulfilOrder(ctx context.Context, input graph.FulfilOrderInput) (*graph.OrderPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := fulfilCommand(v, &input)
	if bad != nil {
		return &graph.OrderPayload{UserErrors: bad}, nil
	}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, input.OrderID, cmd)
	return orderPayload(v, reply, err)
}

func (r *mutationResolver) RefundOrder(ctx context.Context, input graph.RefundOrderInput) (*graph.OrderPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := refundCommand(v, &input)
	if bad != nil {
		return &graph.OrderPayload{UserErrors: bad}, nil
	}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, input.OrderID, cmd)
	return orderPayload(v, reply, err)
}

func (r *orderResolver) Customer(ctx context.Context, obj *graph.Order) (*graph.User, error) {
	user, err := r.loaders(ctx).users.Load(ctx, obj.CustomerID)
	if err != nil || user == nil {
		return nil, err
	}
	return userOf(user), nil
}

func (r *queryResolver) Order(ctx context.Context, id string) (*graph.Order, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkID(id, orderPrefix); err != nil {
		return nil, err
	}
	return r.order(ctx, v, id)
}

func (r *queryResolver) Orders(ctx context.Context, first *int32, after *string, state *graph.OrderState) (*graph.OrderConnection, error) {
	p, err := placeOf(first, after, orderPrefix)
	if err != nil {
		return nil, err
	}
	return r.orders(ctx, persistence.ListQuery{State: string(deref(state))}, p)
}

func (r *Resolver) Order() graph.OrderResolver { return &orderResolver{r} }

type orderResolver struct{ *Resolver }
