package cluster

import (
	"context"

	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

// Membership is what a node needs to know of who belongs to its cluster, and
// has to tell it. *membership.Service is one.
type Membership interface {
	// Self is this node's member.
	Self() members.Member
	// View is the newest view that this node has seen.
	View() *members.View
	// Watch calls do with every view that comes, one at a time, oldest first, and
	// not any more after stop has returned.
	Watch(do func(*members.View)) (stop func())
	// Fit is nil while this node's lease holds: while no other one can have been
	// told that this one is gone. It is cheap.
	Fit() error
	// Settled is a version of the view such that every living member acts on it or
	// on a newer one: none takes a request for what it does not own by it.
	Settled() uint64
	// Suspect tells that the connection to a member failed. It does not wait.
	Suspect(id string, how members.Finding)
	// Refresh has the table read soon. It does not wait.
	Refresh()
	// Drain makes this member own nothing; it returns when that is in the table.
	Drain(ctx context.Context) error
	// Leave takes this member out of the table.
	Leave(ctx context.Context) error
}

// Transport carries frames between the nodes of a cluster. It may lose them;
// what it delivers is what was sent, once. cluster/remoting is the real one.
type Transport interface {
	// Serve has everything that other nodes send given to receive, by several
	// goroutines at once. Before that nobody is let in.
	Serve(receive func(*clusterpb.Frame))
	// Connect opens a connection to a node.
	Connect(ctx context.Context, address string) (Connection, error)
	// Close ends all connections, and the port.
	Close()
}

// Connection is one way to another node. One goroutine sends.
type Connection interface {
	// Send hands the frame over, and waits while the connection has no room. The
	// frame is the caller's again when it returns.
	Send(f *clusterpb.Frame) error
	// Lost is closed when the connection is broken. Whatever was sent may be lost.
	Lost() <-chan struct{}
	// Close ends it, and lets a Send that waits return.
	Close()
}
