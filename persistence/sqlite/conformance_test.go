package sqlite

import (
	"bufio"
	"context"
	"database/sql/driver"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"stampede/actors/entity"
	"stampede/persistence"
	"stampede/persistence/conformance"
)

// childVariable makes the test binary a process that holds a data directory
// and can be killed; it names the directory.
const childVariable = "STAMPEDE_TEST_SQLITE_DIRECTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := serve(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	conformance.Run(t, harness(mergeEvery, streamHash))
}

// TestConformanceWhileMerging has index.db brought up to date every few
// records, so that each test crosses many merges.
func TestConformanceWhileMerging(t *testing.T) {
	conformance.Run(t, harness(5, streamHash))
}

// TestConformanceWithCollisions has all streams share 64 hashes, so that they
// are told apart by their records alone.
func TestConformanceWithCollisions(t *testing.T) {
	conformance.Run(t, harness(100, func(kind, id string) int64 { return streamHash(kind, id) & 63 }))
}

func harness(mergeEvery int, hash func(kind, id string) int64) conformance.Harness {
	return conformance.Harness{
		Open:   func(t *testing.T) persistence.Store { return openForTest(t, t.TempDir(), mergeEvery, hash) },
		Tamper: func(t *testing.T, s persistence.Store) conformance.Tamper { return tamper(t, s.(*Store).dir) },
		Crash: func(t *testing.T) conformance.Crash {
			c := &crash{t: t, dir: t.TempDir()}
			c.start()
			t.Cleanup(c.Kill)
			return c
		},
	}
}

func openForTest(t testing.TB, dir string, mergeEvery int, hash func(kind, id string) int64) *Store {
	t.Helper()
	s, err := open(context.Background(), dir, mergeEvery, hash)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// tamper changes the files behind the store's back.
func tamper(t *testing.T, dir string) conformance.Tamper {
	t.Helper()
	change := func(file, sql string, args ...driver.Value) {
		t.Helper()
		c, err := dial(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.exec(sql, args...)
		if err = errors.Join(err, c.close()); err != nil || n != 1 {
			t.Fatalf("%s: changed %d rows: %v", sql, n, err)
		}
	}
	return conformance.Tamper{
		CorruptRecord: func(stream string, seq uint64) {
			change(journalFile, "UPDATE records SET events = x'00' || events WHERE stream = ? AND seq = ?", stream, int64(seq))
		},
		DeleteRecord: func(stream string, seq uint64) {
			change(journalFile, "DELETE FROM records WHERE stream = ? AND seq = ?", stream, int64(seq))
		},
		CorruptSnapshot: func(stream string) {
			change(cacheFile, "UPDATE snapshots SET state = x'00' || state WHERE stream = ?", stream)
		},
	}
}

// crash has the data directory in a process of its own while it can be killed,
// and in this one after that, until the next append.
type crash struct {
	t   *testing.T
	dir string

	mu      sync.Mutex
	child   *child
	process *exec.Cmd
}

// mergeInChild makes the killed process merge often.
const mergeInChild = 50

func (c *crash) start() {
	c.t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), childVariable+"="+c.dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.process, c.child = cmd, newChild(in, out)
}

func (c *crash) Append(ctx context.Context, records []*entity.Record) []error {
	c.mu.Lock()
	child := c.child
	c.mu.Unlock()
	return child.Append(ctx, records)
}

func (c *crash) Kill() {
	if c.process == nil {
		return
	}
	if err := c.process.Process.Kill(); err != nil {
		c.t.Errorf("kill: %v", err)
	}
	_ = c.process.Wait() // it was killed
	c.process = nil
}

// Restart starts a new process; what it reads comes over the same pipes, so
// that the directory stays with the process that can be killed.
func (c *crash) Restart() conformance.Restarted {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
	return c.child
}

// request and response are what goes over the pipes.
type request struct {
	N       uint64
	Append  []*entity.Record
	Stream  string
	Epoch   entity.Epoch
	After   uint64
	Reading bool
}

type response struct {
	N       uint64
	Results []string
	Records []*entity.Record
	Err     string
}

// outcomes are the errors that cross the pipe, by their text.
var outcomes = []error{ //nolint:gochecknoglobals // a table
	entity.ErrFenced, entity.ErrTooLarge, entity.ErrUnavailable, entity.ErrUnknownOutcome,
	persistence.ErrInvalid, persistence.ErrPositionTaken,
}

// serve is the process that holds the data directory.
func serve(dir string, in io.Reader, out io.Writer) error {
	s, err := open(context.Background(), dir, mergeInChild, streamHash)
	if err != nil {
		return err
	}
	defer s.Close()
	requests := gob.NewDecoder(bufio.NewReader(in))
	responses := gob.NewEncoder(out)
	var mu sync.Mutex
	for {
		var q request
		if err := requests.Decode(&q); err != nil {
			return nil // the test has ended
		}
		go func() {
			r := answer(s, q)
			mu.Lock()
			defer mu.Unlock()
			if err := responses.Encode(r); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func answer(s *Store, q request) response {
	ctx := context.Background()
	r := response{N: q.N}
	if !q.Reading {
		for _, err := range s.Append(ctx, q.Append) {
			text := ""
			if err != nil {
				text = err.Error()
				for _, o := range outcomes {
					if errors.Is(err, o) {
						text = o.Error()
						break
					}
				}
			}
			r.Results = append(r.Results, text)
		}
		return r
	}
	records := s.ReadEpoch(ctx, q.Epoch, q.After)
	if q.Stream != "" {
		records = s.ReadStream(ctx, q.Stream, q.After)
	}
	for record, err := range records {
		if err != nil {
			r.Err = err.Error()
			break
		}
		r.Records = append(r.Records, record)
	}
	return r
}
