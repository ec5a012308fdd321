package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/baseline"
	"stampede/gateway/httpapi"
	"stampede/internal/memstore"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// placeBody is what a shopper's app sends.
const placeBody = `{"query":"mutation Place($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id number state expiresAt lines { sku quantity unitPrice { amount currency } skuVersion } total { amount currency } } userErrors { __typename code message field ... on RetryLater { retryAfterMs } ... on InsufficientStock { available } } } }","operationName":"Place","variables":{"input":{"idempotencyKey":"0197b0a2-7f00-7c3e-8000-%012d","lines":[{"sku":"SNEAKER-42","quantity":1}]}}}`

// instant answers at once with a reserved order, so that only the gateway is measured.
func instant(_ context.Context, to entity.Address, _ proto.Message) (proto.Message, error) {
	eur := &commonpb.Money{MinorUnits: 12990, Currency: "EUR"}
	return &orderpb.OrderReply{Order: &orderpb.Order{
		Id: to.ID, Number: "S-ABCD-EFGH", CustomerId: alice, Status: orderpb.Status_STATUS_RESERVED, Version: 2,
		Payment: &orderpb.Payment{}, Total: eur, PlacedAtMs: 1_800_000_000_000, ExpiresAtMs: 1_800_000_600_000,
		Lines: []*orderpb.Line{{Sku: "SNEAKER-42", Name: "Sneaker 42", Quantity: 1, UnitPrice: eur, SkuVersion: 77}},
	}}, nil
}

type instantCaller struct{}

func (instantCaller) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	return instant(ctx, to, cmd)
}

type contender struct {
	name    string
	handler http.Handler
	body    func(n int64) string
}

func contenders(b *testing.B) []contender {
	b.Helper()
	noop := func(int64) string { return baseline.Body }
	ours, err := baseline.Ours(slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	g, err := gateway.New(withLogger(gateway.Config{
		Caller: instantCaller{}, Views: &fakeViews{}, Accounts: &fakeAccounts{}, Journal: memstore.New(), Cluster: aCluster{}, Tokens: fakeTokens{}, Keys: fakeTokens{},
		HoldFor: time.Minute, TicketKey: []byte("0123456789abcdef0123456789abcdef"), Clock: time.Now, Limits: gateway.Limits{HTTP: httpapi.Limits{RatePerSecond: -1}},
	}))
	if err != nil {
		b.Fatal(err)
	}
	return []contender{
		{"empty/gqlgen", baseline.Stock(), noop},
		{"empty/ours", ours, noop},
		{"placeOrder", g.Handler(), func(n int64) string { return fmt.Sprintf(placeBody, n) }},
	}
}

// BenchmarkHandler is the work of one request without a network.
func BenchmarkHandler(b *testing.B) {
	for _, c := range contenders(b) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var n int64
			for b.Loop() {
				n++
				r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(c.body(n)))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+asAlice)
				w := httptest.NewRecorder()
				c.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK || bytes.Contains(w.Body.Bytes(), []byte(`"errors"`)) {
					b.Fatal(w.Body.String())
				}
			}
		})
	}
}

// BenchmarkHTTP is 64 connections over loopback, the clients on the same
// cores. They take turns in the same run, so that what the machine does
// besides falls on all alike; x/empty is the share of gqlgen's empty mutation.
func BenchmarkHTTP(b *testing.B) {
	all := contenders(b)
	servers := make([]*httptest.Server, len(all))
	for i, c := range all {
		servers[i] = httptest.NewServer(c.handler)
		defer servers[i].Close()
	}
	const connections, rounds = 64, 5
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	took := make([]time.Duration, len(all))
	requests := max(b.N/rounds, connections)
	for range rounds {
		for i, c := range all {
			start := time.Now()
			load(b, client, servers[i].URL+"/graphql", c.body, connections, requests)
			took[i] += time.Since(start)
		}
	}
	for i, c := range all {
		b.ReportMetric(float64(requests*rounds)/took[i].Seconds(), c.name+"/s")
	}
	b.ReportMetric(took[0].Seconds()/took[2].Seconds(), "x/empty")
}

func load(b *testing.B, client *http.Client, url string, body func(int64) string, connections, requests int) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(requests) {
					return
				}
				r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body(n)))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+asAlice)
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("status %d", res.StatusCode)
					return
				}
			}
		})
	}
	group.Wait()
}
