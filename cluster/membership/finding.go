package membership

import (
	"errors"
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
