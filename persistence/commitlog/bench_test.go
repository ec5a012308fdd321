package commitlog

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// instant is a journal that takes everything at once: what is left is the cost
// of the log itself.
type instant struct {
	persistence.Journal
	wait time.Duration
	errs sync.Pool
}

func (j *instant) MaxRecordBytes() int                                     { return 1 << 20 }
func (j *instant) OpenEpoch(context.Context, string) (entity.Epoch, error) { return 1, nil }

func (j *instant) Append(_ context.Context, records []*entity.Record) []error {
	if j.wait > 0 {
		time.Sleep(j.wait) //nolint:forbidigo // a benchmark of a slow journal
	}
	errs, _ := j.errs.Get().(*[]error)
	if errs == nil || cap(*errs) < len(records) {
		room := make([]error, 4096)
		errs = &room
	}
	defer j.errs.Put(errs)
	return (*errs)[:len(records)]
}

// BenchmarkCommit: goroutines that each commit and wait for the answer, as
// actors under load do, each with a record made beforehand, and one follower.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		callers int
		wait    time.Duration
	}{{1, 0}, {64, 0}, {1024, 0}, {1024, time.Millisecond}} {
		b.Run(fmt.Sprintf("callers=%d/append=%s", c.callers, c.wait), func(b *testing.B) {
			l, err := Open(b.Context(), &instant{wait: c.wait}, "node", Options{})
			if err != nil {
				b.Fatal(err)
			}
			follower := follow(l)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range c.callers {
				wg.Go(func() {
					rec := record(fmt.Sprintf("sku-%06d", i), 300)
					answer := make(chan error, 1)
					done := func(err error) { answer <- err }
					for range share(b.N, c.callers, i) {
						l.Commit(rec, done)
						if err := <-answer; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			report(b, l)
			closeLog(b, l)
			follower.Wait()
		})
	}
}

// BenchmarkCommitOnly: 64 goroutines that do not wait for the answer before
// they commit for the next of their actors: the log alone, without the cost of
// waking a caller.
func BenchmarkCommitOnly(b *testing.B) {
	const callers, actors = 64, 64
	l, err := Open(b.Context(), &instant{}, "node", Options{})
	if err != nil {
		b.Fatal(err)
	}
	follower := follow(l)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			type actor struct {
				rec  *entity.Record
				done func(error)
			}
			free := make(chan *actor, actors)
			for k := range actors {
				a := &actor{rec: record(fmt.Sprintf("sku-%d-%d", i, k), 300)}
				a.done = func(err error) {
					if err != nil {
						b.Error(err)
					}
					free <- a
				}
				free <- a
			}
			for range share(b.N, callers, i) {
				a := <-free
				l.Commit(a.rec, a.done)
			}
			for range actors {
				<-free
			}
		})
	}
	wg.Wait()
	report(b, l)
	closeLog(b, l)
	follower.Wait()
}

// share is how many of n operations the i-th of so many callers does.
func share(n, callers, i int) int {
	part := n / callers
	if i < n%callers {
		part++
	}
	return part
}

func follow(l *Log) *sync.WaitGroup {
	f := l.Follow("reader", 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, _, err := f.Next(context.Background()); err != nil {
				return // of the closed log
			}
		}
	})
	return &wg
}

func report(b *testing.B, l *Log) {
	b.StopTimer()
	s := l.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(s.Durable)/float64(max(1, s.Batches)), "records/batch")
}

func closeLog(b *testing.B, l *Log) {
	if err := l.Close(context.Background()); err != nil {
		b.Error(err)
	}
}
