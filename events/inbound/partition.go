package inbound

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	fetchBytes   = 1 << 20
	fetchMaxWait = 500 * time.Millisecond
)

// committer commits offsets as a member of the group: refused when the
// partition is another member's by now.
type committer interface {
	CommitOffsets(offsets map[string]map[int]int64) error
}

// work takes the commands of one partition, in batches, until ctx ends or the
// group is to be joined anew.
func (c *Consumer) work(ctx context.Context, group committer, a kafka.PartitionAssignment) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.cfg.Brokers, Dialer: c.dialer, Topic: TopicCommands, Partition: a.ID, MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchMaxWait,
		QueueCapacity: c.cfg.Limits.Batch, ReadLagInterval: -1, ReadBackoffMin: c.cfg.Limits.FirstBackoff, ReadBackoffMax: c.cfg.Limits.LongestBackoff,
	})
	defer func() {
		if err := reader.Close(); err != nil {
			c.logger.Warn("a partition's reader did not close", slog.Int("partition", a.ID), slog.Any("error", err))
		}
	}()
	if err := reader.SetOffset(a.Offset); err != nil {
		c.logger.Error("a partition cannot be read", slog.Int("partition", a.ID), slog.Any("error", err))
		return
	}
	arrived := make(chan kafka.Message, c.cfg.Limits.Batch)
	go c.fetch(ctx, reader, arrived)
	next := a.Offset
	for {
		batch, ok := gather(arrived, c.cfg.Limits.Batch)
		if !ok {
			return
		}
		if first := batch[0].Offset; next > 0 && first > next {
			// A transaction's marker takes an offset, too; retention that was too short takes many.
			c.metrics.skipped.Add(float64(first - next))
			c.logger.Warn("offsets are missing: if no transactions are used, commands were deleted before they were taken",
				slog.Int("partition", a.ID), slog.Int64("from", next), slog.Int64("to", first))
		}
		if err := c.do(ctx, batch); err != nil {
			return // ctx has ended: whoever has the partition next begins with this batch
		}
		last := batch[len(batch)-1]
		next = last.Offset + 1
		if err := c.commit(ctx, group, a.ID, next); err != nil {
			c.logger.Info("offsets cannot be committed; the group is joined anew", slog.Int("partition", a.ID), slog.Any("error", err))
			return
		}
		c.metrics.lag.WithLabelValues(strconv.Itoa(a.ID)).Set(float64(max(0, last.HighWaterMark-next)))
	}
}

// fetch hands on what the partition has, until ctx ends. Its reader tries again
// by itself whatever the brokers do.
func (c *Consumer) fetch(ctx context.Context, reader *kafka.Reader, arrived chan<- kafka.Message) {
	defer close(arrived)
	for attempt := 0; ; {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if attempt%sayEvery == 0 {
				c.logger.Warn("a partition cannot be read now", slog.Int("partition", reader.Config().Partition), slog.Any("error", err))
			}
			if pause(ctx, c.backoff(attempt)) != nil {
				return
			}
			attempt++
			continue
		}
		attempt = 0
		select {
		case arrived <- m:
		case <-ctx.Done():
			return
		}
	}
}

// gather waits for a message and takes what else is there; false at the end.
func gather(arrived <-chan kafka.Message, limit int) ([]kafka.Message, bool) {
	first, ok := <-arrived
	if !ok {
		return nil, false
	}
	batch := append(make([]kafka.Message, 0, limit), first)
	for len(batch) < limit {
		select {
		case m, ok := <-arrived:
			if !ok {
				return batch, true
			}
			batch = append(batch, m)
		default:
			return batch, true
		}
	}
	return batch, true
}

// do has everything of a batch done: those of one SKU one after the other,
// SKUs at the same time. Nil: each is durable, or is in the dead-letter topic.
func (c *Consumer) do(ctx context.Context, batch []kafka.Message) error {
	type line struct {
		commands []command
		messages []*kafka.Message
	}
	var lines []*line
	bySKU := map[string]*line{}
	for i := range batch {
		cmd, bad := parse(&batch[i])
		if bad != nil {
			if err := c.bury(ctx, &batch[i], cmd.kind, bad); err != nil {
				return err
			}
			continue
		}
		l := bySKU[cmd.sku]
		if l == nil {
			l = &line{}
			bySKU[cmd.sku] = l
			lines = append(lines, l)
		}
		l.commands, l.messages = append(l.commands, cmd), append(l.messages, &batch[i])
	}
	each(lines, func(l *line) {
		for i, cmd := range l.commands {
			refused, err := c.call(ctx, cmd)
			if err == nil && refused != nil {
				err = c.bury(ctx, l.messages[i], cmd.kind, refused)
			} else if err == nil {
				c.metrics.handled.WithLabelValues(cmd.kind).Inc()
			}
			if err != nil {
				return // ctx has ended
			}
		}
	})
	return ctx.Err()
}

// maxCommits is how often a commit is tried before the group is joined anew.
const maxCommits = 5

// commit tells the group how far the partition is done.
func (c *Consumer) commit(ctx context.Context, group committer, partition int, next int64) (err error) {
	for attempt := range maxCommits {
		err = group.CommitOffsets(map[string]map[int]int64{TopicCommands: {partition: next}})
		if err == nil {
			return nil
		}
		kind, ok := errors.AsType[kafka.Error](err)
		if ok && !kind.Temporary() {
			return err // the partition is another member's
		}
		if stop := pause(ctx, c.backoff(attempt)); stop != nil {
			return stop
		}
	}
	return err
}
