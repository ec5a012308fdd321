package cluster_test

// A town and its processes, as a test starts and ends them.

import (
	"bufio"
	"errors"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// townhouse is a town served for a test's processes.
type townhouse struct {
	*Town
	t      testing.TB
	socket string
}

type resident struct {
	*rpc.Client
	id    string
	cmd   *exec.Cmd
	house *townhouse
	input interface{ Close() error }
}

func openTown(t testing.TB) *townhouse {
	t.Helper()
	dir, err := os.MkdirTemp("", "town") //nolint:usetesting // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	h := &townhouse{Town: newTown(), t: t, socket: filepath.Join(dir, "s")}
	listener, err := serveRPC("Town", h.Town, h.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		listener.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *townhouse) start(id, roles string) *resident {
	h.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STAMPEDE_TEST_NODE="+id, "STAMPEDE_TEST_TOWN="+h.socket, "STAMPEDE_TEST_ROLES="+roles)
	cmd.Stderr = os.Stderr
	input, inErr := cmd.StdinPipe()
	output, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		h.t.Fatal(err)
	}
	r := &resident{id: id, cmd: cmd, house: h, input: input}
	h.t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.kill()
		}
	})
	if line := bufio.NewScanner(output); !line.Scan() || line.Text() != "ready" {
		h.t.Fatalf("%s does not start", id)
	}
	var err error
	if r.Client, err = rpc.Dial("unix", h.socket+"."+id); err != nil {
		h.t.Fatal(err)
	}
	return r
}

// kill ends the process as a crash would.
func (r *resident) kill() {
	r.house.witness.die(r.id)
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // as it was killed
	r.house.mu.Lock()
	r.house.exited[r.id] = true
	r.house.mu.Unlock()
}

// drain ends the process in peace.
func (r *resident) drain() {
	if err := errors.Join(r.input.Close(), r.cmd.Wait()); err != nil {
		r.house.t.Errorf("%s did not drain: %v", r.id, err)
	}
}
