package testservers

import (
	"fmt"
	"testing"

	"stampede/internal/servers"
)

// Guard has a process that a test started killed when the test process has
// gone, however it goes. Call release when the process has been waited for: its
// id may then be given to another.
func Guard(t testing.TB, pid int) (release func()) {
	t.Helper()
	if err := servers.GuardProcess(pid); err != nil {
		t.Fatal(err)
	}
	// A watchdog that cannot be told has gone itself: then there is nobody to mislead.
	return func() { _ = servers.ReleaseProcess(pid) }
}

// GuardFolder has a folder that a test binary made removed when the test process
// has gone, however it goes.
func GuardFolder(dir string) error { return servers.GuardFolder(dir) }

// Missing ends a test that lacks something else than a server, like an absent
// server does: a loud skip, or a failure where nothing may be skipped.
func Missing(t testing.TB, what, remedy string, err error) {
	t.Helper()
	giveUp(t, what, remedy, fmt.Errorf("%w: %w", servers.ErrAbsent, err))
}
