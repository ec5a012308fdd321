package payments

import "stampede/proto/gen/paymentpb"

// Book is what the simulator has of one order's money, in minor units, whatever
// the order makes of it.
type Book struct {
	// Captured and Refunded are of all its attempts.
	Captured, Refunded int64
	// Reserved is how many of them are authorized, and neither captured nor let go of.
	Reserved int
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
		if a.status == paymentpb.AuthorizeReply_STATUS_AUTHORIZED && !a.captured && !a.voided {
			b.Reserved++
		}
		books[id.order] = b
	}
	return books
}
