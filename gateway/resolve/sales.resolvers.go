package resolve

import (
	"context"

	"stampede/actors/sale"
	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/gateway/waiting"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

func (r *mutationResolver) CreateSale(ctx context.Context, input graph.CreateSaleInput) (*graph.SalePayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := createSaleCommand(v, &input)
	if bad != nil {
		return &graph.SalePayload{UserErrors: bad}, nil
	}
	reply, err := call[*salepb.SaleReply](ctx, r.Caller, kindSale, sale.ID(v.ID, input.IdempotencyKey), cmd)
	return r.salePayload(reply, err)
}

func (r *mutationResolver) ControlSale(ctx context.Context, input graph.ControlSaleInput) (*graph.SalePayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := controlCommand(v, &input)
	if bad != nil {
		return &graph.SalePayload{UserErrors: bad}, nil
	}
	reply, err := call[*salepb.SaleReply](ctx, r.Caller, kindSale, input.ID, cmd)
	return r.salePayload(reply, err)
}

func (r *mutationResolver) JoinSale(ctx context.Context, input graph.JoinSaleInput) (*graph.TicketPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.id(input.SaleID, salePrefix, "saleId")
	if bad != nil {
		return &graph.TicketPayload{UserErrors: bad}, nil
	}
	reply, err := call[*salepb.JoinReply](ctx, r.Caller, kindSale, input.SaleID, &salepb.Join{CustomerId: v.ID})
	switch {
	case err != nil:
		userErrors, err := later(err)
		return &graph.TicketPayload{UserErrors: userErrors}, err
	case reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND:
		return &graph.TicketPayload{UserErrors: []graph.UserError{graph.GenericError{Code: graph.ErrorCodeNotFound, Message: "there is no such sale", Field: []string{"saleId"}}}}, nil
	case reply.Refusal != nil:
		return &graph.TicketPayload{UserErrors: refused(reply.Refusal)}, nil
	}
	r.schedules.Note(input.SaleID, reply.Schedule, r.Clock())
	return &graph.TicketPayload{Ticket: r.ticket(v, input.SaleID, reply.Number, reply.Schedule), UserErrors: refused(nil)}, nil
}

func (r *queryResolver) Sale(ctx context.Context, id string) (*graph.Sale, error) {
	if _, err := viewerOf(ctx); err != nil {
		return nil, err
	}
	if err := checkID(id, salePrefix); err != nil {
		return nil, err
	}
	return r.sale(ctx, id)
}

func (r *queryResolver) Sales(ctx context.Context, state *graph.SaleState) ([]graph.Sale, error) {
	if _, err := viewerOf(ctx); err != nil {
		return nil, err
	}
	return r.sales(ctx, string(deref(state)))
}

func (r *queryResolver) Ticket(ctx context.Context, id string) (*graph.Ticket, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if !waiting.IsTicket(id) {
		return nil, fault.InvalidField(wantTicket, "id")
	}
	saleID, number, ok := r.signer.OpenTicket(id, v.ID)
	if !ok {
		return nil, nil //nolint:nilnil // to this viewer there is none
	}
	schedule, err := r.schedules.Of(ctx, saleID, r.Clock())
	if err != nil || schedule == nil {
		return nil, err
	}
	return r.ticket(v, saleID, number, schedule), nil
}

func (r *saleItemResolver) Variant(ctx context.Context, obj *graph.SaleItem) (*graph.Variant, error) {
	return r.saleVariant(ctx, obj.Sku)
}

func (r *saleItemResolver) Remaining(ctx context.Context, obj *graph.SaleItem) (int32, error) {
	// Not by the loaders, which keep what they have read as long as a subscription lasts.
	level, err := r.level(ctx, obj.Sku)
	if err != nil || level.GetSale().GetSaleId() != obj.SaleID {
		return 0, err // of a sale that is over nothing remains
	}
	return int32of(level.Sale.Remaining), nil
}

func (r *Resolver) SaleItem() graph.SaleItemResolver { return &saleItemResolver{r} }

type saleItemResolver struct{ *Resolver }
