// Package servers starts real servers on this machine: a MongoDB, an Apache
// Kafka. They run on free loopback ports with their data in a temporary folder,
// and they end with the program that started them, however it ends.
//
// The programs come from `make servers` (scripts/servers), which puts them into
// .servers of the module that the program is run in. Tests get them from
// package testservers.
package servers

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Versions that scripts/servers fetches; the folders under .servers are named after them.
const (
	mongoHome = "mongodb-6.0.5"
	kafkaHome = "kafka-4.1.1"
)

// ErrAbsent: there is no such server on this machine. Any other error is a fault.
var ErrAbsent = errors.New("not on this machine")

// Setting is an environment variable, or what scripts/servers noted for it in
// .servers/env (a MongoDB in Docker).
func Setting(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	root, err := fetched()
	if err != nil {
		return ""
	}
	f, err := os.Open(filepath.Join(root, "env"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), name+"="); ok {
			return v
		}
	}
	return ""
}

// fetched is the folder .servers of the module that the program runs in.
func fetched() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".servers"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: no go.mod above the working directory", ErrAbsent)
		}
		dir = parent
	}
}

// fetchedFile is a file under .servers that must exist.
func fetchedFile(parts ...string) (string, error) {
	root, err := fetched()
	if err != nil {
		return "", err
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %s does not exist", ErrAbsent, path)
	}
	return path, nil
}
