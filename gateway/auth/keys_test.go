package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0).UTC()

// writeKey puts a key file into the directory that was modified at that time.
func writeKey(t *testing.T, dir, name string, modified time.Time) ed25519.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
	return public
}

func loadKeys(t testing.TB, dir string) *Keys {
	t.Helper()
	k, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLoadKeysMakesAKeyOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "keys")
	first := loadKeys(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("directory: %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Ext(files[0].Name()) != ".pem" {
		t.Fatalf("key file %s: %v, %v", files[0].Name(), info.Mode(), err)
	}
	if again := loadKeys(t, dir); !bytes.Equal(again.JWKS(), first.JWKS()) {
		t.Fatal("loading again made another key")
	}
}

func TestSigner(t *testing.T) {
	dir := t.TempDir()
	writeKey(t, dir, "z-old.pem", start.Add(-2*time.Hour))
	writeKey(t, dir, "b.pem", start.Add(-time.Hour))
	writeKey(t, dir, "c.pem", start.Add(-time.Hour))
	writeKey(t, dir, "a-future.pem", start.Add(time.Hour))
	writeKey(t, dir, "y-future.pem", start.Add(2*time.Hour))
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := loadKeys(t, dir).set.Load()
	for _, tc := range []struct {
		now  time.Time
		want string
	}{
		{start, "c"}, // of two equally old ones the last by name
		{start.Add(time.Hour), "a-future"},
		{start.Add(24 * time.Hour), "y-future"},
		{start.Add(-90 * time.Minute), "z-old"},
		{start.Add(-24 * time.Hour), "z-old"}, // a clock that is behind: the first to come
	} {
		if got := set.signer(tc.now).id; got != tc.want {
			t.Errorf("at %v %s signs, want %s", tc.now, got, tc.want)
		}
	}
	if len(set.byID) != 5 {
		t.Errorf("%d keys verify, want 5", len(set.byID))
	}
}

func TestJWKS(t *testing.T) {
	dir := t.TempDir()
	public := writeKey(t, dir, "2026-01.pem", start)
	var got any
	if err := json.Unmarshal(loadKeys(t, dir).JWKS(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "kid": "2026-01", "use": "sig", "alg": "EdDSA", "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	wantEqual(t, "JWKS", got, want)
}

func TestKeysAreReloaded(t *testing.T) {
	dir := t.TempDir()
	writeKey(t, dir, "old.pem", start.Add(-time.Hour))
	keys := loadKeys(t, dir)
	tokens := NewTokens(keys, TokenOptions{})
	token, _, err := tokens.Issue("usr_a", []Role{Customer}, start)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(want error) {
		t.Helper()
		if _, err := tokens.Verify(token, start); !errors.Is(err, want) {
			t.Fatalf("verify: %v, want %v", err, want)
		}
	}
	verify(nil)
	writeKey(t, dir, "new.pem", start)
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	verify(nil)
	if id := keys.set.Load().signer(start).id; id != "new" {
		t.Fatalf("%s signs", id)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.pem"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "old.pem")); err != nil {
		t.Fatal(err)
	}
	if err := keys.Reload(); err == nil {
		t.Fatal("a bad file was taken")
	}
	verify(nil) // the keys stayed as they were
	if err := os.Remove(filepath.Join(dir, "bad.pem")); err != nil {
		t.Fatal(err)
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	verify(ErrTokenKey) // though it was verified before
}

func TestBadKeyFiles(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"rsa.pem":                        pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"empty.pem":                      nil,
		"text.pem":                       []byte("supersecret"),
		"broken.pem":                     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("supersecret")}),
		"other.pem":                      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"a b.pem":                        nil,
		strings.Repeat("n", 65) + ".pem": nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeKey(t, dir, "good.pem", start)
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKeys(dir)
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "supersecret") {
				t.Fatalf("the error must name the file and not tell what is in it: %v", err)
			}
		})
	}
	t.Run("too many", func(t *testing.T) {
		dir := t.TempDir()
		for i := range maxKeys + 1 {
			writeKey(t, dir, strings.Repeat("k", i%64+1)+string(rune('a'+i/64))+".pem", start)
		}
		if _, err := LoadKeys(dir); err == nil {
			t.Fatal("taken")
		}
	})
	t.Run("a directory that is a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeys(path); err == nil {
			t.Fatal("taken")
		}
	})
}

// A secret's file is its owner's alone, and what is there is never replaced.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "secret.pem")
	if err := writeSecretFile(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := writeSecretFile(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over one that is there: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("it holds %q, %v", got, err)
	}
	for of, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(of); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", of, info, err, want)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
