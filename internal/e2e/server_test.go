package e2e

// The program as a process: started, waited for until it says that it is ready,
// told to end or killed, and never left behind.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stampede/internal/testservers"
)

// How long a step may take on a busy machine with two cores before the test fails.
const (
	startWithin = 2 * time.Minute
	stopWithin  = 90 * time.Second
	soon        = time.Minute
)

// The operator of every server here.
const (
	operatorEmail    = "operator@shop.test"
	operatorPassword = "seven silent sheep"
)

// server is one running process. Its methods are for the test's goroutine.
type server struct {
	t testing.TB
	// url, admin and kafka are where the server says it is.
	url, admin, kafka string

	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // of Wait, once exited is closed
	release func()
	stdout  *output
	stderr  *output
}

// serve starts a node on the data directory, on free ports, with more flags.
func serve(t testing.TB, dir string, flags ...string) *server {
	t.Helper()
	return start(t, append([]string{"serve", "--data-dir=" + dir, "--bootstrap-admin=" + operatorEmail}, flags...)...)
}

// start runs a sub-command that serves, and waits until it is ready.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	s, err := launch(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var errNotReady = errors.New("the server did not get ready")

func launch(t testing.TB, args ...string) (*server, error) {
	t.Helper()
	return launchProgram(t, program(t), args...)
}

func launchProgram(t testing.TB, binary string, args ...string) (*server, error) {
	t.Helper()
	s := &server{t: t, exited: make(chan struct{}), stdout: newOutput(), stderr: newOutput()}
	args = append(args, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")
	s.cmd = exec.Command(binary, args...)
	s.cmd.Env = environment()
	if args[0] == "serve" {
		s.cmd.Env = append(s.cmd.Env, "STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD="+operatorPassword)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	// Orphans that hold an output open must not hold up Wait.
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.release = testservers.Guard(t, s.cmd.Process.Pid)
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(s.discard)
	timeout := time.NewTimer(startWithin)
	defer timeout.Stop()
	for {
		more := s.stdout.more()
		if line, ok := s.stdout.line("ready "); ok {
			s.readReady(line)
			return s, nil
		}
		select {
		case <-more:
		case <-s.exited:
			return nil, fmt.Errorf("%w: %s\n%s", errNotReady, s.cmd.ProcessState, s.stderr)
		case <-timeout.C:
			return nil, fmt.Errorf("%w within %s\n%s", errNotReady, startWithin, s.stderr)
		}
	}
}

func (s *server) readReady(line string) {
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "url":
			s.url = value
		case "admin":
			s.admin = value
		case "kafka":
			s.kafka = value
		}
	}
	public := !slices.Contains(s.cmd.Args, "--roles=actors") && !slices.Contains(s.cmd.Args, "--roles=publisher")
	if s.url == "" && public || s.admin == "" || s.kafka == "" {
		s.t.Fatalf("the ready line lacks something: %q", line)
	}
}

// kill ends the process as a power cut would, and waits until it has gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // its only error: the process has ended already
	<-s.exited
}

// terminate asks the process to drain.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("SIGTERM: %v", err)
	}
}

// ended waits for the end of a process that was asked to drain: it must be in
// time and with status 0.
func (s *server) ended() {
	s.t.Helper()
	timeout := time.NewTimer(stopWithin)
	defer timeout.Stop()
	select {
	case <-s.exited:
		if s.err != nil {
			s.t.Errorf("the server ended with %v, not with status 0\n%s", s.err, s.stderr)
		}
	case <-timeout.C:
		s.t.Errorf("the server did not end within %s\n%s", stopWithin, s.stderr)
	}
}

// stop drains and ends the server.
func (s *server) stop() {
	s.t.Helper()
	s.terminate()
	s.ended()
}

// discard ends the process at the end of the test, and shows what it logged if
// the test has failed.
func (s *server) discard() {
	s.kill()
	s.release()
	if strings.Contains(s.stderr.String(), "WARNING: DATA RACE") {
		s.t.Error("the server has a data race")
	}
	if s.t.Failed() {
		s.t.Logf("pid %d wrote to standard error:\n%s", s.cmd.Process.Pid, s.stderr.tail())
	}
}

// environment is ours without Stampede's own variables.
func environment() []string {
	var env []string
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, "STAMPEDE_") {
			env = append(env, one)
		}
	}
	return env
}

// output keeps what a process writes.
type output struct {
	mu    sync.Mutex
	data  bytes.Buffer
	wrote chan struct{} // closed at the next write
}

var _ io.Writer = (*output)(nil)

func newOutput() *output { return &output{wrote: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.wrote)
	o.wrote = make(chan struct{})
	return o.data.Write(p)
}

// more is closed when there is more than there was.
func (o *output) more() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wrote
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.String()
}

// tail is the end of it.
func (o *output) tail() string {
	const most = 16 << 10
	s := o.String()
	return s[max(0, len(s)-most):]
}

// line is the first whole line with the prefix.
func (o *output) line(prefix string) (string, bool) {
	for lines := bufio.NewReader(strings.NewReader(o.String())); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", false
		}
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSuffix(line, "\n"), true
		}
	}
}

// address is where a shop is, also when its server is another process by now.
type address struct{ at atomic.Pointer[string] }

func (a *address) set(s *server)  { a.at.Store(&s.url) }
func (a *address) String() string { return *a.at.Load() }

// eventually asks until the answer is right, for what follows by a moment, such
// as lists and events.
func eventually(t testing.TB, within time.Duration, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}
