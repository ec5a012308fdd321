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
	// oldest is the greatest age of an event that was not acknowledged, heap what
	// was reachable at the ends of the rounds, in the mean, and most the greatest.
	oldest     float64
	heap, most int64
}

// BenchmarkBrokerAwayForLong places orders, whose holds end by themselves after
// six seconds, with a real Kafka for a fifth of -away-for, and then for all of it
// while it is stopped. Before, it does so for a quarter of -away-for: of ten
// minutes that is long enough for as many actors to leave memory as come. It
// reports the age of the oldest pending event with the broker there, the live heap
// in both, and the orders/s.
//
//	STAMPEDE_REQUIRE_SERVERS=1 go test ./cmd/stampede -run '^$' -bench BrokerAwayForLong -benchtime 1x -away-for 10m
func BenchmarkBrokerAwayForLong(b *testing.B) {
	kafka, n := withKafka(b, 0.1)
	round := 0
	stretch := func(lasts time.Duration) (seen outage) {
		rounds := int64(0)
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
			heap := liveHeap()
			seen.most, seen.heap = max(seen.most, heap), seen.heap+heap
			rounds++
		}
		seen.heap /= rounds
		return seen
	}
	stretch(*awayFor / 4)
	there := stretch(*awayFor / 5)
	kafka.Pause()
	away := stretch(*awayFor)
	kafka.Resume()
	b.ReportMetric(float64(there.orders)/there.took.Seconds(), "orders/s-there")
	b.ReportMetric(float64(away.orders)/away.took.Seconds(), "orders/s-away")
	b.ReportMetric(there.oldest*1000, "oldest-ms-there")
	for name, o := range map[string]outage{"there": there, "away": away} {
		b.ReportMetric(float64(o.heap)/(1<<20), "MiB-heap-"+name)
		b.ReportMetric(float64(o.most)/(1<<20), "MiB-most-"+name)
	}
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
