package e2e

// No room for the data directory: orders are refused in a way that says to come
// again, what was acknowledged stays, and with room the shop goes on.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// fullOrders are placed with room, and as many without: an order whose outcome is
// unknown is waited for before its customer is told so.
const fullOrders = 4

func TestNoRoomForTheDataDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until an order says that its outcome is not known")
	}
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, 1, variant{"FULL-1", "10.00", 1000})
	who := sh.customers[0]
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	place := func(ctx context.Context, n int) (*order, error) {
		return who.place(ctx, fmt.Sprintf("full-%d", n), "", want{"FULL-1", 1})
	}
	var told []*order
	placed := func(n int) {
		t.Helper()
		o, err := settle(ctx, func() (*order, error) { return place(ctx, n) })
		if err != nil || o.State != "RESERVED" {
			t.Fatal(unexpected("placing an order with room", o, err))
		}
		told = append(told, o)
	}
	for n := range fullOrders {
		placed(n)
	}

	s.limitFiles(0)
	together(t, fullOrders, randomness(t), func(ctx context.Context, n int, _ *rand.Rand) error {
		o, err := place(ctx, fullOrders+n)
		if !open(err) || codeOf(err) == "" {
			return unexpected("placing an order without room", o, err)
		}
		return nil
	})
	if got, err := who.order(ctx, told[0].ID); err != nil || got == nil {
		t.Errorf("without room: %v", unexpected("reading an order", got, err))
	}
	select {
	case <-s.exited:
		t.Fatalf("it has ended: %v", s.err)
	default:
	}

	s.limitFiles(unix.RLIM_INFINITY)
	for n := fullOrders; n < 2*fullOrders; n++ { // the same orders, by their keys
		placed(n)
	}
	check := func(when string) {
		t.Helper()
		for _, o := range told {
			got, err := settle(ctx, func() (*order, error) { return who.order(ctx, o.ID) })
			if err != nil || got == nil || got.State != "RESERVED" {
				t.Errorf("%s: %v", when, unexpected("an acknowledged order", got, err))
			}
		}
		if l := sh.level(t, "FULL-1"); l.Held != len(told) {
			t.Errorf("%s: %d units are held, not %d", when, l.Held, len(told))
		}
	}
	check("with room again")
	s.kill()
	s = serve(t, dir)
	sh.at.set(s)
	check("after a kill")
	placed(2 * fullOrders)
	s.checkPublished()
	s.stop()
}

// TestFullDisk: unlike a bound on files (above), which may strike anywhere, a disk
// without room surely took nothing: that is said at once, and not as an unknown
// outcome. What the files have room for already is still taken.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	onSmallDisk := filepath.Join(t.TempDir(), "on-small-disk")
	script := "#!/bin/sh\nexec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=64m small " + dir + " && exec " + program(t) + " \"$@\"' stampede \"$@\"\n"
	if err := os.WriteFile(onSmallDisk, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), onSmallDisk, "--help").CombinedOutput(); err != nil {
		t.Logf("NOT TESTED with a disk of its own: %v: %s", err, out)
		return
	}
	s, err := launchProgram(t, onSmallDisk, "serve", "--data-dir="+dir, "--bootstrap-admin="+operatorEmail)
	if err != nil {
		t.Fatal(err)
	}
	sh := openShop(t, s, 1, variant{"FULL-1", "10.00", 1000})
	who := sh.customers[0]
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	filler := fmt.Sprintf("/proc/%d/root%s/filler", s.cmd.Process.Pid, dir)
	fill(t, filler)

	held, refused := 0, 0
	for n := 0; refused < 5; n++ {
		o, err := who.place(ctx, fmt.Sprintf("full-%d", n), "", want{"FULL-1", 1})
		switch {
		case err == nil && o.State == "RESERVED" && refused == 0 && n < 500:
			held++
		case codeOf(err) == "THROTTLED": // IN_PROGRESS would be an unknown outcome
			refused++
		default:
			t.Fatal(unexpected("placing an order without room", o, err))
		}
	}
	t.Logf("%d orders were taken, %d refused", held, refused)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for n := range held + refused { // the same orders, by their keys
		o, err := settle(ctx, func() (*order, error) { return who.place(ctx, fmt.Sprintf("full-%d", n), "", want{"FULL-1", 1}) })
		if err != nil || o.State != "RESERVED" {
			t.Fatal(unexpected("placing an order with room again", o, err))
		}
	}
	if l := sh.level(t, "FULL-1"); l.Held != held+refused {
		t.Errorf("%d units are held, not %d", l.Held, held+refused)
	}
	s.stop()
}

// fill writes a file until there is no room.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// limitFiles bounds every file that the running process writes.
func (s *server) limitFiles(bytes uint64) {
	s.t.Helper()
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
		s.t.Fatal(errors.Join(errors.New("limiting the size of files"), err))
	}
}
