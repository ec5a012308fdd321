// Package auth is who a caller is: the keys that sign access tokens, the
// tokens, passwords, and the account operations that need them. What is true
// of an account is decided by its actor (actors/account); this package holds
// the secrets that an actor never sees and asks it.
package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	keyFileSuffix    = ".pem"
	keyFileBytes     = 16 << 10
	maxKeys          = 64
	maxKeyIDBytes    = 64
	pemBlockType     = "PRIVATE KEY"
	keyFileMode      = 0o600
	keyDirectoryMode = 0o700
)

// Keys are the Ed25519 keys in a directory: one PEM file (PKCS#8) each, its
// name without .pem being the key id. All verify. The one modified last signs,
// of equally old ones the last by name; a file with a modification time to come
// does not sign before it, so that a new key can be made known to all nodes
// first. Safe for use by several goroutines; at most 64 keys.
type Keys struct {
	directory string
	set       atomic.Pointer[keySet]
}

// keySet is the keys as they were read once. It is never changed.
type keySet struct {
	newestFirst []*signingKey
	byID        map[string]*signingKey
	jwks        []byte
}

type signingKey struct {
	id       string
	private  ed25519.PrivateKey
	public   ed25519.PublicKey
	modified time.Time
}

// LoadKeys reads the keys of a directory, and makes the directory and a key if
// there is none.
func LoadKeys(directory string) (*Keys, error) {
	k := &Keys{directory: directory}
	err := k.Reload()
	if errors.Is(err, errNoKeys) || errors.Is(err, os.ErrNotExist) {
		if err := makeKey(directory); err != nil {
			return nil, err
		}
		err = k.Reload()
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

var errNoKeys = errors.New("no signing keys")

// Reload reads the directory again. On an error the keys stay as they were.
// Tokens of keys that are gone are not accepted any more.
func (k *Keys) Reload() error {
	set, err := readKeys(k.directory)
	if err != nil {
		return err
	}
	k.set.Store(set)
	return nil
}

// JWKS is the public keys as a JSON Web Key Set (RFC 8037). It must not be changed.
func (k *Keys) JWKS() []byte { return k.set.Load().jwks }

// signer is the newest key that is not to come; if all are, the first to come.
func (s *keySet) signer(now time.Time) *signingKey {
	for _, key := range s.newestFirst {
		if !key.modified.After(now) {
			return key
		}
	}
	return s.newestFirst[len(s.newestFirst)-1]
}

func readKeys(directory string) (*keySet, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	set := &keySet{byID: map[string]*signingKey{}}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), keyFileSuffix)
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		if len(set.byID) == maxKeys {
			return nil, fmt.Errorf("read signing keys: more than %d in %s", maxKeys, directory)
		}
		key, err := readKey(filepath.Join(directory, e.Name()), id)
		if err != nil {
			return nil, err
		}
		set.newestFirst = append(set.newestFirst, key)
		set.byID[id] = key
	}
	if len(set.newestFirst) == 0 {
		return nil, fmt.Errorf("%w in %s", errNoKeys, directory)
	}
	slices.SortFunc(set.newestFirst, func(a, b *signingKey) int {
		return cmp.Or(b.modified.Compare(a.modified), cmp.Compare(b.id, a.id))
	})
	set.jwks, err = marshalJWKS(set.newestFirst)
	return set, err
}

// readKey never puts what is in the file into an error.
func readKey(path, id string) (*signingKey, error) {
	if len(id) > maxKeyIDBytes || id == "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("signing key %q: the file's name is the key's id: 1 to %d printable ASCII characters", path, maxKeyIDBytes)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(f, keyFileBytes))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != pemBlockType {
		return nil, fmt.Errorf("signing key %s: must be a PEM block of type %s (PKCS#8)", path, pemBlockType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("signing key %s: must be an Ed25519 key in PKCS#8 form", path)
	}
	return &signingKey{id: id, private: private, public: private.Public().(ed25519.PublicKey), modified: info.ModTime()}, nil
}

// makeKey puts a new key into the directory: whole or not at all, for its owner's eyes only.
func makeKey(directory string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	sum := sha256.Sum256(public)
	name := hex.EncodeToString(sum[:8]) + keyFileSuffix
	return writeSecretFile(filepath.Join(directory, name), pem.EncodeToMemory(&pem.Block{Type: pemBlockType, Bytes: der}))
}

func marshalJWKS(keys []*signingKey) ([]byte, error) {
	type jwk struct {
		KeyType   string `json:"kty"`
		Curve     string `json:"crv"`
		X         string `json:"x"`
		KeyID     string `json:"kid"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range keys {
		set.Keys = append(set.Keys, jwk{
			KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(k.public),
			KeyID: k.id, Use: "sig", Algorithm: "EdDSA",
		})
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("write JWKS: %w", err)
	}
	return b, nil
}
