// Deciding what becomes of a key.
package apikey

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

// Decide is total and changes nothing. Its replies are copies. A refusal comes
// without events.
func Decide(s *State, cmd proto.Message, now time.Time) ([]*apikeypb.Event, proto.Message) {
	switch c := cmd.(type) {
	case *apikeypb.Create:
		return create(s, c, now)
	case *apikeypb.Authenticate:
		return authenticate(s, c, now)
	case *apikeypb.Revoke:
		if s.state == nil {
			return refuse(notFound())
		}
		if s.state.Key.RevokedAtMs != 0 {
			return nil, shown(s)
		}
		return accept(s, now, &apikeypb.Event{Event: &apikeypb.Event_Revoked{Revoked: &apikeypb.Revoked{ActorId: c.Actor.GetUserId()}}})
	case *apikeypb.Get:
		if s.state == nil {
			return refuse(notFound())
		}
		return nil, shown(s)
	case *commonpb.Tick, *commonpb.Continue:
		return nil, nil
	default:
		return refuse(invalid("an API key knows no such command"))
	}
}

func create(s *State, c *apikeypb.Create, now time.Time) ([]*apikeypb.Event, proto.Message) {
	if s.state != nil {
		if equalSecrets(s.state.SecretHash, c.SecretHash) {
			return nil, shown(s) // sent again
		}
		return refuse(refusal(commonpb.Reason_REASON_CONFLICT, "there is such a key already", "id"))
	}
	roles, ok := canonicalRoles(c.Roles)
	switch {
	case !validName(c.Name):
		return refuse(invalid(fmt.Sprintf("must be 1 to %d characters without control characters", MaxNameCharacters), "name"))
	case !ok:
		return refuse(invalid("must name at least one of CUSTOMER, STAFF, OPERATOR", "roles"))
	case c.ExpiresAtMs != 0 && (c.ExpiresAtMs <= now.UnixMilli() || c.ExpiresAtMs > now.Add(LongestLife).UnixMilli()):
		return refuse(invalid("must be in the future and within ten years; leave it out for a key that does not expire", "expiresAt"))
	case len(c.SecretHash) != SecretHashBytes:
		return refuse(invalid("must be a SHA-256", "secretHash"))
	}
	return accept(s, now, &apikeypb.Event{Event: &apikeypb.Event_Created{Created: &apikeypb.Created{
		Name: c.Name, Roles: roles, ExpiresAtMs: c.ExpiresAtMs, SecretHash: c.SecretHash, ActorId: c.Actor.GetUserId(),
	}}})
}

// authenticate says the same to a wrong secret as to a key that is not there,
// expired or revoked: whoever holds no good key learns nothing.
func authenticate(s *State, c *apikeypb.Authenticate, now time.Time) ([]*apikeypb.Event, proto.Message) {
	if s.state == nil || !equalSecrets(s.state.SecretHash, c.SecretHash) {
		return refuse(notGood())
	}
	key := s.state.Key
	if key.RevokedAtMs != 0 || key.ExpiresAtMs != 0 && key.ExpiresAtMs <= now.UnixMilli() {
		return refuse(notGood())
	}
	if key.LastUsedAtMs != 0 && now.UnixMilli()-key.LastUsedAtMs < UseShownEvery.Milliseconds() {
		return nil, shown(s)
	}
	return accept(s, now, &apikeypb.Event{Event: &apikeypb.Event_Used{Used: &apikeypb.Used{}}})
}

// accept answers with the key as the event leaves it.
func accept(s *State, now time.Time, e *apikeypb.Event) ([]*apikeypb.Event, proto.Message) {
	e.AtMs = now.UnixMilli()
	after := &State{id: s.id, state: s.state}
	Evolve(after, e)
	return []*apikeypb.Event{e}, shown(after)
}

func shown(s *State) *apikeypb.KeyReply { return &apikeypb.KeyReply{Key: s.Key()} }

func refuse(r *commonpb.Refusal) ([]*apikeypb.Event, proto.Message) {
	return nil, &apikeypb.KeyReply{Refusal: r}
}

func refusal(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func invalid(message string, field ...string) *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_INVALID, message, field...)
}

func notFound() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such API key", "id")
}

func notGood() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "this API key is not known, expired or revoked")
}

func validName(name string) bool {
	return strings.TrimSpace(name) != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= MaxNameCharacters && !strings.ContainsFunc(name, unicode.IsControl)
}

// equalSecrets compares in a time that does not tell where they differ.
func equalSecrets(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
