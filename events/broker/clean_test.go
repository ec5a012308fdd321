package broker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/events/broker"
)

// shortening is the file that says that topics are being shortened.
const shortening = "shortening"

func startLogging(t *testing.T, dir string) (b *broker.Broker, logged *bytes.Buffer) {
	t.Helper()
	logged = &bytes.Buffer{}
	b, err := broker.Start(broker.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return b, logged
}

// A compacted topic is shortened when files can grow and it has grown, and not
// before: what cannot be written again must not be removed.
func TestTopicsAreShortenedWhereThereIsRoom(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	b, logged := startLogging(t, dir)
	c := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: &kafka.Transport{Context: ctx}}
	res, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: "t", NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}},
	}}})
	if err != nil || res.Errors["t"] != nil {
		t.Fatal(err, res.Errors)
	}
	const each = 64 << 10
	write := func(times int) {
		t.Helper()
		for range times {
			value := make([]byte, each)
			rand.Read(value)
			res, err := c.Produce(ctx, &kafka.ProduceRequest{Topic: "t", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(
				kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes(value)})})
			if err != nil || res.Error != nil {
				t.Fatal(err, res)
			}
		}
	}
	kept := func() int64 {
		t.Helper()
		res, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"t": {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Topics["t"][0].LastOffset - res.Topics["t"][0].FirstOffset
	}
	write(10)
	b.Clean()
	if n := kept(); n != 10 {
		t.Errorf("%d messages of 10: shortened for little", n)
	}
	write(30)
	if err := os.MkdirAll(filepath.Join(dir, shortening, "in the way"), 0o750); err != nil {
		t.Fatal(err)
	}
	b.Clean()
	if n := kept(); n != 40 || !strings.Contains(logged.String(), "no room: topics are not shortened") {
		t.Errorf("%d messages of 40 without room; it said %s", n, logged)
	}
	if err := os.RemoveAll(filepath.Join(dir, shortening)); err != nil {
		t.Fatal(err)
	}
	b.Clean()
	if n := kept(); n > 2 || n == 0 {
		t.Errorf("%d messages of one key", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, shortening)); !os.IsNotExist(err) {
		t.Errorf("it still says that topics are being shortened: %v", err)
	}
}

// Whoever was killed in the middle of shortening may have lost something, which
// the next one says, once.
func TestKilledWhileShorteningIsSaid(t *testing.T) {
	dir := t.TempDir()
	b, _ := startLogging(t, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, shortening), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for start, said := range []bool{true, false} {
		b, logged := startLogging(t, dir)
		if got := strings.Contains(logged.String(), "stampede events replay"); got != said {
			t.Errorf("start %d said %q", start, logged)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
