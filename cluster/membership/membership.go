// Package membership keeps a node a member of its cluster, and tells it who the
// others are: a table in the database, as Orleans keeps one
// (https://learn.microsoft.com/dotnet/orleans/implementation/cluster-management),
// changed by compare-and-set of its version, and a lease for each member in it.
//
// What is guaranteed, if clocks of different machines go alike within a tenth
// (what they show does not matter, and they are never compared):
//
//   - A version of the view has one content, for all members and for ever.
//   - While Fit returns nil, nobody has put this member Down, but for one case:
//     others found that its address refuses connections, or is another
//     process's, though it lives. Then it cannot renew any more, so Fit fails
//     within one lease at most, and usually at its next read of the table.
//   - While Fit returns nil, the view is not older than one lease. So when a
//     member joins or drains, the old owner of an actor may take itself for
//     the owner for that long beside the new one, usually a fraction of a
//     second. Settled tells when that is over.
//
// So between two members that are both fit, an answer from memory can be stale
// by at most one lease, and only in these two cases. A write cannot: it is
// fenced by the journal, whatever the table says.
//
// A lease is timed by Go's monotonic clock, which goes on while the process is
// stopped (SIGSTOP, a frozen container, a long collection) but not while the
// machine sleeps, or its virtual machine is suspended: such a machine finds its
// lease as it left it, until its next renewal fails.
package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

// Table is where the members meet. Its methods may be called from any
// goroutine, and return soon after ctx has ended.
type Table interface {
	// Read returns what a majority of the database has, and at least all that
	// this Table has been told before.
	Read(ctx context.Context) (members.Contents, error)
	// Change makes the next version. It returns members.ErrConflict if the table
	// was not as the change presumes. After another error it may have been made,
	// or still be.
	Change(ctx context.Context, ch *members.Change) error
	// Renew sets the lease to the next beat, and its Seen, if it is at the beat
	// given, and returns the table of that moment: newer than any that was
	// acknowledged before. It returns members.ErrConflict if the lease is at
	// another beat or has ended. After another error it may have been renewed, or
	// still be.
	Renew(ctx context.Context, l members.Lease) (members.Contents, error)
}

// Probe looks whether the member's process is there, by a new connection that
// shows who answers if it can. It returns when ctx ends. It says members.Gone only if the
// connection was refused, or a process with another ID answered: nothing must
// stand between members that refuses connections in their name.
type Probe func(ctx context.Context, m members.Member) members.Finding

var (
	// ErrNoMember: there is no such member, or it is Down.
	ErrNoMember = errors.New("no such member in the cluster")
	// ErrFull: the cluster has members.MaxAlive members.
	ErrFull = errors.New("the cluster is full")
	// ErrLost: this process is no member any more, and must end.
	ErrLost = errors.New("this node is no member of the cluster any more")
	// ErrEnded: Leave or Close has been called.
	ErrEnded = errors.New("membership has ended")
)

// errLapsed is what Fit returns: made once, since it may be asked a lot.
var errLapsed = fmt.Errorf("%w: this node's lease in the cluster has run out", entity.ErrRetry)

// Config is what a Service needs. Zero durations mean the defaults.
type Config struct {
	// Self: ID (NewID makes one), Name, Address, Epoch, Roles, Version. The process
	// must listen on Address before it joins and until it has left, or it is
	// taken for dead.
	Self   members.Member
	Table  Table
	Probe  Probe
	Logger *slog.Logger
	// Lease is the same for all members of a cluster.
	Lease time.Duration
	// PollEvery is how often the table is read without a reason. Usually there is
	// one: another member has mentioned a newer view; and every renewal reads it too.
	PollEvery time.Duration
	// GiveUpAfter is how long the member goes on trying to renew before it is lost.
	GiveUpAfter time.Duration
	// Now is the wall clock, for Member.Since only. By default time.Now.
	Now func() time.Time
}

// Defaults of Config; docs/decisions/0051 says why.
const (
	DefaultLease       = 3 * time.Second
	DefaultPollEvery   = 500 * time.Millisecond
	DefaultGiveUpAfter = 30 * time.Second
)

// minLease is what a database on the network can be expected to keep up with.
const minLease = 300 * time.Millisecond

func (c *Config) complete() error {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.PollEvery == 0 {
		c.PollEvery = min(DefaultPollEvery, c.Lease/6)
	}
	if c.GiveUpAfter == 0 {
		c.GiveUpAfter = max(DefaultGiveUpAfter, c.Lease)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var faults []error
	if c.Self.ID == "" || c.Self.Address == "" {
		faults = append(faults, errors.New("a member needs an ID and an address"))
	}
	if c.Lease < minLease || c.GiveUpAfter < c.Lease || c.PollEvery <= 0 || c.PollEvery > c.Lease {
		faults = append(faults, fmt.Errorf("a lease of %s (at least %s), polls every %s, giving up after %s do not go together",
			c.Lease, minLease, c.PollEvery, c.GiveUpAfter))
	}
	if c.Table == nil || c.Probe == nil || c.Logger == nil {
		faults = append(faults, errors.New("a table, a probe and a logger are needed"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("membership: %w", errors.Join(faults...))
	}
	return nil
}
