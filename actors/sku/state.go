// Package sku decides what happens to the stock of one SKU: who holds units,
// until when, at what price, and which units are sold.
//
// It is pure: Decide makes events of a command, Evolve makes state of events.
// It knows no clock, storage or transport; actors/entity runs it.
package sku

import (
	"time"

	"stampede/proto/gen/commonpb"
)

// The bounds of one SKU. Whoever runs into one is told its number.
const (
	// MaxOnHand bounds what the staff puts on hand. Units that come back from
	// customers are counted beyond it: they were the SKU's before.
	MaxOnHand = 1_000_000_000
	// MaxQuantity bounds the units of one hold.
	MaxQuantity = 10_000
	// MaxAllocations bounds the orders with units held or committed.
	MaxAllocations = 250_000
	// MaxOrders bounds the orders that the SKU knows: those with units, those
	// whose hold ended within KeepFor, and those with a return that they have
	// not heard of.
	MaxOrders = 500_000
	// MaxRemembered bounds the answers kept by idempotency key.
	MaxRemembered = 65_536
	// KeepFor is how long an answer, or the end of a hold, is remembered at
	// least. What is younger is never forgotten: new commands are refused instead.
	KeepFor = 24 * time.Hour
	// MaxHold bounds how far ahead a hold may end.
	MaxHold = 8 * 24 * time.Hour

	// maxExpiries is how many due holds one decision ends; a wake-up in the
	// past asks for the next ones.
	maxExpiries = 256
	// maxExpiriesForUnits is how many more of them it ends when units are asked
	// for and missing: one hold has at least one unit, so a Reserve is never
	// refused because of units whose hold is over.
	maxExpiriesForUnits = MaxQuantity
	// maxForgotten is how many old memories one event lets go of, so that none
	// costs more than a moment.
	maxForgotten = 4
	// maxStock is more than any SKU comes to: 10^14 returns of MaxQuantity.
	maxStock = 1 << 60
	// maxMove bounds the numbers of an order's fulfilments and refunds.
	maxMove = 1_000_000

	maxIDBytes     = 64
	maxNameBytes   = 1000
	maxKeyBytes    = 255
	maxReasonRunes = 500
)

// State is the stock of one SKU. It is owned by whoever runs Decide and Evolve
// on it, one at a time; only Evolve changes it.
//
// Invariants, which check verifies: every one of the four states of stock is
// at least 0 and their sum at most maxStock; held and committed are the sums
// of the allocations in that state; an order is in at most one of allocations,
// settled and unsettled; deadlines has exactly the held allocations, the next to end
// first; the bounds above.
type State struct {
	id          string
	version     int64
	updatedAtMs int64
	stock       stock
	config      config
	// stocked: the initial stock was put on hand.
	stocked bool

	allocations map[string]*allocation
	deadlines   heap[*allocation]
	// settled has the orders whose hold is over.
	settled recent[settled]
	// unsettled has those orders without units that may return the same again:
	// they stay until they say that they know the answer.
	unsettled recent[settled]
	// remembered has the answers that idempotency keys got.
	remembered recent[remembered]

	// sale is the sale that the SKU takes part in, or took part in last; saleNo
	// is its number among all of them, 0 before the first.
	sale   sale
	saleNo int32
	// pastSales has those that are over, newest last.
	pastSales []string
}

// config is what the owning product says of the SKU. Its price is never
// changed in place: events, answers and snapshots share it.
type config struct {
	// productID is empty while no product has the SKU.
	productID      string
	productVersion int64
	name           string
	price          *commonpb.Money
	active         bool
}

// allocation is units that belong to one order: held until expiresAtMs, or
// committed. There may be MaxAllocations of them, so it is kept small.
type allocation struct {
	orderID         string
	customerID      string
	unitPrice       *commonpb.Money
	expiresAtMs     int64
	reservedVersion int64
	// committedVersion is 0 while the units are held.
	committedVersion int64
	quantity         int32
	// move is the last fulfilment or refund that was taken in; then quantity is
	// what is left.
	move int32
	// place is the allocation's index in State.deadlines; -1 when committed.
	place int32
	// saleNo is State.saleNo of the sale that the units come from; 0: none.
	saleNo int32
}

func (a *allocation) committed() bool { return a.committedVersion != 0 }

// settled is the end of an order's hold.
type settled struct {
	// expired: the deadline ended it. Otherwise the order gave it back, maybe
	// before it was made.
	expired bool
	// move is the last fulfilment or refund of an order that had bought units.
	move int64
}

// remembered is the answer that an idempotency key got.
type remembered struct {
	inputHash string
	after     stock
	version   int64
}

// New is the state of a SKU that nobody has configured.
func New(id string) *State {
	return &State{id: id, deadlines: newDeadlines()}
}

// WakeAt is when the next hold or the sale ends; zero: neither does.
func WakeAt(s *State) time.Time {
	next, ok := s.deadlines.first()
	switch ends := s.sale.config.GetEndsAtMs(); {
	case ok && (s.sale.closed() || next.expiresAtMs <= ends):
		return time.UnixMilli(next.expiresAtMs)
	case !s.sale.closed():
		return time.UnixMilli(ends)
	}
	return time.Time{}
}

func newDeadlines() heap[*allocation] {
	return heap[*allocation]{
		less:  endsBefore,
		moved: func(a *allocation, i int) { a.place = int32(i) }, //nolint:gosec // below MaxAllocations
	}
}

// endsBefore orders holds by deadline, and by age where that is equal: versions
// are unique, so the order is total and every replay has the same.
func endsBefore(a, b *allocation) bool {
	if a.expiresAtMs != b.expiresAtMs {
		return a.expiresAtMs < b.expiresAtMs
	}
	return a.reservedVersion < b.reservedVersion
}
