// Package members says who belongs to a cluster: the members, what they do and
// how they are, in versions that all of them see in the same order. Who keeps
// the table, and how, is in cluster/membership; who owns which actor follows
// from a view alone.
package members

import (
	"slices"
	"strings"
	"time"

	"stampede/actors/entity"
)

// State is how a member is.
type State uint8

// The states in the order in which a member goes through them.
const (
	// Joining: it is known, and owns no actor yet.
	Joining State = iota
	// Up: it owns its share of the actors, if that is one of its roles.
	Up
	// Draining: it owns none any more, and is handing over those that it has. Where
	// all that host actors drain, they own them until they leave.
	Draining
	// Down: it has left, or was evicted. It never comes back: a process that starts again is another member.
	Down
)

func (s State) String() string {
	return [...]string{"JOINING", "UP", "DRAINING", "DOWN"}[s]
}

// Role is one of the parts of a node that scale by themselves.
type Role string

// The roles of a node; by default it has all.
const (
	// Gateway serves the public HTTP.
	Gateway Role = "gateway"
	// Actors hosts actors.
	Actors Role = "actors"
	// Publisher adopts the logs of dead incarnations: what a live one writes it publishes itself.
	Publisher Role = "publisher"
)

// Member is one incarnation of a node: a process from its start to its end.
type Member struct {
	// ID is unique for ever.
	ID string
	// Name is what the operator calls the node; an incarnation may have had it before.
	Name string
	// Address is host:port, as the other members reach it.
	Address string
	// Epoch is the log that the incarnation writes.
	Epoch entity.Epoch
	Roles []Role
	State State
	// Version is that of the program.
	Version string
	// Since is when it joined, by its own clock: to be shown, not to be reckoned with.
	Since time.Time
}

// Is reports whether the member has the role.
func (m *Member) Is(role Role) bool { return slices.Contains(m.Roles, role) }

// Alive reports whether the member's process has neither left nor been evicted.
func (m *Member) Alive() bool { return m.State != Down }

// Owns reports whether a share of the actors is the member's, whoever the others are.
func (m *Member) Owns() bool { return m.State == Up && m.Is(Actors) }

// View is one version of the table. It is not changed any more.
type View struct {
	// Version grows by one with every change of who belongs or how they are.
	Version uint64
	// Members are those that are not Down, by ID.
	Members []Member
}

// Find returns the member of that ID, or nil.
func (v *View) Find(id string) *Member {
	i, ok := slices.BinarySearchFunc(v.Members, id, func(m Member, id string) int { return strings.Compare(m.ID, id) })
	if !ok {
		return nil
	}
	return &v.Members[i]
}
