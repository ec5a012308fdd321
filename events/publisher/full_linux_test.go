package publisher_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
)

// diskFull: the broker finds no room for what it is sent, gives up its log and
// ends. What was not acknowledged is kept here until there is room again.
func diskFull(t *testing.T, k *testservers.KafkaServer, s *brokerSuite) {
	t.Run("disk full", func(t *testing.T) { s.outage(t, 1, time.Second, k.Fill, k.MakeRoom) })
}

// TestEmbeddedBrokerWithoutRoom: it does not end, and what it could not write it
// must not be taken to have, however often it is sent. (kfake remembers the
// sequence of a batch that it could not write, and acknowledges the same one
// again.) With room again everything is published, and is there after a restart.
func TestEmbeddedBrokerWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	var logged said
	open := func() *broker.Broker {
		b, err := broker.Start(broker.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	full := fillPartitions(t, dir)
	b := open()
	s := &brokerSuite{addr: b.Addr(), topicConfig: broker.TopicConfig()}
	j := logtest.NewJournal(1)
	cfg := s.config(t, j, 1)
	cfg.Limits = publisher.Limits{LongestBackoff: 100 * time.Millisecond}
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	logtest.NewShop(j, 31, 10).Trade(1, 300)
	j.End(1)
	often := 3 * len(full) // who is told no once, and yes then, says it once a partition
	if err := waitUntil(ctx, func() bool { return logged.times("cannot write its data") >= often }); err != nil {
		t.Fatalf("%v; it said %s", err, &logged)
	}
	select {
	case err := <-done:
		t.Fatalf("everything is published, without room: %v", err)
	default:
	}
	full.makeRoom(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.check(t, cfg, j.Records(1), 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	s.addr = b.Addr()
	s.check(t, cfg, j.Records(1), 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// fullPartitions are files that take no write.
type fullPartitions []string

// fillPartitions leaves the broker no room for what is sent to it.
func fillPartitions(t *testing.T, dir string) (full fullPartitions) {
	t.Helper()
	for _, topic := range cloudevents.Topics() {
		for partition := range publisher.Partitions {
			folder := filepath.Join(dir, "log", "partitions", fmt.Sprintf("%s-%d", topic.Name, partition))
			if err := os.MkdirAll(folder, 0o750); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, "0.dat")
			if err := os.Symlink("/dev/full", file); err != nil {
				t.Fatal(err)
			}
			full = append(full, file)
		}
	}
	return full
}

func (f fullPartitions) makeRoom(t *testing.T) {
	t.Helper()
	for _, file := range f {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

// said keeps what is logged.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *said) times(what string) int { return strings.Count(s.String(), what) }
