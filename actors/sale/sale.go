// Package sale decides about one sale: when it is open, what it sells at which
// price, and in which order people come in. Its SKUs decide who gets units.
//
// It is pure: Decide makes events of a command, Evolve makes state of events,
// Pending says what the state wants of the SKUs. It knows no clock, storage or
// transport; actors/entity runs it.
package sale

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

// Name is the kind's name in addresses and streams.
const Name = "sale"

// The bounds of one sale. Whoever runs into one is told its number.
const (
	MaxItems          = 100
	MaxNameCharacters = 200
	MaxAllocation     = 1_000_000_000
	// MaxPerCustomer bounds perCustomerLimit.
	MaxPerCustomer = 10_000
	// MaxAdmitPerSecond bounds how fast a waiting room may empty.
	MaxAdmitPerSecond = 1_000_000
	// MaxAhead bounds how far ahead a sale may end.
	MaxAhead = 400 * 24 * time.Hour
	// MaxWaiting bounds who can join: 16 bytes each are in every snapshot.
	MaxWaiting = 400_000
	// SecretBytes is the length of a shuffle's secret.
	SecretBytes = 32

	maxKeyBytes  = 255
	maxIDBytes   = 64
	skuKind      = "sku"
	placeBytes   = 16
	maxPriceUnit = 1_000_000_000_000
)

