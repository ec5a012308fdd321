package sku

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// benchState is a SKU with units for everyone and that many open holds, which
// end one after the other.
func benchState(tb testing.TB, open int) *State {
	tb.Helper()
	s := New("BENCH")
	apply(tb, s, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: "Bench", Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"}, Active: true, InitialStock: MaxOnHand}, t0)
	for i := range open {
		apply(tb, s, benchReserve(i), t0)
	}
	return s
}

func benchReserve(i int) *skupb.Reserve {
	return &skupb.Reserve{
		OrderId:     fmt.Sprintf("ord_%026d", i),
		CustomerId:  fmt.Sprintf("usr_%026d", i),
		Quantity:    1,
		ExpiresAtMs: t0.Add(10*time.Minute + time.Duration(i)*time.Millisecond).UnixMilli(),
	}
}

func apply(tb testing.TB, s *State, cmd proto.Message, now time.Time) proto.Message {
	tb.Helper()
	events, reply := Decide(s, cmd, now)
	for _, e := range events {
		Evolve(s, e)
	}
	return reply
}

// BenchmarkReserveRelease is the pair, so that the number of open holds stays.
func BenchmarkReserveRelease(b *testing.B) {
	for _, open := range []int{0, 1_000, 100_000} {
		b.Run(fmt.Sprintf("open=%d", open), func(b *testing.B) {
			s := benchState(b, open)
			commands := make([]*skupb.Reserve, 4096)
			for i := range commands {
				commands[i] = benchReserve(1_000_000 + i)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c := commands[i%len(commands)]
				apply(b, s, c, t0)
				apply(b, s, &skupb.Release{OrderId: c.GetOrderId()}, t0)
				s.settled.remove(c.GetOrderId())
				i++
			}
		})
	}
}

// BenchmarkReserve is one hold after the other, up to the bound.
func BenchmarkReserve(b *testing.B) {
	commands := make([]*skupb.Reserve, MaxAllocations)
	for i := range commands {
		commands[i] = benchReserve(i)
	}
	s := benchState(b, 0)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(commands) {
			b.StopTimer()
			s, i = benchState(b, 0), 0
			b.StartTimer()
		}
		if apply(b, s, commands[i], t0).(*skupb.ReserveReply).GetRefusal() != nil {
			b.Fatal("refused")
		}
		i++
	}
}

// BenchmarkReserveSoldOut is what most shoppers of a flash sale cost.
func BenchmarkReserveSoldOut(b *testing.B) {
	s := New("BENCH")
	apply(b, s, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: "Bench", Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"}, Active: true}, t0)
	c := benchReserve(1)
	b.ReportAllocs()
	for b.Loop() {
		apply(b, s, c, t0)
	}
}

// BenchmarkExpiry is a wake-up with 256 holds due among 100,000.
func BenchmarkExpiry(b *testing.B) {
	s := benchState(b, 100_000)
	now := t0.Add(10*time.Minute + 255*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		events, _ := Decide(s, &commonpb.Tick{}, now)
		if len(events) != 256 {
			b.Fatalf("%d events", len(events))
		}
	}
}

// BenchmarkSnapshot is a snapshot of 100,000 holds.
func BenchmarkSnapshot(b *testing.B) {
	s := benchState(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		Snapshot(s)
	}
}

// TestMemoryPerHold keeps 100,000 holds affordable.
func TestMemoryPerHold(t *testing.T) {
	const holds = 100_000
	before := heapBytes()
	s := benchState(t, holds)
	per := (heapBytes() - before) / holds
	runtime.KeepAlive(s)
	t.Logf("%d bytes a hold, with its ids", per)
	if per > 320 {
		t.Errorf("a hold takes %d bytes, want at most 320", per)
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkSaleAgainstPlain is a reservation and its release as an ordinary
// order and as one of a sale with window, admission, allocation and limit, side
// by side: what a sale costs is the difference.
func BenchmarkSaleAgainstPlain(b *testing.B) {
	for _, mode := range []string{"plain", "sale"} {
		b.Run(mode, func(b *testing.B) {
			s := benchState(b, 1_000)
			apply(b, s, &skupb.ConfigureSale{
				SaleId: "sal_1", SaleVersion: 1, StartsAtMs: t0.UnixMilli(), EndsAtMs: t0.Add(saleLasts).UnixMilli(), Price: eur(990),
				Allocation: MaxOnHand / 2, PerCustomerLimit: 2, AdmissionRequired: true,
			}, t0)
			commands := make([]*skupb.Reserve, 4096)
			for i := range commands {
				commands[i] = benchReserve(1_000_000 + i)
				if mode == "sale" {
					commands[i].SaleId, commands[i].Admitted = "sal_1", true
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c := commands[i%len(commands)]
				if r := refusalOf(apply(b, s, c, t0)); r != nil {
					b.Fatal(r)
				}
				apply(b, s, &skupb.Release{OrderId: c.GetOrderId()}, t0)
				s.settled.remove(c.GetOrderId())
				i++
			}
		})
	}
}
