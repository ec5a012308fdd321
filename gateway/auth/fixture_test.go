package auth

// Accounts over the real kinds, without a runtime.

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/actors/apikey"
	"stampede/actors/entity"
	"stampede/actors/roster"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

// actors are account actors in memory, deciding by the real kind. Each command
// is given twice when repeat is set, as the request path does after an unknown
// outcome: the first answer is lost.
type actors struct {
	t      *testing.T
	mu     sync.Mutex
	clock  *time.Time
	states map[string]*account.State
	keys   map[string]*apikey.State
	roster *roster.State
	repeat bool
	fail   error
	reply  proto.Message // instead of the answer
	log    []proto.Message
	stored [][]byte
}

func (a *actors) Call(_ context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return nil, a.fail
	}
	if to.Kind == "apikey" {
		return a.decideKey(to.ID, cmd), nil
	}
	if to.Kind != "account" {
		a.t.Errorf("asked %v", to)
	}
	a.log = append(a.log, cmd)
	if a.reply != nil {
		return a.reply, nil
	}
	if a.repeat {
		a.decide(to.ID, cmd)
	}
	return a.decide(to.ID, cmd), nil
}

func (a *actors) decide(id string, cmd proto.Message) proto.Message {
	s := a.states[id]
	if s == nil {
		s = account.New(id)
		a.states[id] = s
	}
	var heard map[string]proto.Message
	for range 10 {
		d := account.Decide(s, cmd, *a.clock, heard)
		a.evolve(s, d.Events)
		if heard = a.ask(d.Asks); heard == nil {
			a.evolve(s, account.Decide(s, &commonpb.Continue{}, *a.clock, a.ask(account.Pending(s))).Events)
		}
		if d.Reply != nil {
			return d.Reply
		}
	}
	a.t.Errorf("%T is never answered", cmd)
	return nil
}

// ask is what the roster answers; nil when nothing is asked.
func (a *actors) ask(asks []account.Ask) map[string]proto.Message {
	var heard map[string]proto.Message
	for _, q := range asks {
		events, reply := roster.Decide(a.roster, q.Command, *a.clock)
		for _, e := range events {
			roster.Evolve(a.roster, e)
		}
		heard = map[string]proto.Message{q.Key: reply}
	}
	return heard
}

func (a *actors) evolve(s *account.State, events []*accountpb.Event) {
	for _, e := range events {
		b, err := proto.Marshal(e)
		if err != nil {
			a.t.Errorf("cannot be stored: %v", err)
		}
		a.stored = append(a.stored, b)
		account.Evolve(s, e)
	}
}

func (a *actors) decideKey(id string, cmd proto.Message) proto.Message {
	s := a.keys[id]
	if s == nil {
		s = apikey.New(id)
		a.keys[id] = s
	}
	events, reply := apikey.Decide(s, cmd, *a.clock)
	for _, e := range events {
		b, err := proto.Marshal(e)
		if err != nil {
			a.t.Errorf("cannot be stored: %v", err)
		}
		a.stored = append(a.stored, b)
		apikey.Evolve(s, e)
	}
	return reply
}

// asked lists the commands since the last time, by name.
func (a *actors) asked() []string {
	var out []string
	for _, cmd := range a.log {
		out = append(out, string(cmd.ProtoReflect().Descriptor().Name()))
	}
	a.log = nil
	return out
}

type fixture struct {
	*Accounts
	t      *testing.T
	actors *actors
	now    time.Time
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, now: start}
	dir := t.TempDir()
	writeKey(t, dir, "k.pem", start.Add(-time.Hour))
	f.actors = &actors{t: t, clock: &f.now, states: map[string]*account.State{}, keys: map[string]*apikey.State{}, roster: roster.New(roster.ID)}
	tokens := NewTokens(loadKeys(t, dir), TokenOptions{})
	f.Accounts = NewAccounts(f.actors, tokens, NewPasswords(2, 10, cheap), []byte("0123456789abcdef0123456789abcdef"), func() time.Time { return f.now },
		WithFailedLogInGrid(0)) // nobody waits for these tests
	return f
}

func (f *fixture) registered() *Session {
	f.t.Helper()
	return f.session(f.Register(f.t.Context(), ada, password, "Ada"))
}

// session requires that it was accepted and that its tokens are good.
func (f *fixture) session(s *Session, r *commonpb.Refusal, err error) *Session {
	f.t.Helper()
	if err != nil || r != nil || s == nil {
		f.t.Fatalf("%v, %v, %v", s, r, err)
	}
	claims, err := f.tokens.Verify(s.AccessToken, f.now)
	if err != nil || claims.UserID != s.User.Id || !claims.ExpiresAt.Equal(s.ExpiresAt) || !s.ExpiresAt.Equal(f.now.Truncate(time.Second).Add(TokenLifetime)) {
		f.t.Fatalf("access token: %v, %v", claims, err)
	}
	wantEqual(f.t, "roles", claims.Roles, RolesOf(s.User.Roles))
	if said, ok := f.refresh.read(s.RefreshToken); !ok || said.userID != s.User.Id {
		f.t.Fatalf("refresh token %v %v", said, ok)
	}
	return s
}

// refused requires a refusal and returns it.
func refused(t *testing.T, r *commonpb.Refusal, err error, reason commonpb.Reason, field ...string) *commonpb.Refusal {
	t.Helper()
	if err != nil || r == nil || r.Reason != reason || !slices.Equal(r.Field, field) || r.Message == "" {
		t.Fatalf("%v, %v; want %v at %q", r, err, reason, field)
	}
	return r
}
