// Deciding about sessions: each is a family of refresh tokens of which only
// the newest is good, and which ends when another one of it is presented.
package account

import (
	"bytes"
	"fmt"
	"slices"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

// credentials is what a password is checked against.
func credentials(s *State) *accountpb.Credentials {
	if s.state == nil {
		return &accountpb.Credentials{Refusal: badCredentials()}
	}
	return &accountpb.Credentials{PasswordHash: s.state.PasswordHash, LockedUntilMs: s.state.LockedUntilMs}
}

func startSession(s *State, c *accountpb.StartSession, now time.Time) ([]*accountpb.Event, proto.Message) {
	if s.state == nil || !equalSecrets(s.state.PasswordHash, c.PasswordHash) {
		return refuse(badCredentials())
	}
	if r := validateSession(c.Session, now); r != nil {
		return refuse(r)
	}
	if open := session(s.state, c.Session.FamilyId); open != nil {
		if equalSecrets(open.TokenHash, c.Session.TokenHash) {
			return nil, shown(s) // sent again
		}
		return refuse(refusal(commonpb.Reason_REASON_CONFLICT, "there is such a session already", "session", "familyId"))
	}
	// Also for the right password: of many guesses at once only so many count.
	if r := locked(s, now); r != nil {
		return refuse(r)
	}
	return accept(s, sessionStarted(c.Session, now))
}

// recordFailedLogIn counts a failure; one that comes while the account is
// locked is not counted, nor is one at an address that nobody has registered,
// nor one that was counted before.
func recordFailedLogIn(s *State, c *accountpb.RecordFailedLogIn, now time.Time) ([]*accountpb.Event, proto.Message) {
	if s.state == nil {
		return nil, &accountpb.Credentials{Refusal: badCredentials()}
	}
	if n := len(c.AttemptId); n != 0 && n != AttemptIDBytes {
		return nil, &accountpb.Credentials{Refusal: invalid(fmt.Sprintf("must be %d bytes", AttemptIDBytes), "attemptId")}
	}
	again := len(c.AttemptId) > 0 && slices.ContainsFunc(s.state.FailedAttempts, func(id []byte) bool { return bytes.Equal(id, c.AttemptId) })
	if again || locked(s, now) != nil {
		return nil, &accountpb.Credentials{LockedUntilMs: s.state.LockedUntilMs}
	}
	failed := &accountpb.LogInFailed{AttemptId: c.AttemptId}
	if lock := LockFor(int(s.state.FailedLogIns) + 1); lock > 0 {
		failed.LockedUntilMs = now.Add(lock).UnixMilli()
	}
	e := at(now, &accountpb.Event{Event: &accountpb.Event_LogInFailed{LogInFailed: failed}})
	return []*accountpb.Event{e}, &accountpb.Credentials{LockedUntilMs: failed.LockedUntilMs}
}

func rotate(s *State, c *accountpb.Rotate, now time.Time) ([]*accountpb.Event, proto.Message) {
	if len(c.PresentedHash) != TokenHashBytes || len(c.NextHash) != TokenHashBytes || equalSecrets(c.PresentedHash, c.NextHash) || c.ExpiresAtMs <= now.UnixMilli() {
		return refuse(invalid("must be a refresh token and one to come after it", "refreshToken"))
	}
	if s.state == nil {
		return refuse(sessionOver())
	}
	open := session(s.state, c.FamilyId)
	if open == nil || open.ExpiresAtMs <= now.UnixMilli() {
		return refuse(sessionOver())
	}
	if equalSecrets(open.TokenHash, c.PresentedHash) {
		return accept(s, at(now, &accountpb.Event{Event: &accountpb.Event_SessionRotated{SessionRotated: &accountpb.SessionRotated{
			FamilyId: c.FamilyId, TokenHash: c.NextHash, ExpiresAtMs: c.ExpiresAtMs,
		}}}))
	}
	if len(open.UsedHashes) > 0 && equalSecrets(open.UsedHashes[0], c.PresentedHash) && equalSecrets(open.TokenHash, c.NextHash) {
		return nil, shown(s) // sent again
	}
	return revoke(c.FamilyId, now)
}

func endSession(s *State, c *accountpb.EndSession, now time.Time) ([]*accountpb.Event, proto.Message) {
	if s.state == nil {
		return refuse(sessionOver())
	}
	everywhere := &accountpb.Event{Event: &accountpb.Event_SessionEnded{SessionEnded: &accountpb.SessionEnded{Everywhere: true}}}
	if c.Everywhere && len(c.PresentedHash) == 0 {
		if len(s.state.Sessions) == 0 {
			return nil, shown(s)
		}
		return accept(s, at(now, everywhere))
	}
	open := session(s.state, c.FamilyId)
	switch {
	case open == nil && c.Everywhere && len(s.state.Sessions) > 0:
		return refuse(sessionOver()) // what is over proves nothing about the others
	case open == nil:
		return nil, &accountpb.UserReply{}
	case !equalSecrets(open.TokenHash, c.PresentedHash):
		return revoke(c.FamilyId, now)
	case c.Everywhere && open.ExpiresAtMs <= now.UnixMilli():
		return refuse(sessionOver())
	case c.Everywhere:
		return accept(s, at(now, everywhere))
	}
	return accept(s, at(now, &accountpb.Event{Event: &accountpb.Event_SessionEnded{SessionEnded: &accountpb.SessionEnded{FamilyId: c.FamilyId}}}))
}

// revoke ends a session of which an old token was presented: either its owner
// or a thief has a copy, and nobody can tell which.
func revoke(family string, now time.Time) ([]*accountpb.Event, proto.Message) {
	e := at(now, &accountpb.Event{Event: &accountpb.Event_FamilyRevoked{FamilyRevoked: &accountpb.FamilyRevoked{FamilyId: family}}})
	return []*accountpb.Event{e}, &accountpb.UserReply{Refusal: sessionOver()}
}

func sessionStarted(session *accountpb.Session, now time.Time) *accountpb.Event {
	return at(now, &accountpb.Event{Event: &accountpb.Event_SessionStarted{
		SessionStarted: &accountpb.SessionStarted{Session: proto.CloneOf(session)},
	}})
}

// locked is why no password is looked at now, or nil.
func locked(s *State, now time.Time) *commonpb.Refusal {
	left := s.state.LockedUntilMs - now.UnixMilli()
	if left <= 0 {
		return nil
	}
	r := refusal(commonpb.Reason_REASON_THROTTLED, "too many failed log-ins: wait and try again")
	r.RetryAfterMs = left
	return r
}

func session(st *accountpb.State, family string) *accountpb.SessionState {
	for _, open := range st.Sessions {
		if open.FamilyId == family {
			return open
		}
	}
	return nil
}

func validateSession(c *accountpb.Session, now time.Time) *commonpb.Refusal {
	switch {
	case c.GetFamilyId() == "" || len(c.FamilyId) > MaxFamilyIDBytes || !printableASCII(c.FamilyId):
		return invalid(fmt.Sprintf("must be 1 to %d printable ASCII characters", MaxFamilyIDBytes), "session", "familyId")
	case len(c.TokenHash) != TokenHashBytes:
		return invalid("must be a SHA-256", "session", "tokenHash")
	case c.ExpiresAtMs <= now.UnixMilli():
		return invalid("must be in the future", "session", "expiresAt")
	}
	return nil
}

func printableASCII(s string) bool {
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func badCredentials() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "the e-mail address or the password is not right")
}

func sessionOver() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "this session is over: log in again", "refreshToken")
}
