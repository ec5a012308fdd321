package events_test

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/events"
	"stampede/persistence"
)

// countedLog is a lateLog that counts how often its incarnations are asked for.
type countedLog struct {
	lateLog
	asked    atomic.Int64
	stranger atomic.Bool
}

func (l *countedLog) Epochs(ctx context.Context) ([]persistence.EpochInfo, error) {
	l.asked.Add(1)
	known, err := l.lateLog.Epochs(ctx)
	if l.stranger.Load() {
		known = append(known, persistence.EpochInfo{Epoch: 3})
	}
	return known, err
}

// TestWhoStaysIsNotAskedAfter: while nobody comes or goes the journal is hardly
// asked which logs there are; who dies is adopted as soon as before, and who
// never joined not much later.
func TestWhoStaysIsNotAskedAfter(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(l *countedLog, view *atomic.Pointer[members.View])
		within time.Duration
	}{
		{"one dies", func(_ *countedLog, view *atomic.Pointer[members.View]) {
			next := *view.Load()
			next.Version++
			next.Members = next.Members[1:]
			view.Store(&next)
		}, 2 * time.Second},
		{"one never joined", func(l *countedLog, _ *atomic.Pointer[members.View]) { l.stranger.Store(true) }, 2*events.JoinWithin + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &countedLog{lateLog: lateLog{finished: make(chan struct{})}}
				l.write(1, 2)
				var view atomic.Pointer[members.View]
				view.Store(&members.View{Version: 7, Members: []members.Member{
					{ID: "a", Epoch: 1, State: members.Up, Roles: []members.Role{members.Actors}}, // adopts nothing
					{ID: "b", Epoch: 2, State: members.Up, Roles: []members.Role{members.Publisher}},
				}})
				reader := events.NewReader(events.Config{
					Name: "test", Journal: l, Watermarks: l, Epoch: entity.Epoch(2), Source: l, Ended: errEnded, Quiet: 4 * time.Second,
					Cluster: events.NewMembers("b", view.Load), Logger: slog.New(slog.DiscardHandler),
				}, events.NewReaderMetrics(prometheus.NewRegistry(), "test"))
				done := make(chan error, 1)
				ctx, stop := context.WithCancel(t.Context())
				go func() { done <- reader.Run(ctx, l) }()
				time.Sleep(time.Hour)
				if n, most := l.asked.Load(), int64(time.Hour/events.JoinWithin)+1; n == 0 || n > most {
					t.Errorf("asked %d times in an hour in which nothing happened, want at most %d", n, most)
				}
				if len(l.handed) > 0 {
					t.Fatalf("%d records of a living node were handed over", len(l.handed))
				}
				c.happen(l, &view)
				time.Sleep(c.within)
				synctest.Wait()
				if !slices.Equal(l.handed, []uint64{1, 2}) {
					t.Errorf("handed over %v within %s, want both records", l.handed, c.within)
				}
				stop()
				if err := <-done; err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			})
		})
	}
}
