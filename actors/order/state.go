// Package order decides what happens to one order: it holds its lines at their
// SKUs, takes a payment, commits the lines, or gives everything back.
//
// It is pure: Decide makes events and asks of a command, Evolve makes state of
// events, Pending says what the state wants of others. It knows no clock,
// storage or transport; actors/entity runs it.
package order

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// The bounds of one order. Whoever runs into one is told its number.
const (
	// MaxLines bounds the lines of an order, each of another SKU.
	MaxLines = 100
	// MaxQuantity bounds the units of one line.
	MaxQuantity = 10_000
	// MaxAttempts bounds the payments that an order may try.
	MaxAttempts = 32
	// MaxMoves bounds the fulfilments and refunds of an order.
	MaxMoves = 100
	// MaxHold bounds how long an order's units are held.
	MaxHold = 7 * 24 * time.Hour

	maxIDBytes    = 64
	maxKeyBytes   = 255
	maxTokenBytes = 255
	// maxEvidenceBytes bounds what a provider sends itself by way of the order.
	maxEvidenceBytes = 1024
	maxReasonRunes   = 500
	// MaxTrackingRunes bounds what the staff say of a parcel.
	MaxTrackingRunes = 200
	maxTrackingRunes = MaxTrackingRunes
)

// Ask is a question to another actor or to the payment provider. Asks are
// repeated until answered, and idempotent for whoever is asked.
type Ask struct {
	// Key names the ask within the order.
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Decision is what an order makes of a command: a reply, with the events that
// it rests on; or asks, to be heard before it can decide; or events alone; or
// nothing. The last two mean that whoever waits goes on waiting, until the
// state has changed.
type Decision struct {
	Events []*orderpb.Event
	Reply  proto.Message
	Asks   []Ask
}

// State is one order. It is owned by whoever runs Decide and Evolve on it, one
// at a time; only Evolve changes it. Messages in it are never changed in place.
//
// Invariants, which check verifies: its payments are numbered as they came, one
// key each; it has a deadline exactly while it is RESERVED or PAYING; it is
// PAYING exactly while the outcome of its newest payment is open.
type State struct {
	id         string
	version    int64
	customerID string
	// status is unspecified until the order is placed.
	status         orderpb.Status
	idempotencyKey string
	inputHash      []byte
	holdMs         int64
	// saleID is the sale that it was placed in, or empty.
	saleID     string
	placedAtMs int64
	// expiresAtMs is when the holds end, while RESERVED or PAYING; else 0.
	expiresAtMs int64
	lines       []line
	total       *commonpb.Money
	// rejection is why it was rejected, or cancelled although it was paid.
	rejection *commonpb.Refusal
	payment   payment
	keys      []paymentKey
	// toVoid has the attempts that may have reserved money which the order does
	// not take.
	toVoid  []openAttempt
	history []change
	// moves are its fulfilments and refunds; move is the one under way, and is
	// never changed in place.
	moves []moveKey
	move  *openMove
}

type line struct {
	sku           string
	quantity      int64
	expectedPrice *commonpb.Money
	name          string
	unitPrice     *commonpb.Money
	skuVersion    int64
	status        orderpb.LineStatus
	fulfilled     int64
	refunded      int64
	// withdrawn is how many of the refunded units had not been fulfilled.
	withdrawn int64
}

// left is how many units are to be fulfilled yet.
func (l *line) left() int64 { return l.quantity - l.fulfilled - l.withdrawn }

func (l *line) unrefunded() int64 { return l.quantity - l.refunded }

// payment is the newest attempt.
type payment struct {
	status        orderpb.PaymentStatus
	attempt       int64
	token         string
	provider      string
	reference     string
	authorized    *commonpb.Money
	captured      *commonpb.Money
	refunded      *commonpb.Money
	nextActionURL string
	declineReason string
	requestedAtMs int64
	// unanswered: it is PENDING because the provider does not answer.
	unanswered bool
}

// moveKey remembers the idempotency key of a fulfilment or refund, and why the
// provider did not refund if it did not.
type moveKey struct {
	key       string
	inputHash []byte
	number    int64
	refusal   *commonpb.Refusal
}

// openMove is a fulfilment, or a refund if refund is set, that others have not
// taken in yet, or have not been told yet that the order knows that they have.
type openMove struct {
	number   int64
	lines    []*orderpb.MovedLine
	refund   *orderpb.RefundRequested
	refunded bool
	// moved: the SKUs have the units, and are told that this is known.
	moved         bool
	requestedAtMs int64
}

// settles lists the lines whose SKUs remember the move until they are told that
// the order knows of it: those of which nothing but fulfilled units came back.
func (m *openMove) settles() (lines []*orderpb.MovedLine) {
	for _, l := range m.lines {
		if m.refund != nil && l.GetUnfulfilled() == 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// paymentKey remembers the idempotency key of an attempt, and how it was
// refused if it was.
type paymentKey struct {
	key       string
	inputHash []byte
	attempt   int64
	refusal   *commonpb.Refusal
}

type openAttempt struct {
	attempt   int64
	reference string
}

type change struct {
	version  int64
	status   orderpb.Status
	reason   string
	atMs     int64
	tracking string
}

// New is the state of an order that nobody has placed.
func New(id string) *State {
	return &State{id: id}
}

var ids = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID derives an order's id from its customer and idempotency key, so that the
// same order placed again is the same actor.
func ID(customerID, key string) string {
	sum := sha256.Sum256([]byte("order\x00" + customerID + "\x00" + key))
	return "ord_" + ids.EncodeToString(sum[:16])
}

// Number is what people call the order: S-ABCD-EFGH.
func Number(id string) string {
	digits := strings.ToUpper(strings.TrimPrefix(id, "ord_"))
	digits = digits[:min(8, len(digits))]
	return "S-" + digits[:min(4, len(digits))] + "-" + digits[min(4, len(digits)):]
}

// AllowedTransitions lists the states that an order may go to from another one.
// A confirmed order is cancelled by refunding all of it.
func AllowedTransitions(from orderpb.Status) []orderpb.Status {
	switch from {
	case orderpb.Status_STATUS_UNSPECIFIED:
		return []orderpb.Status{orderpb.Status_STATUS_RESERVING}
	case orderpb.Status_STATUS_RESERVING:
		return []orderpb.Status{orderpb.Status_STATUS_RESERVED, orderpb.Status_STATUS_REJECTED}
	case orderpb.Status_STATUS_RESERVED:
		return []orderpb.Status{orderpb.Status_STATUS_PAYING, orderpb.Status_STATUS_CANCELLED, orderpb.Status_STATUS_EXPIRED}
	case orderpb.Status_STATUS_PAYING:
		return []orderpb.Status{
			orderpb.Status_STATUS_RESERVED, orderpb.Status_STATUS_CONFIRMED, orderpb.Status_STATUS_CANCELLED, orderpb.Status_STATUS_EXPIRED,
		}
	case orderpb.Status_STATUS_CONFIRMED:
		return []orderpb.Status{orderpb.Status_STATUS_PARTIALLY_FULFILLED, orderpb.Status_STATUS_FULFILLED, orderpb.Status_STATUS_CANCELLED}
	case orderpb.Status_STATUS_PARTIALLY_FULFILLED:
		return []orderpb.Status{orderpb.Status_STATUS_FULFILLED}
	default:
		return nil
	}
}

// WakeAt is when the order expires by itself; zero: it does not.
func WakeAt(s *State) time.Time {
	if !s.open() {
		return time.Time{}
	}
	return time.UnixMilli(s.expiresAtMs)
}

// placed reports whether there is an order at all.
func (s *State) placed() bool { return s.status != orderpb.Status_STATUS_UNSPECIFIED }

// open reports whether the order is the customer's to pay, cancel or let
// expire: no answer about money is under way.
func (s *State) open() bool {
	return s.status == orderpb.Status_STATUS_RESERVED ||
		s.status == orderpb.Status_STATUS_PAYING && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION
}

// compensating reports whether the order was paid and could not be delivered.
func (s *State) compensating() bool {
	return s.status == orderpb.Status_STATUS_CANCELLED && s.rejection != nil
}

// holding reports whether a line has units that the order does not keep.
func (s *State) holding() bool {
	if s.status != orderpb.Status_STATUS_REJECTED && s.status != orderpb.Status_STATUS_CANCELLED {
		return false
	}
	for i := range s.lines {
		if s.lines[i].status == orderpb.LineStatus_LINE_STATUS_HELD {
			return true
		}
	}
	return false
}

// sold reports whether the customer's money is, or was, the shop's for the
// order's units: what can be fulfilled and refunded.
func (s *State) sold() bool {
	switch s.status {
	case orderpb.Status_STATUS_CONFIRMED, orderpb.Status_STATUS_PARTIALLY_FULFILLED, orderpb.Status_STATUS_FULFILLED:
		return true
	case orderpb.Status_STATUS_CANCELLED:
		return s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_REFUNDED
	default:
		return false
	}
}

// unitsLeft is how many units are to be fulfilled yet.
func (s *State) unitsLeft() (n int64) {
	for i := range s.lines {
		n += s.lines[i].left()
	}
	return n
}

// visibleTo reports whether the order is the actor's business.
func (s *State) visibleTo(a *commonpb.Actor) bool {
	return s.placed() && mayRead(a, s.customerID)
}

// mayRead: staff, and the customer whose order it is.
func mayRead(a *commonpb.Actor, customerID string) bool {
	return a.GetStaff() || a.GetUserId() != "" && a.GetUserId() == customerID
}

func (s *State) moveKey(key string) *moveKey {
	for i := range s.moves {
		if s.moves[i].key == key {
			return &s.moves[i]
		}
	}
	return nil
}

func (s *State) key(key string) *paymentKey {
	for i := range s.keys {
		if s.keys[i].key == key {
			return &s.keys[i]
		}
	}
	return nil
}
