package commitlog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
)

func TestCloseFlushesAndFollowersDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			switch {
			case rec.Position == 1 && attempt == 1:
				return fate{write: true, wait: time.Second}
			case rec.Position == 2 && attempt == 1:
				return lostWrite
			}
			return ok
		}), Options{MaxInFlight: 1, FollowRecords: 2})
		f := b.Follow("reader", 0)
		b.commit("a")
		synctest.Wait()
		b.commit("b", "c", "d")
		closed := make(chan struct{})
		go func() {
			b.close()
			close(closed)
		}()
		synctest.Wait()
		b.commit("e")
		b.told("e", entity.ErrRetry)
		<-closed
		b.told("a", nil)
		b.told("b", entity.ErrUnknownOutcome)
		b.told("c", nil)
		b.told("d", nil)
		b.next(f, 2, 1, 2)
		b.next(f, 4, 3, 4)
		for range 2 {
			if _, upTo, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) || upTo != 4 {
				t.Errorf("Next at the end: up to %d, %v", upTo, err)
			}
		}
		late := b.Follow("late", 1)
		b.next(late, 3, 2, 3)
		b.next(late, 4, 4)
		b.close() // again
	})
}

func TestCloseWakesFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(nil), Options{})
		got := make(chan error)
		go func() {
			_, _, err := b.Follow("reader", 0).Next(t.Context())
			got <- err
		}()
		closed := b.Follow("closed", 0)
		go func() {
			_, _, err := closed.Next(t.Context())
			got <- err
		}()
		synctest.Wait()
		closed.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("Next of a closed follower: %v", err)
		}
		closed.Close()
		b.close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("Next of a closed log: %v", err)
		}
	})
}

// TestCloseRunsOutOfTime: nobody is left without an answer, and what is not
// known is said not to be known.
func TestCloseRunsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(func(rec *entity.Record, attempt int) fate {
			switch rec.ID {
			case "in flight":
				return hanging
			case "unresolved":
				return lostWrite
			}
			return ok
		}), Options{MaxInFlight: 1, AppendTimeout: time.Hour})
		f := b.Follow("reader", 0)
		for _, id := range []string{"durable", "unresolved", "after it"} {
			b.commit(id)
			synctest.Wait()
		}
		b.commit("in flight")
		synctest.Wait()
		b.commit("queued", "queued too")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		for range 2 {
			if err := b.Close(ctx); !errors.Is(err, entity.ErrUnknownOutcome) {
				t.Errorf("Close: %v, want it to say that outcomes are unknown", err)
			}
		}
		if time.Since(began) != time.Minute {
			t.Errorf("Close took %s", time.Since(began))
		}
		b.told("durable", nil)
		b.told("unresolved", entity.ErrUnknownOutcome)
		b.told("after it", nil)
		b.told("in flight", entity.ErrUnknownOutcome)
		b.told("queued", entity.ErrUnavailable)
		b.told("queued too", entity.ErrUnavailable)
		b.settledAt(1)
		b.next(f, 1, 1)
		if _, _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next at the end of what was settled: %v", err)
		}
	})
}
