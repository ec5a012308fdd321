package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	"stampede/proto/gen/orderpb"
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

const (
	ada      = "ada@example.com"
	password = "correct horse"
)

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, now: start}
	dir := t.TempDir()
	writeKey(t, dir, "k.pem", start.Add(-time.Hour))
	f.actors = &actors{t: t, clock: &f.now, states: map[string]*account.State{}, keys: map[string]*apikey.State{}, roster: roster.New(roster.ID)}
	tokens := NewTokens(loadKeys(t, dir), TokenOptions{})
	f.Accounts = NewAccounts(f.actors, tokens, newPasswords(2, 10, cheap), []byte("0123456789abcdef0123456789abcdef"), func() time.Time { return f.now })
	f.failedAt = 0 // nobody waits for these tests
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

const (
	invalid        = commonpb.Reason_REASON_INVALID
	badCredentials = commonpb.Reason_REASON_BAD_CREDENTIALS
	throttled      = commonpb.Reason_REASON_THROTTLED
	notFound       = commonpb.Reason_REASON_NOT_FOUND
	weakPassword   = commonpb.Reason_REASON_WEAK_PASSWORD
)

func TestRegisterAndLogIn(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		t.Run(fmt.Sprint("each command twice: ", repeat), func(t *testing.T) {
			f := newFixture(t)
			f.actors.repeat = repeat
			ctx := t.Context()
			s := f.session(f.Register(ctx, " Ada@Example.com ", password, "Ada"))
			if s.User.Email != ada || s.User.Id != account.ID(f.secret, ada) || s.User.Name != "Ada" {
				t.Fatalf("user %v", s.User)
			}
			_, r, err := f.Register(ctx, ada, "another password", "")
			refused(t, r, err, commonpb.Reason_REASON_EMAIL_TAKEN, "email")
			_, r, err = f.LogIn(ctx, ada, "another password")
			refused(t, r, err, badCredentials)
			in := f.session(f.LogIn(ctx, "ADA@example.com", password))
			if in.RefreshToken == s.RefreshToken || in.AccessToken == s.AccessToken {
				t.Fatal("two sessions share a token")
			}
			next := f.session(f.Refresh(ctx, in.RefreshToken))
			f.session(f.Refresh(ctx, s.RefreshToken)) // the other session goes on
			last := f.session(f.Refresh(ctx, next.RefreshToken))
			r, err = f.LogOut(ctx, last.RefreshToken, false)
			if r != nil || err != nil {
				t.Fatal(r, err)
			}
			_, r, err = f.Refresh(ctx, last.RefreshToken)
			refused(t, r, err, badCredentials, "refreshToken")
		})
	}
}

