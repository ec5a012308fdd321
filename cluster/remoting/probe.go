package remoting

import (
	"context"
	"net"

	"stampede/cluster/members"
	"stampede/cluster/membership"
)

// Probe looks whether the member's process is there; it is membership.Probe. A
// host that refuses the connection, or another process that answers at the
// address, says that it is not. Everything else may be the network.
func (r *Remoting) Probe(ctx context.Context, m members.Member) members.Finding {
	// gRPC's errors are texts: that a connection was refused is asked of the host.
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Address)
	if err != nil {
		return membership.FindingOf(err)
	}
	_ = plain.Close() // nothing was sent
	c, err := r.connect(ctx, m.Address)
	if err != nil {
		return members.Unreachable
	}
	defer c.Close()
	if c.peer != m.ID {
		return members.Gone
	}
	return members.Answers
}
