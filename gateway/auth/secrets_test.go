package auth

// What must not get out, and what goes wrong.

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

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
	f.passwords = NewPasswords(1, 0, cheap)
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
