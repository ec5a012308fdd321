package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// TestEmbeddedBroker and TestKafka run one suite. The embedded broker differs
// in what its package says, none of which is in the suite.
func TestEmbeddedBroker(t *testing.T) {
	b, err := broker.Start(broker.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	suite(t, b.Addr(), broker.TopicConfig())
}

func TestKafka(t *testing.T) {
	k := testservers.KafkaProcess(t) // one for all, since starting it takes the longest
	suite(t, k.Address(), nil)
	goesAway(t, k)
}

// TestNamedKafka runs the suite on the Kafka of somebody who wants to know.
func TestNamedKafka(t *testing.T) {
	const variable = "STAMPEDE_TEST_KAFKA"
	if os.Getenv(variable) == "" {
		return // there is none; TestKafka has started one
	}
	suite(t, testservers.Kafka(t), nil)
}

// within bounds a test of real processes: a busy machine is slow, and a test
// that is stuck says what it waits for.
const within = 3 * time.Minute

func suite(t *testing.T, addr string, topicConfig map[string]string) {
	s := &brokerSuite{addr: addr, topicConfig: topicConfig}
	t.Run("every event arrives once, in order, complete", s.everyEvent)
	t.Run("a restart from an old watermark repeats the same ids", s.restart)
	t.Run("a consumer group reads all", s.group)
	t.Run("protobuf", s.protobuf)
	t.Run("topics", s.topics)
}

type brokerSuite struct {
	addr        string
	topicConfig map[string]string
	run         string
}

// config publishes under a ce_source of the test's own: the topics are shared.
func (s *brokerSuite) config(t *testing.T, j *logtest.Journal, epoch entity.Epoch) publisher.Config {
	return publisher.Config{
		Brokers: []string{s.addr}, TopicConfig: s.topicConfig, Source: s.sourceOf(t),
		Log: events.Config{
			Journal: j, Watermarks: j, Epoch: epoch, Ended: logtest.ErrEnded, Logger: slog.New(slog.DiscardHandler),
		},
		Follow:     func(string) events.Source { return j.Source(epoch) },
		Streams:    j,
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// source is of one run of one test: a server outlives both.
func (s *brokerSuite) sourceOf(t *testing.T) string {
	if s.run == "" {
		s.run = rand.Text()
	}
	return "/" + strings.NewReplacer(" ", "-").Replace(t.Name()) + "/" + s.run
}

func run(t *testing.T, cfg publisher.Config) {
	t.Helper()
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s *brokerSuite) everyEvent(t *testing.T) {
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 11, 5).Trade(1, 1500)
	j.End(1)
	cfg := s.config(t, j, 1)
	run(t, cfg)
	s.check(t, cfg, j.Records(1), 1)
}

func (s *brokerSuite) restart(t *testing.T) {
	j := logtest.NewJournal(2)
	shop := logtest.NewShop(j, 12, 5)
	shop.Trade(1, 300)
	j.End(1)
	j.OnSave = func(string, entity.Epoch, uint64) error { return errors.New("crash before the watermark") }
	first := s.config(t, j, 1)
	p, err := publisher.New(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil {
		t.Fatal("the watermark was saved")
	}
	j.OnSave = nil
	shop.Trade(2, 300)
	j.End(2)
	run(t, s.config(t, j, 2))
	s.check(t, first, append(j.Records(1), j.Records(2)...), 3)
}

func (s *brokerSuite) protobuf(t *testing.T) {
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 13, 5).Trade(1, 50)
	j.End(1)
	cfg := s.config(t, j, 1)
	cfg.Format, cfg.Compression = cloudevents.Protobuf, "zstd"
	run(t, cfg)
	s.check(t, cfg, j.Records(1), 1)
}

// check compares what the topics hold under the configuration's source with
// the journal. A message may be there up to times times; 0: any number.
func (s *brokerSuite) check(t *testing.T, cfg publisher.Config, records []*entity.Record, times int) {
	t.Helper()
	checker := eventcheck.New(cloudevents.NewMapper(cfg.Format, cfg.Source))
	checker.Times = times
	if err := checker.Expect(records...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := checker.Topics(ctx, s.addr, cfg.Source+"/"); err != nil {
		t.Fatal(err)
	}
	for _, fault := range checker.Done() {
		t.Error(fault)
	}
}

// group: an ordinary consumer group of two members gets every event while it
// is being published.
func (s *brokerSuite) group(t *testing.T) {
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 14, 20)
	shop.Trade(1, 200)
	cfg := s.config(t, j, 1)
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	if err := p.WaitFor(ctx, 1); err != nil { // the topics are there
		t.Fatal(err)
	}
	members := s.members(ctx, t, cfg.Source+"/")
	shop.Trade(1, 200)
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// First what is there, then who has heard of it: a group that is slow is not a loss.
	s.check(t, cfg, j.Records(1), 1)
	mapper := cloudevents.NewMapper(cfg.Format, cfg.Source)
	missing := map[string]bool{}
	for _, rec := range j.Records(1) {
		messages, err := mapper.Map(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if m.Topic == cloudevents.TopicOrders || m.Topic == cloudevents.TopicStock {
				missing[fmt.Sprintf("%s/%d", rec.Stream(), m.Version)] = true
			}
		}
	}
	for len(missing) > 0 {
		select {
		case id := <-members:
			delete(missing, id)
		case <-ctx.Done():
			t.Fatalf("%d events are on the topics and were not consumed", len(missing))
		}
	}
}

// members starts the two members of a group and returns the ids that they read.
func (s *brokerSuite) members(ctx context.Context, t *testing.T, source string) <-chan string {
	ids := make(chan string, 10_000)
	say := slog.NewLogLogger(slog.NewTextHandler(t.Output(), nil), slog.LevelInfo)
	for range 2 {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{s.addr}, GroupID: "test" + strings.ReplaceAll(s.sourceOf(t), "/", "-"), GroupTopics: []string{cloudevents.TopicOrders, cloudevents.TopicStock},
			StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond,
			SessionTimeout: 6 * time.Second, RebalanceTimeout: 5 * time.Second, JoinGroupBackoff: 100 * time.Millisecond, CommitInterval: time.Second,
			ErrorLogger: say,
		})
		ended := make(chan struct{})
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			<-ended
		})
		go func() {
			defer close(ended)
			for {
				m, err := r.ReadMessage(ctx)
				switch {
				case ctx.Err() != nil || errors.Is(err, io.EOF):
					return // out of time, or closed: what is missing is said by who waits for it
				case err != nil:
					// A partition that could not be reached three times in a row: the client goes on trying, and so must who reads.
					say.Print(err)
					continue
				}
				if strings.HasPrefix(headerValue(m, "ce_source"), source) {
					ids <- headerValue(m, "ce_id")
				}
			}
		}()
	}
	return ids
}

func headerValue(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// topics: they have what the contract says, and whoever starts later finds
// nothing to complain of.
func (s *brokerSuite) topics(t *testing.T) {
	client := &kafka.Client{Addr: kafka.TCP(s.addr), Transport: &kafka.Transport{Context: t.Context()}}
	meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, topic := range meta.Topics {
		found[topic.Name] = len(topic.Partitions)
	}
	for _, topic := range cloudevents.Topics() {
		if found[topic.Name] != publisher.Partitions {
			t.Errorf("%s has %d partitions", topic.Name, found[topic.Name])
		}
		res, err := client.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic.Name, ConfigNames: []string{"cleanup.policy"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "compact", false: "delete"}[topic.Compacted]
		if got := res.Resources[0].ConfigEntries; len(got) != 1 || got[0].ConfigValue != want {
			t.Errorf("%s: %+v, want %s", topic.Name, got, want)
		}
	}
}
