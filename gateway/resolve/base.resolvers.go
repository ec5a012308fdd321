package resolve

import (
	"context"
	"strings"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
)

func (r *queryResolver) Node(ctx context.Context, id string) (graph.Node, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case isID(id, productPrefix):
		return nodeOf(r.product(ctx, v, id))
	case isID(id, orderPrefix):
		return nodeOf(r.order(ctx, v, id))
	case isID(id, userPrefix):
		return nodeOf(r.user(ctx, v, id))
	case isID(id, salePrefix):
		return nodeOf(r.sale(ctx, id))
	}
	return nil, fault.InvalidField("must be an id as the API gave it: "+strings.Join([]string{orderPrefix, productPrefix, userPrefix, salePrefix}, ", ")+" and 26 lower-case letters and digits", "id")
}

func (r *Resolver) Query() graph.QueryResolver { return &queryResolver{r} }

type queryResolver struct{ *Resolver }