func TestInputThatReachesNoActor(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := f.registered()
	f.actors.asked()
	long := strings.Repeat("p", 73)
	for _, tc := range []struct {
		name   string
		do     func() (*commonpb.Refusal, error)
		reason commonpb.Reason
		field  []string
	}{
		{"register: address", func() (*commonpb.Refusal, error) { _, r, err := f.Register(ctx, "ada", password, ""); return r, err }, invalid, []string{"email"}},
		{"register: NUL", func() (*commonpb.Refusal, error) {
			_, r, err := f.Register(ctx, "a\x00@example.com", password, "")
			return r, err
		}, invalid, []string{"email"}},
		{"register: weak", func() (*commonpb.Refusal, error) { _, r, err := f.Register(ctx, ada, "password", ""); return r, err }, weakPassword, []string{"password"}},
		{"register: 73 bytes", func() (*commonpb.Refusal, error) { _, r, err := f.Register(ctx, ada, long, ""); return r, err }, invalid, []string{"password"}},
		{"log in: address", func() (*commonpb.Refusal, error) { _, r, err := f.LogIn(ctx, "@", password); return r, err }, invalid, []string{"email"}},
		{"log in: 73 bytes", func() (*commonpb.Refusal, error) { _, r, err := f.LogIn(ctx, ada, long); return r, err }, invalid, []string{"password"}},
		{"refresh: empty", func() (*commonpb.Refusal, error) { _, r, err := f.Refresh(ctx, ""); return r, err }, badCredentials, []string{"refreshToken"}},
		{"refresh: an access token", func() (*commonpb.Refusal, error) { _, r, err := f.Refresh(ctx, s.AccessToken); return r, err }, badCredentials, []string{"refreshToken"}},
		{"refresh: 10 KB", func() (*commonpb.Refusal, error) {
			_, r, err := f.Refresh(ctx, "rt_"+strings.Repeat("A", 10_000))
			return r, err
		}, badCredentials, []string{"refreshToken"}},
		{"log out: made up", func() (*commonpb.Refusal, error) {
			return f.LogOut(ctx, "rt_"+strings.Repeat("A", len(s.RefreshToken)-3), true)
		}, badCredentials, []string{"refreshToken"}},
		{"get: no id", func() (*commonpb.Refusal, error) { _, r, err := f.Get(ctx, "usr_$../x"); return r, err }, notFound, []string{"userId"}},
		{"roles: no id", func() (*commonpb.Refusal, error) {
			_, r, err := f.SetRoles(ctx, s.User.Id, "sku/1", nil)
			return r, err
		}, notFound, []string{"userId"}},
		{"password: no id", func() (*commonpb.Refusal, error) {
			_, r, err := f.ChangePassword(ctx, "", password, "another one")
			return r, err
		}, notFound, []string{"userId"}},
		{"admin: address", func() (*commonpb.Refusal, error) { _, r, err := f.EnsureAdmin(ctx, "root", password); return r, err }, invalid, []string{"email"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := tc.do()
			refused(t, r, err, tc.reason, tc.field...)
			if asked := f.actors.asked(); len(asked) != 0 {
				t.Fatalf("asked an actor: %v", asked)
			}
		})
	}
}

// Whoever watches how an unknown address is treated sees what a wrong password gets.
func TestUnknownAddressesLookLikeKnownOnes(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.registered()
	f.actors.asked()
	for i := range account.FailedLogInsBeforeLock + 3 {
		_, known, err := f.LogIn(ctx, ada, "a wrong password")
		if err != nil {
			t.Fatal(err)
		}
		ofKnown := f.actors.asked()
		_, unknown, err := f.LogIn(ctx, "nobody@example.com", "a wrong password")
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "refusal", unknown, known)
		wantEqual(t, "asked", f.actors.asked(), ofKnown)
		want := badCredentials
		if i >= account.FailedLogInsBeforeLock {
			want = throttled
		}
		if known.Reason != want {
			t.Fatalf("try %d: %v, want %v", i+1, known, want)
		}
	}
	_, r, err := f.LogIn(ctx, ada, password)
	if refused(t, r, err, throttled).RetryAfterMs != account.FirstLock.Milliseconds() {
		t.Fatalf("retry after %d", r.RetryAfterMs)
	}
	f.now = f.now.Add(account.FirstLock)
	f.session(f.LogIn(ctx, ada, password))
	_, r, err = f.LogIn(ctx, "nobody@example.com", password)
	refused(t, r, err, badCredentials)
	_, r, err = f.LogIn(ctx, "nobody@example.com", password)
	if refused(t, r, err, throttled).RetryAfterMs != 2*account.FirstLock.Milliseconds() {
		t.Fatalf("retry after %d", r.RetryAfterMs)
	}
	f.session(f.Register(ctx, "nobody@example.com", password, "")) // and they may register all the same
	f.session(f.LogIn(ctx, "nobody@example.com", password))
}

