package resolve

import (
	"context"

	"stampede/actors/product"
	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/gateway/scalar"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

func (r *mutationResolver) CreateProduct(ctx context.Context, input graph.CreateProductInput) (*graph.ProductPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := createCommand(v, &input)
	if bad != nil {
		return &graph.ProductPayload{UserErrors: bad}, nil
	}
	reply, err := call[*productpb.ProductReply](ctx, r.Caller, kindProduct, product.ID(input.Slug), cmd)
	return r.productPayload(reply, err)
}

func (r *mutationResolver) UpdateProduct(ctx context.Context, input graph.UpdateProductInput) (*graph.ProductPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	cmd, bad := updateCommand(v, &input)
	if bad != nil {
		return &graph.ProductPayload{UserErrors: bad}, nil
	}
	reply, err := call[*productpb.ProductReply](ctx, r.Caller, kindProduct, input.ID, cmd)
	return r.productPayload(reply, err)
}

func (r *mutationResolver) AdjustStock(ctx context.Context, input graph.AdjustStockInput) (*graph.StockPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.key(input.IdempotencyKey)
	bad.require(isSKU(input.Sku), wantSKU, "sku")
	bad.require(input.Delta != 0, "must not be 0: units come or go", "delta")
	bad.reason(input.Reason)
	cmd := &skupb.Adjust{IdempotencyKey: input.IdempotencyKey, Delta: int64(input.Delta), Reason: input.Reason, Actor: v.actor(), IfVersion: bad.version(input.IfVersion)}
	return r.changeStock(ctx, input.Sku, cmd, bad)
}

func (r *mutationResolver) SetStock(ctx context.Context, input graph.SetStockInput) (*graph.StockPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.key(input.IdempotencyKey)
	bad.require(isSKU(input.Sku), wantSKU, "sku")
	bad.require(input.OnHand >= 0, "must be at least 0", "onHand")
	bad.reason(input.Reason)
	cmd := &skupb.SetOnHand{
		IdempotencyKey: input.IdempotencyKey, OnHand: int64(input.OnHand), Reason: input.Reason, Actor: v.actor(),
		IfVersion: bad.version(input.IfVersion), AllowShortfall: deref(input.AllowShortfall),
	}
	return r.changeStock(ctx, input.Sku, cmd, bad)
}

func (r *mutationResolver) MarkUnavailable(ctx context.Context, input graph.MarkUnavailableInput) (*graph.StockPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.key(input.IdempotencyKey)
	bad.require(isSKU(input.Sku), wantSKU, "sku")
	bad.require(input.Quantity >= 1, "must be at least 1", "quantity")
	bad.reason(input.Reason)
	cmd := &skupb.MarkUnavailable{IdempotencyKey: input.IdempotencyKey, Quantity: int64(input.Quantity), Reason: input.Reason, Actor: v.actor()}
	return r.changeStock(ctx, input.Sku, cmd, bad)
}

func (r *queryResolver) Product(ctx context.Context, id *string, slug *string) (*graph.Product, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case (id == nil) == (slug == nil):
		return nil, fault.InvalidField("must be given, or else slug: exactly one of the two", "id")
	case id != nil:
		if err := checkID(*id, productPrefix); err != nil {
			return nil, err
		}
		return r.product(ctx, v, *id)
	case !isSlug(*slug):
		return nil, fault.InvalidField(wantSlug, "slug")
	}
	return r.product(ctx, v, product.ID(*slug))
}

func (r *queryResolver) Products(ctx context.Context, first *int32, after *string, search *string) (*graph.ProductConnection, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	p, err := placeOf(first, after, productPrefix)
	if err != nil {
		return nil, err
	}
	words, err := searchWords(search)
	if err != nil {
		return nil, err
	}
	ScopeOf(ctx).listed.Store(true)
	return r.products(ctx, v, p, words)
}

func (r *queryResolver) Stock(ctx context.Context, skus []string) ([]*graph.StockLevel, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	return r.stock(ctx, v, skus), nil
}

func (r *queryResolver) StockLedger(ctx context.Context, sku string, first *int32, after *string) (*graph.StockEntryConnection, error) {
	if !isSKU(sku) {
		return nil, fault.InvalidField(wantSKU, "sku")
	}
	return r.stockLedger(ctx, sku, first, after)
}

func (r *queryResolver) StockAt(ctx context.Context, sku string, version *int32, at *scalar.DateTime) (*graph.StockLevel, error) {
	if !isSKU(sku) {
		return nil, fault.InvalidField(wantSKU, "sku")
	}
	return r.stockAt(ctx, sku, version, at)
}

func (r *variantResolver) Stock(ctx context.Context, obj *graph.Variant) (*graph.StockLevel, error) {
	if ScopeOf(ctx).listed.Load() {
		if level, _ := r.shown.fresh(obj.Sku); level != nil {
			return levelOf(level), nil
		}
	}
	level, err := r.loaders(ctx).levels.Load(ctx, obj.Sku)
	if err != nil {
		return nil, err
	}
	return levelOf(r.shownLevel(obj.Sku, level)), nil
}

func (r *Resolver) Variant() graph.VariantResolver { return &variantResolver{r} }

type variantResolver struct{ *Resolver }
