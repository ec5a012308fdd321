package payments

import (
	"encoding/json"
	"net/http"

	"stampede/proto/gen/paymentpb"
)

// Book is what the simulator has of one order's money, in minor units, whatever
// the order makes of it.
type Book struct {
	// Captured and Refunded are of all its attempts.
	Captured int64 `json:"captured"`
	Refunded int64 `json:"refunded"`
	// Open is how many of them are authorized, or wait for the shopper, and are
	// neither captured nor let go of.
	Open int `json:"open"`
}

// BooksPath is where a node's admin address has the books of its simulator.
const BooksPath = "/debug/payments"

// Statement is what is found there.
type Statement struct {
	Orders map[string]Book `json:"orders"`
	// Partial: some were forgotten, for there are too many.
	Partial bool `json:"partial"`
}

// BooksPage shows the books to those who have to look from outside.
func (s *Simulator) BooksPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		statement := Statement{Orders: s.Books()}
		s.mu.Lock()
		statement.Partial = s.partial
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(statement) // whoever asked has gone
	})
}

// Books are the simulator's own, by order: what it was told to do and did, since
// its process began, of the attempts that it remembers. They are for those who
// check that an order's word about its money is true.
func (s *Simulator) Books() map[string]Book {
	s.mu.Lock()
	defer s.mu.Unlock()
	books := make(map[string]Book, len(s.attempts))
	for id, a := range s.attempts {
		b := books[id.order]
		b.Captured += a.taken
		for _, n := range a.refunds {
			b.Refunded += n
		}
		if (a.status == paymentpb.AuthorizeReply_STATUS_AUTHORIZED || a.status == paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION) && !a.captured && !a.voided {
			b.Open++
		}
		books[id.order] = b
	}
	return books
}
