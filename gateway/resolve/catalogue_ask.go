package resolve

import (
	"context"
	"fmt"

	"github.com/99designs/gqlgen/graphql"
	"google.golang.org/protobuf/proto"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

const maxSKUsAsked = 100

// product asks the product itself: nil when there is none, or none for this viewer.
func (r *Resolver) product(ctx context.Context, v Viewer, id string) (*graph.Product, error) {
	reply, err := call[*productpb.ProductReply](ctx, r.Caller, kindProduct, id, &productpb.Get{})
	if err != nil || reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		return nil, err
	}
	if reply.Product == nil {
		return nil, fmt.Errorf("ask product/%s: answered without a product: %s", id, reply.Refusal.GetMessage())
	}
	if !reply.Product.Published && !v.IsStaff() {
		return nil, nil //nolint:nilnil // to this viewer there is none
	}
	return productOf(reply.Product), nil
}

// products is a page of the catalogue; what is not published only for staff.
func (r *Resolver) products(ctx context.Context, v Viewer, p place, words []string) (*graph.ProductConnection, error) {
	shelf, err := r.catalogue.shelf(ctx)
	if err != nil {
		return nil, err
	}
	if !shelf.complete && len(words) == 0 {
		return r.productsFromView(ctx, v, p)
	}
	page, more := shelf.find(p, words, v.IsStaff())
	edges := make([]graph.ProductEdge, len(page))
	for i, item := range page {
		edges[i] = graph.ProductEdge{Cursor: item.cursor, Node: *item.product}
	}
	return productConnection(p, more, edges), nil
}

// productsFromView lists a catalogue that is larger than the shelf.
func (r *Resolver) productsFromView(ctx context.Context, v Viewer, p place) (*graph.ProductConnection, error) {
	q := persistence.ListQuery{Kind: kindProduct, State: "published"}
	if v.IsStaff() {
		q.State = ""
	}
	rows, more, err := r.rows(ctx, q, p)
	if err != nil {
		return nil, err
	}
	edges := make([]graph.ProductEdge, len(rows))
	for i, row := range rows {
		var item productpb.Product
		if err := unmarshalRow(row, &item); err != nil {
			return nil, err
		}
		edges[i] = graph.ProductEdge{Cursor: cursorOf(row.SortMs, row.ID), Node: *productOf(&item)}
	}
	return productConnection(p, more, edges), nil
}

func productConnection(p place, more bool, edges []graph.ProductEdge) *graph.ProductConnection {
	return &graph.ProductConnection{Edges: edges, PageInfo: pageInfo(p, more, len(edges), func(i int) string { return edges[i].Cursor })}
}

func (r *Resolver) productPayload(reply *productpb.ProductReply, err error) (*graph.ProductPayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.ProductPayload{UserErrors: userErrors}, err
	}
	payload := &graph.ProductPayload{UserErrors: refused(reply.Refusal)}
	if reply.Product != nil && reply.Refusal == nil {
		payload.Product = productOf(reply.Product)
		r.catalogue.put(reply.Product)
	}
	return payload, nil
}

// changeStock sends a good command to the SKU.
func (r *Resolver) changeStock(ctx context.Context, sku string, cmd proto.Message, bad problems) (*graph.StockPayload, error) {
	if bad != nil {
		return &graph.StockPayload{UserErrors: bad}, nil
	}
	reply, err := call[*skupb.StockReply](ctx, r.Caller, kindSKU, sku, cmd)
	r.shown.forget(sku)
	if err != nil {
		userErrors, err := later(err)
		return &graph.StockPayload{UserErrors: userErrors}, err
	}
	payload := &graph.StockPayload{UserErrors: refused(reply.Refusal)}
	if reply.Level != nil && reply.Refusal == nil {
		payload.Stock = levelOf(reply.Level)
	}
	return payload, nil
}

func checkSKUs(skus []string) error {
	if len(skus) < 1 || len(skus) > maxSKUsAsked {
		return fault.InvalidField(oneTo(" SKUs", maxSKUsAsked), "skus")
	}
	for i, sku := range skus {
		if !isSKU(sku) {
			return fault.InvalidField(wantSKU, "skus", index(i))
		}
	}
	return nil
}

// stock is the levels in the order of the SKUs; null for what is not on sale,
// unless staff asks, and, with an error of its own, for a SKU that does not
// answer: the others are none of its business.
func (r *Resolver) stock(ctx context.Context, v Viewer, skus []string) []*graph.StockLevel {
	levels, errs := r.fetchLevels(ctx, skus)
	out := make([]*graph.StockLevel, len(levels))
	for i, level := range levels {
		switch {
		case errs[i] != nil:
			failElement(ctx, i, errs[i])
		case level != nil && (level.Active || v.IsStaff()):
			out[i] = levelOf(level)
		}
	}
	return out
}

// failElement is the error of one element of the list that a field returns.
func failElement(ctx context.Context, i int, err error) {
	graphql.AddError(graphql.WithFieldContext(ctx, &graphql.FieldContext{Index: &i}), err)
}
