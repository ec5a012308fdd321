// Package roster is the roster kind: who the operators are, so that the last
// one cannot stop being one. It is pure: no IO, no clock, no lock.
//
// Invariant, with the accounts' part of it (actors/account): whoever is counted
// here is an operator. An account that becomes an operator's is counted when
// that is durable, and one that stops being one is counted out before. So, of
// operators who demote each other at once, on whichever nodes, one is refused:
// the roster decides one after the other. A crash in between leaves an operator
// who is not counted, which can refuse a demotion too many and never one too
// few; giving them their roles once more counts them in.
package roster

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/rosterpb"
)

// Name is the kind's name in addresses and streams; ID is the only roster's.
const (
	Name = "roster"
	ID   = "operators"
)

// MaxGone is how many that are not counted any more are remembered: those whose
// messages may still be on their way. The longest gone are forgotten first.
const MaxGone = 1_000

// State is the roster. It belongs to the actor's mailbox. The message in it is
// replaced by Evolve, never changed in place: snapshots may share it.
type State struct {
	id    string
	state *rosterpb.State
}

// New is a roster of nobody.
func New(id string) *State { return &State{id: id, state: &rosterpb.State{}} }

// Decide is total and changes nothing. A refusal comes without events.
func Decide(s *State, cmd proto.Message, now time.Time) ([]*rosterpb.Event, proto.Message) {
	switch c := cmd.(type) {
	case *rosterpb.Join:
		return join(s, c, now)
	case *rosterpb.Leave:
		return leave(s, c, now)
	case *rosterpb.Check:
		return nil, &rosterpb.Reply{Counted: s.member(c.UserId).GetCounted()}
	case *commonpb.Tick, *commonpb.Continue:
		return nil, nil
	default:
		return refuse(commonpb.Reason_REASON_INVALID, "the roster knows no such command")
	}
}

func join(s *State, c *rosterpb.Join, now time.Time) ([]*rosterpb.Event, proto.Message) {
	if c.UserId == "" || c.Version < 1 {
		return refuse(commonpb.Reason_REASON_INVALID, "must name a user and a version")
	}
	if m := s.member(c.UserId); m != nil && (m.Version > c.Version || m.Version == c.Version && m.Counted) {
		return nil, &rosterpb.Reply{Counted: m.Counted} // late, or sent again
	}
	e := &rosterpb.Event{AtMs: now.UnixMilli(), Event: &rosterpb.Event_Joined{Joined: &rosterpb.Joined{UserId: c.UserId, Version: c.Version}}}
	return []*rosterpb.Event{e}, &rosterpb.Reply{Counted: true}
}

func leave(s *State, c *rosterpb.Leave, now time.Time) ([]*rosterpb.Event, proto.Message) {
	if c.UserId == "" || c.Version < 1 {
		return refuse(commonpb.Reason_REASON_INVALID, "must name a user and a version")
	}
	m := s.member(c.UserId)
	if m != nil && (m.Version > c.Version || m.Version == c.Version && m.Counted) {
		return refuse(commonpb.Reason_REASON_CONFLICT, "their roles were changed meanwhile: look at them again", "roles")
	}
	others := slices.ContainsFunc(s.state.Members, func(m *rosterpb.Member) bool { return m.Counted && m.UserId != c.UserId })
	if !others { // also one who is not counted: they may be the last all the same
		return refuse(commonpb.Reason_REASON_CONFLICT, "is the last operator: make another one first", "roles")
	}
	if m != nil && m.Version == c.Version {
		return nil, &rosterpb.Reply{} // sent again
	}
	e := &rosterpb.Event{AtMs: now.UnixMilli(), Event: &rosterpb.Event_Left{Left: &rosterpb.Left{UserId: c.UserId, Version: c.Version}}}
	return []*rosterpb.Event{e}, &rosterpb.Reply{}
}

func refuse(reason commonpb.Reason, message string, field ...string) ([]*rosterpb.Event, proto.Message) {
	return nil, &rosterpb.Reply{Refusal: &commonpb.Refusal{Reason: reason, Message: message, Field: field}}
}

// Evolve applies one event. It panics on one that cannot have been decided in
// this state: the journal is then corrupt.
func Evolve(s *State, e *rosterpb.Event) {
	var m *rosterpb.Member
	switch x := e.Event.(type) {
	case *rosterpb.Event_Joined:
		m = &rosterpb.Member{UserId: x.Joined.GetUserId(), Version: x.Joined.GetVersion(), Counted: true}
	case *rosterpb.Event_Left:
		m = &rosterpb.Member{UserId: x.Left.GetUserId(), Version: x.Left.GetVersion()}
	default:
		panic(fmt.Sprintf("roster %s is corrupt: unknown event %T", s.id, e.Event))
	}
	members := make([]*rosterpb.Member, 0, len(s.state.Members)+1)
	gone := 0
	for _, old := range s.state.Members {
		if old.UserId == m.UserId {
			continue
		}
		members = append(members, old)
		if !old.Counted {
			gone++
		}
	}
	members = append(members, m) // those who changed last are last
	if gone >= MaxGone {
		first := slices.IndexFunc(members, func(m *rosterpb.Member) bool { return !m.Counted })
		members = slices.Delete(members, first, first+1)
	}
	s.state = &rosterpb.State{Members: members}
	if !slices.ContainsFunc(members, func(m *rosterpb.Member) bool { return m.Counted }) {
		panic(fmt.Sprintf("roster %s is corrupt: the last operator has left", s.id))
	}
}

// Operators are those who are counted.
func (s *State) Operators() []string {
	var out []string
	for _, m := range s.state.Members {
		if m.Counted {
			out = append(out, m.UserId)
		}
	}
	return out
}

func (s *State) member(id string) *rosterpb.Member {
	for _, m := range s.state.Members {
		if m.UserId == id {
			return m
		}
	}
	return nil
}

// Snapshot is the state as a message; it shares memory with the state.
func Snapshot(s *State) proto.Message { return s.state }

// Restore rebuilds the state from a marshalled Snapshot.
func Restore(id string, snapshot []byte) (*State, error) {
	st := &rosterpb.State{}
	if err := proto.Unmarshal(snapshot, st); err != nil {
		return nil, fmt.Errorf("restore roster %s: %w", id, err)
	}
	return &State{id: id, state: st}, nil
}
