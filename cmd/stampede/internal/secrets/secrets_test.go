package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/secrets"
)

const name = "stampede-node"

func TestEnsureMakesWhatIsMissingAndKeepsTheRest(t *testing.T) {
	directory, now := filepath.Join(t.TempDir(), "deep", "secrets"), time.Now()
	first, err := secrets.Ensure(directory, name, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Made) != 5 {
		t.Errorf("made %q, want five", first.Made)
	}
	password, err := first.ReadPassword()
	if err != nil || len(password) < 20 {
		t.Errorf("password of %d bytes: %v", len(password), err)
	}
	for _, file := range []string{first.CA, first.Cert, first.Key, first.Password} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	before, err := os.ReadFile(first.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(first.Password); err != nil {
		t.Fatal(err)
	}
	second, err := secrets.Ensure(directory, name, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(first.Cert)
	if err != nil || string(after) != string(before) {
		t.Errorf("the certificate was made anew (%v)", err)
	}
	if len(second.Made) != 1 || second.Made[0] != second.Password || !second.Until.Equal(first.Until.Truncate(time.Second)) {
		t.Errorf("made %q, valid until %v, want %v", second.Made, second.Until, first.Until)
	}
	if other, err := second.ReadPassword(); err != nil || other == password {
		t.Errorf("the new password is the old one (%v)", err)
	}
}

// A certificate that nodes would refuse is refused before there are any.
func TestEnsureRefusesACertificateOfNoUse(t *testing.T) {
	for what, spoil := range map[string]func(*testing.T, *secrets.Set) (string, time.Duration){
		"one that has run out": func(*testing.T, *secrets.Set) (string, time.Duration) { return name, secrets.ValidFor },
		"another name":         func(*testing.T, *secrets.Set) (string, time.Duration) { return "other", 0 },
		"half of it": func(t *testing.T, s *secrets.Set) (string, time.Duration) {
			if err := os.Remove(s.Key); err != nil {
				t.Fatal(err)
			}
			return name, 0
		},
		"no certificate": func(t *testing.T, s *secrets.Set) (string, time.Duration) {
			if err := os.WriteFile(s.Cert, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			return name, 0
		},
		"another authority": func(t *testing.T, s *secrets.Set) (string, time.Duration) {
			other, err := secrets.Ensure(t.TempDir(), name, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other.CA, s.CA); err != nil {
				t.Fatal(err)
			}
			return name, 0
		},
	} {
		t.Run(what, func(t *testing.T) {
			directory, now := t.TempDir(), time.Now()
			made, err := secrets.Ensure(directory, name, now)
			if err != nil {
				t.Fatal(err)
			}
			serverName, later := spoil(t, made)
			if _, err := secrets.Ensure(directory, serverName, now.Add(later)); !errors.Is(err, secrets.ErrCertificate) {
				t.Errorf("got %v", err)
			}
		})
	}
}
