package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/events/broker"
	"stampede/persistence"
)

func start(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordsSurviveARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "kafka")
	b := start(t, dir)
	client := func() *kafka.Client {
		return &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: &kafka.Transport{Context: ctx}}
	}

	var entries []kafka.ConfigEntry
	for k, v := range broker.TopicConfig() {
		entries = append(entries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	c := client()
	res, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: entries}}})
	if err != nil || res.Errors["t"] != nil {
		t.Fatal(err, res.Errors)
	}
	if _, err := c.Produce(ctx, &kafka.ProduceRequest{Topic: "t", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes([]byte("v"))})}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = start(t, dir)
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	fetched, err := client().Fetch(ctx, &kafka.FetchRequest{Topic: "t", MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	if err != nil || fetched.Error != nil {
		t.Fatal(err, fetched)
	}
	rec, err := fetched.Records.ReadRecord()
	if err != nil {
		t.Fatal(err)
	}
	value, err := kafka.ReadAll(rec.Value)
	if err != nil || string(value) != "v" {
		t.Errorf("%q, %v", value, err)
	}
}

func TestADirectoryInUseIsRefusedByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kafka")
	b := start(t, dir)
	_, err := broker.Start(broker.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, persistence.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := start(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatClientsCannotReachIsRefused(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:9092", ":9092", "[::]:0", "nonsense"} {
		if b, err := broker.Start(broker.Config{Dir: t.TempDir(), Listen: listen, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%s was taken", listen)
			_ = b.Close()
		}
	}
}
