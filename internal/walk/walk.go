// Package walk goes through a shop at random: every step is a mutation of the
// public API, and a small model, which shares nothing with what it checks, says
// what it has to answer and what the shop has to look like after it. The same
// walk goes through any shop that answers GraphQL: in this process or in
// several others, on any store.
//
// It is for tests; the shops are theirs.
package walk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"stampede/payments"
)

// Shop is what is walked through.
type Shop interface {
	// Ask sends a document. An error is one of the transport: the answer is not known.
	Ask(ctx context.Context, token, document string, variables map[string]any) (*Answer, error)
	// Token is an access token of a customer, or of one who is staff too.
	Token(userID string, staff bool) string
	// Now is the shop's time.
	Now() time.Time
	// Advance lets time pass; false: in this shop it does that by itself only.
	Advance(d time.Duration) bool
	// Operator is an access token of the shop's operator.
	Operator() string
	// Publishes reports whether every node of the shop publishes events.
	Publishes() bool
}

// Restarter is a shop that can be ended and begun again in the middle of a walk.
type Restarter interface{ Restart() }

// Banker is a shop whose payment provider's own books can be looked at.
type Banker interface {
	Books() map[string]payments.Book
}

// Answer is a decoded answer.
type Answer struct {
	Data   map[string]any
	Errors []Error
}

// Error is one of the top.
type Error struct {
	Message    string
	Extensions struct{ Code string }
}

// HoldFor is how long every shop here holds units of an order.
const HoldFor = 10 * time.Minute

// settleWithin is how long what an answer does not wait for may take: units of
// a rejected order go back, money is captured, a sale hears that it has sold out.
const settleWithin = time.Minute

// maxAdvance is how much time passes in one walk: below what keys are
// remembered for.
const maxAdvance = 20 * time.Hour

// Walk is one walk. It is for one goroutine; several may go through one shop.
type Walk struct {
	t       testing.TB
	shop    Shop
	random  *rand.Rand
	name    string
	steps   []string
	named   int
	passed  time.Duration
	moves   []*move
	model   model
	persons []string
	staff   string
	tally   *Tally
	// rooms is how many of a hundred sales have a waiting room.
	rooms int
	// repeats is how often the last mutation was sent, beyond once.
	repeats int
}

// Through walks a number of steps. The name makes what it makes its own; a
// failure prints it, the seed and the way.
func Through(t testing.TB, shop Shop, name string, seed uint64, steps int) {
	t.Helper()
	(&Tally{}).Through(t, shop, name, seed, steps)
}

// Through is Through, and counts.
func (y *Tally) Through(t testing.TB, shop Shop, name string, seed uint64, steps int) {
	t.Helper()
	w := begin(t, shop, y, name, seed)
	for range steps {
		w.step()
	}
	w.atTheEnd()
}

// Every walks until every mutation that the shop lets anyone make was done.
func Every(t testing.TB, shop Shop, name string, seed uint64) {
	t.Helper()
	const tries = 1000
	w := begin(t, shop, &Tally{}, name, seed)
	w.rooms = 100 // where no time passes, a walk may have one sale only, and that has to be one to join
	for _, c := range w.choices() {
		for left := tries; !w.mayNot(c.field) && w.tally.Done(c.field, "") == 0; left-- {
			if left == 0 {
				w.fail("%s was never done", c.field)
			}
			w.step()
			if m := c.next(); m != nil {
				w.do(m)
			}
		}
	}
	w.atTheEnd()
}

// mayNot are the mutations that are refused in this shop whatever is asked.
func (w *Walk) mayNot(field string) bool {
	switch field {
	case "drainMember":
		return !w.replaces()
	case "replayEvents":
		return !w.shop.Publishes()
	}
	return field == ""
}

func begin(t testing.TB, shop Shop, y *Tally, name string, seed uint64) *Walk {
	t.Helper()
	w := &Walk{t: t, shop: shop, random: rand.New(rand.NewPCG(seed, 0)), name: name, tally: y, rooms: 30}
	w.staff = person(name, "staff")
	for n := range 3 {
		w.persons = append(w.persons, person(name, fmt.Sprint(n)))
	}
	w.steps = append(w.steps, fmt.Sprintf("walk %s, seed %d", name, seed))
	w.do(w.createProduct())
	return w
}

