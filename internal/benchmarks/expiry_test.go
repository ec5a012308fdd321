package benchmarks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/persistence/sqlite"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// openHolds is how many holds are open when the first of them ends, and
// endWithin how long it is until the last one does.
const (
	openHolds = 100_000
	endWithin = 10 * time.Second
)

// BenchmarkExpiry is how long after its deadline the end of a hold is durable, on
// SQLite, all holds at one SKU or at many, ending one after the other for ten
// seconds: 10 a millisecond. `reserving` is how much of that is before the first deadline.
//
//	go test ./internal/benchmarks -run '^$' -bench Expiry -benchtime 1x
func BenchmarkExpiry(b *testing.B) {
	for _, skus := range []int{1, 100, 10_000} {
		b.Run("skus="+strconv.Itoa(skus), func(b *testing.B) {
			for range b.N {
				expiry(b, skus)
			}
		})
	}
}

func expiry(b *testing.B, skus int) {
	store, err := sqlite.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	ends := &endings{late: make(chan []time.Duration, 1)}
	n, _ := nodeOver(b, store, func(log entity.Log) entity.Log { ends.Log = log; return ends })
	sku := func(i int) entity.Address { return entity.Address{Kind: "sku", ID: "end-" + strconv.Itoa(i%skus)} }
	for i := range skus {
		_, err := n.Call(b.Context(), sku(i), &skupb.Configure{
			ProductId: "prd_end", ProductVersion: 1, Name: "end", Active: true, InitialStock: openHolds,
			Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	// Reserving takes a while, longer on a busy machine: no hold ends before it is done.
	const reservingTakes = 20 * time.Second
	began := time.Now()
	ends.first = began.Add(reservingTakes)
	var next atomic.Int64
	var asking sync.WaitGroup
	for range callers {
		asking.Go(func() {
			for i := int(next.Add(1)) - 1; i < openHolds && !b.Failed(); i = int(next.Add(1)) - 1 {
				reply, err := n.Call(b.Context(), sku(i), &skupb.Reserve{
					OrderId: fmt.Sprintf("ord_%026d", i), CustomerId: "usr_" + strconv.Itoa(i), Quantity: 1, ExpiresAtMs: ends.deadline(i).UnixMilli(),
				})
				if err != nil || reply.(*skupb.ReserveReply).Refusal != nil {
					b.Error(reply, err)
				}
			}
		})
	}
	asking.Wait()
	if took := time.Since(began); b.Failed() || took > reservingTakes {
		b.Fatalf("reserving took %v: too long on this machine now", took)
	}
	busy := processCPU(b)
	var late []time.Duration
	select {
	case late = <-ends.late:
	case <-time.After(time.Until(ends.first) + endWithin + time.Minute):
		b.Fatalf("%d of %d holds have ended", ends.count(), openHolds)
	}
	slices.Sort(late)
	if late[0] < 0 {
		b.Errorf("a hold ended %v before its deadline", -late[0])
	}
	for _, q := range []float64{.5, .99, 1} {
		b.ReportMetric(float64(late[int(q*float64(len(late)-1))].Microseconds())/1000, fmt.Sprintf("late-p%g-ms", q*100))
	}
	b.ReportMetric(float64((processCPU(b)-busy).Microseconds())/openHolds, "cpu-us/hold")
	b.ReportMetric(0, "ns/op")
}

// endings is a log that notes when the end of each hold has become durable.
type endings struct {
	entity.Log
	first time.Time

	mu    sync.Mutex
	found []time.Duration
	late  chan []time.Duration
}

// deadline is that of a hold; the number is in its order's id.
func (e *endings) deadline(hold int) time.Time {
	return time.UnixMilli(e.first.Add(time.Duration(hold) * endWithin / openHolds).UnixMilli())
}

func (e *endings) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.found)
}

func (e *endings) Commit(rec *entity.Record, done func(error)) {
	e.Log.Commit(rec, func(err error) {
		now := time.Now()
		if err == nil && !now.Before(e.first) {
			e.note(rec, now)
		}
		done(err)
	})
}

func (e *endings) note(rec *entity.Record, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := entity.EachEvent(rec.Events, func(event, _ []byte) error {
		var of skupb.Event
		if err := proto.Unmarshal(event, &of); err != nil {
			return err
		}
		if expired := of.GetExpired(); expired != nil {
			hold, err := strconv.Atoi(strings.TrimLeft(strings.TrimPrefix(expired.OrderId, "ord_"), "0"))
			if strings.Trim(expired.OrderId, "ord_0") == "" {
				hold, err = 0, nil
			}
			if err != nil {
				return err
			}
			e.found = append(e.found, now.Sub(e.deadline(hold)))
		}
		return nil
	})
	if err != nil {
		panic(err) // a record that was just written cannot be read: nothing that follows means anything
	}
	if len(e.found) == openHolds {
		e.late <- e.found
	}
}
