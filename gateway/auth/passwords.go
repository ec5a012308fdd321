// Password hashing: argon2id behind a bounded pool, so that a wave of log-ins
// takes no more than its share of the processors and of memory.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// MaxPasswordBytes is the longest password; a longer one is refused, not cut.
const MaxPasswordBytes = 72

// Passwords hashes and checks passwords, with argon2id at 19 MiB, 2 passes, 1
// lane (OWASP's recommendation). At most `workers` hashes are computed at a time
// and at most `queue` wait; beyond that callers get ErrBusy at once. It owns no
// goroutine: the caller's does the work. Memory is bounded by workers x 19 MiB
// and what the garbage collector has not taken back yet.
type Passwords struct {
	cost    cost
	working chan struct{}
	waiting atomic.Int64
	queue   int64
	decoy   string
}

// PasswordsOption changes Passwords from what they are by default.
type PasswordsOption func(*Passwords)

// WithCost has hashes made at another cost than the recommended one. A hash
// says its own: those made before go on being checked at theirs.
func WithCost(memoryKiB, passes uint32, lanes uint8) PasswordsOption {
	return func(p *Passwords) { p.cost = cost{memoryKiB: memoryKiB, passes: passes, lanes: lanes} }
}

// NewPasswords allows that many hashes at a time (at least one) and that many
// callers waiting for their turn.
func NewPasswords(workers, queue int, options ...PasswordsOption) *Passwords {
	p := &Passwords{cost: recommendedCost(), working: make(chan struct{}, max(workers, 1)), queue: int64(max(queue, 0))}
	for _, o := range options {
		o(p)
	}
	p.decoy = hashed{cost: p.cost, salt: random(saltBytes), key: random(keyBytes)}.String() // of no password
	return p
}

// Hash is the password's hash in PHC form, with a salt of its own.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	h := hashed{cost: p.cost, salt: random(saltBytes)}
	err := p.work(ctx, func() { h.key = h.derive(password, keyBytes) })
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Verify reports whether the password is the one of the hash, at the hash's
// own cost. An error that wraps ErrHash: the hash cannot be used.
func (p *Passwords) Verify(ctx context.Context, password, phc string) (bool, error) {
	h, err := parseHash(phc)
	if err != nil {
		return false, err
	}
	var key []byte
	size := uint32(len(h.key)) //nolint:gosec // at most maxKeyBytes
	if err := p.work(ctx, func() { key = h.derive(password, size) }); err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, h.key) == 1, nil
}

// Pretend takes as long as Verify does and finds nothing: for addresses that
// nobody has registered, so that the time does not tell them from others.
func (p *Passwords) Pretend(ctx context.Context, password string) error {
	_, err := p.Verify(ctx, password, p.decoy)
	return err
}

// work does it when it is its turn.
func (p *Passwords) work(ctx context.Context, do func()) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("password hashing: %w", err)
	}
	select {
	case p.working <- struct{}{}:
	default:
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	defer func() { <-p.working }()
	do()
	return nil
}

func (p *Passwords) wait(ctx context.Context) error {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue {
		return ErrBusy
	}
	select {
	case p.working <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("password hashing: %w", ctx.Err())
	}
}

func (h hashed) derive(password string, size uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.cost.passes, h.cost.memoryKiB, h.cost.lanes, size)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand
	return b
}
