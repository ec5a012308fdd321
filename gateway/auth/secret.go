// Files that hold secrets.
package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SecretBytes is the size of the secret that account ids and refresh tokens
// are keyed with.
const SecretBytes = 32

// LoadSecret reads the secret that account ids and refresh tokens are keyed
// with, and makes it if the file is absent. It must be the same on all nodes and
// for ever: with another one, nobody's account is found.
func LoadSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, SecretBytes)
		rand.Read(secret) // never fails: crypto/rand
		if err := writeSecretFile(path, secret); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		secret, err = os.ReadFile(path) // another process may have been first
	}
	if err != nil {
		return nil, fmt.Errorf("read account secret: %w", err)
	}
	if len(secret) != SecretBytes {
		return nil, fmt.Errorf("account secret %s: has %d bytes, must have %d", path, len(secret), SecretBytes)
	}
	return secret, nil
}

// writeSecretFile makes a file that was not there, durable and whole or not at
// all, readable by its owner only. fs.ErrExist: it was there.
func writeSecretFile(path string, content []byte) (err error) {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, keyDirectoryMode); err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	f, err := os.CreateTemp(directory, ".new-*") // made with 0600
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(keyFileMode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, fails if it exists
		return fmt.Errorf("write secret: %w", err)
	}
	d, err := os.Open(directory)
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	return nil
}
