package auth

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

const (
	ada      = "ada@example.com"
	password = "correct horse"
)

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

func TestStrangersAreBounded(t *testing.T) {
	s := newStrangers()
	for i := range maxStrangers + 10 {
		s.fail(fmt.Sprint(i), start)
	}
	if n := s.failed.Len(); n != maxStrangers {
		t.Fatalf("%d remembered", n)
	}
}
