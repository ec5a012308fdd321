package commitlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
)

// TestManyGoroutines runs actors and followers side by side on the real
// scheduler, for the race detector and for what only real interleavings show.
func TestManyGoroutines(t *testing.T) {
	const actors, rounds = 32, 200
	j := newScripted(func(rec *entity.Record, attempt int) fate {
		switch {
		case attempt > 1:
			return ok
		case rec.Position%97 == 0:
			return lostAnswer
		case rec.Position%101 == 0:
			return refused
		}
		return ok
	})
	l, err := Open(t.Context(), j, "node", Options{MaxInFlight: 4, MaxRetainedRecords: 64, ResolveMin: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := Register(registry, l); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	counts := make([]int, 3)
	for i := range counts {
		readers.Go(func() { counts[i] = drain(t, l.Follow(fmt.Sprint("reader ", i%2), 0)) })
	}
	var writers sync.WaitGroup
	for i := range actors {
		writers.Go(func() {
			answer := make(chan error, 1)
			for seq := range rounds {
				rec := record(fmt.Sprint(i), 50)
				rec.Seq = uint64(seq + 1)
				l.Commit(rec, func(err error) { answer <- err })
				if err := <-answer; err != nil && !entity.Retryable(err) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if n, err := gathered(registry); err != nil || n != 28 {
		t.Errorf("gathered %d metrics, %v; want 28", n, err)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
	readers.Wait()
	durable := len(j.log())
	if s := l.Stats(); s.Settled != actors*rounds || s.Durable+s.ResolvedDurable != uint64(durable) || s.CommitTime.Count != actors*rounds {
		t.Errorf("%d durable, %+v", durable, s)
	}
	for i, n := range counts {
		if n != durable {
			t.Errorf("reader %d was handed %d of %d durable records", i, n, durable)
		}
	}
}

// gathered counts the metrics in a registry.
func gathered(registry prometheus.Gatherer) (n int, err error) {
	families, err := registry.Gather()
	for _, family := range families {
		n += len(family.GetMetric())
	}
	return n, err
}

// drain counts what a follower is handed, checking the order.
func drain(t *testing.T, f *Follower) (n int) {
	last := uint64(0)
	for {
		records, upTo, err := f.Next(t.Context())
		if errors.Is(err, ErrClosed) {
			return n
		}
		if err != nil {
			t.Error(err)
			return n
		}
		for _, rec := range records {
			if rec.Position <= last || rec.Position > upTo {
				t.Errorf("position %d after %d, up to %d", rec.Position, last, upTo)
			}
			last = rec.Position
		}
		n += len(records)
	}
}
