package auth

// Refresh tokens: used again, expired, made up, and log-out.

import (
	"strings"
	"testing"
	"time"
)

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
