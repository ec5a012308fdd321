package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/publisher"
	"stampede/events/views"
	"stampede/persistence/commitlog"
	"stampede/persistence/sqlite"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/skupb"
)

var _ events.Source = (*commitlog.Follower)(nil)

// TestTheWholeWayOut: what actors commit to the real commit log on the embedded
// store is on the embedded broker and in the views, over a restart in which
// the first process's readers never ran.
func TestTheWholeWayOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	b, err := broker.Start(broker.Config{Dir: dir + "/kafka", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()

	life := func(first, last int, read bool) {
		store, err := sqlite.Open(ctx, dir+"/store")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		log, err := commitlog.Open(ctx, store, "node", commitlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		if read {
			config := func(name string) events.Config {
				return events.Config{
					Journal: store, Watermarks: store, Epoch: log.Epoch(), Source: log.Follow(name, 0), Ended: commitlog.ErrClosed, Logger: slog.New(slog.DiscardHandler),
				}
			}
			pub, err := publisher.New(publisher.Config{
				Brokers: []string{b.Addr()}, TopicConfig: broker.TopicConfig(), Log: config(publisher.ReaderName), Settled: log.Settled,
				Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			projector, err := views.New(views.Config{
				Views: store, Streams: store, Log: config(views.ReaderName), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range []func(context.Context) error{pub.Run, projector.Run} {
				readers.Go(func() {
					if err := run(ctx); err != nil {
						t.Error(err)
					}
				})
			}
		}
		for seq := first; seq <= last; seq++ {
			var commits sync.WaitGroup
			for sku := range 20 {
				commits.Add(1)
				log.Commit(reservation(t, fmt.Sprintf("SKU-%d", sku), seq), func(err error) {
					if err != nil {
						t.Error(err)
					}
					commits.Done()
				})
			}
			commits.Wait()
		}
		if err := log.Close(ctx); err != nil {
			t.Error(err)
		}
		readers.Wait() // they end with the log, when all of it is done
		if read {
			rows, err := store.GetRows(ctx, "sku", []string{"SKU-0", "SKU-19"})
			if err != nil || rows["SKU-0"].Version != uint64(last) || rows["SKU-19"].Version != uint64(last) {
				t.Errorf("%v, %v", rows, err)
			}
		}
	}
	life(1, 10, false)
	life(11, 30, true)
	life(31, 40, true)

	next := map[string]uint64{}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{b.Addr()}, GroupID: "test", Topic: cloudevents.TopicStock, StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond, CommitInterval: time.Second,
	})
	defer r.Close()
	for n := range 20 * 40 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		key := string(m.Key)
		next[key]++
		for _, h := range m.Headers {
			if want := fmt.Sprintf("%020d", next[key]); h.Key == "ce_sequence" && string(h.Value) != want {
				t.Fatalf("%s: %s, want %s", key, h.Value, want)
			}
		}
	}
}

func reservation(t *testing.T, sku string, seq int) *entity.Record {
	event, err := proto.Marshal(&skupb.Event{
		AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Held: int64(seq)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: fmt.Sprintf("ord_%d", seq), Quantity: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := proto.Marshal(&journalpb.Batch{Entries: []*journalpb.Entry{{Event: event}}})
	if err != nil {
		t.Fatal(err)
	}
	return &entity.Record{Kind: "sku", ID: sku, Seq: uint64(seq), FirstVersion: uint64(seq), LastVersion: uint64(seq), Events: batch}
}
