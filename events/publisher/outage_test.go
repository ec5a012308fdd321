package publisher_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"stampede/events/broker"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
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
	outage(t, addr, func() {
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
	outage(t, k.Address(), k.Kill, k.Restart)
}

func outage(t *testing.T, addr string, down, up func()) {
	s := &brokerSuite{addr: addr, topicConfig: broker.TopicConfig()}
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 21, 10)
	cfg := s.config(t, j, 1)
	cfg.Limits = publisher.Limits{LongestBackoff: 500 * time.Millisecond}
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	shop.Trade(1, 500)
	if err := p.WaitFor(ctx, 100); err != nil {
		t.Fatal(err)
	}
	shop.Trade(1, 2000)
	down()
	shop.Trade(1, 2000)
	if s := p.Stats(); s.Pending == 0 {
		t.Error("nothing is pending while the broker is away")
	}
	up()
	shop.Trade(1, 500)
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A batch that was stored unanswered may be there again.
	s.check(t, cfg, j.Records(1), 3)
}
