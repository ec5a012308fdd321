package commitlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
)

// next checks one Next.
func (b *bench) next(f *Follower, wantUpTo uint64, want ...uint64) {
	b.Helper()
	records, upTo, err := f.Next(b.Context())
	if err != nil {
		b.Fatalf("Next: %v", err)
	}
	if diff := cmp.Diff(want, positions(records)); diff != "" || upTo != wantUpTo {
		b.Errorf("Next is up to %d, want %d; positions (-want +got):\n%s", upTo, wantUpTo, diff)
	}
}

// numbered commits records of as many streams, one batch each.
func (b *bench) numbered(from, to int) {
	for i := from; i <= to; i++ {
		b.commit(fmt.Sprint(i))
		synctest.Wait()
	}
}

func TestFollowersShareTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{FollowRecords: 3})
		fast, slow := b.Follow("fast", 0), b.Follow("slow", 2)
		b.numbered(1, 5)
		b.next(fast, 3, 1, 2, 3)
		b.next(fast, 5, 4, 5)
		if s := b.Stats(); s.RetainedRecords != 3 {
			t.Errorf("%d records retained, want the 3 that the slow one has not read", s.RetainedRecords)
		}
		b.next(slow, 5, 3, 4, 5)
		if s := b.Stats(); s.RetainedRecords != 0 || s.RetainedBytes != 0 {
			t.Errorf("%d records of %d bytes retained after all was read", s.RetainedRecords, s.RetainedBytes)
		}
		if b.journal.reads != 0 {
			t.Errorf("the journal was read %d times", b.journal.reads)
		}
		b.close()
	})
}

// TestNextIsBoundedByBytes in memory and in the journal; one record always goes.
func TestNextIsBoundedByBytes(t *testing.T) {
	size := recordBytes(record("x", 10))
	for name, retained := range map[string]int{"memory": 100, "journal": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newScripted(nil), Options{MaxRetainedRecords: retained, FollowBytes: 2*size + 1})
				f, tiny := b.Follow("reader", 0), b.Follow("reader", 0)
				b.numbered(1, 4)
				b.Commit(record("large", 1000), b.answers.of("large"))
				b.numbered(6, 6)
				b.next(f, 2, 1, 2)
				b.next(f, 4, 3, 4)
				b.next(f, 5, 5)
				b.next(f, 6, 6)
				b.opts.FollowBytes = 1
				b.next(tiny, 1, 1)
				b.next(tiny, 2, 2)
				b.close()
			})
		})
	}
}

// TestFollowerFallsBehind: the bounds of the memory are reached, the follower
// reads the journal as far as the memory does not go, and then memory again.
func TestFollowerFallsBehind(t *testing.T) {
	size := recordBytes(record("x", 10))
	for _, c := range []struct {
		name    string
		options Options
	}{
		{"records", Options{MaxRetainedRecords: 4, FollowRecords: 5}},
		{"bytes", Options{MaxRetainedBytes: 4*size + size/2, FollowRecords: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newScripted(nil), c.options)
				f := b.Follow("slow", 0)
				b.numbered(1, 9)
				if s := b.Stats(); s.RetainedRecords != 4 {
					t.Errorf("%d records retained, want 4", s.RetainedRecords)
				}
				b.next(f, 5, 1, 2, 3, 4, 5) // from the journal
				b.next(f, 9, 6, 7, 8, 9)    // from memory
				if b.journal.reads != 1 {
					t.Errorf("the journal was read %d times, want once", b.journal.reads)
				}
				b.numbered(10, 20)
				b.next(f, 14, 10, 11, 12, 13, 14) // journal
				b.next(f, 16, 15, 16)             // the rest of what memory does not have
				b.next(f, 20, 17, 18, 19, 20)
				if s := b.Stats(); b.journal.reads != 3 || s.Followers[0].JournalReads != 3 {
					t.Errorf("the journal was read %d times, want 3; counted %d", b.journal.reads, s.Followers[0].JournalReads)
				}
				b.numbered(21, 21)
				b.next(f, 21, 21)
				b.close()
			})
		})
	}
}

