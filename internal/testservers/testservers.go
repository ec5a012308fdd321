// Package testservers gives tests real servers: a MongoDB, an Apache Kafka, a
// PostgreSQL to compare with. They run on free loopback ports with their data
// in a temporary folder, and they end with the test process, however it ends.
//
// The programs come from `make servers` (scripts/servers). STAMPEDE_TEST_MONGO,
// STAMPEDE_TEST_KAFKA and STAMPEDE_TEST_POSTGRES name running servers to use
// instead. Without either, a test that asks for a server is skipped and says so
// loudly, unless STAMPEDE_REQUIRE_SERVERS is set: then it fails.
package testservers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"stampede/internal/servers"
)

// Main runs a package's tests and then stops the servers that they shared:
//
//	func TestMain(m *testing.M) { testservers.Main(m) }
//
// A package without it leaves the stopping to the watchdog, which acts a moment
// after the test process has gone.
func Main(m *testing.M) {
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// shared holds what one test binary starts at most once.
//
//nolint:gochecknoglobals // one server for a whole test binary is what this package is for
var shared = &sharedServers{}

type sharedServers struct {
	mongo, kafka, postgres once
}

func (s *sharedServers) stop() {
	for _, o := range []*once{&s.mongo, &s.kafka, &s.postgres} {
		o.stop()
	}
}

// once is a server that is started by its first user.
type once struct {
	mu      sync.Mutex
	started bool
	address string
	process *servers.Process
	err     error
}

// get starts the server on the first call; all calls see the same outcome.
func (o *once) get(start func() (string, *servers.Process, error)) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.started {
		o.started = true
		o.address, o.process, o.err = start()
	}
	return o.address, o.err
}

// Pids are the processes of the servers that tests of this binary share and
// that it has started itself, by name.
func Pids() map[string]int {
	pids := map[string]int{}
	for name, o := range map[string]*once{mongoName: &shared.mongo, kafkaName: &shared.kafka} {
		o.mu.Lock()
		if o.process != nil {
			if pid, err := o.process.Pid(); err == nil { // else it is not running
				pids[name] = pid
			}
		}
		o.mu.Unlock()
	}
	return pids
}

func (o *once) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.process != nil {
		o.process.Discard()
	}
}

// obtain returns a shared server's address, or ends the test.
func obtain(t testing.TB, what, variable string, o *once, start func() (string, *servers.Process, error)) string {
	t.Helper()
	address, err := o.get(func() (string, *servers.Process, error) {
		if address := servers.Setting(variable); address != "" {
			return address, nil, nil
		}
		return start()
	})
	if err != nil {
		giveUp(t, "a real "+what, "run `make servers`, or set "+variable, err)
	}
	return address
}

// giveUp ends a test that cannot have its server: it fails, or is skipped where
// servers are allowed to be absent.
func giveUp(t testing.TB, what, remedy string, err error) {
	t.Helper()
	if !errors.Is(err, servers.ErrAbsent) {
		t.Fatalf("starting %s: %v", what, err)
	}
	if os.Getenv("STAMPEDE_REQUIRE_SERVERS") != "" {
		t.Fatalf("this test needs %s: %v; %s", what, err, remedy)
	}
	announce(what, fmt.Sprintf("SKIPPED, NOT TESTED: %s and whatever else needs %s in %s; %s\n",
		t.Name(), what, filepath.Base(os.Args[0]), remedy))
	t.Skipf("SKIPPED, NOT TESTED: needs %s: %v; %s", what, err, remedy)
}