// Ask is a question to another actor. It is repeated until answered.
type Ask struct {
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Decision is what a sale makes of a command: a reply with the events it rests
// on; or events alone, or nothing: then whoever waits goes on waiting.
type Decision struct {
	Events []*salepb.Event
	Reply  proto.Message
	Asks   []Ask
}

// place is a customer in the waiting room: the beginning of the SHA-256 of
// their id, so that a hundred thousand of them take little room.
type place [placeBytes]byte

// State is one sale. It is owned by whoever runs Decide and Evolve on it, one
// at a time; only Evolve changes it, and the messages in it belong to it.
//
// Invariants, which check verifies: numbers in the waiting room are 1 to
// schedule.joined, each once; configured is at most config; a sale that has
// opened has a schedule that runs; the bounds above.
type State struct {
	id      string
	version int64
	// sale is what others see, nil until it was drafted; its schedule says all
	// about admission.
	sale      *salepb.Sale
	rejection *commonpb.Refusal
	paused    bool
	key       string
	inputHash []byte
	secret    []byte
	// config is the version of what the SKUs are to know, configured of what they know.
	config, configured int64
	// waiting has who has joined; nil in a fold that does not care.
	waiting map[place]int32
	folding bool
}

// New is the state of a sale that nobody has made.
func New(id string) *State { return &State{id: id} }

// NewFold is like New, for a reader of events that does not care who waits.
func NewFold(id string) *State { return &State{id: id, folding: true} }

var ids = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID derives a sale's id from who makes it and the idempotency key.
func ID(userID, key string) string {
	sum := sha256.Sum256([]byte("sale\x00" + userID + "\x00" + key))
	return "sal_" + ids.EncodeToString(sum[:16])
}

// Commitment is what is published of a secret before anyone joins.
func Commitment(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

func placeOf(customerID string) place {
	sum := sha256.Sum256([]byte(customerID))
	return place(sum[:placeBytes])
}

// WakeAt is when the sale opens, or ends; zero: neither is to come.
func WakeAt(s *State) time.Time {
	switch {
	case s.sale == nil:
	case s.sale.Status == salepb.Status_STATUS_SCHEDULED:
		return time.UnixMilli(s.sale.StartsAtMs)
	case s.opened():
		return time.UnixMilli(s.sale.EndsAtMs)
	}
	return time.Time{}
}

// opened reports whether the sale is under way.
func (s *State) opened() bool {
	switch s.sale.GetStatus() {
	case salepb.Status_STATUS_OPEN, salepb.Status_STATUS_PAUSED, salepb.Status_STATUS_SOLD_OUT:
		return true
	default:
		return false
	}
}

// public reports whether there is a sale for others to see.
func (s *State) public() bool {
	return s.sale != nil && s.sale.Status != salepb.Status_STATUS_DRAFT && s.sale.Status != salepb.Status_STATUS_REJECTED
}

// Shown is a copy of the sale as others see it, nil when they see none.
func (s *State) Shown() *salepb.Sale {
	if !s.public() {
		return nil
	}
	return proto.CloneOf(s.sale)
}

// CreatedAtMs is when the sale was drafted.
func (s *State) CreatedAtMs() int64 { return s.sale.GetCreatedAtMs() }

// StatusName is the status without its prefix, empty for what is not to be seen.
func (s *State) StatusName() string {
	if !s.public() {
		return ""
	}
	return strings.TrimPrefix(s.sale.Status.String(), "STATUS_")
}

// Snapshot is the state as a message that shares nothing with it.
func Snapshot(s *State) proto.Message {
	m := &salepb.State{
		Sale: proto.CloneOf(s.sale), Version: s.version, IdempotencyKey: s.key, InputHash: bytes.Clone(s.inputHash), ShuffleSecret: bytes.Clone(s.secret),
		Rejection: proto.CloneOf(s.rejection), Paused: s.paused, ConfigVersion: s.config, ConfiguredVersion: s.configured,
	}
	if n := len(s.waiting); n > 0 {
		m.Waiting = make([]byte, n*placeBytes)
		for p, number := range s.waiting {
			copy(m.Waiting[int(number-1)*placeBytes:], p[:])
		}
	}
	return m
}

// Restore rebuilds a state from a marshalled Snapshot. It refuses one that is
// not of this sale or that breaks an invariant.
func Restore(id string, snapshot []byte) (*State, error) { return restore(id, snapshot, false) }

// RestoreFold is Restore for what NewFold began.
func RestoreFold(id string, snapshot []byte) (*State, error) { return restore(id, snapshot, true) }

func restore(id string, snapshot []byte, folding bool) (*State, error) {
	m := &salepb.State{}
	if err := proto.Unmarshal(snapshot, m); err != nil {
		return nil, fmt.Errorf("restore sale %q: %w", id, err)
	}
	if m.GetSale() != nil && m.GetSale().GetId() != id {
		return nil, fmt.Errorf("restore sale %q: the snapshot is of %q", id, m.GetSale().GetId())
	}
	s := &State{
		id: id, version: m.GetVersion(), sale: m.GetSale(), rejection: m.GetRejection(), paused: m.GetPaused(), key: m.GetIdempotencyKey(),
		inputHash: m.GetInputHash(), secret: m.GetShuffleSecret(), config: m.GetConfigVersion(), configured: m.GetConfiguredVersion(), folding: folding,
	}
	if !folding {
		s.restoreWaiting(m.GetWaiting())
	}
	if err := check(s); err != nil {
		return nil, fmt.Errorf("restore sale %q: %w", id, err)
	}
	return s, nil
}

func (s *State) restoreWaiting(b []byte) {
	if len(b) == 0 {
		return
	}
	n := int32(len(b) / placeBytes) //nolint:gosec // a snapshot has a few MiB at most
	s.waiting = make(map[place]int32, n)
	for i := range n {
		s.waiting[place(b[int(i)*placeBytes:][:placeBytes])] = i + 1
	}
}

// check verifies the invariants of State.
func check(s *State) error {
	if s.sale == nil {
		if s.version != 0 {
			return errors.New("events and no sale")
		}
		return nil
	}
	c := s.sale.GetSchedule()
	switch {
	case s.version < 1 || s.sale.Version < 1 || s.sale.Version > s.version:
		return fmt.Errorf("version %d, shown %d", s.version, s.sale.Version)
	case s.sale.Status < salepb.Status_STATUS_DRAFT || s.sale.Status > salepb.Status_STATUS_REJECTED:
		return fmt.Errorf("status %d", s.sale.Status)
	case len(s.sale.Items) < 1 || len(s.sale.Items) > MaxItems:
		return fmt.Errorf("%d items", len(s.sale.Items))
	case s.sale.StartsAtMs >= s.sale.EndsAtMs:
		return errors.New("it ends before it starts")
	case s.configured > s.config || s.config > s.version:
		return fmt.Errorf("configured %d of %d at version %d", s.configured, s.config, s.version)
	case (s.rejection != nil) != (s.sale.Status == salepb.Status_STATUS_REJECTED):
		return errors.New("rejected without a reason, or a reason without a rejection")
	case !s.folding && int64(len(s.waiting)) != c.GetJoined():
		return fmt.Errorf("%d wait, %d have joined", len(s.waiting), c.GetJoined())
	case c.GetJoinedEarly() > c.GetJoined() || c.GetJoined() > MaxWaiting:
		return fmt.Errorf("%d joined, %d of them early", c.GetJoined(), c.GetJoinedEarly())
	case s.opened() && !c.GetOpened(), s.sale.Status == salepb.Status_STATUS_ENDED && !c.GetEnded():
		return fmt.Errorf("%s with the schedule %v", s.sale.Status, c)
	case len(c.GetShuffleSecret()) > 0 && !c.GetOpened():
		return errors.New("the secret is out before the opening")
	}
	return nil
}
