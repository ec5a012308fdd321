package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/bits"
	"slices"
	"time"

	"stampede/cmd/stampede/internal/shop"
)

// checkRoom judges the waiting room.
func (p *tradeProver) checkRoom() {
	s := p.h.Sale
	if s == nil {
		return
	}
	p.v.Room, p.v.Shuffled, p.v.Limit, p.v.Waited, p.v.SaleState = true, s.Shuffled, s.Limit, len(s.Waited), s.Final.State
	p.checkIntruders(s)
	p.checkPlaces(s)
	p.checkTurns(s)
	p.v.ShuffleProved = s.Shuffled && p.checkShuffle(s)
	p.checkSaleEnd(s)
}

const admissionRequired = "ADMISSION_REQUIRED"

// checkIntruders: an order without admission is refused for just that, and one
// that was accepted belongs to somebody who was let in.
func (p *tradeProver) checkIntruders(s *SaleSeen) {
	p.v.Intruders = len(s.Intruders)
	for _, i := range s.Intruders {
		if i.Kind != shop.Refused || i.Reason != admissionRequired {
			p.v.Intruded++
			p.violated("shopper %d ordered with %s and was answered %q, not %s", i.Shopper, i.How, i.Reason, admissionRequired)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		o := p.orders[id]
		if w := s.Waited[o.Shopper]; w == nil || w.AdmittedAt.IsZero() {
			p.v.Intruded++
			p.violated("shopper %d has order %s and was never let in", o.Shopper, id)
		}
	}
}

// checkPlaces: the numbers of all who joined are 1, 2, 3, …, and so are their
// positions.
func (p *tradeProver) checkPlaces(s *SaleSeen) {
	p.v.Positions = p.bijection(s, "number", func(w *Waited) int { return w.Number }) &&
		p.bijection(s, "position", func(w *Waited) int { return w.Position })
}

func (p *tradeProver) bijection(s *SaleSeen, what string, of func(*Waited) int) bool {
	seen, ok := make(map[int]int, len(s.Waited)), true
	for _, shopper := range slices.Sorted(maps.Keys(s.Waited)) {
		n := of(s.Waited[shopper])
		if other, twice := seen[n]; twice {
			ok = false
			p.violated("shoppers %d and %d both have the %s %d", other, shopper, what, n)
		}
		if n < 1 || n > len(s.Waited) {
			ok = false
			p.violated("shopper %d has the %s %d of %d", shopper, what, n, len(s.Waited))
		}
		seen[n] = shopper
	}
	return ok
}

// checkTurns: at a rate, nobody is in before their position's turn. The shop
// told the time, on this machine; a second is what an empty room may save up.
func (p *tradeProver) checkTurns(s *SaleSeen) {
	for _, shopper := range slices.Sorted(maps.Keys(s.Waited)) {
		w := s.Waited[shopper]
		if w.AdmittedAt.IsZero() {
			continue
		}
		turn := s.Final.StartsAt.Add(time.Duration(w.Position) * time.Second / time.Duration(max(s.PerSecond, 1)))
		if w.AdmittedAt.Before(turn.Add(-clockStep)) {
			p.v.AdmittedEarly++
			p.violated("shopper %d at position %d was let in %s before its turn", shopper, w.Position, turn.Sub(w.AdmittedAt))
		}
	}
}

// clockStep is how finely the shop tells the time.
const clockStep = 2 * time.Millisecond

// checkShuffle computes the places again: from the secret that was committed to
// before anybody joined and published at the opening.
func (p *tradeProver) checkShuffle(s *SaleSeen) bool {
	secret, err := hex.DecodeString(s.Final.ShuffleSecret)
	commitment := sha256.Sum256(secret)
	if err != nil || len(secret) == 0 || s.Commitment == "" || hex.EncodeToString(commitment[:]) != s.Commitment || s.Final.ShuffleCommitment != s.Commitment {
		p.violated("the secret %q is not what %q committed to (the sale says %q now)", s.Final.ShuffleSecret, s.Commitment, s.Final.ShuffleCommitment)
		return false
	}
	early := 0
	if s.Final.JoinedBeforeOpening != nil {
		early = *s.Final.JoinedBeforeOpening
	}
	ok := true
	for _, shopper := range slices.Sorted(maps.Keys(s.Waited)) {
		w := s.Waited[shopper]
		if w.Early != (w.Number <= early) {
			ok = false
			p.violated("shopper %d joined as number %d, and the sale says that %d joined before the opening", shopper, w.Number, early)
		}
		want := w.Number
		if w.Number >= 1 && w.Number <= early {
			want = 1 + int(permuted(secret, uint64(w.Number-1), uint64(early))) //nolint:gosec // a place in a waiting room
		}
		if w.Position != want {
			ok = false
			p.violated("shopper %d joined as number %d and is at position %d; the secret makes it %d", shopper, w.Number, w.Position, want)
		}
	}
	return ok && p.checkSecretPublished(s, early)
}

// checkSecretPublished: the topic says the same as the API.
func (p *tradeProver) checkSecretPublished(s *SaleSeen, early int) bool {
	for i := range p.h.Events {
		e := &p.h.Events[i]
		if e.Topic == SalesTopic && e.Key == s.ID && e.Type == "SaleOpened" && e.Facts != nil {
			if e.Facts.ShuffleSecret == s.Final.ShuffleSecret && int(e.Facts.Joined) == early {
				return true
			}
			p.violated("SaleOpened says the secret %q and %d who joined, the API says %q and %d", e.Facts.ShuffleSecret, e.Facts.Joined, s.Final.ShuffleSecret, early)
			return false
		}
	}
	p.v.EventsMissing++
	p.violated("the sale's SaleOpened was not published")
	return false
}

// permuted is the place that the published description gives: a balanced
// Feistel network of ten rounds over SHA-256, on an even number of bits, at
// least eight, walked until the place is one of n.
func permuted(secret []byte, place, n uint64) uint64 {
	width := max((bits.Len64(n-1)+1)/2, 4)
	low := uint64(1)<<width - 1
	for {
		l, r := place>>width, place&low
		for round := range 10 {
			h := sha256.New()
			h.Write(secret)
			h.Write([]byte{byte(round)})
			h.Write(binary.BigEndian.AppendUint64(nil, n))
			h.Write(binary.BigEndian.AppendUint64(nil, r))
			l, r = r, l^binary.BigEndian.Uint64(h.Sum(nil))&low
		}
		if place = l<<width | r; place < n {
			return place
		}
	}
}

// checkSaleEnd: nothing is left and the sale says so, or it says what is left.
func (p *tradeProver) checkSaleEnd(s *SaleSeen) {
	left := 0
	for _, item := range s.Final.Items {
		left += item.Remaining
	}
	want := "OPEN"
	if left == 0 {
		want = "SOLD_OUT"
	}
	p.v.SaleSettled = s.Final.State == want && p.v.SaleSettled
	if s.Final.State != want {
		p.violated("the sale has %d units left and is %s", left, s.Final.State)
	}
	p.checkUnsold(s)
}

// checkUnsold: where no unit ever comes back, nobody is refused for want of stock
// while there is some.
func (p *tradeProver) checkUnsold(s *SaleSeen) {
	if p.h.Settles {
		return
	}
	sold, refused := map[string]int{}, map[string]int{}
	for i := range p.h.Placed {
		o := &p.h.Placed[i]
		if len(o.Lines) != 1 {
			return // what a rejected basket gave back was not there for a moment
		}
		switch {
		case o.Kind == shop.Accepted:
			sold[o.Lines[0].SKU] += o.Lines[0].Quantity
		case o.Reason == insufficientStock:
			refused[o.Lines[0].SKU]++
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(s.Allocation)) {
		if unsold := s.Allocation[sku] - sold[sku]; unsold > 0 && refused[sku] > 0 {
			p.v.Unsold += unsold
			p.violated("%s: %d of %d units were sold, but %d shoppers were refused for want of stock", sku, sold[sku], s.Allocation[sku], refused[sku])
		}
	}
}