func TestARefreshTokenUsedAgainEndsTheSession(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	first := f.registered()
	other := f.session(f.LogIn(ctx, ada, password))
	latest := first
	for range 5 {
		latest = f.session(f.Refresh(ctx, latest.RefreshToken))
	}
	_, r, err := f.Refresh(ctx, first.RefreshToken) // however old
	refused(t, r, err, badCredentials, "refreshToken")
	_, r, err = f.Refresh(ctx, latest.RefreshToken)
	refused(t, r, err, badCredentials, "refreshToken")
	f.session(f.Refresh(ctx, other.RefreshToken))
}

func TestRefreshTokensExpire(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := f.registered()
	f.now = f.now.Add(RefreshLifetime - time.Millisecond)
	s = f.session(f.Refresh(ctx, s.RefreshToken)) // good for 30 days again
	f.now = f.now.Add(RefreshLifetime)
	_, r, err := f.Refresh(ctx, s.RefreshToken)
	refused(t, r, err, badCredentials, "refreshToken")
}

func TestRefreshTokensCannotBeMadeUp(t *testing.T) {
	f := newFixture(t)
	s := f.registered()
	token := s.RefreshToken
	for i := len("rt_"); i < len(token); i++ {
		for _, c := range []string{"A", "B"} {
			changed := token[:i] + c + token[i+1:]
			if _, ok := f.refresh.read(changed); ok != (changed == token) {
				t.Fatalf("changed at %d: read %v", i, ok)
			}
		}
	}
	if _, ok := newRefreshTokens([]byte("another secret")).read(token); ok {
		t.Fatal("read with another secret")
	}
	for _, bad := range []string{token + "=", token + "A", token[:len(token)-1], token[3:], "rt_" + strings.Repeat("=", len(token)-3), token[:50] + "\n" + token[50:]} {
		if _, ok := f.refresh.read(bad); ok {
			t.Fatalf("read %q", bad)
		}
	}
}

func TestLogOutEverywhere(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	a := f.registered()
	b := f.session(f.LogIn(ctx, ada, password))
	if r, err := f.LogOut(ctx, a.RefreshToken, false); r != nil || err != nil {
		t.Fatal(r, err)
	}
	if r, err := f.LogOut(ctx, a.RefreshToken, false); r != nil || err != nil {
		t.Fatal("to log out again is no error", r, err)
	}
	r, err := f.LogOut(ctx, a.RefreshToken, true) // what is over proves nothing
	refused(t, r, err, badCredentials, "refreshToken")
	f.session(f.LogIn(ctx, ada, password))
	if r, err := f.LogOut(ctx, b.RefreshToken, true); r != nil || err != nil {
		t.Fatal(r, err)
	}
	_, r, err = f.Refresh(ctx, b.RefreshToken)
	refused(t, r, err, badCredentials, "refreshToken")
}

func TestChangePassword(t *testing.T) {
	f := newFixture(t)
	f.actors.repeat = true
	ctx := t.Context()
	s := f.registered()
	id := s.User.Id
	for _, tc := range []struct {
		name, current, next string
		reason              commonpb.Reason
		field               string
	}{
		{"wrong", "not the password", "a new password", badCredentials, "current"},
		{"current too long", strings.Repeat("p", 73), "a new password", invalid, "current"},
		{"weak", password, "password1", weakPassword, "new"},
		{"too long", password, strings.Repeat("p", 73), invalid, "new"},
		{"the same", password, password, weakPassword, "new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, r, err := f.ChangePassword(ctx, id, tc.current, tc.next)
			refused(t, r, err, tc.reason, tc.field)
		})
	}
	changed := f.session(f.ChangePassword(ctx, id, password, "a new password"))
	_, r, err := f.Refresh(ctx, s.RefreshToken)
	refused(t, r, err, badCredentials, "refreshToken")
	f.session(f.Refresh(ctx, changed.RefreshToken))
	_, r, err = f.LogIn(ctx, ada, password)
	refused(t, r, err, badCredentials)
	f.session(f.LogIn(ctx, ada, "a new password"))

	for range account.FailedLogInsBeforeLock {
		_, r, err = f.ChangePassword(ctx, id, "not the password", "a newer password")
		refused(t, r, err, badCredentials, "current")
	}
	_, r, err = f.ChangePassword(ctx, id, "a new password", "a newer password")
	refused(t, r, err, throttled)
	_, r, err = f.ChangePassword(ctx, account.ID(f.secret, "nobody@example.com"), password, "a new password")
	refused(t, r, err, notFound, "userId")
}

