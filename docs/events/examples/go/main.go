// A consumer to copy: it keeps a replica of a shop's stock in a SQLite file and
// counts the units that were sold, each exactly once, whatever is published
// again and however often this program is killed.
//
//	go run ./docs/events/examples/go -brokers 127.0.0.1:9092 -database replica.db
//
// How that comes about:
//
//   - The position of each partition is in the database, and moves in the same
//     transaction as what the event did. The offsets in Kafka are only for those
//     who watch the consumer's lag.
//   - An event that was seen is known by its sequence: of each SKU the highest
//     one that was taken is kept, and what is not above it is a repeat.
//   - A consumer group shares the partitions among the processes. Who has lost a
//     partition and does not know it yet finds that the position has moved, and
//     its transaction fails.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

const topic = "stampede.stock.v1"

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "host:port of brokers, with commas")
	group := flag.String("group", "stock-replica", "the consumer group")
	database := flag.String("database", "replica.db", "the SQLite file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, logger, strings.Split(*brokers, ","), *group, *database); err != nil {
		logger.Error("the replica has ended", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context, logger *slog.Logger, brokers []string, group, database string) error {
	db, err := open(ctx, database)
	if err != nil {
		return err
	}
	defer db.Close()
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: brokers, Topics: []string{topic},
		HeartbeatInterval: time.Second, SessionTimeout: 6 * time.Second, RebalanceTimeout: 6 * time.Second,
	})
	if err != nil {
		return err
	}
	defer members.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	for {
		generation, err := members.Next(ctx)
		if ctx.Err() != nil {
			return ended(context.Cause(ctx))
		}
		if err != nil { // the brokers are away: the group tries again by itself
			logger.Warn("no part in the group yet", slog.Any("error", err))
			continue
		}
		for _, assigned := range generation.Assignments[topic] {
			generation.Start(func(ctx context.Context) {
				err := follow(ctx, db, brokers, assigned.ID, generation)
				if ctx.Err() == nil && !errors.Is(err, errMoved) {
					fail(fmt.Errorf("partition %d: %w", assigned.ID, err))
				}
			})
		}
	}
}

// ended is nil where a signal was the cause.
func ended(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

// follow takes the events of a partition, from the position in the database,
// until the group gives the partition to somebody or ctx ends.
func follow(ctx context.Context, db *sql.DB, brokers []string, partition int, generation *kafka.Generation) error {
	next, err := position(ctx, db, partition)
	if err != nil {
		return err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, Partition: partition, MaxWait: 250 * time.Millisecond})
	defer reader.Close()
	if err := reader.SetOffset(next); err != nil { // kafka.FirstOffset at first
		return err
	}
	var told time.Time
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if err := take(ctx, db, &message); err != nil {
			return err
		}
		if time.Since(told) > time.Second { // an error costs nothing: nobody starts from there
			_ = generation.CommitOffsets(map[string]map[int]int64{topic: {partition: message.Offset + 1}})
			told = time.Now()
		}
	}
}

// errMoved: another process has the partition by now.
var errMoved = errors.New("the position is not where it was left")
