// Limits by network address, for what is done before anybody is known.
package auth

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"stampede/proto/gen/commonpb"
)

// Bounds by address, on each node. An address is what httpapi.ClientAddress
// says: of IPv6 a /64, behind trusted proxies the caller's own.
const (
	// FailedLogInsPerAddress may fail in a row, for whatever accounts; then one
	// more each FailedLogInEvery. Log-ins that succeed take nothing, so a company
	// behind one address can log in.
	FailedLogInsPerAddress = 30
	FailedLogInEvery       = 10 * time.Second
	// RegistrationsPerAddress may be tried in a row, then one more each
	// RegistrationEvery: each tells whether an address of e-mail is taken, and
	// costs a password hash.
	RegistrationsPerAddress = 100
	RegistrationEvery       = time.Second
	// maxAddresses is how many are remembered, those that tried last.
	maxAddresses = 16_384
)

// Addresses counts what is tried from each address, in this process. Each
// alias of a field in one GraphQL operation is a try of its own. Safe for use by
// several goroutines.
type Addresses struct {
	logIns, registrations buckets
}

// NewAddresses knows no address.
func NewAddresses() *Addresses {
	return &Addresses{
		logIns:        newBuckets(FailedLogInsPerAddress, FailedLogInEvery),
		registrations: newBuckets(RegistrationsPerAddress, RegistrationEvery),
	}
}

// LogIn admits one log-in from the address; empty: one without limits. Refused
// with THROTTLED: no password is to be looked at. Else failed must be called
// with whether the log-in failed for its password or e-mail address: until then it
// counts, so that many at once are not more than many in a row.
func (a *Addresses) LogIn(from string, now time.Time) (failed func(bool), r *commonpb.Refusal) {
	if r = a.logIns.take(from, now); r != nil {
		return nil, r
	}
	return func(did bool) {
		if !did {
			a.logIns.giveBack(from)
		}
	}, nil
}

// Register admits one registration from the address; empty: without limits.
func (a *Addresses) Register(from string, now time.Time) *commonpb.Refusal {
	return a.registrations.take(from, now)
}

// buckets holds a leaky bucket an address. A forgotten one starts full.
type buckets struct {
	mu    *sync.Mutex
	by    *lru.LRU[string, bucket]
	size  float64
	every time.Duration
}

type bucket struct {
	left float64
	at   time.Time
}

func newBuckets(size int, every time.Duration) buckets {
	by, err := lru.NewLRU[string, bucket](maxAddresses, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return buckets{mu: new(sync.Mutex), by: by, size: float64(size), every: every}
}

func (b buckets) take(from string, now time.Time) *commonpb.Refusal {
	if from == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.by.Get(from)
	if !ok {
		have = bucket{left: b.size, at: now}
	}
	if passed := now.Sub(have.at); passed > 0 {
		have.left = min(have.left+float64(passed)/float64(b.every), b.size)
		have.at = now
	}
	if have.left < 1 {
		r := refusal(commonpb.Reason_REASON_THROTTLED, "too much was tried from your address: wait and try again")
		r.RetryAfterMs = max(time.Duration((1-have.left)*float64(b.every)).Milliseconds(), 1)
		b.by.Add(from, have)
		return r
	}
	have.left--
	b.by.Add(from, have)
	return nil
}

func (b buckets) giveBack(from string) {
	if from == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if have, ok := b.by.Peek(from); ok {
		have.left = min(have.left+1, b.size)
		b.by.Add(from, have)
	}
}
