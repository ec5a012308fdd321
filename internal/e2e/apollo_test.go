package e2e

// An ordinary client from npm, whose authors have never heard of us, is content.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"stampede/internal/testservers"
)

// apolloFiles are the client's package; what it depends on is pinned in them.
var apolloFiles = []string{"package.json", "package-lock.json", "shopper.test.mjs", "live.test.mjs"}

var passedTests = regexp.MustCompile(`(?m)^# pass [1-9]`)

func TestApolloClient(t *testing.T) {
	t.Parallel()
	modules := nodeModules(t)
	dir := t.TempDir()
	for _, name := range apolloFiles {
		content, err := os.ReadFile(filepath.Join("apollo", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	s := serve(t, t.TempDir())
	openShop(t, s, 0, variant{"APOLLO", "19.90", 10}, variant{"LIVE", "1.00", 100})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--test", "--test-reporter=tap")
	node.Dir = dir
	node.Env = append(environment(), "STAMPEDE_URL="+s.url, "SKU=APOLLO", "LIVE_SKU=LIVE")
	said, err := node.CombinedOutput()
	if err != nil || !passedTests.Match(said) {
		t.Errorf("%v\n%s", err, said)
	}
	s.stop()
}

// nodeModules is a folder with what the client depends on, as its lock file has
// it. It is installed once a lock file, into the user's cache.
func nodeModules(t *testing.T) string {
	t.Helper()
	const remedy = "run `make servers`, or put Node.js 20 with npm on PATH, and let npm reach its registry"
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			testservers.Missing(t, "Node.js and npm", remedy, err)
		}
	}
	lock, err := os.ReadFile(filepath.Join("apollo", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "stampede-e2e", "apollo-"+hex.EncodeToString(sum[:8]))
	modules := filepath.Join(home, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	if err := install(t.Context(), home); err != nil {
		testservers.Missing(t, "Apollo Client from npm", remedy, err)
	}
	return modules
}

// install makes home whole or not at all: another run may be doing the same.
func install(ctx context.Context, home string) (err error) {
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(home), "installing-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	for _, name := range apolloFiles[:2] {
		content, err := os.ReadFile(filepath.Join("apollo", name))
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
