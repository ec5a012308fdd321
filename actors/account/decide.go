// Deciding who a user is: registration, profile, password. Sessions and failed
// log-ins are in sessions.go, roles in roles.go.
package account

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

// Decide is total and changes nothing. heard is what the command's asks were
// answered so far, by key. Its replies are copies. A refusal comes
// without events but for one: a refresh token that is used again is refused
// and ends its session.
func Decide(s *State, cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	switch c := cmd.(type) {
	case *accountpb.SetRoles:
		return setRoles(s, c, now, heard)
	case *commonpb.Continue:
		return counted(s, now, heard)
	}
	return replied(decideAlone(s, cmd, now))
}

// decideAlone is about what concerns this account only.
func decideAlone(s *State, cmd proto.Message, now time.Time) ([]*accountpb.Event, proto.Message) {
	switch c := cmd.(type) {
	case *accountpb.Register:
		return register(s, c, now)
	case *accountpb.GetCredentials:
		return nil, credentials(s)
	case *accountpb.StartSession:
		return startSession(s, c, now)
	case *accountpb.RecordFailedLogIn:
		return recordFailedLogIn(s, c, now)
	case *accountpb.Rotate:
		return rotate(s, c, now)
	case *accountpb.EndSession:
		return endSession(s, c, now)
	case *accountpb.ChangePassword:
		return changePassword(s, c, now)
	case *accountpb.UpdateProfile:
		return updateProfile(s, c, now)
	case *accountpb.Get:
		if s.state == nil {
			return refuse(notFound())
		}
		return nil, shown(s)
	case *commonpb.Tick:
		return nil, nil
	default:
		return refuse(invalid("an account knows no such command"))
	}
}

func register(s *State, c *accountpb.Register, now time.Time) ([]*accountpb.Event, proto.Message) {
	if st := s.state; st != nil {
		// A hash has its own random salt: the same one means the same command, sent again.
		if st.User.Email == c.Email && equalSecrets(st.PasswordHash, c.PasswordHash) {
			return nil, shown(s)
		}
		return refuse(refusal(commonpb.Reason_REASON_EMAIL_TAKEN, "there is an account with this address: log in", "email"))
	}
	if email, err := Normalise(c.Email); err != nil {
		return refuse(invalid(err.Error(), "email"))
	} else if email != c.Email {
		return refuse(invalid("must be normalised: "+email, "email"))
	}
	if !validName(c.Name) {
		return refuse(invalidName())
	}
	if !validHash(c.PasswordHash) {
		return refuse(invalid("must be an argon2id hash in PHC form", "password"))
	}
	roles, ok := canonicalRoles(c.Roles)
	if !ok {
		return refuse(invalidRoles())
	}
	events := []*accountpb.Event{at(now, &accountpb.Event{Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{
		Email: c.Email, Name: c.Name, PasswordHash: c.PasswordHash, Roles: roles,
	}}})}
	if c.Session != nil {
		if r := validateSession(c.Session, now); r != nil {
			return refuse(r)
		}
		events = append(events, sessionStarted(c.Session, now))
	}
	return accept(s, events...)
}

// changePassword ends every session but the one that it starts.
func changePassword(s *State, c *accountpb.ChangePassword, now time.Time) ([]*accountpb.Event, proto.Message) {
	if s.state == nil {
		return refuse(notFound())
	}
	if equalSecrets(s.state.PasswordHash, c.NewPasswordHash) {
		return nil, shown(s) // sent again
	}
	if r := locked(s, now); r != nil {
		return refuse(r)
	}
	if !equalSecrets(s.state.PasswordHash, c.OldPasswordHash) {
		return refuse(refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "the present password is not right", "current"))
	}
	if !validHash(c.NewPasswordHash) {
		return refuse(invalid("must be an argon2id hash in PHC form", "new"))
	}
	events := []*accountpb.Event{at(now, &accountpb.Event{Event: &accountpb.Event_PasswordChanged{
		PasswordChanged: &accountpb.PasswordChanged{PasswordHash: c.NewPasswordHash},
	}})}
	if c.Session != nil {
		if r := validateSession(c.Session, now); r != nil {
			return refuse(r)
		}
		events = append(events, sessionStarted(c.Session, now))
	}
	return accept(s, events...)
}

func updateProfile(s *State, c *accountpb.UpdateProfile, now time.Time) ([]*accountpb.Event, proto.Message) {
	if s.state == nil {
		return refuse(notFound())
	}
	if c.IfVersion < 0 {
		return refuse(invalid("must be the version that was read, at least 1", "ifVersion"))
	}
	if c.Name != nil && !validName(*c.Name) {
		return refuse(invalidName())
	}
	user := s.state.User
	if c.Name == nil || *c.Name == user.Name {
		return nil, shown(s)
	}
	// A session that came or went since is a new version, but changed nothing that was read.
	if v := c.IfVersion; v != 0 && (v < s.state.ChangedVersion || v > user.Version) {
		r := refusal(commonpb.Reason_REASON_VERSION_CONFLICT,
			fmt.Sprintf("the user is at version %d: read it again and decide on that", user.Version), "ifVersion")
		r.CurrentVersion = user.Version
		return refuse(r)
	}
	return accept(s, at(now, &accountpb.Event{Event: &accountpb.Event_ProfileUpdated{ProfileUpdated: &accountpb.ProfileUpdated{Name: *c.Name}}}))
}

// accept answers with the user as the events leave it.
func accept(s *State, events ...*accountpb.Event) ([]*accountpb.Event, proto.Message) {
	after := &State{id: s.id, state: s.state}
	for _, e := range events {
		Evolve(after, e)
	}
	return events, shown(after)
}

func at(now time.Time, e *accountpb.Event) *accountpb.Event {
	e.AtMs = now.UnixMilli()
	return e
}

func shown(s *State) *accountpb.UserReply { return &accountpb.UserReply{User: s.User()} }

func refuse(r *commonpb.Refusal) ([]*accountpb.Event, proto.Message) {
	return nil, &accountpb.UserReply{Refusal: r}
}

func refusal(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func invalid(message string, field ...string) *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_INVALID, message, field...)
}

func notFound() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such user", "userId")
}

func invalidName() *commonpb.Refusal {
	return invalid(fmt.Sprintf("must be at most %d characters without control characters", MaxNameCharacters), "name")
}

func invalidRoles() *commonpb.Refusal {
	return invalid("must be of CUSTOMER, STAFF, OPERATOR", "roles")
}

func validName(name string) bool {
	return utf8.ValidString(name) && utf8.RuneCountInString(name) <= MaxNameCharacters && !strings.ContainsFunc(name, unicode.IsControl)
}

func validHash(hash string) bool {
	return strings.HasPrefix(hash, "$argon2id$") && len(hash) <= MaxPasswordHashBytes && utf8.ValidString(hash)
}

// canonicalRoles is the roles in the enum's order, each once, and CUSTOMER
// among them whatever was asked for.
func canonicalRoles(roles []accountpb.Role) ([]accountpb.Role, bool) {
	out := []accountpb.Role{accountpb.Role_ROLE_CUSTOMER}
	for _, r := range roles {
		if r < accountpb.Role_ROLE_CUSTOMER || r > accountpb.Role_ROLE_OPERATOR {
			return nil, false
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out, true
}

// equalSecrets compares in a time that does not tell where they differ.
func equalSecrets[T ~string | ~[]byte](a, b T) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
