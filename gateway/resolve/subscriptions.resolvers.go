package resolve

import (
	"context"

	"stampede/gateway/graph"
	"stampede/gateway/operation"
)

func (r *subscriptionResolver) StockChanged(ctx context.Context, skus []string, maxPerSecond *int32) (<-chan *graph.StockLevel, error) {
	if event, ok := operation.EventOf[*graph.StockLevel](ctx); ok {
		return event, nil
	}
	source, err := stockSource(ctx, skus, maxPerSecond)
	if err != nil {
		return nil, err
	}
	operation.Offer(ctx, source)
	return nil, nil //nolint:nilnil // events do not come through a channel
}

func (r *subscriptionResolver) SaleChanged(ctx context.Context, id string) (<-chan *graph.Sale, error) {
	if event, ok := operation.EventOf[*graph.Sale](ctx); ok {
		return event, nil
	}
	source, err := r.saleSource(ctx, id)
	if err != nil {
		return nil, err
	}
	operation.Offer(ctx, source)
	return nil, nil //nolint:nilnil // events do not come through a channel
}

func (r *subscriptionResolver) OrderChanged(ctx context.Context, id string, afterVersion *int32) (<-chan *graph.Order, error) {
	if event, ok := operation.EventOf[*graph.Order](ctx); ok {
		return event, nil
	}
	source, err := orderSource(ctx, id, afterVersion)
	if err != nil {
		return nil, err
	}
	operation.Offer(ctx, source)
	return nil, nil //nolint:nilnil // events do not come through a channel
}

func (r *subscriptionResolver) TicketChanged(ctx context.Context, id string) (<-chan *graph.Ticket, error) {
	if event, ok := operation.EventOf[*graph.Ticket](ctx); ok {
		return event, nil
	}
	source, err := r.ticketSource(ctx, id)
	if err != nil {
		return nil, err
	}
	operation.Offer(ctx, source)
	return nil, nil //nolint:nilnil // events do not come through a channel
}

func (r *Resolver) Subscription() graph.SubscriptionResolver { return &subscriptionResolver{r} }

type subscriptionResolver struct{ *Resolver }
