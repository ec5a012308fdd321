package entity

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestWorkersRunAtOnceWhoeverBlocks(t *testing.T) {
	synctest.Test(t, func(*testing.T) { // it would be a deadlock, and nobody left waiting is a failure, too
		var w workers
		w.activated()
		release := make(chan struct{})
		for range 2 * maxWaiting {
			w.Schedule(func() { <-release })
		}
		ran := make(chan struct{})
		w.Schedule(func() { close(ran) })
		<-ran
		close(release)
		synctest.Wait()
		w.deactivated()
	})
}

func TestWorkersAreUsedAgainAndSentAwayWithTheLastActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		waiting := func() int {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.waiting)
		}
		burst := func(n int) {
			var all sync.WaitGroup
			all.Add(n)
			for range n {
				w.Schedule(func() { all.Done(); all.Wait() })
			}
			all.Wait()
		}
		burst(8)
		if got := waiting(); got != 0 {
			t.Errorf("%d goroutines wait without an activation", got)
		}
		w.activated()
		w.activated()
		burst(64)
		if got := waiting(); got != 64 {
			t.Errorf("%d goroutines wait after a burst of 64", got)
		}
		burst(40)
		if got := waiting(); got != 64 {
			t.Errorf("%d goroutines wait after 40 more pieces of work, not 64: they are not used again", got)
		}
		burst(2 * maxWaiting)
		if got := waiting(); got != maxWaiting {
			t.Errorf("%d goroutines wait, more or less than the bound of %d", got, maxWaiting)
		}
		w.deactivated()
		if got := waiting(); got != maxWaiting {
			t.Errorf("%d goroutines wait while an activation is left", got)
		}
		w.deactivated()
		if got := waiting(); got != 0 {
			t.Errorf("%d goroutines wait after the last activation", got)
		}
	})
}
