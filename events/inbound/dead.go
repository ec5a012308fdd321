package inbound

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// The headers that a dead letter has besides those it came with.
const (
	HeaderReason    = "stampede_dead_reason"
	HeaderMessage   = "stampede_dead_message"
	HeaderField     = "stampede_dead_field"
	HeaderPartition = "stampede_dead_partition"
	HeaderOffset    = "stampede_dead_offset"
	// HeaderOmitted is there when the value would have been too large together with these headers.
	HeaderOmitted = "stampede_dead_value_omitted"
)

// bury puts a message into the dead-letter topic, with the reason, and returns
// when the brokers have it. An error: ctx has ended, and it may or may not be
// there; the message comes again.
func (c *Consumer) bury(ctx context.Context, m *kafka.Message, kind string, why *rejection) error {
	letter := letterOf(m, why)
	for attempt := 0; ; attempt++ {
		err := c.dead.WriteMessages(ctx, letter)
		if err == nil {
			c.metrics.refused.WithLabelValues(knownType(kind), why.reason).Inc()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if tooLarge(err) && letter.Value != nil {
			letter.Value = nil
			letter.Headers = append(letter.Headers, kafka.Header{Key: HeaderOmitted, Value: []byte("too-large")})
			continue
		}
		c.metrics.retries.Inc()
		if attempt%sayEvery == 0 {
			c.logger.Warn("a dead letter is tried again until the brokers have it", slog.Int("attempts", attempt+1), slog.Any("error", err))
		}
		if err := pause(ctx, c.backoff(attempt)); err != nil {
			return err
		}
	}
}

func letterOf(m *kafka.Message, why *rejection) kafka.Message {
	letter := kafka.Message{Key: m.Key, Value: m.Value, Time: time.Time{}}
	for _, h := range m.Headers {
		if !strings.HasPrefix(strings.ToLower(h.Key), "stampede_dead_") { // sent again from here: the old reason is no more
			letter.Headers = append(letter.Headers, h)
		}
	}
	add := func(name, value string) {
		letter.Headers = append(letter.Headers, kafka.Header{Key: name, Value: []byte(value)})
	}
	add(HeaderReason, why.reason)
	add(HeaderMessage, why.message)
	if len(why.field) > 0 {
		add(HeaderField, strings.Join(why.field, "."))
	}
	add(HeaderPartition, strconv.Itoa(m.Partition))
	add(HeaderOffset, strconv.FormatInt(m.Offset, 10))
	return letter
}

func tooLarge(err error) bool {
	if _, ok := errors.AsType[kafka.MessageTooLargeError](err); ok {
		return true
	}
	if all, ok := errors.AsType[kafka.WriteErrors](err); ok {
		for _, one := range all {
			if one != nil && tooLarge(one) {
				return true
			}
		}
	}
	return errors.Is(err, kafka.MessageSizeTooLarge)
}

// knownType keeps what anybody may write into a header out of the metrics' names.
func knownType(kind string) string {
	switch kind {
	case AdjustStock, SetStock, MarkUnavailable:
		return kind
	}
	return "other"
}
