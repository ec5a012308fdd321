package publisher_test

import (
	"context"
	"flag"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/events"
	"stampede/events/broker"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
)

// The benchmarks publish a backlog of 100,000 records (about 190,000 events,
// stock levels conflated) and report events a second, watermark saved, e.g. a
// million of them:
//
//	go test ./events/publisher -run '^$' -bench PublishKafka -benchtime 1x -backlog 620000
var backlogRecords = flag.Int("backlog", 100_000, "how many records the benchmarks publish") //nolint:gochecknoglobals // a flag of the tests

func BenchmarkPublishEmbedded(b *testing.B) {
	br, err := broker.Start(broker.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := br.Close(); err != nil {
			b.Error(err)
		}
	})
	publishBacklog(b, br.Addr(), broker.TopicConfig())
}

func BenchmarkPublishKafka(b *testing.B) { publishBacklog(b, testservers.Kafka(b), nil) }

func publishBacklog(b *testing.B, addr string, topicConfig map[string]string) {
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 1, 1000).Trade(1, *backlogRecords)
	n := 0
	for _, rec := range j.Records(1) {
		if rec.Kind != "account" {
			n += int(rec.LastVersion - rec.FirstVersion + 1)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		marks := logtest.NewJournal(1) // so that each run starts from no watermark
		j.End(1)
		p, err := publisher.New(publisher.Config{
			Brokers: []string{addr}, TopicConfig: topicConfig,
			Log:        events.Config{Journal: j, Watermarks: marks, Epoch: 1, Ended: logtest.ErrEnded, Logger: slog.New(slog.DiscardHandler)},
			Follow:     func(string) events.Source { return backlog(j) },
			Streams:    j,
			Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := p.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// backlog is a source that hands out large chunks, as a log that lags does.
func backlog(j *logtest.Journal) *logtest.Source {
	s := j.Source(1)
	s.Chunk = 512
	return s
}
