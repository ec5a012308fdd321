package publisher_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
	"stampede/persistence"
)

// TestEmbeddedBrokerRestarts and TestKafkaIsKilled: the broker goes away while
// events are published and comes back on its data. Nothing is lost or
// reordered.

func TestEmbeddedBrokerRestarts(t *testing.T) {
	dir := t.TempDir()
	open := func(listen string) *broker.Broker {
		b, err := broker.Start(broker.Config{Dir: dir, Listen: listen, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open("")
	addr := b.Addr()
	outage(t, addr, *kills, func() {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}, func() { b = open(addr) })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestKafkaIsKilled(t *testing.T) {
	k := testservers.KafkaProcess(t)
	outage(t, k.Address(), *kills, k.Kill, k.Restart)
}

// kills is how often the broker goes away: 10 in the long form.
var kills = flag.Int("kills", 2, "how often the broker is killed") //nolint:gochecknoglobals // a flag of the tests

func outage(t *testing.T, addr string, times int, down, up func()) {
	s := &brokerSuite{addr: addr, topicConfig: broker.TopicConfig()}
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 21, 10)
	cfg := s.config(t, j, 1)
	cfg.Limits = publisher.Limits{LongestBackoff: 500 * time.Millisecond}
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(times)*45*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	shop.Trade(1, 500)
	if err := p.WaitFor(ctx, 100); err != nil {
		t.Fatal(err)
	}
	for range times {
		shop.Trade(1, 2000)
		down()
		shop.Trade(1, 2000)
		if err := waitUntil(ctx, func() bool { return p.Stats().Pending > 0 }); err != nil {
			t.Error("nothing is pending while the broker is away")
		}
		up()
		shop.Trade(1, 500)
	}
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A batch that was stored unanswered may be there again.
	s.check(t, cfg, j.Records(1), 2+times)
}

// waitUntil looks until something is so: of real processes nothing can be known otherwise.
func waitUntil(ctx context.Context, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TestKafkaTopicIsDeleted: it is made again, which is said, what is decided
// from then on is published, and a replay brings back what was lost.
func TestKafkaTopicIsDeleted(t *testing.T) {
	addr := testservers.KafkaProcess(t).Address()
	s := &brokerSuite{addr: addr}
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 22, 10)
	cfg := s.config(t, j, 1)
	var logged lockedBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	shop.Trade(1, 300)
	all := j.Records(1)
	if err := p.WaitFor(ctx, all[len(all)-1].Position); err != nil {
		t.Fatal(err)
	}
	client := &kafka.Client{Addr: kafka.TCP(addr), Transport: &kafka.Transport{Context: ctx}}
	res, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{cloudevents.TopicOrders}})
	if err != nil || res.Errors[cloudevents.TopicOrders] != nil {
		t.Fatal(err, res.Errors)
	}
	if err := waitUntil(ctx, func() bool {
		shop.Trade(1, 2)
		return strings.Contains(logged.String(), "was deleted and was made again")
	}); err != nil {
		t.Fatalf("it is not said:\n%s", logged.String())
	}
	all = j.Records(1)
	if err := p.WaitFor(ctx, all[len(all)-1].Position); err != nil {
		t.Fatal(err)
	}
	replayer := publisher.NewReplayer(p, orders{j}, 100_000)
	defer replayer.Close()
	if n, over, err := replayer.Replay(ctx, publisher.Replay{Kind: "order", FromVersion: 1}); n == 0 || !over || err != nil {
		t.Fatalf("%d republished, over: %t, %v", n, over, err)
	}
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// For whoever reads the new topic from its start, first occurrences are in no order: what was lost came last.
	have := map[string]bool{}
	for _, m := range readTopic(t, addr, cloudevents.TopicOrders, cfg.Source) {
		have[headerValue(m, "ce_id")] = true
	}
	for _, rec := range j.Records(1) {
		for v := rec.FirstVersion; rec.Kind == "order" && v <= rec.LastVersion; v++ {
			if id := fmt.Sprintf("%s/%d", rec.Stream(), v); !have[id] {
				t.Errorf("%s is lost", id)
			}
		}
	}
}

// orders lists the orders of a journal, all at once.
type orders struct{ *logtest.Journal }

func (o orders) ListRows(_ context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	if q.AfterID != "" {
		return nil, nil
	}
	var rows []persistence.Row
	for stream := range o.Streams() {
		if kind, id, _ := strings.Cut(stream, "/"); kind == "order" {
			rows = append(rows, persistence.Row{Kind: kind, ID: id})
		}
	}
	return rows, nil
}
