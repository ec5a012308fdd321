package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"stampede/actors/entity"
)

// Appender is the part of a journal that is measured.
type Appender interface {
	OpenEpoch(ctx context.Context, node string) (entity.Epoch, error)
	Append(ctx context.Context, records []*entity.Record) []error
}

// BenchmarkAppend measures Append with records of about 300 bytes. Half of them
// begin a stream of their own, as an order does, and half go to one of 100
// streams, as SKUs do. An operation is one record; batches=4 has four in flight.
func BenchmarkAppend(b *testing.B, open func(b *testing.B) Appender) {
	for _, size := range []int{1, 10, 100, 1000} {
		for _, inFlight := range []int{1, 4} {
			b.Run(fmt.Sprintf("batch=%d/inflight=%d", size, inFlight), func(b *testing.B) {
				benchmarkAppend(b, open(b), size, inFlight)
			})
		}
	}
}

func benchmarkAppend(b *testing.B, s Appender, size, inFlight int) {
	epoch, err := s.OpenEpoch(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	work := make(chan []*entity.Record, 4*inFlight)
	done := make(chan error, inFlight)
	var written atomic.Int64
	// Making the records is left out of what is measured as far as it can be:
	// they are made by another goroutine, ahead of their use.
	go func() {
		defer close(work)
		source := newBenchSource(epoch)
		for left := b.N; left > 0; left -= size {
			work <- source.batch(min(size, left))
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range inFlight {
		go func() {
			for batch := range work {
				for _, err := range s.Append(context.Background(), batch) {
					if err != nil {
						for range work { // lets the source end
						}
						done <- err
						return
					}
				}
				written.Add(int64(len(batch)))
			}
			done <- nil
		}()
	}
	for range inFlight {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if written.Load() != int64(b.N) {
		b.Fatalf("wrote %d records of %d", written.Load(), b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

type benchSource struct {
	random   *rand.Rand
	epoch    entity.Epoch
	position uint64
	events   []byte
	skus     [100]uint64
}

func newBenchSource(epoch entity.Epoch) *benchSource {
	s := &benchSource{random: rand.New(rand.NewPCG(1, uint64(epoch))), epoch: epoch, events: make([]byte, 300)} //nolint:gosec // a benchmark
	for i := range s.events {
		s.events[i] = byte(s.random.Uint32())
	}
	return s
}

func (s *benchSource) batch(n int) []*entity.Record {
	batch := make([]*entity.Record, n)
	for i := range batch {
		s.position++
		r := &entity.Record{Epoch: s.epoch, Position: s.position, FirstVersion: 1, LastVersion: 2, Events: s.events, WakeAtMs: 1_700_000_000_000}
		if s.position%2 == 0 {
			sku := s.position / 2 % uint64(len(s.skus))
			s.skus[sku]++
			r.Kind, r.ID, r.Seq = "sku", fmt.Sprintf("sku-%d", sku), s.skus[sku]
		} else {
			r.Kind, r.ID, r.Seq = "order", fmt.Sprintf("ord_%016x%010x", s.random.Uint64(), s.position), 1
		}
		r.Checksum = r.Sum()
		batch[i] = r
	}
	return batch
}
