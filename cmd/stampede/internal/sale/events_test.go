package sale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"

	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
	"stampede/proto/gen/eventspb"
)

func message(topic, key, kind string, version int64, format string, value []byte) kafka.Message {
	return kafka.Message{Topic: topic, Key: []byte(key), Value: value, Headers: []kafka.Header{
		{Key: "content-type", Value: []byte(format)},
		{Key: "ce_id", Value: fmt.Appendf(nil, "%s/%d", key, version)},
		{Key: "ce_type", Value: []byte(kind)},
		{Key: "ce_sequence", Value: fmt.Appendf(nil, "%020d", version)},
	}}
}

func TestDecodeEvent(t *testing.T) {
	level := shop.Level{SKU: "S", OnHand: 9, Available: 4, Held: 3, Committed: 2, Version: 7}
	wire := &eventspb.StockLevel{Sku: "S", OnHand: 9, Available: 4, Held: 3, Committed: 2, Version: 7, AsOfMs: 5}
	reserved, err := proto.Marshal(&eventspb.StockReserved{Sku: "S", OrderId: "o", Quantity: 2, Level: wire})
	if err != nil {
		t.Fatal(err)
	}
	depleted, err := proto.Marshal(&eventspb.StockDepleted{Sku: "S", Level: wire})
	if err != nil {
		t.Fatal(err)
	}
	asJSON := []byte(`{"sku":"S","orderId":"o","quantity":2,"level":{"sku":"S","onHand":9,"available":4,"held":3,"committed":2,"unavailable":0,"version":7,"asOfMs":5}}`)
	want := proof.Event{Topic: proof.StockTopic, Key: "S", ID: "S/7", Type: "StockReserved", Sequence: 7, OrderID: "o", Quantity: 2, Level: &level}
	wantDepleted := want
	wantDepleted.Type, wantDepleted.OrderID, wantDepleted.Quantity = "StockDepleted", "", 0
	for _, c := range []struct {
		name string
		in   kafka.Message
		want proof.Event
	}{
		{"json", message(proof.StockTopic, "S", "StockReserved", 7, "application/json", asJSON), want},
		{"protobuf", message(proof.StockTopic, "S", "StockReserved", 7, "application/protobuf", reserved), want},
		{"protobuf without an order", message(proof.StockTopic, "S", "StockDepleted", 7, "application/protobuf", depleted), wantDepleted},
		{
			"an order's", message(proof.OrdersTopic, "o", "OrderReserved", 2, "application/json", []byte(`not looked at`)),
			proof.Event{Topic: proof.OrdersTopic, Key: "o", ID: "o/2", Type: "OrderReserved", Sequence: 2},
		},
	} {
		got, err := decodeEvent(c.in)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
	for name, bad := range map[string]kafka.Message{
		"no headers":     {Topic: proof.OrdersTopic},
		"no sequence":    message(proof.OrdersTopic, "o", "OrderReserved", 0, "", nil),
		"malformed":      message(proof.StockTopic, "S", "StockReserved", 7, "application/json", []byte(`{`)),
		"unknown type":   message(proof.StockTopic, "S", "Nonsense", 7, "application/protobuf", nil),
		"malformed wire": message(proof.StockTopic, "S", "StockReserved", 7, "application/protobuf", []byte{0xff}),
	} {
		if _, err := decodeEvent(bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A real consumer group against a real protocol: everything of both topics is
// read, in order, once, and reading ends when what is waited for has come and
// the partitions are at their ends.
func TestReadEventsToTheEnd(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, proof.OrdersTopic, proof.StockTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	brokers := cluster.ListenAddrs()

	const orders = 200
	s := New(Config{Run: "run", Units: orders, Shoppers: orders, SKUs: 1})
	sku := s.SKUs()[0]
	var messages []kafka.Message
	level := shop.Level{SKU: sku, OnHand: orders, Available: orders, Version: 1}
	for i := range orders {
		level.Available--
		level.Held++
		level.Version++
		id := fmt.Sprintf("order-%d", i)
		value, err := json.Marshal(map[string]any{"orderId": id, "quantity": 1, "level": level})
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message(proof.OrdersTopic, id, "OrderPlaced", 1, "application/json", nil),
			message(proof.StockTopic, sku, "StockReserved", level.Version, "application/json", value),
			message(proof.OrdersTopic, id, "OrderReserved", 2, "application/json", nil))
		s.history.Attempts[i] = proof.Attempt{Sent: time.Now(), Answer: shop.Answer{Kind: shop.Accepted, Order: &shop.Order{ID: id}}}
	}
	s.history.Levels = map[string]shop.Level{sku: level}
	// After everything that is waited for comes one more, which must be read too.
	messages = append(messages, message(proof.OrdersTopic, "other", "OrderReserved", 1, "application/json", nil))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	writer := &kafka.Writer{Addr: kafka.TCP(brokers...), Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	if err := writer.WriteMessages(ctx, messages...); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ReadEvents(ctx, brokers); err != nil {
		t.Fatal(err)
	}
	if n := len(s.history.Events); n != len(messages) {
		t.Fatalf("%d events, want %d", n, len(messages))
	}
	next := map[string]int64{sku: 2}
	for _, e := range s.history.Events {
		want := max(next[e.Key], 1)
		if e.Sequence != want {
			t.Fatalf("%s came with sequence %d, want %d", e.Key, e.Sequence, want)
		}
		next[e.Key] = e.Sequence + 1
	}
}

// said answers ReadMessage with one error after the other, then with messages,
// or, where there are none, when the context ends.
type said struct {
	errs    []error
	forever bool
}

func (s *said) ReadMessage(ctx context.Context) (kafka.Message, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return kafka.Message{}, err
	}
	if s.forever {
		<-ctx.Done()
		return kafka.Message{}, ctx.Err()
	}
	return kafka.Message{Topic: "t"}, nil
}

func (s *said) Close() error { return nil }

func TestConsumerGoesOnThroughWhatIsTemporary(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		said said
		want error
	}{
		{"nothing is wrong", said{}, nil},
		{"a coordinator that comes later", said{errs: []error{kafka.GroupCoordinatorNotAvailable, kafka.GroupLoadInProgress}}, nil},
		{"no coordinator at all is said", said{errs: []error{kafka.GroupCoordinatorNotAvailable}, forever: true}, kafka.GroupCoordinatorNotAvailable},
		{"no right to read", said{errs: []error{kafka.GroupAuthorizationFailed}}, kafka.GroupAuthorizationFailed},
		{"something else", said{errs: []error{broken}}, broken},
		{"nothing comes", said{forever: true}, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), eventsPatience)
				defer cancel()
				s := c.said
				got, err := (&consumer{reader: &s}).message(ctx)
				if !errors.Is(err, c.want) || err == nil && got.Topic != "t" {
					t.Errorf("got %v, %v, want %v", got, err, c.want)
				}
			})
		})
	}
}
