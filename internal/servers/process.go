package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startAttempts bounds how often a server is tried on another port: a port
	// that was free a moment ago may be taken.
	startAttempts = 5
	// ReadyWithin bounds one start; a busy machine with two cores needs a part of it.
	ReadyWithin = 90 * time.Second
	// StopWithin bounds an orderly end.
	StopWithin = 30 * time.Second
	// ProbeEvery is the pause between two looks at a server that is starting.
	ProbeEvery = 50 * time.Millisecond
)

// Process is one server process with its folder. Its methods are for one
// goroutine. Whatever happens to this program, the watchdog ends the server and removes the
// folder.
type Process struct {
	Name string
	Dir  string
	Argv []string
	// User runs the server as somebody else (PostgreSQL refuses root); nil: as ourselves.
	User *User
	// Ready returns nil when the server can be used.
	Ready func(ctx context.Context) error

	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// NewFolder makes a temporary folder that the watchdog knows.
func NewFolder(name string) (string, error) {
	dir, err := os.MkdirTemp("", "stampede-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("folder for %s: %w", name, err)
	}
	if err := GuardFolder(dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// Start runs the server and waits until it can be used.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), p.Argv[0], p.Argv[1:]...) //nolint:gosec // the program is one of ours
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, p.Dir
	cmd.SysProcAttr = Attributes(p.User)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	if err := GuardProcess(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p.waitReady()
}

func (p *Process) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), ReadyWithin)
	defer cancel()
	tick := time.NewTicker(ProbeEvery)
	defer tick.Stop()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			p.forget()
			return fmt.Errorf("%s ended before it was ready: %w\n%s", p.Name, p.err, p.logTail())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("%s was not ready within %v: %w\n%s", p.Name, ReadyWithin, err, p.logTail())
		case <-tick.C:
		}
	}
}

// Restart starts the server again where it was, after kill or signal. Its port
// was free to others in the meantime, as somebody's outgoing connection may
// show: it is tried again.
func (p *Process) Restart() error {
	if p.Running() {
		return errors.New("it is still running")
	}
	for attempt := 1; ; attempt++ {
		if err := os.Truncate(p.logPath(), 0); err != nil {
			return fmt.Errorf("log of %s: %w", p.Name, err)
		}
		err := p.Start()
		if err == nil || attempt == startAttempts || !p.portTaken() {
			return err
		}
	}
}

// Kill ends the server as a power cut would, and waits until it has gone.
func (p *Process) Kill() { p.Signal(syscall.SIGKILL) }

// Signal sends a signal that ends the server, and waits until it has gone.
func (p *Process) Signal(s syscall.Signal) {
	if !p.Running() {
		return
	}
	// The process is ours and was not waited for, so its id cannot be another's.
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.exited:
	case <-time.After(StopWithin):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	p.forget()
}

// Send sends a signal that the server outlives, such as SIGSTOP and SIGCONT.
func (p *Process) Send(s syscall.Signal) error {
	if !p.Running() {
		return errors.New("it is not running")
	}
	return p.cmd.Process.Signal(s)
}

// Pid is the running server's.
func (p *Process) Pid() (int, error) {
	if !p.Running() {
		return 0, errors.New("it is not running")
	}
	return p.cmd.Process.Pid, nil
}

// Ended waits until the server has ended by itself. Then it can be restarted.
func (p *Process) Ended() error {
	if !p.Running() {
		return errors.New("it is not running")
	}
	select {
	case <-p.exited:
		p.forget()
		return nil
	case <-time.After(StopWithin):
		return fmt.Errorf("%s still runs after %v", p.Name, StopWithin)
	}
}

// forget tells the watchdog that the process has gone: its id may be given to another.
func (p *Process) forget() {
	// A watchdog that cannot be told has gone itself: then there is nobody to mislead.
	_ = ReleaseProcess(p.cmd.Process.Pid)
	p.cmd = nil
}

// Running reports whether the server was started and was not ended here.
func (p *Process) Running() bool { return p.cmd != nil }

// Discard ends the server and removes its data.
func (p *Process) Discard() {
	p.Kill()
	_ = os.RemoveAll(p.Dir)
}

func (p *Process) logPath() string { return filepath.Join(p.Dir, p.Name+".log") }

// logTail is the end of what the server said.
func (p *Process) logTail() string {
	const tailBytes = 4 << 10
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
	}
	return string(b)
}

// portTaken reports whether the server found its port in use.
func (p *Process) portTaken() bool {
	tail := strings.ToLower(p.logTail())
	return strings.Contains(tail, "address already in use")
}

// OnFreePorts starts a server on n ports that are free now, and again on others
// when they were taken in between.
func OnFreePorts(n int, start func(ports []int) (*Process, error)) (*Process, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(n)
		if err != nil {
			return nil, err
		}
		p, err := start(ports)
		if err == nil {
			return p, nil
		}
		taken := p != nil && p.portTaken()
		if p != nil {
			p.Discard()
		}
		if !taken || attempt == startAttempts {
			return nil, err
		}
	}
}

// freePorts finds n different loopback ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // held until all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
