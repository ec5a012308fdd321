package main

// What a shopper notices of a broker that hangs: nothing, this benchmark is to
// show. Orders are placed on one node while a real Kafka works and while it is
// stopped, in turns.

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
	"stampede/internal/testservers"
)

// awayRounds is how often each: even, so that neither is always first.
const awayRounds = 4

// awaySide is what was measured on one side.
type awaySide struct {
	took, busy time.Duration
	heap       int64
}

// BenchmarkPlaceOrderBrokerAway reports orders/s, processor time and growth of
// the heap with the broker there and away, and the ratio of the rates
// (x/there), e.g.
//
//	make bench BENCH=PlaceOrderBrokerAway PACKAGES=./cmd/stampede BENCHTIME=20000x
//
// Where broker and node share the processors, orders get those of a broker that
// is stopped: look at the processor time.
func BenchmarkPlaceOrderBrokerAway(b *testing.B) {
	kafka, n := withKafka(b, 10)
	sku, tokens := wholeShop(b, n)
	requests := max(b.N/(2*awayRounds), wholeConnections)
	round := 0
	measure := func(side *awaySide) {
		round++
		began, heap := processCPU(b), liveHeap()
		side.took += wholeLoad(b, n.url, requests, shop.JudgePlaced, func(t *load.Task, i int64) {
			t.Token = tokens[i%int64(len(tokens))]
			t.Body = shop.AppendPlaceOrder(t.Body[:0], fmt.Sprintf("%s-away-%d-%d", sku, round, i), sku, 1)
		}).Elapsed
		side.busy += processCPU(b) - began
		side.heap += liveHeap() - heap
	}
	var warm, there, away awaySide
	measure(&warm)
	for i := range awayRounds {
		if i%2 == 0 {
			measure(&there)
		}
		kafka.Pause()
		measure(&away)
		kafka.Resume()
		if i%2 == 1 {
			measure(&there)
		}
	}
	orders := float64(requests * awayRounds)
	b.ReportMetric(orders/there.took.Seconds(), "orders/s-there")
	b.ReportMetric(orders/away.took.Seconds(), "orders/s-away")
	b.ReportMetric(there.took.Seconds()/away.took.Seconds(), "x/there")
	b.ReportMetric(float64(there.busy.Microseconds())/orders, "cpu-us/order-there")
	b.ReportMetric(float64(away.busy.Microseconds())/orders, "cpu-us/order-away")
	b.ReportMetric(float64(there.heap)/(1<<20), "MiB-heap-there")
	b.ReportMetric(float64(away.heap)/(1<<20), "MiB-heap-away")
}

// withKafka is a node on SQLite with a real Kafka of its own, whose orders hold
// their units for so many minutes.
func withKafka(b *testing.B, holdMinutes float64) (*testservers.KafkaServer, *node) {
	b.Helper()
	kafka := testservers.KafkaProcess(b)
	flags := nodeFlags{brokerFlags: brokerFlags{Kafka: []string{kafka.Address()}}}
	flags.Listen, flags.AdminListen, flags.KafkaListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	flags.DataDir, flags.NodeName, flags.Payments, flags.HoldMinutes = b.TempDir(), "bench", "simulator", holdMinutes
	flags.KafkaReplication, flags.EventsFormat = 1, "json"
	if err := relaxGC(slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}
	n, err := startNode(b.Context(), nodeConfig{nodeFlags: flags}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	})
	return kafka, n
}

// liveHeap is what is reachable now, the actors of all orders included.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // bytes
}
