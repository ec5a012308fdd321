package e2e

// The random walk, and the races for what is last, through a cluster of
// processes: each request goes to another node.

import (
	"context"
	"errors"
	"flag"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stampede/gateway/auth"
	"stampede/internal/walk"
)

var walks = flag.Int("walks", 1, "how many walks go through a cluster of three")

// fleetShop is a cluster as a walk sees it.
type fleetShop struct {
	t      testing.TB
	tokens *auth.Tokens
	nodes  []*client
	turn   *atomic.Int64
	// operator is an access token of the operator's, goodUntil then.
	operator  string
	goodUntil time.Time
}

func newFleetShop(t testing.TB, f *fleet, nodes ...*clusterNode) *fleetShop {
	t.Helper()
	s := &fleetShop{t: t, turn: &atomic.Int64{}}
	for _, flag := range f.flags {
		if dir, ok := strings.CutPrefix(flag, "--signing-keys="); ok {
			keys, err := auth.LoadKeys(dir)
			if err != nil {
				t.Fatal(err)
			}
			s.tokens = auth.NewTokens(keys, auth.TokenOptions{})
		}
	}
	for _, n := range nodes {
		s.nodes = append(s.nodes, newClient(place(n.url), ""))
	}
	return s
}

func (s *fleetShop) Ask(ctx context.Context, token, document string, variables map[string]any) (*walk.Answer, error) {
	node := s.nodes[int(s.turn.Add(1))%len(s.nodes)]
	a := &walk.Answer{}
	err := node.as(token).ask(ctx, document, variables, &a.Data)
	var f *fault
	if errors.As(err, &f) && f.Extensions.Code != "" {
		said := walk.Error{Message: f.Message}
		said.Extensions.Code = f.Extensions.Code
		a.Errors = append(a.Errors, said)
		return a, nil
	}
	return a, err
}

// Operator logs in again before a token expires.
func (s *fleetShop) Operator() string {
	if time.Now().Before(s.goodUntil) {
		return s.operator
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	in, err := settle(ctx, func() (session, error) { return s.nodes[0].logIn(ctx, operatorEmail, operatorPassword) })
	if err != nil {
		s.t.Fatalf("operator's log-in: %v", err)
	}
	s.operator, s.goodUntil = in.Tokens.AccessToken, time.Now().Add(10*time.Minute)
	return s.operator
}

func (s *fleetShop) Publishes() bool { return true }

func (s *fleetShop) Token(userID string, staff bool) string {
	roles := []auth.Role{auth.Customer}
	if staff {
		roles = append(roles, auth.Staff)
	}
	token, _, err := s.tokens.Issue(userID, roles, time.Now())
	if err != nil {
		s.t.Error(err)
	}
	return token
}

func (s *fleetShop) Now() time.Time { return time.Now() }

func (s *fleetShop) Advance(time.Duration) bool { return false }

func TestThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four processes")
	}
	f := startFleet(t, 3)
	shop := newFleetShop(t, f, f.nodes...)
	hasty := newFleetShop(t, f, f.start("hasty", "--roles=gateway", "--hold-minutes=0.02"))
	random := randomness(t)
	prefix := strings.ToUpper(f.name)
	walk.Every(t, shop, prefix+"-EVERY", random.Uint64())
	for range *walks {
		seed := random.Uint64()
		walk.Through(t, shop, prefix+"-W"+strconv.FormatUint(seed%1_000_000, 10), seed, 25)
	}
	customers := 40 + 20**walks
	walk.NewCrowd(t, shop, hasty, prefix+"-LAST").LastUnit(customers, random.Uint64())
	walk.NewCrowd(t, shop, hasty, prefix+"-LIMIT").Limit(customers)
	walk.NewCrowd(t, shop, hasty, prefix+"-DISPUTE").Disputes(customers/5, random.Uint64())
	walk.NewCrowd(t, shop, hasty, prefix+"-LATE").PayRacingExpiry(customers, random.Uint64())
	f.checkPublished()
}
