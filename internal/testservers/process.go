package testservers

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
	// readyWithin bounds one start; a busy machine with two cores needs a part of it.
	readyWithin = 90 * time.Second
	// stopWithin bounds an orderly end.
	stopWithin = 30 * time.Second
	// probeEvery is the pause between two looks at a server that is starting.
	probeEvery = 50 * time.Millisecond
)

// process is one server process with its folder. Its methods are for one
// goroutine. Whatever happens to the test process, the watchdog ends the server
// and removes the folder.
type process struct {
	name string
	dir  string
	argv []string
	// user runs the server as somebody else (PostgreSQL refuses root); nil: as ourselves.
	user *user
	// ready returns nil when the server can be used.
	ready func(ctx context.Context) error

	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// newFolder makes a temporary folder that the watchdog knows.
func newFolder(name string) (string, error) {
	dir, err := os.MkdirTemp("", "stampede-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("folder for %s: %w", name, err)
	}
	if err := guardFolder(dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// start runs the server and waits until it can be used.
func (p *process) start() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), p.argv[0], p.argv[1:]...) //nolint:gosec // the program is one of ours
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, p.dir
	cmd.SysProcAttr = attributes(p.user)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	if err := guardProcess(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p.waitReady()
}

func (p *process) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			p.forget()
			return fmt.Errorf("%s ended before it was ready: %w\n%s", p.name, p.err, p.logTail())
		case <-ctx.Done():
			p.kill()
			return fmt.Errorf("%s was not ready within %v: %w\n%s", p.name, readyWithin, err, p.logTail())
		case <-tick.C:
		}
	}
}

// restart starts the server again where it was, after kill or signal. Its port
// was free to others in the meantime, as somebody's outgoing connection may
// show: it is tried again.
func (p *process) restart() error {
	if p.running() {
		return errors.New("it is still running")
	}
	for attempt := 1; ; attempt++ {
		if err := os.Truncate(p.logPath(), 0); err != nil {
			return fmt.Errorf("log of %s: %w", p.name, err)
		}
		err := p.start()
		if err == nil || attempt == startAttempts || !p.portTaken() {
			return err
		}
	}
}

// kill ends the server as a power cut would, and waits until it has gone.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

func (p *process) signal(s syscall.Signal) {
	if !p.running() {
		return
	}
	// The process is ours and was not waited for, so its id cannot be another's.
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	p.forget()
}

// forget tells the watchdog that the process has gone: its id may be given to another.
func (p *process) forget() {
	// A watchdog that cannot be told has gone itself: then there is nobody to mislead.
	_ = releaseProcess(p.cmd.Process.Pid)
	p.cmd = nil
}

func (p *process) running() bool { return p.cmd != nil }

// discard ends the server and removes its data.
func (p *process) discard() {
	p.kill()
	_ = os.RemoveAll(p.dir)
}

func (p *process) logPath() string { return filepath.Join(p.dir, p.name+".log") }

// logTail is the end of what the server said.
func (p *process) logTail() string {
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
func (p *process) portTaken() bool {
	tail := strings.ToLower(p.logTail())
	return strings.Contains(tail, "address already in use")
}

// onFreePorts starts a server on n ports that are free now, and again on others
// when they were taken in between.
func onFreePorts(n int, start func(ports []int) (*process, error)) (*process, error) {
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
			p.discard()
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
