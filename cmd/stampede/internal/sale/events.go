package sale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
	"stampede/proto/gen/eventspb"
)

// eventsPatience is how long the consumer waits for events that have not come.
const eventsPatience = 30 * time.Second

// ReadEvents reads the sale's events as a consumer of the shop would: with a
// consumer group over all partitions, from the beginning to the end. It gives
// up waiting for what does not come after a while; the proof then says what is
// missing.
func (s *Sale) ReadEvents(ctx context.Context, brokers []string) error {
	waiting := s.expectedEvents()
	topics := []string{proof.OrdersTopic, proof.StockTopic}
	c := newConsumer(brokers, "stampede-demo-"+s.config.Run, topics)
	defer c.close()

	patient, cancel := context.WithTimeout(ctx, eventsPatience)
	defer cancel()
	err := c.read(patient, func(e proof.Event) bool {
		s.history.Events = append(s.history.Events, e)
		return waiting.seen(e)
	})
	if err == nil {
		// All that must be there was seen. What else was published by now may
		// still speak against it.
		err = c.readToEnd(patient, func(e proof.Event) { s.history.Events = append(s.history.Events, e) })
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// expected are the events that the proof needs.
type expected struct {
	// orders whose OrderReserved has not come.
	orders map[string]bool
	// versions that the stock of each SKU has reached.
	versions map[string]int64
}

func (s *Sale) expectedEvents() *expected {
	e := &expected{orders: map[string]bool{}, versions: map[string]int64{}}
	for i := range s.history.Attempts {
		if a := &s.history.Attempts[i]; a.Answer.Kind == shop.Accepted && a.Answer.Order != nil {
			e.orders[a.Answer.Order.ID] = true
		}
	}
	for sku, level := range s.history.Levels {
		e.versions[sku] = level.Version
	}
	return e
}

// seen takes an event into account and reports whether nothing is waited for
// any more.
func (e *expected) seen(event proof.Event) bool {
	switch {
	case event.Topic == proof.OrdersTopic && event.Type == "OrderReserved":
		delete(e.orders, event.Key)
	case event.Topic == proof.StockTopic && event.Sequence >= e.versions[event.Key]:
		delete(e.versions, event.Key)
	}
	return len(e.orders) == 0 && len(e.versions) == 0
}

type partition struct {
	topic  string
	number int
}

// messages is what a consumer needs of kafka.Reader.
type messages interface {
	ReadMessage(ctx context.Context) (kafka.Message, error)
	Close() error
}

// consumer reads topics through a group and knows where it is in each partition.
type consumer struct {
	reader  messages
	brokers []string
	topics  []string
	// positions are the offsets that come next.
	positions map[partition]int64
	decode    func(kafka.Message) (proof.Event, error)
}

func newConsumer(brokers []string, group string, topics []string) *consumer {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, GroupID: group, GroupTopics: topics, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: 8 << 20, MaxWait: 250 * time.Millisecond, QueueCapacity: 1000,
		ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 250 * time.Millisecond,
		JoinGroupBackoff: 250 * time.Millisecond, CommitInterval: time.Second,
	})
	return &consumer{reader: reader, brokers: brokers, topics: topics, positions: map[partition]int64{}, decode: decodeEvent}
}

// close ends the group. What it still has to say comes after the proof.
func (c *consumer) close() { _ = c.reader.Close() }

// read hands over events until take says enough.
func (c *consumer) read(ctx context.Context, take func(proof.Event) bool) error {
	for {
		event, err := c.next(ctx)
		if err != nil {
			return err
		}
		if event != nil && take(*event) {
			return nil
		}
	}
}

// readToEnd hands over what is published now and was not read yet.
func (c *consumer) readToEnd(ctx context.Context, take func(proof.Event)) error {
	ends, err := c.ends(ctx)
	if err != nil {
		return err
	}
	for c.behind(ends) {
		event, err := c.next(ctx)
		if err != nil {
			return err
		}
		if event != nil {
			take(*event)
		}
	}
	return nil
}

// next reads one message. It returns nil for one that was read before: the
// group may have given the partition out again, which is not the publisher's
// doing.
func (c *consumer) next(ctx context.Context) (*proof.Event, error) {
	message, err := c.message(ctx)
	if err != nil {
		return nil, fmt.Errorf("consumer group: %w", err)
	}
	where := partition{message.Topic, message.Partition}
	if message.Offset < c.positions[where] {
		return nil, nil //nolint:nilnil // nothing new is no error
	}
	c.positions[where] = message.Offset + 1
	event, err := c.decode(message)
	if err != nil {
		return nil, fmt.Errorf("%s partition %d offset %d: %w", message.Topic, message.Partition, message.Offset, err)
	}
	return &event, nil
}

