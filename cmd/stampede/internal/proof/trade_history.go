package proof

// The history of a sale in which more is done than placing orders: paying,
// cancelling, fulfilling, refunding, and waiting to be let in.

import (
	"fmt"
	"strconv"
	"time"

	"stampede/cmd/stampede/internal/shop"
)

// Trade is everything that was seen of such a sale.
type Trade struct {
	// Stock is what each SKU began with, on hand and available.
	Stock map[string]int
	// Price is what a unit costs.
	Price shop.Money
	// Settles: every hold has ended by now, one way or the other.
	Settles bool
	// Sale is the sale that everything was sold in; nil: there was none.
	Sale *SaleSeen
	// Shoppers is how many there were.
	Shoppers int
	// Placed is every order that was asked for.
	Placed []Placed
	// Final are the acknowledged orders as the API shows them at the end, by id.
	Final map[string]shop.Trade
	// Repeats are placed orders whose key was sent again at the end.
	Repeats []PlacedAgain
	// Broken are steps of shoppers or staff that got no answer, or one that
	// nothing explains.
	Broken []string
	Levels map[string]shop.Level
	Events []Event
	// Books are the payment provider's; nil: it cannot be asked.
	Books *Books
	// Nodes, Crashes and Drained: see History.
	Nodes, Crashes, Drained int
}

// Placed is one order that was asked for, and what was done with it.
type Placed struct {
	Shopper int
	Key     string
	Lines   []shop.LineQuantity
	// Greedy: the shopper asks for more than the sale lets one have.
	Greedy bool
	Kind   shop.Kind
	Reason string
	// ID is the order's where it was acknowledged.
	ID string
	// Told are the acknowledgements of the order's steps, in any order.
	Told []Told
	// Moves are what the staff was acknowledged, in order.
	Moves []Move
}

// Told is what somebody was told of an order.
type Told struct {
	Version int64
	State   string
}

// Move is a fulfilment or a refund.
type Move struct {
	Refund, Restock bool
	Lines           []shop.LineQuantity
}

// PlacedAgain is the answer to a key that was sent once more.
type PlacedAgain struct {
	// Placed is an index into Trade.Placed.
	Placed int
	Kind   shop.Kind
	Reason string
	ID     string
}

// SaleSeen is what was seen of a sale with a waiting room.
type SaleSeen struct {
	ID         string
	Allocation map[string]int
	Limit      int
	// PerSecond are let in.
	PerSecond int
	Shuffled  bool
	// Commitment is as it was published when the sale was made, before anybody joined.
	Commitment string
	// Final is the sale as the API shows it at the end.
	Final shop.Sale
	// Waited are the shoppers' places, by shopper.
	Waited map[int]*Waited
	// Intruders are those who tried without being let in.
	Intruders []Intruder
}

// Waited is one shopper in the waiting room.
type Waited struct {
	// Number is the place in the order of joining; Early: before the opening.
	Number int
	Early  bool
	// Position is the place after the opening; 0: it was never seen.
	Position int
	// AdmittedAt is when the admission was first seen.
	AdmittedAt time.Time
}

// Intruder is an order that must have been refused.
type Intruder struct {
	Shopper int
	How     string
	Kind    shop.Kind
	Reason  string
}

// Facts is what the events of a trade say, whatever their type.
type Facts struct {
	OrderID       string          `json:"orderId"`
	CustomerID    string          `json:"customerId"`
	Quantity      count           `json:"quantity"`
	Delta         count           `json:"delta"`
	Reacquired    count           `json:"reacquired"`
	Committed     count           `json:"committed"`
	Fulfilled     count           `json:"fulfilled"`
	Restocked     bool            `json:"restocked"`
	Amount        *minorUnits     `json:"amount"`
	Level         *publishedLevel `json:"level"`
	Joined        count           `json:"joined"`
	ShuffleSecret string          `json:"shuffleSecret"`
}

type minorUnits struct {
	MinorUnits count  `json:"minorUnits"`
	Currency   string `json:"currency"`
}

type publishedLevel struct {
	OnHand      count `json:"onHand"`
	Available   count `json:"available"`
	Held        count `json:"held"`
	Committed   count `json:"committed"`
	Unavailable count `json:"unavailable"`
}

// count is a number, which protobuf's JSON writes as a string, or a truth: one
// event has a flag where another has a number.
type count int64

// UnmarshalJSON reads any of them.
func (c *count) UnmarshalJSON(b []byte) error {
	switch text := string(b); text {
	case "true":
		*c = 1
	case "false", "null":
		*c = 0
	default:
		if unquoted, err := strconv.Unquote(text); err == nil {
			text = unquoted
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("a number: %w", err)
		}
		*c = count(n)
	}
	return nil
}

// SalesTopic has the events of sales.
const SalesTopic = "stampede.sales.v1"

// TradeVerdict is what the history of a trade shows.
type TradeVerdict struct {
	Verdict
	// Paid: the orders were to be paid.
	Paid bool
	// Currency of the amounts, which are in minor units.
	Currency                      string
	CapturedMinor, RefundedMinor  int64
	Confirmed, Cancelled, Expired int
	// Fulfilled orders, and the units that left with those and others.
	Fulfilled, UnitsFulfilled, UnitsRefunded int
	// MoneyConserved: what was captured is what the confirmed orders cost, what
	// was refunded is what the staff gave back, and the topics say the same, and
	// so does the payment provider where it was asked.
	MoneyConserved bool
	// BooksAsked: the payment provider was. BooksDiffer is how often its books say
	// something else, or more than that where they are BooksPartial.
	BooksAsked, BooksPartial bool
	BooksDiffer              int
	// Rebuilt: stock and money, made from the topics alone, are the API's.
	Rebuilt bool
	// LimitExceeded are customers who had more than the sale's limit at a time.
	LimitExceeded int
	// AllocationExceeded units were taken in the sale beyond its allocation.
	AllocationExceeded int
	// Illegal steps of orders.
	Illegal int

	// Room: there was a waiting room. The rest is about it.
	Room, Shuffled bool
	Limit          int
	Waited         int
	// Intruders tried without admission; Intruded were not refused for it.
	Intruders, Intruded int
	// AdmittedEarly were let in before their turn.
	AdmittedEarly int
	ShuffleProved bool
	Positions     bool
	SaleState     string
	Remaining     int
	SaleSettled   bool
}