// person is an account id.
func person(walk, who string) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	r := rand.New(rand.NewPCG(hash(walk), hash(who)))
	id := make([]byte, 26)
	for i := range id {
		id[i] = letters[r.IntN(len(letters))]
	}
	return "usr_" + string(id)
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// choice is something that a step may be.
type choice struct {
	// weight is how often it is, beside the others'.
	weight int
	// field is the mutation's; empty: it is none, or one that was made before.
	field string
	next  func() *move
}

// choices are all: every mutation of the schema is among them.
func (w *Walk) choices() []choice {
	return []choice{
		{30, "placeOrder", w.placeOrder},
		{12, "payOrder", w.payOrder},
		{9, "cancelOrder", w.cancelOrder},
		{10, "fulfilOrder", w.fulfilOrder},
		{12, "refundOrder", w.refundOrder},
		{5, "adjustStock", w.adjustStock},
		{4, "setStock", w.setStock},
		{3, "markUnavailable", w.markUnavailable},
		{3, "createProduct", w.createProduct},
		{5, "updateProduct", w.updateProduct},
		{8, "createSale", w.createSale},
		{6, "controlSale", w.controlSale},
		{4, "joinSale", w.joinSale},
		{4, "registerUser", w.registerUser},
		{3, "logIn", w.logIn},
		{3, "refreshTokens", w.refreshTokens},
		{2, "logOut", w.logOut},
		{2, "updateProfile", w.updateProfile},
		{2, "changePassword", w.changePassword},
		{2, "setRoles", w.setRoles},
		{2, "createApiKey", w.createAPIKey},
		{1, "revokeApiKey", w.revokeAPIKey},
		{1, "drainMember", w.drainMember},
		{2, "replayEvents", w.replayEvents},
		{12, "", w.again},
		{6, "", w.pass},
	}
}

// step does one thing, and checks what has become of it.
func (w *Walk) step() {
	w.t.Helper()
	choices, total := w.choices(), 0
	for _, c := range choices {
		total += c.weight
	}
	n := w.random.IntN(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			if m := c.next(); m != nil {
				w.do(m)
			}
			return
		}
	}
}

// Tally counts the mutations of several walks by name and by what they were
// answered with: what no walk did was not tested.
type Tally struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func (y *Tally) note(field, code string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = map[string]map[string]int{}
	}
	if y.counts[field] == nil {
		y.counts[field] = map[string]int{}
	}
	y.counts[field][code]++
}

// Done is how often a mutation was answered with a code; empty: it was done.
func (y *Tally) Done(field, code string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.counts[field][code]
}

// pass lets time pass: a hold ends, a sale opens or is over.
func (w *Walk) pass() *move {
	d := pick(w, []time.Duration{time.Minute, 3 * time.Minute, 5 * time.Minute, 11 * time.Minute, 30 * time.Minute, 61 * time.Minute})
	if w.passed+d > maxAdvance || !w.shop.Advance(d) {
		return nil
	}
	w.passed += d
	w.steps = append(w.steps, fmt.Sprintf("%s pass", d))
	w.check(nil)
	return nil
}

func (w *Walk) fail(format string, arguments ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nthe way:\n%s", fmt.Sprintf(format, arguments...), strings.Join(w.steps, "\n"))
}

// key is a new one.
func (w *Walk) key() string {
	w.named++
	return fmt.Sprintf("%s-%d", w.name, w.named)
}

func (w *Walk) person() string { return w.persons[w.random.IntN(len(w.persons))] }

func (w *Walk) chance(percent int) bool { return w.random.IntN(100) < percent }

func pick[T any](w *Walk, list []T) (one T) {
	if len(list) == 0 {
		return one
	}
	return list[w.random.IntN(len(list))]
}

// at follows names and places through decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

func text(v any) string { return fmt.Sprint(v) }

func amount(minor int64) string { return fmt.Sprintf("%d.%02d", minor/100, minor%100) }

func money(minor int64) map[string]any {
	return map[string]any{"amount": amount(minor), "currency": "EUR"}
}
