package resolve

import (
	"context"
	"fmt"

	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// order asks the order itself: nil when there is none, or none for this viewer.
func (r *Resolver) order(ctx context.Context, v Viewer, id string) (*graph.Order, error) {
	if v.role == anonymous {
		return nil, nil //nolint:nilnil // to nobody in particular there is none
	}
	reply, err := call[*orderpb.OrderReply](ctx, r.Caller, kindOrder, id, &orderpb.Get{Actor: v.actor()})
	if err != nil || notTheirs(v, reply) {
		return nil, err
	}
	if reply.Order == nil {
		return nil, fmt.Errorf("ask order/%s: answered without an order: %s", id, reply.Refusal.GetMessage())
	}
	return orderOf(reply.Order), nil
}

// notTheirs reports that to this viewer there is no such order. The order says
// so itself; that somebody else's never gets through does not rest on that alone.
func notTheirs(v Viewer, reply *orderpb.OrderReply) bool {
	switch {
	case reply.Order != nil:
		return reply.Order.CustomerId != v.ID && !v.IsStaff()
	case reply.Refusal.GetReason() == commonpb.Reason_REASON_FORBIDDEN:
		return true
	}
	return reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND
}

// orderPayload is what a mutation of an order answers. A refusal may come with
// the order as it stands. Somebody else's order is not found.
func orderPayload(v Viewer, reply *orderpb.OrderReply, err error) (*graph.OrderPayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.OrderPayload{UserErrors: userErrors}, err
	}
	if reply.Order == nil {
		if notTheirs(v, reply) && len(reply.Refusal.Field) == 0 { // not a SKU that is not found
			return &graph.OrderPayload{UserErrors: orderNotFound()}, nil
		}
		return &graph.OrderPayload{UserErrors: refused(reply.Refusal)}, nil
	}
	if notTheirs(v, reply) {
		return &graph.OrderPayload{UserErrors: orderNotFound()}, nil
	}
	return &graph.OrderPayload{Order: orderOf(reply.Order), UserErrors: refused(reply.Refusal)}, nil
}

func orderNotFound() []graph.UserError {
	return []graph.UserError{graph.GenericError{Code: graph.ErrorCodeNotFound, Message: "there is no such order", Field: []string{"orderId"}}}
}

// orders is a page of the orders that the query selects.
func (r *Resolver) orders(ctx context.Context, q persistence.ListQuery, p place) (*graph.OrderConnection, error) {
	q.Kind = kindOrder
	rows, more, err := r.rows(ctx, q, p)
	if err != nil {
		return nil, err
	}
	edges := make([]graph.OrderEdge, len(rows))
	for i, row := range rows {
		var o orderpb.Order
		if err := unmarshalRow(row, &o); err != nil {
			return nil, err
		}
		edges[i] = graph.OrderEdge{Cursor: cursorOf(row.SortMs, row.ID), Node: *orderOf(&o)}
	}
	return &graph.OrderConnection{Edges: edges, PageInfo: pageInfo(p, more, len(edges), func(i int) string { return edges[i].Cursor })}, nil
}
