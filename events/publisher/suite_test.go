package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
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

func TestKafka(t *testing.T) { suite(t, testservers.Kafka(t), nil) }

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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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
// what the records map to. A message may be there up to times times.
func (s *brokerSuite) check(t *testing.T, cfg publisher.Config, records []*entity.Record, times int) {
	t.Helper()
	mapper := cloudevents.NewMapper(cfg.Format, cfg.Source)
	want := map[string][]cloudevents.Message{} // by topic and key
	levels := map[string]cloudevents.Message{}
	for _, rec := range records {
		messages, err := mapper.Map(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if m.Topic == cloudevents.TopicStockLevels {
				levels[m.Key] = m
				continue
			}
			want[m.Topic+" "+m.Key] = append(want[m.Topic+" "+m.Key], m)
		}
	}
	count, first, last := map[string]int{}, map[string][]kafka.Message{}, map[string]kafka.Message{}
	for _, topic := range cloudevents.Topics() {
		for _, m := range readTopic(t, s.addr, topic.Name, cfg.Source) {
			if p := (kafka.Murmur2Balancer{}).Balance(m, partitions()...); p != m.Partition {
				t.Errorf("%s %s is at partition %d, want %d", m.Topic, m.Key, m.Partition, p)
			}
			if topic.Compacted {
				last[string(m.Key)] = m
				continue
			}
			id := headerValue(m, "ce_id")
			if count[id]++; count[id] > times {
				t.Errorf("%s is there %d times", id, count[id])
			}
			if key := m.Topic + " " + string(m.Key); count[id] == 1 {
				first[key] = append(first[key], m)
			}
		}
	}
	for key, messages := range want {
		if len(first[key]) != len(messages) {
			t.Errorf("%s: %d events, want %d", key, len(first[key]), len(messages))
			continue
		}
		for i, m := range messages {
			compare(t, m, first[key][i])
		}
	}
	for sku, m := range levels {
		compare(t, m, last[sku])
	}
}

func partitions() []int {
	out := make([]int, publisher.Partitions)
	for i := range out {
		out[i] = i
	}
	return out
}

func compare(t *testing.T, want cloudevents.Message, got kafka.Message) {
	t.Helper()
	if string(want.Value) != string(got.Value) || (want.Value == nil) != (got.Value == nil) {
		t.Errorf("%s %s: value %q, want %q", got.Topic, got.Key, got.Value, want.Value)
	}
	var headers []cloudevents.Header
	for _, h := range got.Headers {
		headers = append(headers, cloudevents.Header{Key: h.Key, Value: string(h.Value)})
	}
	if fmt.Sprint(headers) != fmt.Sprint(want.Headers) {
		t.Errorf("%s %s: headers\n%v, want\n%v", got.Topic, got.Key, headers, want.Headers)
	}
}

func headerValue(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// readTopic reads what a topic holds now, of one ce_source, in order of
// partition and offset.
func readTopic(t *testing.T, addr, topic, source string) []kafka.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out []kafka.Message
	for partition := range publisher.Partitions {
		conn, err := kafka.DialLeader(ctx, "tcp", addr, topic, partition)
		if err != nil {
			t.Fatal(err)
		}
		end, err := conn.ReadLastOffset()
		if closeErr := conn.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		if end == 0 {
			continue
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{addr}, Topic: topic, Partition: partition, MaxWait: 50 * time.Millisecond})
		for at := int64(0); at < end; {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				t.Fatalf("%s/%d at %d of %d: %v", topic, partition, at, end, err)
			}
			at = m.Offset + 1
			if strings.HasPrefix(headerValue(m, "ce_source"), source+"/") {
				out = append(out, m)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	return out
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	if err := p.WaitFor(ctx, 1); err != nil { // the topics are there
		t.Fatal(err)
	}
	got := make(chan string, 10_000)
	for range 2 {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{s.addr}, GroupID: "test" + strings.ReplaceAll(s.sourceOf(t), "/", "-"), GroupTopics: []string{cloudevents.TopicOrders, cloudevents.TopicStock},
			StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond,
			SessionTimeout: 6 * time.Second, RebalanceTimeout: 5 * time.Second, JoinGroupBackoff: 100 * time.Millisecond, CommitInterval: time.Second,
		})
		t.Cleanup(func() { _ = r.Close() })
		go func() {
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return
				}
				if strings.HasPrefix(headerValue(m, "ce_source"), cfg.Source+"/") {
					got <- headerValue(m, "ce_id")
				}
			}
		}()
	}
	shop.Trade(1, 200)
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
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
		case id := <-got:
			delete(missing, id)
		case <-ctx.Done():
			t.Fatalf("%d events were not consumed", len(missing))
		}
	}
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
