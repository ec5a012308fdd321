package main

// The whole against nothing: placeOrder over HTTP on a real node, its store,
// its actors and its events included, beside an empty gqlgen mutation, in the
// same process, from the same load generator, in turns.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
	"stampede/gateway/baseline"
	"stampede/internal/testservers"
)

const (
	wholeConnections = 64
	wholeRounds      = 4
)

// BenchmarkPlaceOrder reports orders/s, empty mutations/s and their ratio
// (x/empty), and the processor time of each, e.g.
//
//	go test ./cmd/stampede -run '^$' -bench PlaceOrder -benchtime 20000x
func BenchmarkPlaceOrder(b *testing.B) {
	b.Run("store=sqlite", func(b *testing.B) { wholeBench(b, nodeFlags{}) })
	b.Run("store=mongo", func(b *testing.B) {
		wholeBench(b, nodeFlags{
			storeFlags:  storeFlags{Mongo: secretURI(testservers.Mongo(b)), MongoDatabase: "whole"},
			brokerFlags: brokerFlags{Kafka: []string{testservers.Kafka(b)}},
		})
	})
}

func wholeBench(b *testing.B, flags nodeFlags) {
	n := wholeNode(b, flags)
	sku, tokens := wholeShop(b, n)
	empty := httptest.NewServer(baseline.Stock())
	defer empty.Close()
	requests := max(b.N/wholeRounds, wholeConnections)
	var orders, nothings, ordersCPU, nothingsCPU time.Duration
	place := shop.JudgePlaced
	nothing := func(status int, _ time.Duration, _ []byte) shop.Answer {
		if status == 200 {
			return shop.Answer{}
		}
		return shop.Answer{Kind: shop.Failed}
	}
	var latency *load.Report
	for round := range wholeRounds {
		began := processCPU(b)
		nothings += wholeLoad(b, empty.URL, requests, nothing, func(t *load.Task, _ int64) { t.Body = append(t.Body[:0], baseline.Body...) }).Elapsed
		between := processCPU(b)
		nothingsCPU += between - began
		latency = wholeLoad(b, n.url, requests, place, func(t *load.Task, i int64) {
			t.Token = tokens[i%int64(len(tokens))]
			t.Body = shop.AppendPlaceOrder(t.Body[:0], fmt.Sprintf("%s-%d-%d", sku, round, i), sku, 1)
		})
		orders += latency.Elapsed
		ordersCPU += processCPU(b) - between
	}
	total := float64(requests * wholeRounds)
	b.ReportMetric(total/orders.Seconds(), "orders/s")
	b.ReportMetric(total/nothings.Seconds(), "empty/s")
	b.ReportMetric(nothings.Seconds()/orders.Seconds(), "x/empty")
	b.ReportMetric(float64(ordersCPU.Microseconds())/total, "cpu-us/order")
	b.ReportMetric(float64(nothingsCPU.Microseconds())/total, "cpu-us/empty")
	b.ReportMetric(latency.Millis(50), "p50-ms")
	b.ReportMetric(latency.Millis(99), "p99-ms")
}

// wholeNode is a node with everything on.
func wholeNode(b *testing.B, flags nodeFlags) *node {
	b.Helper()
	flags.Listen, flags.AdminListen, flags.KafkaListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	flags.DataDir, flags.NodeName, flags.Payments, flags.HoldMinutes = b.TempDir(), "bench", "simulator", 10
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
	return n
}

// processCPU is the processor time that this process has used: less noisy than
// the clock where others use the machine, too. The load generator is in it.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// wholeShoppers is enough that none of them runs into the limit per caller.
const wholeShoppers = 512

// wholeShop makes a SKU with stock for everyone, and the shoppers' tokens.
func wholeShop(b *testing.B, n *node) (sku string, tokens []string) {
	b.Helper()
	staff, _, err := n.tokens.Issue("usr_staff", []auth.Role{auth.Customer, auth.Staff}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	name := "whole-" + randomHex(4)
	err = shop.NewClient(n.url, staff).CreateProduct(b.Context(), name, shop.Product{
		Slug: name, Name: "Whole", Variants: []shop.Variant{{SKU: name, Name: "Whole", Price: shop.Money{Amount: "19.90", Currency: "EUR"}, Stock: benchStock}},
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range wholeShoppers {
		token, _, err := n.tokens.Issue(fmt.Sprintf("usr_shopper%d", i), []auth.Role{auth.Customer}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	glance(b, n, tokens[0], name)
	return name, tokens
}

// glance fails when the load generator would decode every answer: that would
// be a tenth of what an order costs.
func glance(b *testing.B, n *node, token, sku string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, n.url+"/graphql", bytes.NewReader(shop.AppendPlaceOrder(nil, sku+"-first", sku, 1)))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	if !shop.PlacedAtAGlance(body) {
		b.Fatalf("HTTP %d is not recognised at a glance: %s", answer.StatusCode, body)
	}
}

func wholeLoad(b *testing.B, url string, requests int, judge func(int, time.Duration, []byte) shop.Answer, fill func(*load.Task, int64)) *load.Report {
	b.Helper()
	var next atomic.Int64
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	r, err := load.Run(ctx, load.Options{
		URL: url, Concurrency: wholeConnections, Judge: judge,
		Next: func(t *load.Task) bool {
			i := next.Add(1)
			fill(t, i)
			return i <= int64(requests)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if r.Accepted != int64(requests) {
		b.Fatalf("%d of %d accepted: refused %v, failed %v, lost %v", r.Accepted, requests, r.Refused, r.Failed, r.Lost)
	}
	return r
}