// TestFollowersStopAtTheUnsettled also when what comes after it has left memory.
func TestFollowersStopAtTheUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			if rec.Position == 3 && attempt == 1 {
				return lostAnswer
			}
			return ok
		}), Options{MaxRetainedRecords: 2, ResolveMin: time.Minute, ResolveMax: time.Minute})
		f := b.Follow("reader", 0)
		b.numbered(1, 9)
		b.next(f, 2, 1, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if records, upTo, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || upTo != 2 {
			t.Errorf("Next: %v up to %d, %v; want to wait", positions(records), upTo, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.next(f, 7, 3, 4, 5, 6, 7)
		b.next(f, 9, 8, 9)
		b.close()
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{})
		f := b.Follow("reader", 0)
		got := make(chan []uint64)
		go func() {
			records, _, err := f.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- positions(records)
		}()
		synctest.Wait()
		b.commit("a")
		if diff := cmp.Diff([]uint64{1}, <-got); diff != "" {
			t.Error(diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.commit("b")
		synctest.Wait()
		if _, upTo, err := f.Next(ctx); !errors.Is(err, context.Canceled) || upTo != 1 {
			t.Errorf("Next with an ended context: up to %d, %v", upTo, err)
		}
		b.next(f, 2, 2)
		b.close()
	})
}

func TestFollowFromLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{})
		b.numbered(1, 5)
		if s := b.Stats(); s.RetainedRecords != 0 {
			t.Errorf("%d records retained for nobody", s.RetainedRecords)
		}
		f := b.Follow("late", 3)
		b.next(f, 5, 4, 5)
		b.numbered(101, 103)
		f.Close()
		if s := b.Stats(); s.RetainedRecords != 0 {
			t.Errorf("%d records retained after the last follower left", s.RetainedRecords)
		}
		if _, _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next of a closed follower: %v", err)
		}
		b.numbered(6, 7)
		if s := b.Stats(); s.RetainedRecords != 0 || len(s.Followers) != 0 {
			t.Errorf("%d records retained, %d followers after Close", s.RetainedRecords, len(s.Followers))
		}
		ahead := b.Follow("ahead", 11)
		b.numbered(11, 12)
		b.next(ahead, 12, 12)
		b.close()
	})
}

// TestJournalReadFails: what was read is handed out, the error is told, and
// the next call goes on where it was.
func TestJournalReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{MaxRetainedRecords: 1})
		f := b.Follow("reader", 0)
		b.numbered(1, 5)
		broken := errors.New("scripted: disk on fire")
		b.journal.readErr, b.journal.readBefore = broken, 2
		b.next(f, 2, 1, 2)
		b.journal.readErr, b.journal.readBefore = broken, 0
		if records, upTo, err := f.Next(t.Context()); !errors.Is(err, broken) || upTo != 2 || len(records) != 0 {
			t.Errorf("Next: %v up to %d, %v; want the journal's error", positions(records), upTo, err)
		}
		b.next(f, 4, 3, 4)
		b.next(f, 5, 5)
		b.close()
	})
}

// endsEarly is a journal whose reads end without an error when their context
// does, here after the first record.
type endsEarly struct {
	*scriptedJournal
	cancel context.CancelFunc
}

func (j endsEarly) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for rec, err := range j.scriptedJournal.ReadEpoch(ctx, epoch, after) {
			if !yield(rec, err) {
				return
			}
			j.cancel()
		}
	}
}

// TestEndOfContextIsNotEndOfLog: records that the read did not come to are not
// taken for holes.
func TestEndOfContextIsNotEndOfLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{MaxRetainedRecords: 1})
		f := b.Follow("reader", 0)
		b.numbered(1, 5)
		ctx, cancel := context.WithCancel(t.Context())
		b.Log.journal = endsEarly{b.journal, cancel}
		if records, upTo, err := f.Next(ctx); len(records) != 1 || upTo != 1 || err != nil {
			t.Errorf("Next: %v up to %d, %v; want what was read", positions(records), upTo, err)
		}
		b.next(f, 4, 2, 3, 4)
		b.next(f, 5, 5)
		b.close()
	})
}

// backwards yields an epoch in the wrong order.
type backwards struct{ *scriptedJournal }

func (j backwards) ReadEpoch(context.Context, entity.Epoch, uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for _, rec := range slices.Backward(j.log()) {
			if rec.Position <= 4 && !yield(rec, nil) {
				return
			}
		}
	}
}

func TestJournalOutOfOrderIsCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{MaxRetainedRecords: 1})
		f := b.Follow("reader", 1)
		b.numbered(1, 5)
		b.Log.journal = backwards{b.journal}
		if records, upTo, err := f.Next(t.Context()); !errors.Is(err, entity.ErrCorrupt) || upTo != 1 || len(records) != 0 {
			t.Errorf("Next: %v up to %d, %v; want ErrCorrupt", positions(records), upTo, err)
		}
		b.close()
	})
}
