package testservers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// announced remembers which servers were reported absent by this test binary.
//
//nolint:gochecknoglobals // once a test binary, like the servers
var announced sync.Map

// announce says something once per subject where a person can see it. The
// output of a package that passes is hidden by go test unless -v is given, so
// what was skipped would go unnoticed; its standard error is not hidden.
func announce(subject, message string) {
	if _, before := announced.LoadOrStore(subject, true); before {
		return
	}
	for _, path := range []string{goToolStderr(), "/dev/tty"} {
		if path == "" {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			continue
		}
		_, err = f.WriteString(message)
		if closeErr := f.Close(); err == nil && closeErr == nil {
			return
		}
	}
}

// goToolStderr is the standard error of the go command that runs this test
// binary, where the system shows it (Linux), else empty.
func goToolStderr() string {
	parent := fmt.Sprintf("/proc/%d", os.Getppid())
	name, err := os.ReadFile(filepath.Join(parent, "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return ""
	}
	return filepath.Join(parent, "fd", "2")
}
