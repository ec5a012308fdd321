package auth

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/accountpb"
)

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

type object = map[string]any

func segment(t testing.TB, v any) string {
	t.Helper()
	if raw, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(raw))
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// forged signs anything with a key, as somebody who has it could.
func forged(t testing.TB, key *signingKey, header, payload any) string {
	t.Helper()
	text := segment(t, header) + "." + segment(t, payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key.private, []byte(text)))
}

func with(o object, name string, value any) object {
	out := maps.Clone(o)
	out[name] = value
	return out
}

func without(o object, name string) object {
	out := maps.Clone(o)
	delete(out, name)
	return out
}

func TestIssueAndVerify(t *testing.T) {
	keys := loadKeys(t, t.TempDir())
	tokens := NewTokens(keys, TokenOptions{})
	now := start.Add(987 * time.Millisecond)
	token, expires, err := tokens.Issue("usr_a", []Role{Customer, Operator}, now)
	if err != nil {
		t.Fatal(err)
	}
	if !expires.Equal(start.Add(15 * time.Minute)) {
		t.Fatalf("expires at %v", expires)
	}
	var header, payload object
	parts := strings.Split(token, ".")
	for i, into := range []*object{&header, &payload} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, "header", header, object{"alg": "EdDSA", "typ": "at+jwt", "kid": keys.set.Load().newestFirst[0].id})
	if id, _ := payload["jti"].(string); len(id) != 22 {
		t.Fatalf("jti %q", id)
	}
	wantEqual(t, "payload", without(payload, "jti"), object{
		"iss": "stampede", "aud": []any{"stampede-api"}, "sub": "usr_a", "iat": float64(start.Unix()), "exp": float64(start.Unix() + 900),
		"roles": []any{"CUSTOMER", "OPERATOR"},
	})
	want := Claims{UserID: "usr_a", Roles: []Role{Customer, Operator}, ExpiresAt: expires}
	for _, at := range []time.Time{now, now, start.Add(-ClockLeeway), expires.Add(-1)} {
		got, err := tokens.Verify(token, at)
		if err != nil || !got.ExpiresAt.Equal(want.ExpiresAt) {
			t.Fatalf("at %v: %v, %v", at, got, err)
		}
		got.ExpiresAt = want.ExpiresAt
		wantEqual(t, "claims", got, want)
	}
	for range 2 { // from the cache and, when it is gone from there, anew
		if _, err := tokens.Verify(token, expires); !errors.Is(err, ErrTokenExpired) || !errors.Is(err, ErrToken) {
			t.Fatalf("when expired: %v", err)
		}
	}
	if tokens.verified.Len() != 0 {
		t.Fatal("an expired token is still remembered")
	}
}

