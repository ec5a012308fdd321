package sale

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"

	"stampede/proto/gen/salepb"
)

const (
	milli = 1000
	// maxLeadSeconds is how much of the rate an empty waiting room saves up:
	// who comes to it is let in at once, and a crowd is not.
	maxLeadSeconds = 1
)

// admittedMilli is how many thousandths of a person have been admitted by then:
// a line, and never further ahead of who has joined than maxLeadSeconds.
func admittedMilli(c *salepb.Schedule, nowMs int64) int64 {
	n := c.GetBaseMilli()
	if dt := nowMs - c.GetFromMs(); dt > 0 && c.GetPerSecond() > 0 {
		n += min(dt, math.MaxInt64/4/c.GetPerSecond()) * c.GetPerSecond()
	}
	return max(c.GetBaseMilli(), min(n, (c.GetJoined()+maxLeadSeconds*c.GetAdmitPerSecond())*milli))
}

// Admitted is how many of those who have joined are let in by then.
func Admitted(c *salepb.Schedule, nowMs int64) int64 {
	if !running(c, nowMs) {
		return min(c.GetBaseMilli()/milli, c.GetJoined())
	}
	return min(admittedMilli(c, nowMs)/milli, c.GetJoined())
}

// running: by the schedule the sale is open at that moment.
func running(c *salepb.Schedule, nowMs int64) bool {
	return !c.GetEnded() && nowMs >= c.GetStartsAtMs() && nowMs < c.GetEndsAtMs()
}

// Stale reports a schedule that must be read again to place anybody: the sale
// has opened since, and the order is only known with the opening.
func Stale(c *salepb.Schedule, nowMs int64) bool {
	return c.GetAdmission() == salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING && !c.GetOpened() && !c.GetEnded() && nowMs >= c.GetStartsAtMs()
}

// Turn is where a number stands.
type Turn struct {
	// Position is the number's place among all, 1 for the first. Before a
	// shuffle it is the order of joining, which then means nothing.
	Position int64
	Admitted bool
	// WaitMs is how long it takes until it is admitted as things are: -1 where
	// nobody can say, because nobody is admitted for the time being.
	WaitMs int64
}

// TurnOf computes where a number stands at a moment.
func TurnOf(c *salepb.Schedule, number, nowMs int64) Turn {
	t := Turn{Position: Position(c, number), WaitMs: -1}
	switch {
	case c.GetEnded() || nowMs >= c.GetEndsAtMs():
		return t
	case c.GetAdmission() == salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING && !c.GetOpened():
		t.WaitMs = max(0, c.GetStartsAtMs()-nowMs)
		return t
	}
	if t.Admitted = running(c, nowMs) && admittedMilli(c, nowMs) >= t.Position*milli; t.Admitted {
		t.WaitMs = 0
		return t
	}
	if c.GetPerSecond() < 1 {
		return t
	}
	from := max(nowMs, c.GetFromMs())
	missing := t.Position*milli - admittedMilli(c, from)
	t.WaitMs = from - nowMs + max(0, (missing+c.GetPerSecond()-1)/c.GetPerSecond())
	return t
}

// Position is the place of a number. Those who joined before the opening of a
// shuffled sale are permuted among themselves; everybody else comes in the
// order of joining.
func Position(c *salepb.Schedule, number int64) int64 {
	if c.GetAdmission() != salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING || number > c.GetJoinedEarly() || len(c.GetShuffleSecret()) == 0 {
		return number
	}
	return 1 + int64(Permute(c.GetShuffleSecret(), uint64(number-1), uint64(c.GetJoinedEarly()))) //nolint:gosec // below MaxWaiting
}

const (
	feistelRounds = 10
	// minHalfBits keeps the network's halves large enough to mix.
	minHalfBits = 4
)

// Permute is where x goes in a permutation of 0 to n-1 that the secret keys: a
// balanced Feistel network over the smallest even number of bits that holds n (8
// at least), walked until it ends below n (Black and Rogaway, "Ciphers with
// Arbitrary Finite Domains", 2002). A round adds the low bits of the first 8
// bytes of SHA-256(secret, round as 1 byte, n and the right half as 8 bytes
// each, big endian). Whoever has the secret can compute it for anybody.
func Permute(secret []byte, x, n uint64) uint64 {
	half := max(minHalfBits, (bits.Len64(max(n, 1)-1)+1)/2)
	mask := uint64(1)<<half - 1
	in := make([]byte, 0, SecretBytes+17)
	for {
		left, right := x>>half, x&mask
		for round := range byte(feistelRounds) {
			in = append(append(in[:0], secret...), round)
			in = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(in, n), right)
			sum := sha256.Sum256(in)
			left, right = right, left^binary.BigEndian.Uint64(sum[:8])&mask
		}
		if x = left<<half | right; x < n {
			return x
		}
	}
}

// admitAt begins a new line of the schedule at the moment, going on where the
// old one has come to.
func admitAt(c *salepb.Schedule, atMs, perSecond int64) {
	if atMs >= c.GetFromMs() {
		c.BaseMilli, c.FromMs = admittedMilli(c, atMs), atMs
	}
	c.PerSecond = perSecond
}

// joinAt counts one more. What an empty room had saved up is bounded as of now:
// the crowd that may follow has not waited for it.
func joinAt(c *salepb.Schedule, atMs int64) {
	if c.GetOpened() {
		admitAt(c, atMs, c.GetPerSecond())
	}
	c.Joined++
}