func TestProfileAndRoles(t *testing.T) {
	f := newFixture(t)
	f.actors.repeat = true
	ctx := t.Context()
	s := f.registered()
	id := s.User.Id
	root, r, err := f.EnsureAdmin(ctx, "root@example.com", password)
	if r != nil || err != nil {
		t.Fatal(r, err)
	}
	u, r, err := f.UpdateProfile(ctx, id, proto.String("Countess"), s.User.Version)
	if r != nil || err != nil || u.Name != "Countess" {
		t.Fatal(u, r, err)
	}
	_, r, err = f.UpdateProfile(ctx, id, proto.String("x"), 1)
	if refused(t, r, err, commonpb.Reason_REASON_VERSION_CONFLICT, "ifVersion").CurrentVersion != u.Version {
		t.Fatal(r)
	}
	u, r, err = f.SetRoles(ctx, root.Id, id, []accountpb.Role{accountpb.Role_ROLE_STAFF})
	if r != nil || err != nil {
		t.Fatal(r, err)
	}
	got, r, err := f.Get(ctx, id)
	if r != nil || err != nil {
		t.Fatal(r, err)
	}
	wantEqual(t, "user", got, u)
	next := f.session(f.Refresh(ctx, s.RefreshToken)) // the next access token has the new roles
	claims, err := f.tokens.Verify(next.AccessToken, f.now)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "roles", claims.Roles, []Role{Customer, Staff})
	_, r, err = f.SetRoles(ctx, root.Id, account.ID(f.secret, "nobody@example.com"), nil)
	refused(t, r, err, notFound, "userId")
}

func TestEnsureAdmin(t *testing.T) {
	all := []accountpb.Role{1, 2, 3}
	t.Run("made", func(t *testing.T) {
		f := newFixture(t)
		for range 2 {
			u, r, err := f.EnsureAdmin(t.Context(), "Admin@stampede.test", password)
			if r != nil || err != nil || u.Version != 2 { // made, and counted
				t.Fatal(u, r, err)
			}
			wantEqual(t, "roles", u.Roles, all)
		}
		f.session(f.LogIn(t.Context(), "admin@stampede.test", password))
		_, r, err := f.EnsureAdmin(t.Context(), "root@stampede.test", "12345678")
		refused(t, r, err, weakPassword, "password")
	})
	t.Run("of somebody", func(t *testing.T) {
		f := newFixture(t)
		f.registered()
		u, r, err := f.EnsureAdmin(t.Context(), ada, "another password")
		if r != nil || err != nil {
			t.Fatal(r, err)
		}
		wantEqual(t, "roles", u.Roles, all)
		f.session(f.LogIn(t.Context(), ada, password)) // the password stays
	})
	t.Run("by two nodes at once", func(t *testing.T) {
		f := newFixture(t)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if u, r, err := f.EnsureAdmin(t.Context(), ada, password); r != nil || err != nil || !slices.Equal(u.Roles, all) {
					t.Error(u, r, err)
				}
			})
		}
		both.Wait()
	})
}