func TestHostileTokens(t *testing.T) {
	dir := t.TempDir()
	writeKey(t, dir, "ours.pem", start.Add(-time.Hour))
	keys := loadKeys(t, dir)
	otherDir := t.TempDir()
	writeKey(t, otherDir, "ours.pem", start.Add(-time.Hour)) // of the same name
	writeKey(t, otherDir, "theirs.pem", start.Add(-time.Hour))
	ours, other := keys.set.Load().byID["ours"], loadKeys(t, otherDir).set.Load().byID
	tokens := NewTokens(keys, TokenOptions{})

	header := object{"alg": "EdDSA", "typ": "at+jwt", "kid": "ours"}
	payload := object{
		"iss": Issuer, "aud": Audience, "sub": "usr_a", "iat": start.Unix(), "exp": start.Add(TokenLifetime).Unix(), "roles": []string{"CUSTOMER"},
	}
	in := func(d time.Duration) int64 { return start.Add(d).Unix() }
	sign := func(h, p any) string { return forged(t, ours, h, p) }
	good := sign(header, payload)
	parts := strings.Split(good, ".")
	refresh, _ := newRefreshTokens([]byte("secret")).issue("usr_aaaaaaaaaaaaaaaaaaaaaaaaaa", "")
	hs256 := func() string {
		text := segment(t, with(header, "alg", "HS256")) + "." + parts[1]
		mac := hmac.New(sha256.New, ours.public)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	swapped := "A"
	if parts[2][10] == 'A' {
		swapped = "B"
	}
	flipped := parts[2][:10] + swapped + parts[2][11:]

	for _, tc := range []struct {
		name  string
		token string
		want  error // nil: taken
	}{
		{"a good one", good, nil},
		{"a good one, a list of audiences", sign(header, with(payload, "aud", []string{"x", Audience})), nil},
		{"issued a little ahead of our clock", sign(header, with(payload, "iat", in(ClockLeeway))), nil},

		{"empty", "", ErrTokenMalformed},
		{"two dots", "..", ErrTokenMalformed},
		{"text", "hello", ErrTokenMalformed},
		{"a refresh token", refresh, ErrTokenMalformed},
		{"10 KB", sign(header, with(payload, "x", strings.Repeat("x", 10_000))), ErrTokenTooLarge},
		{"10 KB of dots", strings.Repeat(".", 10_000), ErrTokenTooLarge},
		{"four parts", good + ".x", ErrTokenMalformed},
		{"padded", good + "=", ErrTokenMalformed},
		{"header that is no JSON", sign("{", payload), ErrTokenMalformed},
		{"payload that is no JSON", sign(header, "{"), ErrTokenMalformed},
		{"payload null", sign(header, "null"), ErrTokenClaims},
		{"payload with a number for a name", sign(header, with(payload, "sub", 7)), ErrTokenMalformed},

		{"alg none", segment(t, with(header, "alg", "none")) + "." + parts[1] + ".", ErrTokenSignature},
		{"alg None", segment(t, with(header, "alg", "None")) + "." + parts[1] + ".", ErrTokenHeader},
		{"alg missing", sign(without(header, "alg"), payload), ErrTokenHeader},
		{"HS256 with the public key", hs256(), ErrTokenSignature},
		{"another algorithm's name", sign(with(header, "alg", "ES256"), payload), ErrTokenSignature},
		{"typ JWT", sign(with(header, "typ", "JWT"), payload), ErrTokenHeader},
		{"typ of a refresh token", sign(with(header, "typ", "rt+jwt"), payload), ErrTokenHeader},
		{"typ missing", sign(without(header, "typ"), payload), ErrTokenHeader},
		{"crit", sign(with(header, "crit", []string{"exp"}), payload), ErrTokenHeader},
		{"crit null", sign(with(header, "crit", nil), payload), ErrTokenHeader},
		{"kid missing", sign(without(header, "kid"), payload), ErrTokenKey},
		{"kid a number", sign(with(header, "kid", 1), payload), ErrTokenKey},
		{"kid a path", sign(with(header, "kid", "../ours"), payload), ErrTokenKey},
		{"kid of someone else", forged(t, other["theirs"], with(header, "kid", "theirs"), payload), ErrTokenKey},
		{"someone else's key under our name", forged(t, other["ours"], header, payload), ErrTokenSignature},
		{"its own key in the header", forged(t, other["ours"], with(header, "jwk", object{"kty": "OKP"}), payload), ErrTokenSignature},

		{"payload changed", parts[0] + "." + segment(t, with(payload, "roles", []string{"OPERATOR"})) + "." + parts[2], ErrTokenSignature},
		{"signature changed", parts[0] + "." + parts[1] + "." + flipped, ErrTokenSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrTokenSignature},

		{"iss missing", sign(header, without(payload, "iss")), ErrTokenClaims},
		{"iss of someone else", sign(header, with(payload, "iss", "stampede2")), ErrTokenClaims},
		{"aud missing", sign(header, without(payload, "aud")), ErrTokenClaims},
		{"aud of someone else", sign(header, with(payload, "aud", "stampede")), ErrTokenClaims},
		{"sub missing", sign(header, without(payload, "sub")), ErrTokenClaims},
		{"sub empty", sign(header, with(payload, "sub", "")), ErrTokenClaims},
		{"sub with a NUL", sign(header, with(payload, "sub", "usr\x00a")), ErrTokenClaims},
		{"sub too long", sign(header, with(payload, "sub", strings.Repeat("a", 129))), ErrTokenClaims},
		{"exp missing", sign(header, without(payload, "exp")), ErrTokenClaims},
		{"exp null", sign(header, with(payload, "exp", nil)), ErrTokenClaims},
		{"exp a text", sign(header, with(payload, "exp", "tomorrow")), ErrTokenMalformed},
		{"exp passed", sign(header, with(with(payload, "exp", in(0)), "iat", in(-TokenLifetime))), ErrTokenExpired},
		{"exp in ten years", sign(header, with(payload, "exp", in(10*365*24*time.Hour))), ErrTokenClaims},
		{"exp a little too far", sign(header, with(payload, "exp", in(TokenLifetime+ClockLeeway+time.Second))), ErrTokenClaims},
		{"exp beyond all time", sign(header, strings.Replace(mustJSON(t, with(payload, "exp", 7)), `"exp":7`, `"exp":1e18`, 1)), ErrTokenClaims},
		{"exp too large a number", sign(header, strings.Replace(mustJSON(t, with(payload, "exp", 7)), `"exp":7`, `"exp":1e400`, 1)), ErrTokenMalformed},
		{"iat missing", sign(header, without(payload, "iat")), ErrTokenClaims},
		{"iat to come", sign(header, with(with(payload, "iat", in(time.Minute)), "exp", in(10*time.Minute))), ErrTokenClaims},
		{"nbf to come", sign(header, with(payload, "nbf", in(time.Minute))), ErrTokenClaims},
		{"roles missing", sign(header, without(payload, "roles")), ErrTokenClaims},
		{"roles empty", sign(header, with(payload, "roles", []string{})), ErrTokenClaims},
		{"a role we do not know", sign(header, with(payload, "roles", []string{"CUSTOMER", "ROOT"})), ErrTokenClaims},
		{"roles a text", sign(header, with(payload, "roles", "OPERATOR")), ErrTokenMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 2 { // the second time, it may have been remembered
				_, err := tokens.Verify(tc.token, start)
				if !errors.Is(err, tc.want) || tc.want != nil && !errors.Is(err, ErrToken) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
			}
		})
	}
	if n := tokens.verified.Len(); n != 3 {
		t.Fatalf("%d tokens are remembered, want the 3 good ones", n)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheCacheIsBounded(t *testing.T) {
	tokens := NewTokens(loadKeys(t, t.TempDir()), TokenOptions{CacheSize: 3})
	for i := range 10 {
		token, _, err := tokens.Issue(fmt.Sprint("usr_", i), []Role{Customer}, start)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := tokens.Verify(token, start); err != nil || c.UserID != fmt.Sprint("usr_", i) {
			t.Fatalf("%v, %v", c, err)
		}
	}
	if n := tokens.verified.Len(); n != 3 {
		t.Fatalf("%d remembered", n)
	}
}

func TestRolesOf(t *testing.T) {
	got := RolesOf([]accountpb.Role{accountpb.Role_ROLE_CUSTOMER, accountpb.Role_ROLE_STAFF, accountpb.Role_ROLE_OPERATOR, 0, 9})
	wantEqual(t, "roles", got, []Role{Customer, Staff, Operator})
}

func BenchmarkVerify(b *testing.B) {
	tokens := NewTokens(loadKeys(b, b.TempDir()), TokenOptions{})
	now := time.Now()
	token, _, err := tokens.Issue("usr_aaaaaaaaaaaaaaaaaaaaaaaaaa", []Role{Customer}, now)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tokens.Verify(token, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tokens.verify(token, tokens.keys.set.Load(), now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
