package publisher

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"stampede/events/internal/logtest"
)

const (
	// outageRecords is what a node commits in seconds of a full sale, and
	// many times what the publisher takes into memory: then it reads no more,
	// however long the broker is away.
	outageRecords = 60_000
	// outageGrowth bounds what memory may grow by.
	outageGrowth = 64 << 20
)

// TestMemoryGrowthWhileTheBrokerIsAway measures the real heap, with the bounds
// that a node has by default: all that is pending, held and prepared.
func TestMemoryGrowthWhileTheBrokerIsAway(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory would be measured
	}
	j, l := logtest.NewJournal(1), newFakeLink(t)
	logtest.NewShop(j, 7, 2000).Trade(1, outageRecords)
	l.requestFault = func(context.Context) error { return errors.New("connection refused") }
	cfg := testConfig(j, 1)
	cfg.Compression, cfg.Limits.DrainTimeout = "lz4", time.Millisecond
	before := heap()
	p := mustNew(t, cfg, l)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	settled := 0
	for last := (Stats{}); settled < 10; <-time.After(50 * time.Millisecond) {
		if s := p.Stats(); s.Bytes == last.Bytes && s.Pending > 0 {
			settled++
		} else {
			last, settled = s, 0
		}
	}
	grown := int64(heap()) - int64(before) //nolint:gosec // of a heap's size
	s := p.Stats()
	t.Logf("%d of %d records' messages in memory, %d MiB by its own count; the heap has grown by %.1f MiB", s.Pending, outageRecords, s.Bytes>>20, float64(grown)/(1<<20))
	if grown > outageGrowth || s.Pending == 0 || s.Pending > outageRecords {
		t.Errorf("grown by %d bytes, %+v", grown, s)
	}
	stop()
	if err := <-done; err == nil {
		t.Error("it was published without a broker")
	}
	runtime.KeepAlive(j)
}

// heap is what is live, without garbage.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
