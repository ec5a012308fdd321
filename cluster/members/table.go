package members

// What the membership table keeps, as its drivers and cluster/membership both
// see it.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxAlive bounds the members that are not Down: all of them poll one document.
	MaxAlive = 256
	// MaxDown bounds the members that are kept, to be shown, after they were Down.
	MaxDown = 32
)

// ErrConflict: the table is not as the change presumed. Nothing was written:
// read, and decide anew.
var ErrConflict = errors.New("the membership table has changed")

// Contents is the table at one moment.
type Contents struct {
	// Version grows by one with every Change. 0: there is no table yet.
	Version uint64
	// View is View.Version: it grows only when who belongs, or how they are, changes.
	View uint64
	// Rows are the members, in the order in which they joined.
	Rows []Row
	// Leases are those that hold. They change without the version: renewals
	// must not get into the way of changes, nor of each other.
	Leases []Lease
}

// Row is what the table keeps of a member besides its lease.
type Row struct {
	Member Member
	// DrainAsked: somebody has asked the member to drain.
	DrainAsked bool
	// Suspicions are by different members.
	Suspicions []Suspicion
	// Ended says why the member's lease ended, or is empty while it holds. A row
	// can be without a lease and not Down: then it may not renew any more, and is
	// Down as soon as what it had must have run out.
	Ended string
	// DownIn is the table's version that made the member Down.
	DownIn uint64
}

// Finding is what one member found out about another.
type Finding uint8

const (
	// Answers: it is there.
	Answers Finding = iota
	// Unreachable: it does not answer. It may be dead, frozen, or behind a partition.
	Unreachable
	// Gone: its host refuses connections at its address, or another process has
	// the address now. The process has ended.
	Gone
)

func (f Finding) String() string {
	return [...]string{"answers", "unreachable", "gone"}[f]
}

// ParseFinding is the finding of that name.
func ParseFinding(name string) (Finding, error) { return named(Answers, Gone, name) }

// ParseState is the state of that name.
func ParseState(name string) (State, error) { return named(Joining, Down, name) }

// named is the one of first to last that has the name.
func named[T interface {
	~uint8
	String() string
}](first, last T, name string) (T, error) {
	for v := first; v <= last; v++ {
		if v.String() == name {
			return v, nil
		}
	}
	return first, fmt.Errorf("%q is no %T", name, first)
}

// Suspicion is one member's word against another.
type Suspicion struct {
	// By is the ID of who suspects.
	By  string
	How Finding
}

// Lease is what a member renews to belong.
type Lease struct {
	// ID is the member's.
	ID string
	// Beat counts the renewals. When they were is not kept: every observer
	// has a clock of its own to see how long the beat stays the same.
	Beat uint64
	// Seen is the version of the view that everything in the member acts on.
	Seen uint64
}

// Change is the next version of the table. It is made if the table's version is
// From, and every lease of End is at that beat; else it is ErrConflict.
type Change struct {
	From uint64
	View uint64
	Rows []Row
	// Begin is the ID of a member whose lease begins, at beat 1; empty: none.
	// No change both begins and ends a lease.
	Begin string
	// End is a lease that ends, or nil.
	End *Lease
}

// Row returns the row of the member, or nil.
func (c *Contents) Row(id string) *Row {
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.Member.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Rows[i]
}

// Lease returns the lease of the member, or nil.
func (c *Contents) Lease(id string) *Lease {
	i := slices.IndexFunc(c.Leases, func(l Lease) bool { return l.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Leases[i]
}

// AsView is the view of the members that are not Down.
func (c *Contents) AsView() *View {
	v := &View{Version: c.View}
	for i := range c.Rows {
		if c.Rows[i].Member.Alive() {
			v.Members = append(v.Members, c.Rows[i].Member)
		}
	}
	slices.SortFunc(v.Members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return v
}
