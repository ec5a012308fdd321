package sale

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Journeys come when they are due, the next one first; who waits keeps nobody busy.
func TestTheQueueHandsOutWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		late := &journey{shopper: 2, at: start.Add(10 * time.Second)}
		q := newQueue([]*journey{{shopper: 0}, {shopper: 1}, late})
		var dispatching sync.WaitGroup
		dispatching.Go(func() { q.dispatch(t.Context()) })
		type seen struct {
			shopper int
			after   time.Duration
		}
		var got []seen
		visits := map[int]int{}
		for j := range q.due {
			got = append(got, seen{j.shopper, time.Since(start).Truncate(time.Millisecond)})
			visits[j.shopper]++
			// Shopper 0 comes three times, a minute apart; the others once.
			if !q.giveBack(t.Context(), j, time.Minute, j.shopper == 0 && visits[0] < 3) {
				t.Fatal("it was over before its end")
			}
		}
		dispatching.Wait()
		want := []seen{{0, 0}, {1, 0}, {2, 10 * time.Second}, {0, time.Minute}, {0, 2 * time.Minute}}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// Whoever holds a journey when all is over is not kept.
func TestTheQueueEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		q := newQueue([]*journey{{shopper: 0}, {shopper: 1}})
		var dispatching sync.WaitGroup
		dispatching.Go(func() { q.dispatch(ctx) })
		j := <-q.due
		cancel()
		dispatching.Wait()
		if q.giveBack(ctx, j, 0, true) {
			t.Error("somebody took it")
		}
	})
}

func TestPlansAreTheSameInEveryRun(t *testing.T) {
	plans := func() []int {
		trade := NewTrade(TradeConfig{Config: Config{Run: "r", Units: 10, Shoppers: 300, SKUs: 3}, Pay: true, Admission: "FIRST_COME"})
		trade.tokens = make([]string, 300)
		var lengths []int
		for i := range 300 {
			lengths = append(lengths, len(trade.plan(i).acts))
		}
		return lengths
	}
	first, second := plans(), plans()
	if !slices.Equal(first, second) {
		t.Errorf("%v\n%v", first, second)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(first)))) < 4 {
		t.Errorf("everybody does the same: %v", first)
	}
}
