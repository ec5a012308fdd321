package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
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

	newest := make([]*journalpb.Place, 20) // of each SKU, as its actor would know it
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
			config := events.Config{Journal: store, Watermarks: store, Epoch: log.Epoch(), Ended: commitlog.ErrClosed, Logger: slog.New(slog.DiscardHandler)}
			pub, err := publisher.New(publisher.Config{
				Brokers: []string{b.Addr()}, TopicConfig: broker.TopicConfig(), Log: config, Settled: log.Settled,
				Follow: func(name string) events.Source { return log.Follow(name, 0) }, Streams: store,
				Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			config.Source = log.Follow(views.ReaderName, 0)
			projector, err := views.New(views.Config{
				Views: store, Streams: store, Log: config, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
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
				var follows *journalpb.Place
				if seq == first {
					follows = newest[sku]
				}
				rec := reservation(t, fmt.Sprintf("SKU-%d", sku), seq, follows)
				log.Commit(rec, func(err error) {
					if err != nil {
						t.Error(err)
					}
					newest[sku] = &journalpb.Place{Epoch: uint32(rec.Epoch), Position: rec.Position}
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
	for n := 0; n < 20*40; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		key := string(m.Key)
		for _, h := range m.Headers {
			if h.Key != "ce_sequence" {
				continue
			}
			seq, err := strconv.ParseUint(string(h.Value), 10, 64)
			if err != nil || seq > next[key]+1 {
				t.Fatalf("%s: %s after %d", key, h.Value, next[key])
			}
			if seq == next[key]+1 { // else a repeat
				next[key]++
				n++
			}
		}
	}
}

func reservation(t *testing.T, sku string, seq int, follows *journalpb.Place) *entity.Record {
	event, err := proto.Marshal(&skupb.Event{
		AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Held: int64(seq)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: fmt.Sprintf("ord_%d", seq), Quantity: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := proto.Marshal(&journalpb.Batch{Entries: []*journalpb.Entry{{Event: event}}, Follows: follows})
	if err != nil {
		t.Fatal(err)
	}
	return &entity.Record{Kind: "sku", ID: sku, Seq: uint64(seq), FirstVersion: uint64(seq), LastVersion: uint64(seq), Events: batch}
}
