package publisher_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/persistence"
	"stampede/proto/gen/skupb"
)

// What else befalls a broker that is there: a consumer that is slow, a record that
// is too large, a topic that somebody deletes.

// slowConsumer: one that takes a message and then nothing holds up nobody, and
// has everything when it goes on.
func (s *brokerSuite) slowConsumer(t *testing.T) {
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 24, 10)
	cfg := s.config(t, j, 1)
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	shop.Trade(1, 100)
	if err := p.WaitFor(ctx, 100); err != nil {
		t.Fatal(err)
	}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.addr}, GroupID: "slow-" + rand.Text(), Topic: cloudevents.TopicOrders, StartOffset: kafka.FirstOffset,
		QueueCapacity: 1, MaxBytes: 4 << 10, MaxWait: 100 * time.Millisecond,
	})
	defer r.Close()
	message := fetch(ctx, t, r)
	shop.Trade(1, 5000)
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checker := eventcheck.New(cloudevents.NewMapper(cfg.Format, cfg.Source))
	if err := checker.Expect(slices.DeleteFunc(j.Records(1), func(r *entity.Record) bool { return r.Kind != "order" })...); err != nil {
		t.Fatal(err)
	}
	for left := checker.Expected(); ; message = fetch(ctx, t, r) {
		if !strings.HasPrefix(headerValue(message, "ce_source"), cfg.Source+"/") {
			continue
		}
		checker.Consume(eventcheck.Consumed(message, publisher.Partitions))
		if left--; left == 0 {
			break
		}
	}
	for _, fault := range checker.Done() {
		t.Error(fault)
	}
}

func fetch(ctx context.Context, t *testing.T, r *kafka.Reader) kafka.Message {
	t.Helper()
	for {
		m, err := r.FetchMessage(ctx)
		if err == nil {
			return m
		}
		if ctx.Err() != nil {
			t.Fatalf("nothing more is consumed: %v", err)
		}
	}
}

// tooLarge: what the broker finds too large goes out without its data; and of
// what is too large even so the key waits, which is said, until it fits. Other
// keys go on.
func (s *brokerSuite) tooLarge(t *testing.T) {
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 25, 10)
	cfg := s.config(t, j, 1)
	cfg.Compression = "none"
	var logged lockedBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	shop.Trade(1, 50)
	if err := p.WaitFor(ctx, 50); err != nil {
		t.Fatal(err)
	}
	s.limitRecords(ctx, t, "3000")
	defer s.limitRecords(context.WithoutCancel(ctx), t, "1000000")
	adjusted := func(reason string) *skupb.Event {
		return &skupb.Event{AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Available: 1}, Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{Delta: 1, Reason: reason}}}
	}
	long := strings.Repeat("K", 900) // five times in the headers
	j.Append(1, "sku", "TALKATIVE", adjusted(strings.Repeat("because ", 600)))
	j.Append(1, "sku", long, adjusted("short"))
	j.Append(1, "sku", long, adjusted("shorter"))
	for range 50 {
		shop.Trade(1, 20)
	}
	newest := j.Append(1, "sku", "TALKATIVE", adjusted("enough"))
	if err := waitUntil(ctx, func() bool { return strings.Contains(logged.String(), "its key waits, other keys go on") }); err != nil {
		t.Fatalf("it is not said:\n%s", logged.String())
	}
	if !strings.Contains(logged.String(), "published without its data") {
		t.Errorf("that an event lost its data is not said:\n%s", logged.String())
	}
	// Everything but the long key is published, though its watermark stays before it.
	if err := waitUntil(ctx, func() bool { return p.Stats().Pending == 0 }); err != nil {
		t.Errorf("others do not go on: %+v", p.Stats())
	}
	messages, err := eventcheck.Read(ctx, s.addr, cloudevents.TopicStock, cfg.Source+"/")
	if err != nil {
		t.Fatal(err)
	}
	omitted := map[string]string{}
	for i := range messages {
		m := &messages[i]
		if m.Key == long {
			t.Error("the long key was published")
		}
		omitted[m.Header("ce_id")] = m.Header(cloudevents.HeaderDataOmitted) + string(m.Value)
	}
	if got := omitted["sku/TALKATIVE/1"]; got != "too-large" {
		t.Errorf("the large event: %q", got)
	}
	if got := omitted["sku/TALKATIVE/2"]; !strings.Contains(got, "enough") {
		t.Errorf("the one after it: %q", got)
	}
	if testing.Short() {
		cancel() // it would be tried again in 15 s
		if err := <-done; err == nil {
			t.Error("all is published, of the long key too")
		}
		return
	}
	s.limitRecords(ctx, t, "1000000")
	if err := p.WaitFor(ctx, newest.Position); err != nil {
		t.Error(err)
	}
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// The large one has lost its data on the topic; the rest is as it should be.
	records := slices.DeleteFunc(j.Records(1), func(r *entity.Record) bool { return r.ID == "TALKATIVE" })
	checker := eventcheck.New(cloudevents.NewMapper(cfg.Format, cfg.Source))
	if err := checker.Expect(records...); err != nil {
		t.Fatal(err)
	}
	if err := checker.Topics(ctx, s.addr, cfg.Source+"/"); err != nil {
		t.Fatal(err)
	}
	for _, fault := range checker.Done() {
		if fault.Key != "TALKATIVE" {
			t.Error(fault)
		}
	}
}

// limitRecords sets the largest batch that the topics of stock take.
func (s *brokerSuite) limitRecords(ctx context.Context, t *testing.T, bytes string) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(s.addr), Transport: transport}
	req := &kafka.IncrementalAlterConfigsRequest{}
	for _, topic := range []string{cloudevents.TopicStock, cloudevents.TopicStockLevels} {
		req.Resources = append(req.Resources, kafka.IncrementalAlterConfigsRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "max.message.bytes", Value: bytes, ConfigOperation: kafka.ConfigOperationSet}},
		})
	}
	res, err := client.IncrementalAlterConfigs(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			t.Fatal(r.Error)
		}
	}
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

// topicDeleted: it is made again, which is said, what is decided from then on is
// published, and a replay brings back what was lost.
func (s *brokerSuite) topicDeleted(t *testing.T) {
	addr := s.addr
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
	messages, err := eventcheck.Read(ctx, addr, cloudevents.TopicOrders, cfg.Source+"/")
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		have[messages[i].Header("ce_id")] = true
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
