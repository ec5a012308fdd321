package auth

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

const (
	staffRole    = accountpb.Role_ROLE_STAFF
	operatorRole = accountpb.Role_ROLE_OPERATOR
	forbidden    = commonpb.Reason_REASON_FORBIDDEN
)

func (f *fixture) root() string {
	f.t.Helper()
	u, r, err := f.EnsureAdmin(f.t.Context(), "root@example.com", password)
	if r != nil || err != nil {
		f.t.Fatal(r, err)
	}
	return u.Id
}

func (f *fixture) key(by string, expires time.Time, roles ...accountpb.Role) (id, secret string) {
	f.t.Helper()
	key, secret, r, err := f.CreateAPIKey(f.t.Context(), by, "warehouse", roles, expires)
	if r != nil || err != nil {
		f.t.Fatal(r, err)
	}
	return key.Id, secret
}

func TestAPIKeyLife(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	root := f.root()
	expires := f.now.Add(time.Hour)
	id, secret := f.key(root, expires, staffRole)
	claims, err := f.AuthenticateAPIKey(ctx, secret)
	if err != nil || claims.UserID != id || !slices.Equal(claims.Roles, []Role{Staff}) || !claims.ExpiresAt.Equal(expires) {
		t.Fatalf("%+v, %v", claims, err)
	}
	f.now = expires
	if _, err := f.AuthenticateAPIKey(ctx, secret); !errors.Is(err, ErrAPIKey) {
		t.Fatalf("expired: %v", err)
	}
	id, secret = f.key(root, time.Time{}, staffRole)
	if claims, err := f.AuthenticateAPIKey(ctx, secret); err != nil || !claims.ExpiresAt.IsZero() {
		t.Fatalf("%+v, %v", claims, err)
	}
	for range 2 {
		if key, r, err := f.RevokeAPIKey(ctx, root, id); r != nil || err != nil || key.RevokedAtMs == 0 {
			t.Fatal(key, r, err)
		}
		if _, err := f.AuthenticateAPIKey(ctx, secret); !errors.Is(err, ErrAPIKey) {
			t.Fatalf("revoked: %v", err)
		}
	}
	for _, b := range f.actors.stored {
		if _, random, _ := strings.Cut(secret, "."); bytes.Contains(b, []byte(random)) {
			t.Fatal("the secret is stored")
		}
	}
}

// Whoever makes keys gives none more than they have at that moment.
func TestAPIKeyRolesAreThoseOfTheMaker(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	root, eve := f.root(), f.registered().User.Id
	operatorKey, _ := f.key(root, time.Time{}, operatorRole)
	staffKey, _ := f.key(operatorKey, time.Time{}, staffRole)
	for name, by := range map[string]string{"a customer": eve, "a staff key": staffKey, "nobody": "", "no such user": "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa", "no such key": "key_aaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		_, _, r, err := f.CreateAPIKey(ctx, by, "k", []accountpb.Role{accountpb.Role_ROLE_CUSTOMER}, time.Time{})
		if r.GetReason() != forbidden || err != nil {
			t.Errorf("made by %s: %v, %v", name, r, err)
		}
		if _, r, err := f.RevokeAPIKey(ctx, by, operatorKey); r.GetReason() != forbidden || err != nil {
			t.Errorf("revoked by %s: %v, %v", name, r, err)
		}
	}
	_, _, r, err := f.CreateAPIKey(ctx, root, "k", []accountpb.Role{operatorRole + 1}, time.Time{})
	refused(t, r, err, forbidden, "roles")
	_, _, r, err = f.CreateAPIKey(ctx, root, "k", nil, time.Time{})
	refused(t, r, err, invalid, "roles")
	if _, r, err := f.RevokeAPIKey(ctx, root, operatorKey); r != nil || err != nil {
		t.Fatal(r, err)
	}
	_, _, r, err = f.CreateAPIKey(ctx, operatorKey, "k", []accountpb.Role{staffRole}, time.Time{})
	refused(t, r, err, forbidden)
}

// What was not made here reaches no actor.
func TestMadeUpAPIKeys(t *testing.T) {
	f := newFixture(t)
	id, secret := f.key(f.root(), time.Time{}, staffRole)
	other, _ := f.key(f.root(), time.Time{}, staffRole)
	_, random, _ := strings.Cut(secret, ".")
	stranger := newAPIKeys([]byte("another shop's secret"))
	_, theirs := stranger.issue()
	f.actors.fail = errors.New("asked an actor")
	for name, s := range map[string]string{
		"empty": "", "id alone": id, "id and a dot": id + ".", "another id": other + "." + random, "cut": secret[:len(secret)-1], "longer": secret + "A",
		"padded": secret + "=", "another shop's": theirs, "changed": id + "." + other64(random[:1]) + random[1:], "changed tag": secret[:len(secret)-1] + other64(secret[len(secret)-1:]),
		"upper case id": strings.ToUpper(id) + "." + random, "no id": "." + random, "large": strings.Repeat("A", 1<<20), "a refresh token": "rt_" + random,
	} {
		if _, err := f.AuthenticateAPIKey(t.Context(), s); !errors.Is(err, ErrAPIKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.actors.fail = entity.ErrUnavailable
	if _, err := f.AuthenticateAPIKey(t.Context(), secret); errors.Is(err, ErrAPIKey) || !errors.Is(err, entity.ErrUnavailable) {
		t.Errorf("a fault looks like a bad key: %v", err)
	}
}

// other64 is another character of base64.
func other64(s string) string {
	if s == "A" {
		return "B"
	}
	return "A"
}
