package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stampede/actors/entity"
	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/gateway/scalar"
	"stampede/proto/gen/commonpb"
)

// Cluster is what operators see of the cluster, and may ask of it.
type Cluster interface {
	// Members are those that are in it, and those that lately were.
	Members() []Member
	// Active is what a member has in memory, by kind.
	Active(ctx context.Context, member string) (map[string]int64, error)
	// Actor is where an actor is and how; it starts none. Of a kind that there is
	// not the error wraps entity.ErrUnknownKind.
	Actor(ctx context.Context, addr entity.Address) (Actor, error)
	// Drain asks a member to hand over what it has and end: ErrNoMember, ErrAlone.
	Drain(ctx context.Context, member string) error
}

// What Drain refuses.
var (
	ErrNoMember = errors.New("no such member in the cluster")
	ErrAlone    = errors.New("the cluster is this one node")
)

// Member is one incarnation of a node.
type Member struct {
	ID, Name, Address, State, Version string
	Since                             time.Time
}

// Actor is where an actor is and how.
type Actor struct {
	Member                   string
	Active                   bool
	Version, SnapshotVersion uint64
	Mailbox, Unpublished     int
}

const (
	memberPrefix = "mem_"
	// maxActorKey is as long as the key of any actor can be.
	maxActorKey = 200
)

func (r *Resolver) members() []graph.ClusterMember {
	all := r.Cluster.Members()
	shown := make([]graph.ClusterMember, len(all))
	for i, m := range all {
		shown[i] = memberOf(m)
	}
	return shown
}

func memberOf(m Member) graph.ClusterMember {
	return graph.ClusterMember{
		ID: m.ID, Name: m.Name, Address: m.Address, State: graph.MemberState(m.State), Version: m.Version, Since: scalar.DateTime(m.Since.UnixMilli()),
	}
}

// actorCounts is what a member has in memory. One that does not answer has its
// list empty: that it is not well is what the operator is looking for.
func (r *Resolver) actorCounts(ctx context.Context, m *graph.ClusterMember) ([]graph.ActorCount, error) {
	counts := []graph.ActorCount{}
	if m.State == graph.MemberStateDown {
		return counts, nil
	}
	active, err := r.Cluster.Active(ctx, m.ID)
	if err != nil {
		r.Logger.WarnContext(ctx, "a member does not say what it has in memory", "member", m.ID, "error", err)
		return counts, nil
	}
	for kind, n := range active {
		counts = append(counts, graph.ActorCount{Kind: kind, Active: int32of(n)})
	}
	slices.SortFunc(counts, func(a, b graph.ActorCount) int { return cmp.Compare(a.Kind, b.Kind) })
	return counts, nil
}

func (r *Resolver) actorInfo(ctx context.Context, kind, key string) (*graph.ActorInfo, error) {
	if key == "" || !text(key, maxActorKey) {
		return nil, fault.InvalidField(fmt.Sprintf("must be the id of an actor: 1 to %d characters without control characters", maxActorKey), "key")
	}
	a, err := r.Cluster.Actor(ctx, entity.Address{Kind: kind, ID: key})
	if errors.Is(err, entity.ErrUnknownKind) {
		return nil, fault.InvalidField("must be a kind of actor, such as sku, order, product, sale or account", "kind")
	}
	if err != nil {
		return nil, err
	}
	if a.Version == 0 && !a.Active {
		return nil, nil //nolint:nilnil // null: there is no such actor
	}
	info := &graph.ActorInfo{
		Kind: kind, Key: key, Active: a.Active, Version: int32of(int64(a.Version)), SnapshotVersion: int32of(int64(a.SnapshotVersion)), //nolint:gosec // versions count events
		Mailbox: int32of(int64(a.Mailbox)), Unpublished: int32of(int64(a.Unpublished)),
	}
	if a.Member != "" {
		info.Member = &a.Member
	}
	return info, nil
}

func (r *Resolver) drainMember(ctx context.Context, id string) (*graph.MemberPayload, error) {
	if !isID(id, memberPrefix) {
		return &graph.MemberPayload{UserErrors: refused(&commonpb.Refusal{Reason: commonpb.Reason_REASON_INVALID, Message: wantID(memberPrefix), Field: []string{"id"}})}, nil
	}
	err := r.Cluster.Drain(ctx, id)
	switch {
	case errors.Is(err, ErrNoMember):
		return &graph.MemberPayload{UserErrors: refused(&commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND, Message: "there is no such member, or it has left", Field: []string{"id"}})}, nil
	case errors.Is(err, ErrAlone):
		return &graph.MemberPayload{UserErrors: refused(&commonpb.Refusal{Reason: commonpb.Reason_REASON_CONFLICT, Message: "this node is alone: there is nobody to hand over to; end its process to drain it", Field: []string{"id"}})}, nil
	case err != nil:
		userErrors, err := later(err)
		return &graph.MemberPayload{UserErrors: userErrors}, err
	}
	payload := &graph.MemberPayload{UserErrors: refused(nil)}
	for _, m := range r.members() {
		if m.ID == id {
			payload.Member = &m
		}
	}
	return payload, nil
}
