// Package account is the account kind: who a user is, the hash of the
// password, roles, sessions (families of refresh tokens) and failed log-ins.
// It is pure: no IO, no clock, no lock. It never sees a password or a token,
// only hashes: making and checking those is the gateway's.
package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
)

// Name is the kind's name in addresses and streams.
const Name = "account"

// Bounds of an account.
const (
	MaxEmailBytes        = 254
	MaxNameCharacters    = 200
	MaxPasswordHashBytes = 512
	MaxFamilyIDBytes     = 64
	// MaxSessions is how many sessions an account has at most: a new one ends the oldest.
	MaxSessions = 20
	// TokenHashBytes is the size of a refresh token's hash: SHA-256.
	TokenHashBytes = sha256.Size

	// FailedLogInsBeforeLock is the failure in a row that locks the account,
	// for FirstLock. Each one after it doubles the lock, up to LongestLock.
	FailedLogInsBeforeLock = 10
	FirstLock              = 30 * time.Second
	LongestLock            = 15 * time.Minute
	// AttemptIDBytes is the size of an attempt's name.
	AttemptIDBytes = 16
	// MaxFailedAttempts is how many failures are remembered by name: one that is
	// sent again within a call's time is among them, since ten in a row lock the
	// account for longer.
	MaxFailedAttempts = 32
)

const (
	idPrefix  = "usr_"
	idDigits  = 26
	idSumSize = 16
)

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// State is one account. It belongs to the actor's mailbox. The message in it
// is replaced by Evolve, never changed in place: snapshots may share it.
type State struct {
	id    string
	state *accountpb.State // nil before registration
}

// New is the state of an account that nobody has registered.
func New(id string) *State { return &State{id: id} }

// ID is the identity of the account of a normalised e-mail address, which is
// what makes an address unique: usr_ and the lower-case base32 of 16 bytes of
// HMAC-SHA-256(secret, "account\0" + email). Keyed, so that an id does not tell
// whose it is.
func ID(secret []byte, email string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("account\x00" + email))
	return idPrefix + idEncoding.EncodeToString(mac.Sum(nil)[:idSumSize])
}

// IDBytes is the id's 16 bytes; false if it is not of an id's form.
func IDBytes(id string) ([]byte, bool) {
	digits, ok := strings.CutPrefix(id, idPrefix)
	if !ok || len(digits) != idDigits {
		return nil, false
	}
	b, err := idEncoding.DecodeString(digits)
	if err != nil || idEncoding.EncodeToString(b) != digits {
		return nil, false
	}
	return b, true
}

// IDOf is the id with these 16 bytes.
func IDOf(b [idSumSize]byte) string { return idPrefix + idEncoding.EncodeToString(b[:]) }

// LockFor is how long an account is locked by its n-th failed log-in in a row.
func LockFor(n int) time.Duration {
	if n < FailedLogInsBeforeLock {
		return 0
	}
	lock := FirstLock
	for range n - FailedLogInsBeforeLock {
		if lock *= 2; lock >= LongestLock {
			return LongestLock
		}
	}
	return lock
}

// User is a copy of what others may see, nil before registration.
func (s *State) User() *accountpb.User {
	if s.state == nil {
		return nil
	}
	return proto.CloneOf(s.state.User)
}

// Snapshot is the state as a message; it shares memory with the state.
func Snapshot(s *State) proto.Message {
	if s.state == nil {
		return &accountpb.State{}
	}
	return s.state
}

// Restore rebuilds the state of the account id from a marshalled Snapshot.
func Restore(id string, snapshot []byte) (*State, error) {
	st := &accountpb.State{}
	if err := proto.Unmarshal(snapshot, st); err != nil {
		return nil, fmt.Errorf("restore account %s: %w", id, err)
	}
	if st.User == nil {
		return New(id), nil
	}
	if st.User.Id != id {
		return nil, fmt.Errorf("restore account %s: the snapshot is of %q", id, st.User.Id)
	}
	return &State{id: id, state: st}, nil
}
