package eventcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"stampede/events/cloudevents"
)

const (
	// atOnce bounds the partitions that are read at once.
	atOnce = 8
	// fetchBytes bounds what is asked for at once; a larger batch is handed out
	// all the same.
	fetchBytes = 4 << 20
)

// Topics consumes all topics as they are now.
func (c *Checker) Topics(ctx context.Context, broker, source string) error {
	for _, t := range cloudevents.Topics() {
		messages, err := Read(ctx, broker, t.Name, source)
		if err != nil {
			return err
		}
		for i := range messages {
			c.Consume(messages[i])
		}
	}
	return nil
}

// Read returns what a topic holds now in order of partition and offset; with a
// source only what was published under it (the beginning of ce_source).
func Read(ctx context.Context, broker, topic, source string) ([]Message, error) {
	partitions, err := kafka.LookupPartitions(ctx, "tcp", broker, topic)
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	parts := make([][]Message, len(partitions))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	for i := range parts {
		work.Go(func() error {
			var err error
			parts[i], err = readPartition(ctx, broker, topic, i, len(parts), source)
			if err != nil {
				return fmt.Errorf("read %s/%d: %w", topic, i, err)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

// Consumed is a message as kafka-go gives it, of a topic with so many partitions.
func Consumed(m kafka.Message, partitions int) Message {
	out := Message{Topic: m.Topic, Partition: m.Partition, Partitions: partitions, Key: string(m.Key), Value: m.Value}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, cloudevents.Header{Key: h.Key, Value: string(h.Value)})
	}
	return out
}

func readPartition(ctx context.Context, broker, topic string, partition, partitions int, source string) (out []Message, err error) {
	conn, err := kafka.DialLeader(ctx, "tcp", broker, topic, partition)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	at, end, err := conn.ReadOffsets()
	for err == nil && at < end {
		at, err = readBatch(conn, at, func(m *kafka.Message) {
			m.Topic, m.Partition = topic, partition
			read := Consumed(*m, partitions)
			if strings.HasPrefix(read.Header("ce_source"), source) {
				out = append(out, read)
			}
		})
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	return out, err
}

// readBatch reads what comes from an offset on at once, and returns the offset
// behind it.
func readBatch(conn *kafka.Conn, at int64, each func(*kafka.Message)) (int64, error) {
	if _, err := conn.Seek(at, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		return at, err
	}
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: fetchBytes, MaxWait: 100 * time.Millisecond})
	for {
		m, err := batch.ReadMessage()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrShortBuffer) && !errors.Is(err, kafka.RequestTimedOut) {
				return at, errors.Join(err, batch.Close())
			}
			if err := batch.Close(); err != nil && !errors.Is(err, io.ErrShortBuffer) && !errors.Is(err, kafka.RequestTimedOut) {
				return at, err
			}
			return at, nil
		}
		each(&m)
		at = m.Offset + 1
	}
}
