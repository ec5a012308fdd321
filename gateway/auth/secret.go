// Files that hold secrets.
package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// SecretBytes is the size of the secret that account ids and refresh tokens
// are keyed with.
const SecretBytes = 32

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
