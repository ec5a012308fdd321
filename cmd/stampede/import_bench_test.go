package main

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/exchange"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
)

// importedAtOnce is the sub-command's --concurrency.
const importedAtOnce = 128

// BenchmarkImport is what `stampede import products` does with b.N products of
// one variant, on a real node on SQLite in the same process, e.g.
//
//	go test ./cmd/stampede -run '^$' -bench Import -benchtime 20000x
func BenchmarkImport(b *testing.B) {
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
	token, _, err := n.tokens.Issue("usr_staff", []auth.Role{auth.Customer, auth.Staff}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	records := make([]*exchange.Record, b.N)
	for i := range records {
		name, stock := fmt.Sprintf("Item %d", i), int64(i%100)
		records[i] = &exchange.Record{Slug: fmt.Sprintf("import-%d", i), Name: &name, Variants: []exchange.Variant{
			{SKU: fmt.Sprintf("IMPORT-%d", i), Price: &exchange.Price{Amount: "19.90", Currency: "EUR"}, Stock: &stock},
		}}
	}
	client := shop.NewClient(n.url, token)
	client.HTTP = shop.NewHTTP(importedAtOnce)
	b.ResetTimer()
	began, busy := time.Now(), processCPU(b)
	summary, err := (&exchange.Importer{Caller: client, Run: randomHex(4), Concurrency: importedAtOnce}).Import(b.Context(), records)
	if err != nil || summary.Created != b.N {
		b.Fatal(summary, err)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "products/s")
	b.ReportMetric(float64((processCPU(b)-busy).Microseconds())/float64(b.N), "cpu-us/product")
}
