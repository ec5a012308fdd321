package cluster

import (
	"context"
	"fmt"

	"stampede/actors/entity"
	"stampede/proto/gen/clusterpb"
)

// Count is the number of actors that a member has in memory, by kind.
func (n *Node) Count(ctx context.Context, member string) (map[string]int64, error) {
	if n.peers == nil || member == n.peers.self {
		return n.counted().GetActive(), nil
	}
	l := n.peers.link(member)
	if l == nil {
		return nil, errLost
	}
	ctx, cancel := context.WithTimeout(ctx, n.options.RemoteAttemptFor)
	defer cancel()
	answers := make(inspection, 1)
	r := n.peers.control(&clusterpb.Count{}, entity.Address{}, n.options.RemoteAttemptFor)
	if err := l.request(r, answers); err != nil {
		return nil, fmt.Errorf("count of %s: %w", member, err)
	}
	select {
	case a := <-answers:
		counted, ok := a.reply.(*clusterpb.Counted)
		if a.err == nil && !ok {
			a.err = errUnknownCommand
		}
		return counted.GetActive(), a.err
	case <-ctx.Done():
		l.forget(r.GetId())
		return nil, entity.ErrTimeout
	}
}

func (n *Node) counted() *clusterpb.Counted {
	c := &clusterpb.Counted{Active: map[string]int64{}}
	for kind, active := range n.actors.count() {
		c.Active[kind] = int64(active)
	}
	return c
}
