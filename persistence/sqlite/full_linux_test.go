package sqlite

// A disk that is really full: a tmpfs of a child process, in a mount namespace of
// its own.

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"stampede/actors/entity"
)

const smallDisk = "STAMPEDE_TEST_SMALL_DISK"

func TestNoRoomIsARefusal(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		noRoom(t, dir)
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoRoomIsARefusal$", "-test.v")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	said, err := child.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Logf("NOT TESTED on a disk of a few megabytes: this machine gives no namespaces: %v", err)
		return
	}
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func noRoom(t *testing.T, dir string) {
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Logf("NOT TESTED on a disk of a few megabytes: %v", err)
		return
	}
	data := filepath.Join(dir, "data")
	s, err := Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	write := func(seq, position uint64) error {
		t.Helper()
		r := sealedRecord("a", seq, position)
		return s.Append(t.Context(), []*entity.Record{r})[0]
	}
	if err := write(1, 1); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	fillDisk(t, filler)
	refused := false
	next := uint64(2) // what the log file has room for already is taken
	for ; next < 1000 && !refused; next++ {
		err := write(next, next)
		if refused = err != nil; refused && (!errors.Is(err, entity.ErrFull) || errors.Is(err, entity.ErrUnknownOutcome)) {
			t.Fatalf("without room: %v", err)
		}
	}
	if !refused {
		t.Fatal("there was room for everything")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// Another one in its place: it is not there, nor does it come back.
	if err := write(next-1, next); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := uint64(1)
	for r, err := range s.ReadStream(t.Context(), "sku/a", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Seq != want || r.Position == next-1 {
			t.Errorf("record %d at position %d, want record %d", r.Seq, r.Position, want)
		}
		want++
	}
	if want != next {
		t.Errorf("%d records, want %d", want-1, next-1)
	}
}

func fillDisk(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
