package sale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"stampede/cmd/stampede/internal/proof"
)

// ReadEvents reads the topics as Sale.ReadEvents does, with all that they say of
// orders, stock and the sale.
func (t *Trade) ReadEvents(ctx context.Context, brokers []string) error {
	topics := []string{proof.OrdersTopic, proof.StockTopic}
	if t.history.Sale != nil {
		topics = append(topics, proof.SalesTopic)
	}
	c := newConsumer(brokers, "stampede-demo-"+t.config.Run, topics)
	c.decode = decodeFacts
	defer c.close()
	waiting := t.expectedVersions()
	take := func(e proof.Event) { t.history.Events = append(t.history.Events, e) }
	patient, cancel := context.WithTimeout(ctx, eventsPatience)
	defer cancel()
	err := c.read(patient, func(e proof.Event) bool {
		take(e)
		name := [2]string{e.Topic, e.Key}
		if version, ok := waiting[name]; ok && e.Sequence >= version {
			delete(waiting, name)
		}
		return len(waiting) == 0
	})
	if err == nil {
		err = c.readToEnd(patient, take)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil // the proof says what is missing
	}
	return err
}

// expectedVersions are what each stream must have come to, by topic and key.
func (t *Trade) expectedVersions() map[[2]string]int64 {
	waiting := map[[2]string]int64{}
	for id := range t.history.Final {
		waiting[[2]string{proof.OrdersTopic, id}] = t.history.Final[id].Version
	}
	for sku, level := range t.history.Levels {
		waiting[[2]string{proof.StockTopic, sku}] = level.Version
	}
	if s := t.history.Sale; s != nil {
		waiting[[2]string{proof.SalesTopic, s.ID}] = s.Final.Version
	}
	return waiting
}

// decodeFacts reads a CloudEvent in binary mode with its data; of protobuf, in
// the form that protobuf gives it in JSON.
func decodeFacts(m kafka.Message) (proof.Event, error) {
	e, format, err := decodeHeaders(m)
	if err != nil {
		return e, err
	}
	data := m.Value
	if format == "application/protobuf" {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(eventsPackage + e.Type))
		if err != nil {
			return e, fmt.Errorf("type of %s: %w", e.ID, err)
		}
		message := kind.New().Interface()
		if err := proto.Unmarshal(data, message); err != nil {
			return e, fmt.Errorf("data of %s: %w", e.ID, err)
		}
		if data, err = protojson.Marshal(message); err != nil {
			return e, fmt.Errorf("data of %s: %w", e.ID, err)
		}
	}
	e.Facts = &proof.Facts{}
	if err := json.Unmarshal(data, e.Facts); err != nil {
		return e, fmt.Errorf("data of %s: %w", e.ID, err)
	}
	e.OrderID = e.Facts.OrderID
	return e, nil
}