func TestFaultsArePassedOn(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := f.registered()
	calls := map[string]func() (*commonpb.Refusal, error){
		"Register": func() (*commonpb.Refusal, error) {
			_, r, err := f.Register(ctx, "b@example.com", password, "")
			return r, err
		},
		"LogIn":   func() (*commonpb.Refusal, error) { _, r, err := f.LogIn(ctx, ada, password); return r, err },
		"Refresh": func() (*commonpb.Refusal, error) { _, r, err := f.Refresh(ctx, s.RefreshToken); return r, err },
		"LogOut":  func() (*commonpb.Refusal, error) { return f.LogOut(ctx, s.RefreshToken, false) },
		"ChangePassword": func() (*commonpb.Refusal, error) {
			_, r, err := f.ChangePassword(ctx, s.User.Id, password, "a new password")
			return r, err
		},
		"UpdateProfile": func() (*commonpb.Refusal, error) { _, r, err := f.UpdateProfile(ctx, s.User.Id, nil, 0); return r, err },
		"SetRoles":      func() (*commonpb.Refusal, error) { _, r, err := f.SetRoles(ctx, "", s.User.Id, nil); return r, err },
		"Get":           func() (*commonpb.Refusal, error) { _, r, err := f.Get(ctx, s.User.Id); return r, err },
		"EnsureAdmin":   func() (*commonpb.Refusal, error) { _, r, err := f.EnsureAdmin(ctx, ada, password); return r, err },
	}
	for name, do := range calls {
		t.Run(name, func(t *testing.T) {
			f.actors.fail, f.actors.reply = entity.ErrUnavailable, nil
			if r, err := do(); r != nil || !errors.Is(err, entity.ErrUnavailable) {
				t.Errorf("%v, %v", r, err)
			} else {
				requireNoSecret(t, s, err.Error())
			}
			f.actors.fail, f.actors.reply = nil, &orderpb.OrderReply{}
			if r, err := do(); r != nil || !errors.Is(err, ErrReply) {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
}

func TestBusyPasswordsAreAFault(t *testing.T) {
	f := newFixture(t)
	f.registered()
	f.passwords = newPasswords(1, 0, cheap)
	f.passwords.working <- struct{}{}
	for name, do := range map[string]func() error{
		"Register":    func() error { _, _, err := f.Register(t.Context(), "b@example.com", password, ""); return err },
		"LogIn":       func() error { _, _, err := f.LogIn(t.Context(), ada, password); return err },
		"stranger":    func() error { _, _, err := f.LogIn(t.Context(), "b@example.com", password); return err },
		"EnsureAdmin": func() error { _, _, err := f.EnsureAdmin(t.Context(), "b@example.com", password); return err },
	} {
		if err := do(); !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Neither commands nor events carry what would let their reader in.
func TestSecretsStayHere(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := f.registered()
	next := f.session(f.Refresh(ctx, s.RefreshToken))
	f.session(f.LogIn(ctx, ada, password))
	f.session(f.ChangePassword(ctx, s.User.Id, password, "a new password"))
	if _, err := f.LogOut(ctx, next.RefreshToken, true); err != nil {
		t.Fatal(err)
	}
	if len(f.actors.stored) < 5 {
		t.Fatalf("%d events", len(f.actors.stored))
	}
	texts := slices.Clone(f.actors.stored)
	for _, cmd := range f.actors.log {
		b, err := proto.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b)
	}
	for _, secret := range []string{password, "a new password", s.RefreshToken[3:], next.RefreshToken[3:], s.AccessToken} {
		if bytes.Contains(bytes.Join(texts, nil), []byte(secret)) {
			t.Errorf("%q is told to an actor", secret)
		}
	}
}

func requireNoSecret(t *testing.T, s *Session, text string) {
	t.Helper()
	for _, secret := range []string{password, "a new password", ada, "b@example.com", s.RefreshToken, s.AccessToken, "$argon2id"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q tells %q", text, secret)
		}
	}
}

func TestNoSecretNoAccounts(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("account ids would not be keyed")
		}
	}()
	NewAccounts(nil, nil, nil, nil, time.Now)
}

func TestStrangersAreBounded(t *testing.T) {
	s := newStrangers()
	for i := range maxStrangers + 10 {
		s.fail(fmt.Sprint(i), start)
	}
	if n := s.failed.Len(); n != maxStrangers {
		t.Fatalf("%d remembered", n)
	}
}
