package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/actors/sku"
	"stampede/events/broker"
	"stampede/events/inbound"
	"stampede/internal/testservers"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// TestEmbeddedBroker and TestKafka run one suite.
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

func suite(t *testing.T, addr string, topics map[string]string) {
	s := &brokerSuite{addr: addr, topics: topics}
	t.Run("each once and in order, by two members", s.once)
	t.Run("what cannot be done is buried, and what is behind it is done", s.poison)
	t.Run("an end between the answer and the commit", s.crash)
	t.Run("faults are waited out", s.faults)
}

type brokerSuite struct {
	addr   string
	topics map[string]string
}

// shop is SKUs that decide as they do, each with stock from the beginning. What
// is decided is durable, as Call returns only then.
type shop struct {
	mu    sync.Mutex
	skus  map[string]*sku.State
	order map[string][]string // the reasons of what was done, by SKU
	// before and after a command; an error is what the caller gets.
	before func(id string, calls int) error
	after  func(id string, calls int) error
	calls  int
}

const stockAtFirst = 1_000

func newShop() *shop { return &shop{skus: map[string]*sku.State{}, order: map[string][]string{}} }

func (s *shop) Call(_ context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.before != nil {
		if err := s.before(to.ID, s.calls); err != nil {
			return nil, err
		}
	}
	st := s.skus[to.ID]
	if st == nil {
		st = sku.New(to.ID)
		s.skus[to.ID] = st
		if to.ID != "NONE" {
			s.decide(st, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: to.ID, Active: true, InitialStock: stockAtFirst, Price: &commonpb.Money{MinorUnits: 100, Currency: "EUR"}})
		}
	}
	reply := s.decide(st, cmd)
	if s.after != nil {
		if err := s.after(to.ID, s.calls); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

func (s *shop) decide(st *sku.State, cmd proto.Message) proto.Message {
	events, reply := sku.Decide(st, cmd, time.Now())
	for _, e := range events {
		sku.Evolve(st, e)
		if a := e.GetAdjusted(); a != nil && a.GetReason() != "" {
			id := reply.(interface{ GetLevel() *skupb.Level }).GetLevel().GetSku()
			s.order[id] = append(s.order[id], a.GetReason())
		}
	}
	return reply
}

func (s *shop) done(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.order[id]...)
}

// member runs a consumer until its stop is called.
func (b *brokerSuite) member(t *testing.T, caller inbound.Caller) (stop func(), registry *prometheus.Registry) {
	t.Helper()
	registry = prometheus.NewRegistry()
	c, err := inbound.New(inbound.Config{
		Brokers: []string{b.addr}, TopicConfig: b.topics, Replication: 1, Caller: caller, Registerer: registry,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Limits: inbound.Limits{LongestBackoff: 200 * time.Millisecond, SessionTimeout: 6 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the consumer ended with %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop, registry
}

// send produces commands, as a warehouse does: keyed by the SKU.
func (b *brokerSuite) send(t *testing.T, messages ...kafka.Message) {
	t.Helper()
	w := &kafka.Writer{
		Addr: kafka.TCP(b.addr), Topic: inbound.TopicCommands, Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 20,
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := w.WriteMessages(ctx, messages...)
		if err == nil {
			return
		}
		if !errors.Is(err, kafka.UnknownTopicOrPartition) || ctx.Err() != nil { // the first consumer is making the topics
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func command(source, id, kind, key, data string) kafka.Message {
	m := kafka.Message{Key: []byte(key), Value: []byte(data)}
	for _, h := range [][2]string{{"ce_specversion", "1.0"}, {"ce_id", id}, {"ce_source", source}, {"ce_type", kind}, {"content-type", "application/json"}} {
		m.Headers = append(m.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
	}
	return m
}

func adjust(source, id, key string, delta int) kafka.Message {
	return command(source, id, inbound.AdjustStock, key, fmt.Sprintf(`{"sku":%q,"delta":%d,"reason":%q}`, key, delta, id))
}

// settled waits until every offset is committed, which follows what was done by
// a moment. A member that ends before leaves it to the next to take again.
func (b *brokerSuite) settled(t *testing.T) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(b.addr), Timeout: 10 * time.Second}
	var all []int
	var ends []kafka.OffsetRequest
	for p := range inbound.Partitions {
		all, ends = append(all, p), append(ends, kafka.LastOffsetOf(p))
	}
	behind := func() error {
		end, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{inbound.TopicCommands: ends}})
		if err != nil {
			return err
		}
		committed, err := client.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: inbound.Group, Topics: map[string][]int{inbound.TopicCommands: all}})
		if err == nil {
			err = committed.Error
		}
		if err != nil {
			return err
		}
		at := map[int]int64{}
		for _, p := range committed.Topics[inbound.TopicCommands] {
			at[p.Partition] = max(0, p.CommittedOffset) // -1: nothing yet
		}
		for _, p := range end.Topics[inbound.TopicCommands] {
			if p.Error != nil || at[p.Partition] < p.LastOffset {
				return fmt.Errorf("partition %d is done to %d of %d: %w", p.Partition, at[p.Partition], p.LastOffset, p.Error)
			}
		}
		return nil
	}
	var last error
	defer func() {
		if t.Failed() && last != nil {
			t.Log(last)
		}
	}()
	eventually(t, "all offsets are committed", func() bool { last = behind(); return last == nil })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// unique names SKUs of this run: the topics are shared and stay.
func unique(t *testing.T) string {
	return fmt.Sprintf("T%x", time.Now().UnixNano())
}
