// Addresses that nobody has registered lock like those that somebody has, so
// that a lock does not tell which is which.
package auth

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"stampede/actors/account"
)

// maxStrangers bounds the addresses that are remembered: the latest tried.
const maxStrangers = 8_192

// strangers counts failed log-ins at addresses without an account, by account
// id, in this process. An account counts its own.
type strangers struct {
	mu     sync.Mutex
	failed *lru.LRU[string, failures]
}

type failures struct {
	count int
	until time.Time
}

func newStrangers() *strangers {
	l, err := lru.NewLRU[string, failures](maxStrangers, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &strangers{failed: l}
}

// lockedFor is how long the address is still locked; 0: it is not.
func (s *strangers) lockedFor(id string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _ := s.failed.Get(id)
	return max(f.until.Sub(now), 0)
}

func (s *strangers) fail(id string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _ := s.failed.Get(id)
	if f.until.After(now) {
		return
	}
	f.count++
	if lock := account.LockFor(f.count); lock > 0 {
		f.until = now.Add(lock)
	}
	s.failed.Add(id, f)
}
