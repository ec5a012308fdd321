package membership

import (
	"context"
	"errors"
	"net"
	"syscall"

	"stampede/cluster/members"
)

// FindingOf is what an attempt to connect to a member's address says about its
// process: nil, that something answers; that the host refused it, that nothing
// listens there any more. Anything else could be the network.
func FindingOf(err error) members.Finding {
	switch {
	case err == nil:
		return members.Answers
	case errors.Is(err, syscall.ECONNREFUSED):
		return members.Gone
	}
	return members.Unreachable
}

// ProbeTCP is a Probe that only connects. It takes a process that was started
// again at the same address for the one before; that one says so itself.
func ProbeTCP(ctx context.Context, m members.Member) members.Finding {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", m.Address)
	if err == nil {
		conn.Close()
	}
	return FindingOf(err)
}
