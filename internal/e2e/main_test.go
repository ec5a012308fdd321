// Package e2e tests the program as its users meet it: the real binary as a
// process of its own, over HTTP and Kafka, killed, restarted, drained and given
// what it must refuse. What one package decides is tested there; here it is
// whether all of them together keep the promises.
//
//	go test ./internal/e2e                                # about half a minute
//	go test ./internal/e2e -rounds=50 -histories=100      # the long way round
//	go test ./internal/e2e -run=Kill -seed=7              # one run again
//	go test -race ./internal/e2e                          # the server, too
package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"stampede/internal/testservers"
)

var (
	rounds    = flag.Int("rounds", 2, "how many times the server is killed in mid-traffic")
	histories = flag.Int("histories", 2, "how many short histories are checked with Porcupine")
	seedFlag  = flag.Uint64("seed", 0, "the seed of everything random; 0: another one each run")
)

// atOnce is how many tests run at a time.
const atOnce = 4

func TestMain(m *testing.M) {
	// These tests wait for other processes most of the time. A flag that is given wins.
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(err)
	}
	flag.Parse()
	if testing.Short() {
		*rounds, *histories = 1, 1
	}
	code := m.Run()
	built.mu.Lock()
	if err := os.RemoveAll(built.dir); err != nil { // nothing was built: nothing is removed
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// built is the program, built once for all tests.
var built struct {
	mu   sync.Mutex
	dir  string
	path string
	err  error
}

// program is the path of the binary under test.
func program(t testing.TB) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.path == "" && built.err == nil {
		built.path, built.err = build()
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "stampede-e2e-")
	if err != nil {
		return "", err
	}
	built.dir = dir
	if err := testservers.GuardFolder(dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stampede")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	output, err := exec.Command("go", append(args, "stampede/cmd/stampede")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, output)
	}
	return path, nil
}

// randomness is a test's source of it. A test that fails prints its seed.
func randomness(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with the same randomness: -seed=%d (what the scheduler does differs)", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
