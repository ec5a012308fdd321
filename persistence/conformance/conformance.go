// Package conformance is the one suite that every storage driver passes. It is
// what "persistence.Store" means: where the interface's comments leave a
// question, a test here answers it.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/persistence"
)

// Harness is what the suite needs of a driver's tests.
type Harness struct {
	// Open returns a store with nothing in it. The harness closes it when the
	// test ends (closing it twice is fine).
	Open func(t *testing.T) persistence.Store
	// Tamper reaches behind a store that Open returned, with the raw database.
	Tamper func(t *testing.T, s persistence.Store) Tamper
	// Crash starts a store with nothing in it whose data is held by a process
	// that can be killed.
	Crash func(t *testing.T) Crash
}

// Tamper changes data in ways that the store itself never would.
type Tamper struct {
	// CorruptRecord changes bytes of the record's events.
	CorruptRecord func(stream string, seq uint64)
	// DeleteRecord makes a gap.
	DeleteRecord func(stream string, seq uint64)
	// CorruptSnapshot changes bytes of the stream's snapshot.
	CorruptSnapshot func(stream string)
}

// Crash is a store whose process can be killed.
type Crash interface {
	// Append goes to the store; it may be called from many goroutines, also
	// while the process is killed.
	Append(ctx context.Context, records []*entity.Record) []error
	// Kill ends the process that holds the data with SIGKILL, and returns when it has gone.
	Kill()
	// Restart opens the data again, in a process that can be killed again. What
	// it returns, and Append, work until then.
	Restart() Restarted
}

// Restarted reads what a crash has left.
type Restarted interface {
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error]
	ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error]
}

// timeout bounds each test's use of the store.
const timeout = 60 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, h Harness)
	}{
		{"Append/fence", testFence},
		{"Append/mixed batch", testMixedBatch},
		{"Append/repeat", testRepeat},
		{"Append/position taken", testPositionTaken},
		{"Append/size limit", testSizeLimit},
		{"Append/invalid", testInvalid},
		{"Append/canceled", testCanceled},
		{"Append/closed", testClosed},
		{"Append/random against a model", testModel},
		{"Read/stream from a version", testReadStream},
		{"Read/stream back from a version", testReadStreamBack},
		{"Read/back while writing", testReadBackWhileWriting},
		{"Read/epoch from a position", testReadEpoch},
		{"Read/nothing", testReadNothing},
		{"Read/stopped early", testReadStopped},
		{"Read/canceled", testReadCanceled},
		{"Read/while writing", testReadWhileWriting},
		{"Read/ids of all sorts", testNastyIDs},
		{"Read/many together", testReadTogether},
		{"Read/gap", testGap},
		{"Read/checksum", testChecksum},
		{"Crash/between batches", testCrashBetween},
		{"Crash/during batches", testCrashDuring},
		{"Snapshots/newest is kept", testSnapshotNewest},
		{"Snapshots/corrupt", testSnapshotCorrupt},
		{"Snapshots/size limit", testSnapshotSize},
		{"Snapshots/race", testSnapshotRace},
		{"Views/version guard", testRowVersions},
		{"Views/version race", testRowRace},
		{"Views/batches", testRowBatches},
		{"Views/pages", testPages},
		{"Views/filters", testFilters},
		{"Views/due", testDue},
		{"Views/changes", testChanges},
		{"Views/changes of many writers", testChangesRace},
		{"Views/limits", testRowLimits},
		{"Watermarks/never go back", testWatermarks},
		{"Settings/race", testSettings},
		{"Epochs/increase", testEpochs},
		{"Ping", testPing},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

// byBytes compares megabytes in no time; no bytes and no slice are the same.
var byBytes = cmp.Comparer(bytes.Equal) //nolint:gochecknoglobals // a constant

// writer makes records of one incarnation, each at the next position.
type writer struct {
	epoch    entity.Epoch
	position uint64
}

// record is a valid record with a payload that is its own.
func (w *writer) record(kind, id string, seq uint64, payload string) *entity.Record {
	w.position++
	r := &entity.Record{
		Kind: kind, ID: id, Seq: seq, FirstVersion: 2*seq - 1, LastVersion: 2 * seq,
		Epoch: w.epoch, Position: w.position, Events: []byte(payload),
	}
	return sealed(r)
}

// stream is records 1 to n of a stream.
func (w *writer) stream(kind, id string, n int) []*entity.Record {
	all := make([]*entity.Record, n)
	for i := range all {
		all[i] = w.record(kind, id, uint64(i+1), fmt.Sprintf("%s %d", id, i+1))
	}
	return all
}

func sealed(r *entity.Record) *entity.Record {
	r.Checksum = r.Sum()
	return r
}

// changed is a copy of a record with something else in it.
func changed(r *entity.Record, change func(*entity.Record)) *entity.Record {
	c := *r
	change(&c)
	return sealed(&c)
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// mustAppend appends in batches of up to 100.
func mustAppend(t *testing.T, s Appending, records ...*entity.Record) {
	t.Helper()
	for batch := range slices.Chunk(records, 100) {
		for i, err := range s.Append(testContext(t), batch) {
			if err != nil {
				t.Fatalf("append record %d of %s: %v", batch[i].Seq, batch[i].Stream(), err)
			}
		}
	}
}

// Appending is whatever takes records.
type Appending interface {
	Append(ctx context.Context, records []*entity.Record) []error
}

func collect(t *testing.T, records iter.Seq2[*entity.Record, error]) []*entity.Record {
	t.Helper()
	var all []*entity.Record
	for r, err := range records {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		all = append(all, r)
	}
	return all
}

func readStream(t *testing.T, s Restarted, stream string, after uint64) []*entity.Record {
	t.Helper()
	return collect(t, s.ReadStream(testContext(t), stream, after))
}

func readEpoch(t *testing.T, s Restarted, epoch entity.Epoch, after uint64) []*entity.Record {
	t.Helper()
	return collect(t, s.ReadEpoch(testContext(t), epoch, after))
}

// sameRecords fails unless got is want, in order.
func sameRecords(t *testing.T, what string, got, want []*entity.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got, byBytes); diff != "" && len(got)+len(want) > 0 {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	for _, r := range got {
		if err := r.Verify(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// expect fails unless err wraps want (nil: is nil).
func expect(t *testing.T, what string, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// seeded returns a source of randomness whose seed a failing test shows.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64() //nolint:gosec // a test
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
}
