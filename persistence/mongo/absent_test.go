package mongo

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"stampede/actors/entity"
	"stampede/internal/testservers"
)

// TestAskedTogether: those who come while the slots are taken are one question;
// one that cannot be answered is an error for those alone who wait for it; and
// when all is done the slots are free.
func TestAskedTogether(t *testing.T) {
	s := openForTest(t, testservers.MongoProcess(t, testservers.MongoArgs("--setParameter", "enableTestCommands=1")).URI())
	if err := s.Append(t.Context(), []*entity.Record{record("here", 1)})[0]; err != nil {
		t.Fatal(err)
	}
	streams := []string{"sku/here", "sku/gone", "sku/her", "sku/here/1"}
	for _, fails := range []bool{false, true} {
		letGo := occupy(t, s)
		var absent, reads, failed atomic.Int64
		var waiting sync.WaitGroup
		for _, stream := range streams {
			waiting.Go(func() {
				gone, err := s.firstPage(t.Context(), stream, func() error { reads.Add(1); return nil })
				if gone {
					absent.Add(1)
				}
				if err != nil {
					failed.Add(1)
				}
			})
		}
		for s.beginnings.count() < len(streams) {
			runtime.Gosched()
		}
		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		if _, err := s.firstPage(given, "sku/late", nil); err == nil {
			t.Error("one who has given up was answered")
		}
		if fails {
			fail(t, s, times(1), bson.D{commands("find"), {Key: "errorCode", Value: 91}})
		}
		letGo()
		waiting.Wait()
		got := [3]int64{absent.Load(), reads.Load(), failed.Load()}
		want := [3]int64{3, 1, 0}
		if fails {
			want = [3]int64{0, 0, 4}
		}
		if got != want {
			t.Errorf("question fails %t: absent, to be read, failed: %v, want %v", fails, got, want)
		}
		for s.beginnings.taken() > 0 { // the question's goroutine has answered, and gives its slot up
			runtime.Gosched()
		}
		if n := s.beginnings.count(); n > 0 {
			t.Errorf("%d wait when all is done", n)
		}
	}
}

// occupy takes all slots.
func occupy(t *testing.T, s *Store) (letGo func()) {
	t.Helper()
	var readers sync.WaitGroup
	block := make(chan struct{})
	for range readsAlone {
		begun := make(chan struct{})
		readers.Go(func() {
			_, err := s.firstPage(t.Context(), "sku/first", func() error { close(begun); <-block; return nil })
			if err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	return func() { close(block); readers.Wait() }
}

func (all *beginnings) count() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.waiting)
}

func (all *beginnings) taken() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.busy
}

// BenchmarkReadNew is what activating new actors asks of the journal, 64 at a
// time: each by itself, and as ReadStream does it.
func BenchmarkReadNew(b *testing.B) {
	s := openForTest(b, testservers.Mongo(b))
	for i := range 64 {
		if err := s.Append(b.Context(), []*entity.Record{record(fmt.Sprint("some-", i), uint64(i)+1)})[0]; err != nil { //nolint:gosec // small
			b.Fatal(err)
		}
	}
	for _, together := range []bool{false, true} {
		b.Run(fmt.Sprintf("together=%t", together), func(b *testing.B) {
			var n atomic.Int64
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					stream := fmt.Sprintf("order/ord_%026d", n.Add(1))
					if !together {
						// As one who reads from the middle: there are no questions for that.
						drained(b, s, stream, 1)
						continue
					}
					drained(b, s, stream, 0)
				}
			})
		})
	}
}

func drained(b *testing.B, s *Store, stream string, after uint64) {
	for _, err := range s.ReadStream(b.Context(), stream, after) {
		if err != nil {
			b.Error(err)
		}
	}
}
