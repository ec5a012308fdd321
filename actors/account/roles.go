// Deciding about roles. Who is an operator is also counted by the roster
// (actors/roster), so that the last one stays: an account is counted in after it
// has become an operator's, and out before it stops being one.
package account

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/rosterpb"
)

// The roster's address; its kind knows it by the same names.
const (
	rosterKind = "roster"
	rosterID   = "operators"
)

// Ask is a question to the roster. Two with the same key are one.
type Ask struct {
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Decision is what becomes of a command: a reply with the events it rests on,
// or asks, or only events (the command is then decided again, on the changed
// state), or nothing (it waits until the state changes).
type Decision struct {
	Events []*accountpb.Event
	Reply  proto.Message
	Asks   []Ask
}

// Pending is that an operator is to be counted, until they are.
func Pending(s *State) []Ask {
	if s.state == nil || s.state.Counted || !isOperator(s.state.User.Roles) {
		return nil
	}
	version := max(s.state.OperatorVersion, 1) // 0: a snapshot from before operators were counted
	return []Ask{rosterAsk("join", version, &rosterpb.Join{UserId: s.id, Version: version})}
}

// counted takes in what Pending asked.
func counted(s *State, now time.Time, heard map[string]proto.Message) Decision {
	asks := Pending(s)
	if len(asks) == 0 {
		return Decision{}
	}
	reply, ok := heard[asks[0].Key].(*rosterpb.Reply)
	if !ok || reply.Refusal != nil {
		return Decision{}
	}
	return Decision{Events: []*accountpb.Event{at(now, &accountpb.Event{Event: &accountpb.Event_OperatorCounted{OperatorCounted: &accountpb.OperatorCounted{}}})}}
}

func setRoles(s *State, c *accountpb.SetRoles, now time.Time, heard map[string]proto.Message) Decision {
	if s.state == nil {
		return replied(refuse(notFound()))
	}
	roles, ok := canonicalRoles(c.Roles)
	if !ok {
		return replied(refuse(invalidRoles()))
	}
	user := s.state.User
	changed := at(now, &accountpb.Event{Event: &accountpb.Event_RolesChanged{
		RolesChanged: &accountpb.RolesChanged{Roles: roles, ActorId: c.Actor.GetUserId()},
	}})
	is, will, same := isOperator(user.Roles), isOperator(roles), slices.Equal(roles, user.Roles)
	switch {
	case is && !will:
		// Named by the version that the event will have: if something else is
		// decided before the answer is here, the roster is asked anew.
		leave := rosterAsk("leave", user.Version+1, &rosterpb.Leave{UserId: s.id, Version: user.Version + 1})
		reply, ok := heard[leave.Key].(*rosterpb.Reply)
		if !ok {
			return Decision{Asks: []Ask{leave}}
		}
		if reply.Refusal != nil {
			return replied(refuse(reply.Refusal))
		}
		return replied(accept(s, changed))
	case !will && same:
		return Decision{Reply: shown(s)}
	case !will, is && !same:
		return replied(accept(s, changed))
	case !is:
		return Decision{Events: []*accountpb.Event{changed}} // the answer waits until they are counted
	case !s.state.Counted:
		return Decision{}
	}
	// An operator who stays one: if a demotion was begun and not ended, they are not counted any more.
	check := rosterAsk("check", user.Version, &rosterpb.Check{UserId: s.id})
	reply, ok := heard[check.Key].(*rosterpb.Reply)
	switch {
	case !ok:
		return Decision{Asks: []Ask{check}}
	case !reply.Counted:
		return Decision{Events: []*accountpb.Event{changed}}
	}
	return Decision{Reply: shown(s)}
}

func replied(events []*accountpb.Event, reply proto.Message) Decision {
	return Decision{Events: events, Reply: reply}
}

func rosterAsk(what string, version int64, cmd proto.Message) Ask {
	return Ask{Key: fmt.Sprintf("%s/%d", what, version), Kind: rosterKind, ID: rosterID, Command: cmd}
}

func isOperator(roles []accountpb.Role) bool {
	return slices.Contains(roles, accountpb.Role_ROLE_OPERATOR)
}

// rolesChanged sets the roles at the version that st.User has. Who becomes an
// operator is to be counted, and so is one whose roles are given once more.
func rolesChanged(st *accountpb.State, roles []accountpb.Role) {
	before := st.User.Roles
	if isOperator(roles) && (!isOperator(before) || slices.Equal(before, roles)) {
		st.OperatorVersion, st.Counted = st.User.Version, false
	}
	if !isOperator(roles) {
		st.OperatorVersion, st.Counted = 0, false
	}
	st.User.Roles, st.ChangedVersion = slices.Clone(roles), st.User.Version
}
