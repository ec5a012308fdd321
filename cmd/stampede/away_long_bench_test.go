package main

// What a broker that is away for long costs in memory, at full load: nothing
// that grows with the time, this benchmark is to show.

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
)

var awayFor = flag.Duration("away-for", 5*time.Second, "how long the broker is away in BenchmarkBrokerAwayForLong")

// outage is what was seen in one stretch of full load.
type outage struct {
	orders int
	took   time.Duration
	// oldest is the greatest age of an event that was not acknowledged, heap the
	// most that was reachable at the end of a round.
	oldest float64
	heap   int64
}

// BenchmarkBrokerAwayForLong places orders, whose holds end by themselves after
// six seconds, with a real Kafka for a tenth of -away-for, and then for all of it while it is
// stopped. It reports the age of the oldest pending event with the broker there,
// the growth of the live heap from the one to the other, and the orders/s.
//
//	STAMPEDE_REQUIRE_SERVERS=1 go test ./cmd/stampede -run '^$' -bench BrokerAwayForLong -benchtime 1x -away-for 10m
func BenchmarkBrokerAwayForLong(b *testing.B) {
	kafka, n := withKafka(b, 0.1)
	round := 0
	stretch := func(lasts time.Duration) (seen outage) {
		for began := time.Now(); seen.took < lasts; seen.took = time.Since(began) {
			const requests = 20000
			round++
			sku, tokens := wholeShop(b, n) // a SKU knows so many orders of a day, and refuses more
			var next atomic.Int64
			r, err := load.Run(b.Context(), load.Options{URL: n.url, Concurrency: wholeConnections, Judge: shop.JudgePlaced, Next: func(t *load.Task) bool {
				i := next.Add(1)
				t.Token = tokens[i%int64(len(tokens))]
				t.Body = shop.AppendPlaceOrder(t.Body[:0], fmt.Sprintf("%s-long-%d-%d", sku, round, i), sku, 1)
				return i <= requests
			}})
			if err != nil {
				b.Fatal(err)
			}
			if r.Accepted != requests {
				b.Errorf("%d of %d accepted: refused %v, failed %v, unanswered %d, retries %v, longest gap %v", r.Accepted, requests, r.Refused, r.Failed, r.Unanswered, r.Retries, r.LongestGap)
			}
			seen.orders += int(r.Accepted)
			seen.oldest = max(seen.oldest, oldestPending(b, n))
			seen.heap = max(seen.heap, liveHeap())
		}
		return seen
	}
	stretch(*awayFor / 30) // until as many orders end as begin
	there := stretch(*awayFor / 10)
	kafka.Pause()
	away := stretch(*awayFor)
	kafka.Resume()
	b.ReportMetric(float64(there.orders)/there.took.Seconds(), "orders/s-there")
	b.ReportMetric(float64(away.orders)/away.took.Seconds(), "orders/s-away")
	b.ReportMetric(there.oldest*1000, "oldest-ms-there")
	b.ReportMetric(float64(there.heap)/(1<<20), "MiB-heap-there")
	b.ReportMetric(float64(away.heap)/(1<<20), "MiB-heap-away")
}

// oldestPending is the greatest stampede_events_oldest_pending_seconds of all topics.
func oldestPending(b *testing.B, n *node) float64 {
	b.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	oldest, found := 0.0, false
	for _, f := range families {
		if f.GetName() == "stampede_events_oldest_pending_seconds" {
			for _, m := range f.GetMetric() {
				oldest, found = max(oldest, m.GetGauge().GetValue()), true
			}
		}
	}
	if !found {
		b.Fatal("the publisher does not say how old its oldest event is")
	}
	return oldest
}
