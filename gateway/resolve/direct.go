package resolve

import (
	"context"
	"time"

	"stampede/gateway/graph"
	"stampede/gateway/operation"
	"stampede/gateway/scalar"
	"stampede/proto/gen/skupb"
)

// The reads that every shopper makes again and again, and placing an order, for
// the engine to answer without gqlgen: see operation.Direct. The resolvers do the
// same for documents that go gqlgen's way.

// keptFor is how long a page of products is kept at most that nothing has changed.
const keptFor = time.Minute

// Direct are the root fields that the engine resolves by itself.
func (r *Resolver) Direct() map[string]operation.Direct {
	return map[string]operation.Direct{
		"Query.products":      {Resolve: r.directProducts, Version: r.productsVersion},
		"Query.stock":         {Resolve: r.directStock},
		"Query.order":         {Resolve: r.directOrder, Guarded: true},
		"Query.me":            {Resolve: r.directMe, Guarded: true},
		"Mutation.placeOrder": {Resolve: r.directPlaceOrder, Guarded: true},
	}
}

// Filled are the fields that the direct ones fill in.
func Filled() map[string]bool { return map[string]bool{"Variant.stock": true} }

// productsVersion is what a page of products depends on.
type productsVersion struct {
	catalogue uint64
	stock     uint64
	staff     bool
}

func (r *Resolver) productsVersion(ctx context.Context) any {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil
	}
	shelf, err := r.catalogue.shelf(ctx)
	if err != nil {
		return nil
	}
	return productsVersion{catalogue: shelf.version, stock: r.shown.changes.Load(), staff: v.IsStaff()}
}

func (r *Resolver) directProducts(ctx context.Context, ask operation.Ask) (operation.Direction, error) {
	first, firstOK := optionalArgument(ask.Arguments["first"], scalar.UnmarshalInt)
	after, afterOK := optionalArgument(ask.Arguments["after"], scalar.UnmarshalString)
	search, searchOK := optionalArgument(ask.Arguments["search"], scalar.UnmarshalString)
	if !firstOK || !afterOK || !searchOK {
		return operation.Direction{Declined: true}, nil
	}
	found := operation.Direction{Until: r.Clock().Add(keptFor)}
	if shelf, err := r.catalogue.shelf(ctx); err != nil || !shelf.complete { // the view was read, whose changes are not all in the version
		found.Until = r.Clock().Add(freshFor)
	}
	page, err := (&queryResolver{r}).Products(ctx, first, after, search)
	if err != nil {
		return operation.Direction{}, err
	}
	if ask.Fill {
		until, ok := r.fillStock(ctx, page)
		if !ok { // each variant has its own answer then
			return operation.Direction{Declined: true}, nil
		}
		found.Until = earlier(found.Until, until)
	}
	found.Value = page
	return found, nil
}

func (r *Resolver) directStock(ctx context.Context, ask operation.Ask) (operation.Direction, error) {
	list, ok := ask.Arguments["skus"].([]any)
	if !ok {
		return operation.Direction{Declined: true}, nil
	}
	skus := make([]string, len(list))
	for i, item := range list {
		if skus[i], ok = item.(string); !ok {
			return operation.Direction{Declined: true}, nil
		}
	}
	levels, err := (&queryResolver{r}).Stock(ctx, skus)
	return operation.Direction{Value: levels}, err
}

// hasRole reports whom @auth lets through.
func hasRole(ctx context.Context, needed role) bool {
	v, err := viewerOf(ctx)
	return err == nil && v.role >= needed
}

// directOrder is what a shopper asks until the order has gone on.
func (r *Resolver) directOrder(ctx context.Context, ask operation.Ask) (operation.Direction, error) {
	id, ok := ask.Arguments["id"].(string)
	if !ok || !hasRole(ctx, customer) {
		return operation.Direction{Declined: true}, nil
	}
	order, err := (&queryResolver{r}).Order(ctx, id)
	return operation.Direction{Value: order}, err
}

func (r *Resolver) directMe(ctx context.Context, _ operation.Ask) (operation.Direction, error) {
	if !hasRole(ctx, customer) {
		return operation.Direction{Declined: true}, nil
	}
	user, err := (&queryResolver{r}).Me(ctx)
	return operation.Direction{Value: user}, err
}

// fillStock puts the levels into a page, and says until when they may be shown;
// false: there is a SKU of which nothing can be said now.
// The page's variants are the catalogue's, so it is given its own.
func (r *Resolver) fillStock(ctx context.Context, page *graph.ProductConnection) (until time.Time, ok bool) {
	count := 0
	for i := range page.Edges {
		count += len(page.Edges[i].Node.Variants)
	}
	variants := make([]graph.Variant, 0, count)
	for i := range page.Edges {
		node := &page.Edges[i].Node
		from := len(variants)
		variants = append(variants, node.Variants...)
		node.Variants = variants[from:len(variants):len(variants)]
	}
	now := r.Clock()
	until = now.Add(shownFor)
	var missing []string
	places := make(map[string][]int)
	for i := range variants {
		sku := variants[i].Sku
		if level, shownAt := r.shown.fresh(sku); level != nil {
			variants[i].Stock = *levelOf(level)
			until = earlier(until, shownAt.Add(shownFor))
			continue
		}
		if places[sku] == nil {
			missing = append(missing, sku)
		}
		places[sku] = append(places[sku], i)
	}
	if missing == nil {
		return until, true
	}
	levels, errs := r.fetchShownLevels(ctx, missing)
	for i, sku := range missing {
		if errs[i] != nil {
			return until, false
		}
		if _, at := r.shown.fresh(sku); at.IsZero() { // it is the view's, or none
			until = time.Time{}
		}
		for _, place := range places[sku] {
			variants[place].Stock = *levelOf(r.shownLevel(sku, levels[i]))
		}
	}
	return until, true
}

// shownLevel is a level, also where there is none: the SKU's product is being
// created this moment, or its journal is damaged, and there is nothing to be had.
func (r *Resolver) shownLevel(sku string, level *skupb.Level) *skupb.Level {
	if level == nil {
		return &skupb.Level{Sku: sku, AsOfMs: r.Clock().UnixMilli()}
	}
	return level
}

// earlier is the earlier of two times; zero if one is.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// optionalArgument is false for what the resolver's own reading has to refuse.
func optionalArgument[T any](v any, read func(any) (T, error)) (*T, bool) {
	if v == nil {
		return nil, true
	}
	value, err := read(v)
	return &value, err == nil
}
