// Package testshop is a whole shop in a test's process: the real gateway over
// the real actors, log, views and reminders, on any store, on one node or on
// three that reach each other over real connections and meet in a real table of
// members. Its clock is moved by the test. What is served is served in process,
// without a listener for clients.
//
// It is for tests; cmd/stampede puts real nodes together.
package testshop

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway/auth"
	"stampede/payments"
	"stampede/persistence"
)

// HoldFor is how long the units of an order are held.
const HoldFor = 10 * time.Minute

// Config says what a shop is made of.
type Config struct {
	// Open is a new connection to the database: every node opens its own. With
	// several nodes it is a *mongo.Store.
	Open func(testing.TB) persistence.Store
	// Nodes: 0 and 1 are a cluster of one.
	Nodes int
	// Bank takes payments; nil: a simulator.
	Bank payments.Provider
	// Limits of the runtime; zero: the default.
	Limits entity.Limits
	// Over goes between a node and its store; nil: nothing does.
	Over func(*Node, persistence.Store) persistence.Store
	// Ask goes between a node's orders and the bank; nil: nothing does.
	Ask func(*Node, payments.Provider) payments.Provider
	// Hold is what holds up a command of one actor to another: it goes out when that
	// is closed. nil: nothing does.
	Hold func(entity.Address, proto.Message) <-chan struct{}
	// Publish has the nodes publish their events, to a broker in this process.
	Publish bool
	// Lease is how long a member's lease lasts; 0: longer than a machine that does
	// much else keeps a node from answering.
	Lease time.Duration
	// Quiet is how long the log of a dead node must have been quiet before what it
	// lacks is taken for never written; 0: half a second with several nodes.
	Quiet time.Duration
}

// Shop is a running shop. It ends with its test.
type Shop struct {
	t      testing.TB
	config Config
	keys   *auth.Keys
	tokens *auth.Tokens
	broker string // address
	log    *syncBuffer
	ahead  atomic.Int64
	turn   atomic.Uint64

	operator string // an account's id

	replacing sync.WaitGroup
	mu        sync.Mutex
	nodes     []*Node // that are asked
	started   int
	ending    bool
	issued    map[string]issued
}

// issued is an access token, good until then.
type issued struct {
	token string
	until time.Time
}

const longLease = 15 * time.Second

// operatorEmail is the address of the account of every shop's operator.
const (
	operatorEmail    = "operator@example.test"
	operatorPassword = "correct horse battery"
)

// Open starts a shop.
func Open(t testing.TB, c Config) *Shop {
	t.Helper()
	if c.Nodes == 0 {
		c.Nodes = 1
	}
	if c.Bank == nil {
		c.Bank = payments.NewSimulator()
	}
	if c.Limits == (entity.Limits{}) {
		c.Limits = entity.DefaultLimits()
	}
	if c.Nodes > 1 && c.Quiet == 0 {
		c.Quiet = 500 * time.Millisecond
	}
	if c.Nodes > 1 && c.Lease == 0 {
		c.Lease = longLease
	}
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Shop{t: t, config: c, keys: keys, tokens: auth.NewTokens(keys, auth.TokenOptions{}), log: &syncBuffer{}, issued: map[string]issued{}}
	if c.Publish {
		s.startBroker()
	}
	t.Cleanup(s.close)
	for range c.Nodes {
		s.add(t)
	}
	s.settle()
	user, refusal, err := s.nodes[0].accounts.EnsureAdmin(t.Context(), operatorEmail, operatorPassword)
	if err != nil || refusal != nil {
		t.Fatal("operator: ", refusal, err)
	}
	s.operator = user.GetId()
	return s
}

// Logger writes to what a failed test shows.
func (s *Shop) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelError}))
}

// add starts a node and has it asked.
func (s *Shop) add(t testing.TB) *Node {
	t.Helper()
	s.mu.Lock()
	s.started++
	number := s.started
	s.mu.Unlock()
	n, err := s.start(t, number)
	if err != nil {
		t.Fatal("starting a node: ", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, n)
	return n
}

// Nodes are those that are asked.
func (s *Shop) Nodes() []*Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Node(nil), s.nodes...)
}

// Add starts another node.
func (s *Shop) Add() *Node {
	s.t.Helper()
	return s.add(s.t)
}

