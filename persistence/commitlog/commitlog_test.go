package commitlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/persistence"
)

// bench is a log over a scripted journal inside a synctest bubble. The bubble
// itself checks that no goroutine outlives the test.
type bench struct {
	*testing.T
	*Log
	journal *scriptedJournal
	answers answers
}

func open(t *testing.T, j *scriptedJournal, o Options) *bench {
	t.Helper()
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return d }
	}
	l, err := Open(t.Context(), j, "node", o)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, Log: l, journal: j}
}

func (b *bench) commit(ids ...string) {
	for _, id := range ids {
		b.Commit(record(id, 10), b.answers.of(id))
	}
}

// close is what every test ends with.
func (b *bench) close() {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.Errorf("Close: %v", err)
	}
}

func (b *bench) told(id string, want error) {
	b.Helper()
	if got := b.answers.get(id); !errors.Is(got, want) {
		b.Errorf("%s was told %v, want %v", id, got, want)
	}
}

func (b *bench) settledAt(want uint64) {
	b.Helper()
	if got := b.Settled(); got != want {
		b.Errorf("Settled is %d, want %d", got, want)
	}
}

func (b *bench) batches(want ...[]uint64) {
	b.Helper()
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	if diff := cmp.Diff(want, b.journal.batches); diff != "" {
		b.Errorf("batches (-want +got):\n%s", diff)
	}
}

// slowOnce makes the records of these positions take a second the first time.
func slowOnce(slow ...uint64) func(*entity.Record, int) fate {
	return func(rec *entity.Record, attempt int) fate {
		for _, p := range slow {
			if rec.Position == p && attempt == 1 {
				return fate{write: true, wait: time.Second}
			}
		}
		return ok
	}
}

func TestWhatWaitsLeavesAsOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(slowOnce(1)), Options{MaxInFlight: 1})
		b.commit("a")
		synctest.Wait()
		b.commit("b", "c", "d")
		synctest.Wait()
		b.told("b", errPending)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range []string{"a", "b", "c", "d"} {
			b.told(id, nil)
		}
		b.batches([]uint64{1}, []uint64{2, 3, 4})
		b.settledAt(4)
		for i, rec := range b.journal.log() {
			if err := rec.Verify(); err != nil {
				t.Error(err)
			}
			if rec.Position != uint64(i+1) || rec.Epoch != b.Epoch() || rec.ID != string(rune('a'+i)) {
				t.Errorf("record %d is %s at (%d, %d)", i, rec.ID, rec.Epoch, rec.Position)
			}
		}
		b.close()
	})
}

func TestSlotsRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(slowOnce(1, 2, 3)), Options{MaxInFlight: 3})
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			b.commit(id)
			synctest.Wait()
		}
		b.batches([]uint64{1}, []uint64{2}, []uint64{3})
		if s := b.Stats(); s.InFlight != 3 || s.Queued != 2 {
			t.Errorf("in flight %d, queued %d; want 3, 2", s.InFlight, s.Queued)
		}
		b.close()
		b.batches([]uint64{1}, []uint64{2}, []uint64{3}, []uint64{4, 5})
		if b.journal.maxInFlight != 3 {
			t.Errorf("%d Appends at once, want 3", b.journal.maxInFlight)
		}
	})
}

func TestBatchBounds(t *testing.T) {
	size := recordBytes(record("x", 10))
	for _, c := range []struct {
		name    string
		options Options
		want    [][]uint64
	}{
		{"records", Options{MaxBatchRecords: 2}, [][]uint64{{1}, {2, 3}, {4, 5}, {6}}},
		{"bytes", Options{MaxBatchBytes: 3*size + 1}, [][]uint64{{1}, {2, 3, 4}, {5, 6}}},
		{"larger than a batch", Options{MaxBatchBytes: size - 1}, [][]uint64{{1}, {2}, {3}, {4}, {5}, {6}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.options.MaxInFlight = 1
				b := open(t, newScripted(slowOnce(1)), c.options)
				b.commit("1")
				synctest.Wait()
				b.commit("2", "3", "4", "5", "6")
				b.close()
				b.batches(c.want...)
			})
		})
	}
}

