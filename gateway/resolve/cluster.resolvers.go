package resolve

import (
	"context"

	"stampede/gateway/graph"
)

func (r *clusterMemberResolver) Actors(ctx context.Context, obj *graph.ClusterMember) ([]graph.ActorCount, error) {
	return r.actorCounts(ctx, obj)
}

func (r *mutationResolver) DrainMember(ctx context.Context, input graph.DrainMemberInput) (*graph.MemberPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.operatorNow(ctx, v); err != nil {
		return nil, err
	}
	return r.drainMember(ctx, input.ID)
}

func (r *queryResolver) Members(ctx context.Context) ([]graph.ClusterMember, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.operatorNow(ctx, v); err != nil {
		return nil, err
	}
	return r.members(), nil
}

func (r *queryResolver) Actor(ctx context.Context, kind string, key string) (*graph.ActorInfo, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.operatorNow(ctx, v); err != nil {
		return nil, err
	}
	return r.actorInfo(ctx, kind, key)
}

func (r *Resolver) ClusterMember() graph.ClusterMemberResolver { return &clusterMemberResolver{r} }

type clusterMemberResolver struct{ *Resolver }
