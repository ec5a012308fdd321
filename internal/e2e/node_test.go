package e2e

// Clients in JavaScript, with what they need from npm.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"stampede/internal/testservers"
)

// nodePackage is a copy of a folder of JavaScript, together with what its lock
// file says that it depends on.
func nodePackage(t *testing.T, source string) string {
	t.Helper()
	modules := nodeModules(t, source)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	// What somebody has installed there by hand is not what is tested.
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// nodeModules is a folder with what a package depends on, as its lock file has
// it. It is installed once a lock file, into the user's cache.
func nodeModules(t *testing.T, source string) string {
	t.Helper()
	const remedy = "run `make servers`, or put Node.js 20 with npm on PATH, and let npm reach its registry"
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			testservers.Missing(t, "Node.js and npm", remedy, err)
		}
	}
	lock, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "stampede-e2e", filepath.Base(source)+"-"+hex.EncodeToString(sum[:8]))
	modules := filepath.Join(home, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	if err := install(t.Context(), source, home); err != nil {
		testservers.Missing(t, "the packages of "+source+" from npm", remedy, err)
	}
	return modules
}

// install makes home whole or not at all: another run may be doing the same.
func install(ctx context.Context, source, home string) (err error) {
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(home), "installing-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = fresh
	npm.WaitDelay = time.Second
	if said, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, said)
	}
	err = os.Rename(fresh, home)
	if errors.Is(err, os.ErrExist) {
		return nil // the other run was faster
	}
	return err
}