// Kill ends a node as SIGKILL would: its store refuses it, its lease is not
// renewed, its port is closed, and nobody asks it any more.
func (s *Shop) Kill(n *Node) {
	s.mu.Lock()
	for i, other := range s.nodes {
		if other == n {
			s.nodes = append(s.nodes[:i:i], s.nodes[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	n.kill()
}

// Again ends all nodes in order and goes on with what the store has.
func (s *Shop) Again() {
	s.t.Helper()
	s.mu.Lock()
	nodes := s.nodes
	s.nodes = nil
	s.mu.Unlock()
	for _, n := range nodes {
		if err := n.end(); err != nil {
			s.t.Fatal("ending a node: ", err)
		}
	}
	for range nodes {
		s.add(s.t)
	}
	s.settle()
}

func (s *Shop) close() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.replacing.Wait()
	for _, n := range s.Nodes() {
		if err := n.end(); err != nil {
			s.t.Error("ending a node: ", err)
		}
	}
	if said := s.log.String(); said != "" && s.t.Failed() {
		s.t.Log(said)
	}
}

// Now is the shop's time.
func (s *Shop) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// Advance lets time pass.
func (s *Shop) Advance(d time.Duration) bool {
	s.ahead.Add(int64(d))
	return true
}

// Publishes reports whether events are published, and can be published again.
func (s *Shop) Publishes() bool { return s.config.Publish }

// Operator is an access token of the shop's operator.
func (s *Shop) Operator() string {
	return s.token(s.operator, auth.Customer, auth.Staff, auth.Operator)
}

// Token is an access token of a customer, or of one who is staff too.
func (s *Shop) Token(userID string, staff bool) string {
	if staff {
		return s.token(userID, auth.Customer, auth.Staff)
	}
	return s.token(userID, auth.Customer)
}

// token makes one, or finds one that is good for some time yet.
func (s *Shop) token(userID string, roles ...auth.Role) string {
	key := userID + string(roles[len(roles)-1])
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.issued[key]; ok && now.Before(have.until) {
		return have.token
	}
	token, expires, err := s.tokens.Issue(userID, roles, now)
	if err != nil {
		s.t.Error("issuing a token: ", err)
	}
	s.issued[key] = issued{token, expires.Add(-2 * time.Minute)}
	return token
}

// Do serves a request on one node after another. A token that begins with key_ is
// a machine's API key; none at all is nobody's request.
func (s *Shop) Do(ctx context.Context, token, body string) (*httptest.ResponseRecorder, error) {
	n, err := s.next()
	if err != nil {
		return nil, err
	}
	return serve(ctx, n.handler, token, body), nil
}

// Do serves a request on this node.
func (n *Node) Do(ctx context.Context, token, body string) *httptest.ResponseRecorder {
	return serve(ctx, n.handler, token, body)
}

// Hasty is the same shop, but its orders hold their units for another time.
type Hasty struct {
	*Shop
	hold time.Duration
}

// Hasty is the shop with orders that hold their units for so long.
func (s *Shop) Hasty(hold time.Duration) *Hasty { return &Hasty{s, hold} }

// Do is Shop.Do.
func (h *Hasty) Do(ctx context.Context, token, body string) (*httptest.ResponseRecorder, error) {
	n, err := h.next()
	if err != nil {
		return nil, err
	}
	handler, err := n.holding(h.hold)
	if err != nil {
		return nil, err
	}
	return serve(ctx, handler, token, body), nil
}

// next is the node that is asked next.
func (s *Shop) next() (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) == 0 {
		return nil, errors.New("there is no node")
	}
	return s.nodes[s.turn.Add(1)%uint64(len(s.nodes))], nil
}

func serve(ctx context.Context, handler http.Handler, token, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, request(ctx, token, body))
	return rec
}

func request(ctx context.Context, token, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1" // whose tries to log in nobody counts
	r.Header.Set("Content-Type", "application/json")
	switch {
	case strings.HasPrefix(token, "key_"):
		r.Header.Set("X-Api-Key", token)
	case token != "":
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

var _ io.Writer = (*syncBuffer)(nil)

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Bank is where all of the shop's orders ask for money, through all restarts.
func (s *Shop) Bank() payments.Provider { return s.config.Bank }
