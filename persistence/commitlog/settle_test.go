package commitlog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
)

// Whoever is to read a stream waits until nothing of it is on its way any more.
func TestSettleWaitsForWhatIsOnItsWay(t *testing.T) {
	for _, c := range []struct {
		name  string
		fates []fate
		takes time.Duration
	}{
		{"in flight", []fate{{write: true, wait: 300 * time.Millisecond}}, 300 * time.Millisecond},
		{"unknown, not written", []fate{lostWrite, ok}, time.Second},
		{"unknown twice", []fate{lostWrite, lostWrite, ok}, 3 * time.Second},
		{"refused", []fate{refused}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newScripted(script(c.fates...)), Options{ResolveMin: time.Second, ResolveMax: 2 * time.Second})
				defer b.close()
				b.commit("a")
				began := time.Now()
				if err := b.Settle(t.Context(), entity.Address{Kind: "sku", ID: "other"}); err != nil || time.Since(began) != 0 {
					t.Errorf("another stream: %v after %s", err, time.Since(began))
				}
				addr := entity.Address{Kind: record("a", 1).Kind, ID: "a"}
				for range 2 {
					if err := b.Settle(t.Context(), addr); err != nil || time.Since(began) != c.takes {
						t.Errorf("%v after %s, want %s", err, time.Since(began), c.takes)
					}
				}
				if len(b.doubts)+len(b.settling)+len(b.streams) != 0 {
					t.Errorf("kept: %v %v %v", b.doubts, b.settling, b.streams)
				}
			})
		})
	}
}

// It ends with its context, and with a log that will never know.
func TestSettleGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newScripted(script(hanging)), Options{})
		b.commit("a")
		addr := entity.Address{Kind: record("a", 1).Kind, ID: "a"}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Settle(short, addr); !errors.Is(err, entity.ErrUnavailable) {
			t.Errorf("with its context: %v", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- b.Settle(t.Context(), addr) }()
		synctest.Wait()
		ending, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if err := b.Close(ending); !errors.Is(err, entity.ErrUnknownOutcome) {
			t.Errorf("close: %v", err)
		}
		if err := <-waited; !errors.Is(err, entity.ErrUnavailable) {
			t.Errorf("with the log: %v", err)
		}
	})
}