// TestBounds fills the log up to each bound: the next commit is refused at
// once, takes no position, and is taken when there is room again.
func TestBounds(t *testing.T) {
	size := recordBytes(record("x", 10))
	unresolvedUntilLater := func(rec *entity.Record, attempt int) fate {
		if rec.Position <= 3 && attempt == 1 {
			return lostWrite
		}
		return ok
	}
	firstStuck := func(rec *entity.Record, attempt int) fate {
		if rec.Position == 1 && attempt < 4 {
			return lostWrite
		}
		return ok
	}
	many := make([]string, 64)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		name    string
		options Options
		script  func(*entity.Record, int) fate
		fill    []string
	}{
		{"MaxPendingRecords 3", Options{MaxInFlight: 1, MaxPendingRecords: 3}, slowOnce(1), []string{"1", "2", "3"}},
		{fmt.Sprintf("MaxPendingBytes %d", 3*size), Options{MaxInFlight: 1, MaxPendingBytes: 3 * size}, slowOnce(1), []string{"1", "2", "3"}},
		{"MaxUnresolved 3", Options{MaxUnresolved: 3}, unresolvedUntilLater, []string{"1", "2", "3"}},
		{"MaxUnsettled 64", Options{MaxUnsettled: 10, MaxPendingRecords: 10}, firstStuck, many},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newScripted(c.script), c.options)
				for _, id := range c.fill {
					b.commit(id)
					synctest.Wait()
				}
				b.commit("one more")
				err := b.answers.get("one more")
				if !errors.Is(err, entity.ErrOverloaded) || !strings.Contains(err.Error(), c.name) {
					t.Errorf("over the bound: %v, want ErrOverloaded naming %s", err, c.name)
				}
				time.Sleep(10 * time.Second)
				b.commit("then")
				synctest.Wait()
				b.told("then", nil)
				b.settledAt(uint64(len(c.fill) + 1))
				b.close()
			})
		})
	}
}

func TestOversizedRecordIsTakenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(slowOnce(1)), Options{MaxPendingBytes: 1000, MaxBatchBytes: 1000})
		b.Commit(record("large", 5000), b.answers.of("large"))
		b.commit("small")
		b.told("small", entity.ErrOverloaded)
		b.close()
		b.told("large", nil)
	})
}

func TestTooLargeIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newScripted(nil)
		j.maxRecord = 100
		b := open(t, j, Options{})
		b.Commit(record("over", 101), b.answers.of("over"))
		b.Commit(record("at", 100), b.answers.of("at"))
		b.close()
		b.told("over", entity.ErrTooLarge)
		b.told("at", nil)
		b.batches([]uint64{1})
	})
}

// TestInvalidIsAHole: what a driver says is unfit was not sent, and never can
// be, so its position holds up nobody.
func TestInvalidIsAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unfit := fate{err: fmt.Errorf("scripted: %w", persistence.ErrInvalid)}
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			switch rec.ID {
			case "unfit":
				return unfit
			case "found out later":
				return script(lostWrite, unfit)(rec, attempt)
			}
			return ok
		}), Options{})
		b.commit("unfit", "found out later", "fit")
		b.close()
		b.told("unfit", persistence.ErrInvalid)
		b.told("found out later", entity.ErrUnknownOutcome)
		b.settledAt(3)
		if s := b.Stats(); s.Invalid != 1 || s.ResolvedLost != 1 {
			t.Errorf("invalid %d, resolved lost %d; want 1, 1", s.Invalid, s.ResolvedLost)
		}
	})
}

func TestSecondRecordOfAStreamIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(slowOnce(1)), Options{})
		b.commit("a")
		synctest.Wait()
		b.Commit(record("a", 10), b.answers.of("second"))
		b.told("second", entity.ErrFenced)
		time.Sleep(time.Second)
		synctest.Wait()
		b.told("a", nil)
		next := record("a", 10)
		next.Seq = 2
		b.Commit(next, b.answers.of("next"))
		b.close()
		b.told("next", nil)
		b.settledAt(2)
	})
}

// TestSettled: two slots, the first slow; what comes later is durable and told
// so, but settled only with the first.
func TestSettledWaitsForTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(slowOnce(1)), Options{MaxInFlight: 2})
		b.commit("a")
		synctest.Wait()
		b.commit("b", "c")
		synctest.Wait()
		b.told("a", errPending)
		b.told("b", nil)
		b.settledAt(0)
		time.Sleep(time.Second)
		synctest.Wait()
		b.settledAt(3)
		b.close()
	})
}

func TestHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newScripted(func(rec *entity.Record, _ int) fate {
			if rec.Position%2 == 0 {
				return refused
			}
			return ok
		})
		stolen := record("3", 99)
		stolen.Epoch = 1
		j.written[key(stolen)] = stolen
		b := open(t, j, Options{})
		f := b.Follow("reader", 0)
		b.commit("1", "2", "3", "4")
		synctest.Wait()
		b.told("1", nil)
		b.told("2", entity.ErrUnavailable)
		b.told("3", entity.ErrFenced)
		b.told("4", entity.ErrUnavailable)
		b.settledAt(4)
		records, upTo, err := f.Next(t.Context())
		if diff := cmp.Diff([]uint64{1}, positions(records)); diff != "" || upTo != 4 || err != nil {
			t.Errorf("Next: %s up to %d, %v; want up to 4", diff, upTo, err)
		}
		b.commit("2")
		synctest.Wait()
		b.commit("4") // a hole and nothing else
		synctest.Wait()
		_, _, _ = f.Next(t.Context())
		b.close()
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(t.Context(), newScripted(nil), "node", Options{MaxInFlight: -1, FollowBytes: -1, ResolveMin: 2, ResolveMax: 1, MaxUnsettled: 5})
	for _, fault := range []string{"MaxInFlight is negative", "FollowBytes is negative", "ResolveMax is less", "MaxUnsettled is less"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("Open: %v, want it to say %q", err, fault)
		}
	}
}
