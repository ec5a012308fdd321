package e2e

// Figures of a cluster: how long shoppers wait when a node dies or leaves, what
// the way over another node costs, and what an order costs with more nodes.
// Each process is its own; MongoDB and Kafka are real ones.
//
//	make bench BENCH=Cluster PACKAGES=./internal/e2e BENCHTIME=1x
//	go test ./internal/e2e -run='^$' -bench=ClusterKill -benchtime=20x -v

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// benchShoppers keep two cores busy.
	benchShoppers = 32
	// unlimited is more orders than any machine here takes.
	unlimited = 1e6
	// benchStock is never sold out.
	benchStock = 50_000_000
)

// report prints the longest waits of several runs, and returns median and worst.
func report(t testing.TB, what string, gaps []time.Duration) (median, worst time.Duration) {
	t.Helper()
	slices.Sort(gaps)
	median, worst = gaps[len(gaps)/2], gaps[len(gaps)-1]
	t.Logf("%s, %d times: longest wait of a shopper: median %s, worst %s", what, len(gaps), median.Round(time.Millisecond), worst.Round(time.Millisecond))
	return median, worst
}

func reportGaps(b *testing.B, what string, gaps []time.Duration) {
	b.Helper()
	median, worst := report(b, what, gaps)
	b.ReportMetric(float64(median.Milliseconds()), "median-ms")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkClusterKill kills one of three nodes, the hot SKU's owner, at full
// load, once each iteration.
func BenchmarkClusterKill(b *testing.B) {
	f := startFleet(b, 3)
	l := newLoad(b, f, unlimited, benchStock)
	l.start(benchShoppers)
	var gaps []time.Duration
	for b.Loop() {
		l.more(500)
		owner := f.owner("sku", l.hot)
		l.gap()
		f.kill(owner)
		l.more(1_000)
		gap, _ := l.gap()
		gaps = append(gaps, gap)
		f.again(owner)
		f.settled()
	}
	reportGaps(b, "SIGKILL of one of three nodes at full load", gaps)
	b.ReportMetric(float64(len(l.failed)), "errors")
	l.verify()
	f.stop()
}

// BenchmarkClusterDrain drains the hot SKU's owner at full load.
func BenchmarkClusterDrain(b *testing.B) {
	f := startFleet(b, 3, drainFlag())
	l := newLoad(b, f, unlimited, benchStock)
	l.start(benchShoppers)
	var gaps, usual []time.Duration
	before := l.failures()
	for b.Loop() {
		l.gap()
		l.more(1_000)
		ordinary, _ := l.gap()
		usual = append(usual, ordinary)
		owner := f.owner("sku", l.hot)
		f.leave(owner, f.drain)
		l.more(500)
		gap, _ := l.gap()
		gaps = append(gaps, gap)
		f.again(owner)
		f.settled()
	}
	report(b, "nothing at all, beside it", usual)
	reportGaps(b, "drain of one of three nodes at full load", gaps)
	b.ReportMetric(float64(l.failures()-before), "failed-attempts")
	l.verify()
	f.stop()
}

// BenchmarkClusterHotSKU asks one SKU through its owner and through another
// node, in turns: looks at its stock, which its actor alone answers, and orders.
func BenchmarkClusterHotSKU(b *testing.B) {
	f := startFleet(b, 3)
	l := newLoad(b, f, unlimited, benchStock)
	owner := f.owner("sku", l.hot)
	other := f.other(owner)
	const each = 4 * time.Second
	for _, what := range []action{look, reserve} {
		b.Run(what.String(), func(b *testing.B) {
			var own, far float64
			for b.Loop() {
				own += l.throughput(b, owner, what, each)
				far += l.throughput(b, other, what, each)
			}
			b.ReportMetric(own/float64(b.N), "owner/s")
			b.ReportMetric(far/float64(b.N), "other/s")
			b.ReportMetric(100*far/own, "%of-owner")
			b.ReportMetric(0, "ns/op")
		})
	}
	l.stopped = func() {}
	f.stop()
}

// throughput asks one node from many connections, and returns answers a second.
func (l *load) throughput(b *testing.B, n *clusterNode, what action, during time.Duration) float64 {
	b.Helper()
	var answers atomic.Int64
	var shoppers sync.WaitGroup
	l.runs++
	began := time.Now()
	for i := range benchShoppers {
		shoppers.Go(func() {
			c := l.customers[i%len(l.customers)]
			c = &client{place(n.url), c.token, c.http}
			for k := 0; time.Since(began) < during; k++ {
				e := entry{operation: operation{action: what, units: 1}, key: fmt.Sprintf("bench-%d-%d-%d", l.runs, i, k), sku: l.hot}
				var err error
				if what == look {
					err = e.looked(c.stock(b.Context(), e.sku))
				} else {
					err = e.placed(c.place(b.Context(), e.key, "", want{e.sku, 1}))
				}
				if err == nil {
					answers.Add(1)
				} else if !open(err) {
					b.Error(err)
					return
				}
			}
		})
	}
	shoppers.Wait()
	return float64(answers.Load()) / time.Since(began).Seconds()
}
