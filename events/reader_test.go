package events_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/persistence"
)

var errEnded = errors.New("ended")

// lateLog is the log of a dead incarnation, 1, in which writes still appear, and
// an empty one of the present incarnation, 2.
type lateLog struct {
	mu      sync.Mutex
	written []uint64
	// handed is what the reader handed over, in order, and when.
	handed []uint64
	at     []time.Time
	// finished is closed when the log is.
	finished chan struct{}
}

func (l *lateLog) write(positions ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = append(l.written, positions...)
	slices.Sort(l.written)
}

func (l *lateLog) Epochs(context.Context) ([]persistence.EpochInfo, error) {
	return []persistence.EpochInfo{{Epoch: 1}, {Epoch: 2}}, nil
}

func (l *lateLog) ReadEpoch(_ context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	l.mu.Lock()
	defer l.mu.Unlock()
	written := slices.Clone(l.written)
	return func(yield func(*entity.Record, error) bool) {
		for _, position := range written {
			r := &entity.Record{Kind: "sku", ID: "x", Seq: position, Epoch: epoch, Position: position}
			r.Checksum = r.Sum()
			if position > after && !yield(r, nil) {
				return
			}
		}
	}
}

func (l *lateLog) SaveWatermark(context.Context, string, entity.Epoch, uint64) error { return nil }

func (l *lateLog) Watermarks(context.Context, string) (map[entity.Epoch]uint64, error) {
	return nil, nil
}

// Next: nothing is written by the present incarnation, which ends when the log of the dead one is finished.
func (l *lateLog) Next(ctx context.Context) ([]*entity.Record, uint64, error) {
	select {
	case <-l.finished:
	case <-ctx.Done():
	}
	return nil, 0, errEnded
}

func (l *lateLog) Take(_ context.Context, _ entity.Epoch, records []*entity.Record, upTo uint64) error {
	if upTo == events.Finished {
		close(l.finished)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.handed, l.at = append(l.handed, r.Position), append(l.at, time.Now())
	}
	return nil
}

// TestLateWritesOutOfOrder: a dead process had several writes on their way, and
// they appear in another order than that of their positions. None is passed over.
func TestLateWritesOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lateLog{finished: make(chan struct{})}
		l.write(1, 2, 6, 7)
		reader := events.NewReader(events.Config{
			Name: "test", Journal: l, Watermarks: l, Epoch: 2, Source: l, Ended: errEnded, Quiet: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
		}, events.NewReaderMetrics(prometheus.NewRegistry(), "test"))
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- reader.Run(t.Context(), l) }()
		time.Sleep(4 * time.Second)
		l.write(4)
		time.Sleep(8 * time.Second)
		l.write(3)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// 5 was never written.
		if want := []uint64{1, 2, 3, 4, 6, 7}; !slices.Equal(l.handed, want) {
			t.Fatalf("handed over %d, want %d", l.handed, want)
		}
		if l.at[0].Sub(began) != 0 {
			t.Errorf("what cannot be preceded by anything waited for %s", l.at[0].Sub(began))
		}
		if l.at[5].Sub(began) < 22*time.Second {
			t.Errorf("what comes after a gap was handed over after %s", l.at[5].Sub(began))
		}
	})
}
