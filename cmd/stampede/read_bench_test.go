package main

// Reading against nothing: a page of products and the stock of SKUs over HTTP
// on a real node with 10,000 products, beside an empty gqlgen query, in the same
// process, from the same load generator, in turns.

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/exchange"
	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
	"stampede/gateway/baseline"
)

const (
	readProducts = 10_000
	emptyQuery   = `{"query":"query Nothing { nothing }","operationName":"Nothing"}`
	productsBody = `{"query":"query Products { products(first: 20) { edges { node { id slug name imageUrl variants { sku price { amount currency } } } } pageInfo { hasNextPage endCursor } } }","operationName":"Products"}`
	levelsBody   = `{"query":"query Levels { products(first: 20) { edges { node { id slug name variants { sku stock { available } } } } } }","operationName":"Levels"}`
	stockBody    = `{"query":"query Stock($skus: [String!]!) { stock(skus: $skus) { sku available version } }","operationName":"Stock","variables":{"skus":["READ-%d"]}}`
	orderBody    = `{"query":"query Order($id: ID!) { order(id: $id) { id number state expiresAt total { amount currency } lines { sku name quantity } } }","operationName":"Order","variables":{"id":"%s"}}`
	searchBody   = `{"query":"query Search($s: String) { products(first: 20, search: $s) { edges { node { id slug name } } } }","operationName":"Search","variables":{"s":"item read-%d"}}`
)

// BenchmarkReads reports, of each kind of read, requests/s and its share of
// empty queries/s, by the clock and by the processor time, and the allocations
// (the load generator's are in all of them), e.g.
//
//	go test ./cmd/stampede -run '^$' -bench Reads -benchtime 20000x
func BenchmarkReads(b *testing.B) {
	flags := nodeFlags{}
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
	tokens := readShop(b, n)
	orders := readOrders(b, n, tokens)
	empty := httptest.NewServer(baseline.Stock())
	b.Cleanup(empty.Close)
	for _, c := range []struct {
		name string
		body func(i int64) string
	}{
		{"products", func(int64) string { return productsBody }},
		{"products with stock", func(int64) string { return levelsBody }},
		{"stock", func(i int64) string { return fmt.Sprintf(stockBody, i%readProducts) }},
		{"order", func(i int64) string { return fmt.Sprintf(orderBody, orders[i%int64(len(orders))]) }},
		{"search", func(i int64) string { return fmt.Sprintf(searchBody, i%readProducts) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			requests := max(b.N/wholeRounds, wholeConnections)
			var reads, nothings, readsCPU, nothingsCPU time.Duration
			var readsAllocs, nothingsAllocs uint64
			for range wholeRounds {
				began, allocs := processCPU(b), processAllocs()
				nothings += wholeLoad(b, empty.URL, requests, judgeRead, func(t *load.Task, _ int64) { t.Body = append(t.Body[:0], emptyQuery...) }).Elapsed
				between := processCPU(b)
				nothingsCPU += between - began
				allocsBetween := processAllocs()
				nothingsAllocs += allocsBetween - allocs
				reads += wholeLoad(b, n.url, requests, judgeRead, func(t *load.Task, i int64) {
					t.Token, t.Body = tokens[i%int64(len(tokens))], append(t.Body[:0], c.body(i)...)
				}).Elapsed
				readsCPU += processCPU(b) - between
				readsAllocs += processAllocs() - allocsBetween
			}
			total := float64(requests * wholeRounds)
			b.ReportMetric(total/reads.Seconds(), "reads/s")
			b.ReportMetric(total/nothings.Seconds(), "empty/s")
			b.ReportMetric(nothings.Seconds()/reads.Seconds(), "x/empty")
			b.ReportMetric(float64(readsCPU.Microseconds())/total, "cpu-us/read")
			b.ReportMetric(float64(nothingsCPU.Microseconds())/total, "cpu-us/empty")
			b.ReportMetric(float64(readsAllocs)/total, "allocs/read")
			b.ReportMetric(float64(nothingsAllocs)/total, "allocs/empty")
			b.ReportMetric(nothingsCPU.Seconds()/readsCPU.Seconds(), "cpu-x/empty")
		})
	}
}

// processAllocs is how many objects this process has allocated so far.
func processAllocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// readOrders places an order for each token, in turn.
func readOrders(b *testing.B, n *node, tokens []string) (ids []string) {
	b.Helper()
	const document = `mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id } userErrors { message } } }`
	for i, token := range tokens {
		client := shop.NewClient(n.url, token)
		var placed struct {
			PlaceOrder struct {
				Order *struct {
					ID string `json:"id"`
				} `json:"order"`
			} `json:"placeOrder"`
		}
		input := map[string]any{"idempotencyKey": fmt.Sprintf("read-%d-key", i), "lines": []any{map[string]any{"sku": fmt.Sprintf("READ-%d", i%100*100+99), "quantity": 1}}}
		if err := client.Call(b.Context(), document, map[string]any{"input": input}, &placed); err != nil {
			b.Fatal(err)
		}
		if placed.PlaceOrder.Order == nil {
			b.Fatalf("order %d was not placed", i)
		}
		ids = append(ids, placed.PlaceOrder.Order.ID)
	}
	return ids
}

func judgeRead(status int, _ time.Duration, body []byte) shop.Answer {
	if status == 200 && len(body) > 0 && !isErrors(body) {
		return shop.Answer{}
	}
	return shop.Answer{Kind: shop.Failed}
}

func isErrors(body []byte) bool { return len(body) > 10 && string(body[:10]) == `{"errors":` }

// readShop imports the products and makes readers enough that none runs into
// the limit per caller. They are staff, which pays less.
func readShop(b *testing.B, n *node) (tokens []string) {
	b.Helper()
	for i := range wholeShoppers {
		token, _, err := n.tokens.Issue(fmt.Sprintf("usr_staff%d", i), []auth.Role{auth.Customer, auth.Staff}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	records := make([]*exchange.Record, readProducts)
	for i := range records {
		name, stock := fmt.Sprintf("Item %d", i), int64(i%100)
		records[i] = &exchange.Record{Slug: fmt.Sprintf("read-%d", i), Name: &name, Variants: []exchange.Variant{
			{SKU: fmt.Sprintf("READ-%d", i), Price: &exchange.Price{Amount: "19.90", Currency: "EUR"}, Stock: &stock},
		}}
	}
	client := shop.NewClient(n.url, tokens[0])
	client.HTTP = shop.NewHTTP(32)
	start := time.Now()
	summary, err := (&exchange.Importer{Caller: client, Run: randomHex(4), Concurrency: 32}).Import(b.Context(), records)
	if err != nil || summary.Created != readProducts {
		b.Fatal(summary, err)
	}
	b.Logf("%d products imported in %v", readProducts, time.Since(start))
	return tokens
}
