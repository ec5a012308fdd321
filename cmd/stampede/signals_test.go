package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// One signal that is delivered twice drains; another one later ends at once.
func TestSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		drained, quit := 0, 0
		go obey(signals, func() { drained++ }, func() { quit++ })
		for range 2 {
			signals <- syscall.SIGTERM
		}
		synctest.Wait()
		if drained != 1 || quit != 0 {
			t.Fatalf("one signal, delivered twice: it drains %d times and quits %d times", drained, quit)
		}
		time.Sleep(hurryAfter)
		signals <- syscall.SIGTERM
		synctest.Wait()
		if drained != 1 || quit != 1 {
			t.Errorf("a second signal: it drains %d times and quits %d times", drained, quit)
		}
	})
}
