package commitlog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
)

// script plays one list of fates by attempt; the last one stays.
func script(fates ...fate) func(*entity.Record, int) fate {
	return func(_ *entity.Record, attempt int) fate { return fates[min(attempt, len(fates))-1] }
}

// TestUnknownOutcome: the caller is told at once, the position is settled only
// when it is known what became of it, and what it is then is the truth.
func TestUnknownOutcome(t *testing.T) {
	for _, c := range []struct {
		name    string
		fates   []fate
		steal   bool // another activation writes the same seq meanwhile
		durable bool
		retries int
	}{
		{"was written", []fate{lostAnswer, ok}, false, true, 1},
		{"was not written", []fate{lostWrite, ok}, false, true, 1},
		{"is unknown again", []fate{lostWrite, lostWrite, lostAnswer, ok}, false, true, 3},
		{"unavailable says nothing about before", []fate{lostAnswer, refused, refused, ok}, false, true, 3},
		{"not written and fenced since", []fate{lostWrite, refused, ok}, true, false, 2},
		{"lands late, before it is tried again", []fate{{late: time.Microsecond, err: errors.New("reset")}, ok}, false, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newScripted(script(c.fates...)), Options{ResolveMin: time.Second, ResolveMax: 2 * time.Second})
				b.commit("a")
				synctest.Wait()
				b.told("a", entity.ErrUnknownOutcome)
				b.settledAt(0)
				if s := b.Stats(); s.Unresolved != 1 || s.Unknown != 1 {
					t.Errorf("unresolved %d, unknown %d", s.Unresolved, s.Unknown)
				}
				if c.steal {
					other := record("a", 99)
					other.Epoch = 1
					b.journal.written[key(other)] = other
				}
				began := time.Now()
				b.close()
				b.settledAt(1)
				b.told("a", entity.ErrUnknownOutcome) // and nothing after it
				if got := len(b.journal.log()); (got == 1) != c.durable {
					t.Errorf("%d records are durable, want durable: %v", got, c.durable)
				}
				if got := b.journal.attempts[1] - 1; got != c.retries {
					t.Errorf("tried again %d times, want %d", got, c.retries)
				}
				// Pauses of 1 s, then 2 s each.
				if want := time.Duration(2*c.retries-1) * time.Second; time.Since(began) != want {
					t.Errorf("took %s, want %s", time.Since(began), want)
				}
				s := b.Stats()
				if s.Unresolved != 0 || s.PendingBytes != 0 || s.ResolvedDurable+s.ResolvedLost != 1 || (s.ResolvedDurable == 1) != c.durable {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestAppendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(script(hanging, ok)), Options{AppendTimeout: 3 * time.Second})
		b.commit("a")
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		b.told("a", errPending)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		b.told("a", entity.ErrUnknownOutcome)
		b.told("a", context.DeadlineExceeded)
		b.close()
		b.settledAt(1)
	})
}

// miscounting answers for fewer records than it was given.
type miscounting struct{ *scriptedJournal }

func (j miscounting) Append(ctx context.Context, records []*entity.Record) []error {
	errs := j.scriptedJournal.Append(ctx, records)
	if j.attempts[1] == 1 {
		return errs[:len(errs)-1]
	}
	return errs
}

func TestMiscountedResultsAreUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newScripted(nil)
		b := &bench{T: t, journal: j}
		l, err := Open(t.Context(), miscounting{j}, "node", Options{})
		if err != nil {
			t.Fatal(err)
		}
		b.Log = l
		b.commit("a", "b")
		b.close()
		b.told("a", entity.ErrUnknownOutcome)
		b.told("b", entity.ErrUnknownOutcome)
		b.settledAt(2)
	})
}

// keeping holds on to the slice that it was given, as a driver does whose
// write goes on in the background when it has given up waiting for it.
type keeping struct {
	*scriptedJournal
	kept []*entity.Record
}

func (j *keeping) Append(ctx context.Context, records []*entity.Record) []error {
	if j.kept == nil {
		j.kept = records
	}
	return j.scriptedJournal.Append(ctx, records)
}

func TestSliceOfAnUnknownOutcomeIsNotReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &keeping{scriptedJournal: newScripted(script(hanging, ok))}
		b := &bench{T: t, journal: j.scriptedJournal}
		l, err := Open(t.Context(), j, "node", Options{MaxInFlight: 1})
		if err != nil {
			t.Fatal(err)
		}
		b.Log = l
		b.commit("a")
		time.Sleep(time.Minute)
		b.commit("b")
		b.close()
		if rec := j.kept[0]; rec == nil || rec.ID != "a" {
			t.Errorf("the slice of the first Append holds %v now", rec)
		}
	})
}

// TestOneBadRecordDoesNotHoldUpOthers: a record makes every Append that it is
// in time out; the rest is resolved all the same.
func TestOneBadRecordDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heal := false
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			switch {
			case attempt == 1:
				return lostWrite
			case rec.ID == "5" && !heal:
				return hanging
			}
			return ok
		}), Options{MaxInFlight: 1})
		for i := range 16 {
			b.commit(fmt.Sprint(i))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s := b.Stats(); s.Unresolved != 1 || s.Settled != 5 {
			t.Errorf("unresolved %d, settled %d; want 1, 5", s.Unresolved, s.Settled)
		}
		b.journal.mu.Lock()
		heal = true
		b.journal.mu.Unlock()
		b.close()
		b.settledAt(16)
	})
}

// TestStoreInTrouble: from MaxUnresolved on, what is queued is not sent into
// the next timeout but answered as surely not written.
func TestStoreInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			if attempt == 1 {
				return hanging
			}
			return ok
		}), Options{MaxInFlight: 1, MaxBatchRecords: 2, MaxUnresolved: 2, AppendTimeout: time.Second, ResolveMin: time.Second})
		b.commit("a")
		synctest.Wait()
		b.commit("b", "c", "d", "e")
		time.Sleep(2*time.Second - 1) // a timed out; b and c are in flight; a is about to be tried again
		synctest.Wait()
		b.told("a", entity.ErrUnknownOutcome)
		b.told("b", errPending)
		b.journal.mu.Lock()
		b.journal.script = func(*entity.Record, int) fate { return hanging }
		b.journal.mu.Unlock()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		b.told("c", entity.ErrUnknownOutcome)
		b.told("d", entity.ErrUnavailable)
		b.told("e", entity.ErrUnavailable)
		b.commit("f")
		b.told("f", entity.ErrOverloaded)
		b.journal.mu.Lock()
		b.journal.script = script(ok)
		b.journal.mu.Unlock()
		b.close()
		b.settledAt(5)
	})
}