// message reads one, and goes on through what Kafka calls temporary: the first
// group of a new broker has no coordinator for a few seconds. The reader tells
// of that after three attempts, and joins again by itself.
func (c *consumer) message(ctx context.Context) (kafka.Message, error) {
	var refused error
	for {
		message, err := c.reader.ReadMessage(ctx)
		if err == nil || ctx.Err() != nil && refused == nil {
			return message, err
		}
		if ctx.Err() != nil {
			return message, refused
		}
		if temporary := kafka.Error(0); !errors.As(err, &temporary) || !temporary.Temporary() {
			return message, err
		}
		refused = err
	}
}

// ends are the offsets at which the partitions that hold anything end.
func (c *consumer) ends(ctx context.Context) (map[partition]int64, error) {
	client := &kafka.Client{Addr: kafka.TCP(c.brokers...)}
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: c.topics})
	if err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, topic := range metadata.Topics {
		for _, p := range topic.Partitions {
			request.Topics[topic.Name] = append(request.Topics[topic.Name], kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
		}
	}
	offsets, err := client.ListOffsets(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	ends := map[partition]int64{}
	for topic, partitions := range offsets.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("end offset of %s partition %d: %w", topic, p.Partition, p.Error)
			}
			if p.LastOffset > p.FirstOffset {
				ends[partition{topic, p.Partition}] = p.LastOffset
			}
		}
	}
	return ends, nil
}

func (c *consumer) behind(ends map[partition]int64) bool {
	for where, end := range ends {
		if c.positions[where] < end {
			return true
		}
	}
	return false
}

// decodeEvent reads a CloudEvent in binary mode.
func decodeEvent(m kafka.Message) (proof.Event, error) {
	e, format, err := decodeHeaders(m)
	if err != nil || e.Topic != proof.StockTopic {
		return e, err
	}
	return e, decodeStock(&e, format, m.Value)
}

// decodeHeaders reads all but the data, and says how that is encoded.
func decodeHeaders(m kafka.Message) (proof.Event, string, error) {
	e := proof.Event{Topic: m.Topic, Key: string(m.Key)}
	format := ""
	for _, h := range m.Headers {
		switch h.Key {
		case "ce_id":
			e.ID = string(h.Value)
		case "ce_type":
			e.Type = string(h.Value)
		case "ce_sequence":
			n, err := strconv.ParseInt(string(h.Value), 10, 64)
			if err != nil {
				return e, format, fmt.Errorf("ce_sequence: %w", err)
			}
			e.Sequence = n
		case "content-type":
			format = string(h.Value)
		}
	}
	if e.ID == "" || e.Type == "" || e.Sequence < 1 {
		return e, format, fmt.Errorf("an event without ce_id, ce_type or ce_sequence: %v", m.Headers)
	}
	return e, format, nil
}

// stockData is what the events of the stock topic have in common.
type stockData struct {
	OrderID  string      `json:"orderId"`
	Quantity int         `json:"quantity"`
	Level    *shop.Level `json:"level"`
}

func decodeStock(e *proof.Event, format string, value []byte) error {
	if format == "application/protobuf" {
		return decodeStockProtobuf(e, value)
	}
	var data stockData
	if err := json.Unmarshal(value, &data); err != nil {
		return fmt.Errorf("data of %s: %w", e.ID, err)
	}
	e.OrderID, e.Quantity, e.Level = data.OrderID, data.Quantity, data.Level
	return nil
}

// decodeStockProtobuf finds the message by its type's name: every type of the
// topic has a level, one of them an order.
func decodeStockProtobuf(e *proof.Event, value []byte) error {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(eventsPackage + e.Type))
	if err != nil {
		return fmt.Errorf("type of %s: %w", e.ID, err)
	}
	data := kind.New().Interface()
	if err := proto.Unmarshal(value, data); err != nil {
		return fmt.Errorf("data of %s: %w", e.ID, err)
	}
	if reserved, ok := data.(*eventspb.StockReserved); ok {
		e.OrderID, e.Quantity = reserved.GetOrderId(), int(reserved.GetQuantity())
	}
	if with, ok := data.(interface{ GetLevel() *eventspb.StockLevel }); ok && with.GetLevel() != nil {
		l := with.GetLevel()
		e.Level = &shop.Level{
			SKU: l.GetSku(), OnHand: int(l.GetOnHand()), Available: int(l.GetAvailable()), Held: int(l.GetHeld()),
			Committed: int(l.GetCommitted()), Unavailable: int(l.GetUnavailable()), Version: l.GetVersion(),
		}
	}
	return nil
}

// eventsPackage is the protobuf package of the published events.
const eventsPackage = "stampede.events.v1."
