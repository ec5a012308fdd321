// Package child runs a server as a process of its own: started, waited for
// until it says that it is ready, killed, and never left behind.
package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"stampede/internal/servers"
)

// Server is one running process. The goroutine that started it stops or kills
// it; the others may ask where it is.
type Server struct {
	// URL, Admin and Kafka are where the server says it is.
	URL, Admin, Kafka string

	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
	err    error // of Wait, once exited is closed
	tail   *tail
}

// Command says what to run.
type Command struct {
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
}

// ErrEarlyExit: the server ended before it was ready.
var ErrEarlyExit = errors.New("the server ended before it was ready")

// Start runs a server and waits until it prints its ready line. The server's
// standard input is a pipe that closes when this process ends, however it
// ends: a server that is told to watch it cannot be left behind.
func Start(ctx context.Context, c Command) (*Server, error) {
	cmd := exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // this same program; it is ended by Stop and Kill
	cmd.Env = c.Env
	// Ctrl-C at the terminal is for this program, which then ends the server.
	cmd.SysProcAttr = servers.Attributes(nil)
	s := &Server{cmd: cmd, exited: make(chan struct{}), tail: &tail{}}
	cmd.Stderr = s.tail
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("server's standard input: %w", err)
	}
	s.stdin = stdin
	// Not StdoutPipe: Wait would close it under the reader.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("server's standard output: %w", err)
	}
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		read.Close()
		write.Close()
		return nil, fmt.Errorf("start the server: %w", err)
	}
	write.Close()
	ready := make(chan string, 1)
	go func() {
		defer read.Close()
		watchOutput(read, ready)
	}()
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	select {
	case line := <-ready:
		s.URL, s.Admin, s.Kafka = parseReady(line)
		if s.URL == "" {
			s.Kill()
			return nil, fmt.Errorf("ready line without a url: %q", line)
		}
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("%w: %w\n%s", ErrEarlyExit, s.err, s.Stderr())
	case <-ctx.Done():
		s.Kill()
		return nil, fmt.Errorf("wait for the server to be ready: %w\n%s", ctx.Err(), s.Stderr())
	}
}

const readyPrefix = "ready "

// watchOutput hands over the ready line and drains the rest, so that the
// server never blocks on its output.
func watchOutput(r io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, readyPrefix) {
			ready <- line
			break
		}
	}
	_, _ = io.Copy(io.Discard, r) // it ends when the server does
}

// parseReady takes "ready url=… admin=… kafka=…" apart.
func parseReady(line string) (url, admin, kafka string) {
	for _, word := range strings.Fields(strings.TrimPrefix(line, readyPrefix)) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "url":
			url = value
		case "admin":
			admin = value
		case "kafka":
			kafka = value
		}
	}
	return url, admin, kafka
}

// Kill ends the server as a power cut would, and waits until it is gone.
func (s *Server) Kill() {
	// The only error is that it has ended already.
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.stdin.Close()
}

// Stop asks the server to drain, waits up to the timeout, and then kills it.
func (s *Server) Stop(timeout time.Duration) error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // an ended process is found below
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-s.exited:
		s.stdin.Close()
		if s.err != nil {
			return fmt.Errorf("the server did not end well: %w\n%s", s.err, s.Stderr())
		}
		return nil
	case <-timer.C:
		s.Kill()
		return fmt.Errorf("the server did not end within %s and was killed\n%s", timeout, s.Stderr())
	}
}

// PID is the process's id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the process is gone.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Stderr is the end of what the server wrote to standard error.
func (s *Server) Stderr() string { return s.tail.String() }

// tailBytes is how much of standard error is kept.
const tailBytes = 16 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - tailBytes; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
