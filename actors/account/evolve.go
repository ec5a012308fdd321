// Evolving: what an event makes of an account.
package account

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
)

// Evolve applies one event. It panics on one that cannot have been decided in
// this state: the journal is then corrupt.
func Evolve(s *State, e *accountpb.Event) {
	if x := e.GetRegistered(); x != nil {
		if s.state != nil {
			panic(corrupt(s, "registered twice"))
		}
		s.state = registered(s.id, x, e.AtMs)
		return
	}
	if s.state == nil {
		panic(corrupt(s, fmt.Sprintf("%T before registration", e.Event)))
	}
	st := proto.CloneOf(s.state)
	st.User.Version++
	switch x := e.Event.(type) {
	case *accountpb.Event_SessionStarted:
		open(st, x.SessionStarted.GetSession(), e.AtMs)
	case *accountpb.Event_SessionRotated:
		rotated := session(st, x.SessionRotated.FamilyId)
		if rotated == nil {
			panic(corrupt(s, "rotated a session that is not open"))
		}
		rotated.UsedHashes = [][]byte{rotated.TokenHash}
		rotated.TokenHash, rotated.ExpiresAtMs = x.SessionRotated.TokenHash, x.SessionRotated.ExpiresAtMs
	case *accountpb.Event_SessionEnded:
		if x.SessionEnded.Everywhere {
			st.Sessions = nil
			break
		}
		shut(s, st, x.SessionEnded.FamilyId)
	case *accountpb.Event_FamilyRevoked:
		shut(s, st, x.FamilyRevoked.FamilyId)
	case *accountpb.Event_LogInFailed:
		st.FailedLogIns++
		st.LockedUntilMs = x.LogInFailed.LockedUntilMs
		if id := x.LogInFailed.AttemptId; len(id) > 0 {
			st.FailedAttempts = append(st.FailedAttempts, id)
			st.FailedAttempts = st.FailedAttempts[max(0, len(st.FailedAttempts)-MaxFailedAttempts):]
		}
	case *accountpb.Event_ProfileUpdated:
		st.User.Name, st.ChangedVersion = x.ProfileUpdated.Name, st.User.Version
	case *accountpb.Event_PasswordChanged:
		st.PasswordHash, st.Sessions = x.PasswordChanged.PasswordHash, nil
		st.FailedLogIns, st.LockedUntilMs = 0, 0
	case *accountpb.Event_RolesChanged:
		rolesChanged(st, x.RolesChanged.Roles)
	case *accountpb.Event_OperatorCounted:
		if !isOperator(st.User.Roles) {
			panic(corrupt(s, "counted among the operators without being one"))
		}
		st.Counted = true
	default:
		panic(corrupt(s, fmt.Sprintf("unknown event %T", e.Event)))
	}
	s.state = st
}

func registered(id string, r *accountpb.Registered, atMs int64) *accountpb.State {
	st := &accountpb.State{
		User: &accountpb.User{
			Id: id, Email: r.Email, Name: r.Name, Roles: slices.Clone(r.Roles), CreatedAtMs: atMs, Version: 1,
		},
		PasswordHash: r.PasswordHash, ChangedVersion: 1,
	}
	if isOperator(r.Roles) {
		st.OperatorVersion = 1
	}
	return st
}

// open adds a session, drops those that are over, and the oldest when there
// are too many. A session starts with a right password, so failures are forgotten.
func open(st *accountpb.State, started *accountpb.Session, atMs int64) {
	st.FailedLogIns, st.LockedUntilMs = 0, 0
	st.Sessions = slices.DeleteFunc(st.Sessions, func(o *accountpb.SessionState) bool { return o.ExpiresAtMs <= atMs })
	st.Sessions = append(st.Sessions, &accountpb.SessionState{
		FamilyId: started.GetFamilyId(), TokenHash: started.GetTokenHash(), ExpiresAtMs: started.GetExpiresAtMs(),
	})
	if n := len(st.Sessions); n > MaxSessions {
		st.Sessions = slices.Delete(st.Sessions, 0, n-MaxSessions)
	}
}

func shut(s *State, st *accountpb.State, family string) {
	before := len(st.Sessions)
	st.Sessions = slices.DeleteFunc(st.Sessions, func(o *accountpb.SessionState) bool { return o.FamilyId == family })
	if len(st.Sessions) == before {
		panic(corrupt(s, "ended a session that is not open"))
	}
}

func corrupt(s *State, why string) string {
	return fmt.Sprintf("account %s at version %d is corrupt: %s", s.id, s.state.GetUser().GetVersion(), why)
}
