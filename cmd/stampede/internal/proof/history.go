// Package proof judges a flash sale from outside: from what shoppers sent and
// were told, what the API answers afterwards, and what a consumer of the
// events read. It shares no code with the server and believes nothing that the
// server says about itself.
package proof

import (
	"time"

	"stampede/cmd/stampede/internal/shop"
)

// History is everything that was seen of a sale.
type History struct {
	// Units is the stock that each SKU started with.
	Units map[string]int
	// Attempts are all shoppers, each with what it was told in the end.
	Attempts []Attempt
	// ReadBack are the accepted orders as the API shows them after the sale, by
	// order id. One that the API does not know is absent.
	ReadBack map[string]shop.Order
	// Repeats are attempts that were sent once more after the sale, with the
	// same key.
	Repeats []Repeat
	// Levels are the stock levels after the sale, by SKU.
	Levels map[string]shop.Level
	// Events are what the consumer group read, in the order of each partition.
	Events []Event
	// Nodes are how many servers there were at the beginning.
	Nodes int
	// Crashes is how often a server was killed, Drained how many were told to leave.
	Crashes, Drained int
}

// Attempt is one shopper's order.
type Attempt struct {
	Shopper  int
	Key      string
	SKU      string
	Quantity int
	// Sent is before the first try, Answered after the last one.
	Sent, Answered time.Time
	Answer         shop.Answer
}

// Repeat is an attempt that was sent again after it had been answered.
type Repeat struct {
	// Attempt is an index into History.Attempts.
	Attempt int
	Answer  shop.Answer
}

// Event is what matters of one published event.
type Event struct {
	Topic string
	// Key is the aggregate's id: an order or a SKU.
	Key string
	// ID is ce_id, Type ce_type, Sequence ce_sequence.
	ID       string
	Type     string
	Sequence int64
	// OrderID and Quantity are those of a StockReserved event.
	OrderID  string
	Quantity int
	// Level is the stock after the event, where the event has it.
	Level *shop.Level
	// Facts are what a trade looks at; nil otherwise.
	Facts *Facts
}

// The topics and event types that the proof reads.
const (
	OrdersTopic = "stampede.orders.v1"
	StockTopic  = "stampede.stock.v1"

	orderReserved = "OrderReserved"
	stockReserved = "StockReserved"
)

// Verdict is what the history shows. The first group are the figures that
// everyone asks for; a sale holds when Violations is empty.
type Verdict struct {
	Units    int
	Shoppers int
	Accepted int
	// Refused shoppers by reason.
	Refused map[string]int
	// Unanswered shoppers never got a decision.
	Unanswered int
	// Oversold units: accepted beyond what a SKU had.
	Oversold int
	// Unsold units, while shoppers who wanted them were refused.
	Unsold int
	// Lost orders were acknowledged and are not there, or are not the same.
	Lost int
	// Duplicates are keys whose repetition gave another answer, and units that
	// two acknowledged orders share.
	Duplicates int
	// EventsMissing are accepted orders without their events, and gaps.
	EventsMissing int
	// EventsSeen, and how many of them were repetitions, which are allowed.
	EventsSeen, EventsRepeated int
	// Conserved: every unit of every SKU is where the orders say it is.
	Conserved bool
	// Phantoms are reserved orders in the events that nobody was told of.
	Phantoms int
	// Violations say what does not hold, at most maxViolations of them.
	Violations []string
	// Suppressed counts further ones.
	Suppressed int
	// Nodes, Crashes and Drained: see History.
	Nodes, Crashes, Drained int
}

// maxViolations bounds what is listed.
const maxViolations = 20

// Holds reports whether the proof holds.
func (v *Verdict) Holds() bool { return len(v.Violations) == 0 }
