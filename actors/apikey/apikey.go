// Package apikey is the apikey kind: one key of a machine. It is pure: no IO,
// no clock, no lock. It never sees a secret, only its hash: making and reading
// secrets is the gateway's.
package apikey

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
)

// Name is the kind's name in addresses and streams.
const Name = "apikey"

// Bounds of a key.
const (
	MaxNameCharacters = 100
	// SecretHashBytes is the size of a secret's hash: SHA-256.
	SecretHashBytes = sha256.Size
	// UseShownEvery bounds how often a use is written down: of the uses within
	// it only the first is.
	UseShownEvery = time.Minute
	// LongestLife is how far away an expiry may be; what is to live longer has none.
	LongestLife = 10 * 366 * 24 * time.Hour
)

const (
	idPrefix = "key_"
	idDigits = 26
	idBytes  = 16
)

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// IDOf is the id with these 16 bytes.
func IDOf(b [idBytes]byte) string { return idPrefix + idEncoding.EncodeToString(b[:]) }

// IsID reports whether it is of an id's form.
func IsID(id string) bool {
	digits, ok := strings.CutPrefix(id, idPrefix)
	if !ok || len(digits) != idDigits {
		return false
	}
	b, err := idEncoding.DecodeString(digits)
	return err == nil && idEncoding.EncodeToString(b) == digits
}

// State is one key. It belongs to the actor's mailbox. The message in it is
// replaced by Evolve, never changed in place: snapshots may share it.
type State struct {
	id    string
	state *apikeypb.State // nil before it is made
}

// New is the state of a key that nobody has made.
func New(id string) *State { return &State{id: id} }

// Evolve applies one event. It panics on one that cannot have been decided in
// this state: the journal is then corrupt.
func Evolve(s *State, e *apikeypb.Event) {
	if c := e.GetCreated(); c != nil {
		if s.state != nil {
			panic(corrupt(s, "made twice"))
		}
		s.state = &apikeypb.State{SecretHash: c.SecretHash, Key: &apikeypb.Key{
			Id: s.id, Name: c.Name, Roles: slices.Clone(c.Roles), CreatedAtMs: e.AtMs, ExpiresAtMs: c.ExpiresAtMs, Version: 1,
		}}
		return
	}
	if s.state == nil {
		panic(corrupt(s, fmt.Sprintf("%T before it was made", e.Event)))
	}
	key := proto.CloneOf(s.state.Key)
	key.Version++
	switch e.Event.(type) {
	case *apikeypb.Event_Used:
		key.LastUsedAtMs = e.AtMs
	case *apikeypb.Event_Revoked:
		if key.RevokedAtMs != 0 {
			panic(corrupt(s, "revoked twice"))
		}
		key.RevokedAtMs = e.AtMs
	default:
		panic(corrupt(s, fmt.Sprintf("unknown event %T", e.Event)))
	}
	s.state = &apikeypb.State{Key: key, SecretHash: s.state.SecretHash}
}

// Key is a copy of what operators may see, nil before it is made.
func (s *State) Key() *apikeypb.Key {
	if s.state == nil {
		return nil
	}
	return proto.CloneOf(s.state.Key)
}

// Snapshot is the state as a message; it shares memory with the state.
func Snapshot(s *State) proto.Message {
	if s.state == nil {
		return &apikeypb.State{}
	}
	return s.state
}

// Restore rebuilds the state of the key id from a marshalled Snapshot.
func Restore(id string, snapshot []byte) (*State, error) {
	st := &apikeypb.State{}
	if err := proto.Unmarshal(snapshot, st); err != nil {
		return nil, fmt.Errorf("restore apikey %s: %w", id, err)
	}
	if st.Key == nil {
		return New(id), nil
	}
	if st.Key.Id != id {
		return nil, fmt.Errorf("restore apikey %s: the snapshot is of %q", id, st.Key.Id)
	}
	return &State{id: id, state: st}, nil
}

func corrupt(s *State, why string) string {
	return fmt.Sprintf("apikey %s at version %d is corrupt: %s", s.id, s.state.GetKey().GetVersion(), why)
}

// canonicalRoles is the roles in the enum's order, each once; false when there
// is none or one that is unknown.
func canonicalRoles(roles []accountpb.Role) ([]accountpb.Role, bool) {
	out := slices.Clone(roles)
	slices.Sort(out)
	out = slices.Compact(out)
	ok := len(out) > 0 && out[0] >= accountpb.Role_ROLE_CUSTOMER && out[len(out)-1] <= accountpb.Role_ROLE_OPERATOR
	return out, ok
}
