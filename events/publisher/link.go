package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"stampede/events/cloudevents"
)

// link is the way to the brokers.
type link interface {
	// topics makes the topics that are absent.
	topics(ctx context.Context) (topicsFound, error)
	// leaders returns the broker that leads each partition of each topic; -1: none.
	leaders(ctx context.Context) (map[string][]int, error)
	// newSession asks for a producer id.
	newSession(ctx context.Context) (session, error)
	// produce sends batches to the broker that leads their partitions and
	// returns what became of each. An error is of all of them.
	produce(ctx context.Context, leader int, batches []outgoing) ([]error, error)
	close()
}

// topicsFound is what there is of the topics.
type topicsFound struct {
	// partitions is how many each has.
	partitions map[string]int
	// made are those that were absent, faults what is wrong with the others.
	made, faults []string
}

// outgoing is an encoded batch and where it goes.
type outgoing struct {
	topic     string
	partition int32
	raw       []byte
}

// kafkaLink is a link over kafka-go's transport, one for everything: topics
// that it makes are known at once to what it sends.
type kafkaLink struct {
	client    *kafka.Client
	transport kafka.RoundTripper
	idle      interface{ CloseIdleConnections() }
	names     []string
	cfg       *Config
}

const (
	acksAll = -1
	// metadataEvery bounds how long a change of leaders goes unnoticed.
	metadataEvery = 2 * time.Second
	dialTimeout   = 5 * time.Second
)

func newKafkaLink(cfg *Config) (*kafkaLink, error) {
	mechanism, err := cfg.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range cloudevents.Topics() {
		names = append(names, t.Name)
	}
	clientID := cfg.ClientID
	if clientID == "" {
		clientID = "stampede"
	}
	transport := &kafka.Transport{
		ClientID:       clientID,
		DialTimeout:    dialTimeout,
		MetadataTTL:    metadataEvery,
		MetadataTopics: names,
		TLS:            cfg.TLS,
		SASL:           mechanism,
	}
	return &kafkaLink{
		client:    &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport},
		transport: transport, idle: transport, names: names, cfg: cfg,
	}, nil
}

func (l *kafkaLink) close() { l.idle.CloseIdleConnections() }

func (l *kafkaLink) leaders(ctx context.Context) (map[string][]int, error) {
	meta, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: l.names})
	if err != nil {
		return nil, err
	}
	out := make(map[string][]int, len(meta.Topics))
	for _, t := range meta.Topics {
		leaders := make([]int, len(t.Partitions))
		for _, p := range t.Partitions {
			if p.ID >= len(leaders) {
				return nil, fmt.Errorf("topic %s: partition %d of %d", t.Name, p.ID, len(leaders))
			}
			leaders[p.ID] = p.Leader.ID
			if p.Leader.Host == "" {
				leaders[p.ID] = -1
			}
		}
		out[t.Name] = leaders
	}
	return out, nil
}

func (l *kafkaLink) newSession(ctx context.Context) (session, error) {
	res, err := l.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return session{}, err
	}
	if res.Error != nil {
		return session{}, res.Error
	}
	return session{id: int64(res.Producer.ProducerID), epoch: int16(res.Producer.ProducerEpoch)}, nil //nolint:gosec // it came as one
}

// produce goes past kafka.Client.RawProduce, which takes one partition a
// request.
func (l *kafkaLink) produce(ctx context.Context, _ int, batches []outgoing) ([]error, error) {
	req := &rawproduce.Request{Acks: acksAll, Timeout: int32(l.cfg.Limits.RequestTimeout.Milliseconds())} //nolint:gosec // validated
	for _, b := range batches {
		part := rawproduce.RequestPartition{
			Partition: b.partition, RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(b.raw)},
		}
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == b.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, part)
			continue
		}
		req.Topics = append(req.Topics, rawproduce.RequestTopic{Topic: b.topic, Partitions: []rawproduce.RequestPartition{part}})
	}
	res, err := l.transport.RoundTrip(ctx, l.client.Addr, req)
	if err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	answer, ok := res.(*produce.Response)
	if !ok {
		return nil, fmt.Errorf("produce: answer is a %T", res)
	}
	return outcomes(answer, batches), nil
}

// errUnanswered: the broker's answer says nothing of a batch.
var errUnanswered = errors.New("broker did not answer for the partition")

func outcomes(answer *produce.Response, batches []outgoing) []error {
	type key struct {
		topic     string
		partition int32
	}
	codes := make(map[key]int16, len(batches))
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			codes[key{t.Topic, p.Partition}] = p.ErrorCode
		}
	}
	out := make([]error, len(batches))
	for i, b := range batches {
		code, ok := codes[key{b.topic, b.partition}]
		switch {
		case !ok:
			out[i] = errUnanswered
		case code != 0:
			out[i] = kafka.Error(code)
		}
	}
	return out
}
