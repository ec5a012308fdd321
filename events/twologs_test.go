package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/publisher"
	"stampede/internal/memstore"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	"stampede/proto/gen/journalpb"
)

// adopter adopts one log once it is told to.
type adopter struct {
	epoch entity.Epoch
	gone  atomic.Bool
}

// Orphans implements events.Cluster.
func (a *adopter) Orphans(known []persistence.EpochInfo) []entity.Epoch {
	for _, e := range known {
		if e.Epoch == a.epoch && a.gone.Load() {
			return []entity.Epoch{a.epoch}
		}
	}
	return nil
}

// TestTwoLogsOfOneStore: two commit logs write the same streams to one store at
// once, each with a publisher. One publisher ends in the middle of it, its log
// writes on for a while, and the other's adopts it. The broker has everything,
// in order, and the newest levels last.
func TestTwoLogsOfOneStore(t *testing.T) {
	const skus, each = 12, 60
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b, err := broker.Start(broker.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	disk := memstore.NewDisk()
	var logs [2]*commitlog.Log
	var publishers [2]*publisher.Publisher
	adopters := [2]*adopter{{}, {}}
	for i := range logs {
		store := disk.Open()
		if logs[i], err = commitlog.Open(ctx, store, fmt.Sprintf("node-%d", i), commitlog.Options{}); err != nil {
			t.Fatal(err)
		}
		publishers[i], err = publisher.New(publisher.Config{
			Brokers: []string{b.Addr()}, TopicConfig: broker.TopicConfig(), Settled: logs[i].Settled,
			Log: events.Config{
				Journal: store, Watermarks: store, Epoch: logs[i].Epoch(), Ended: commitlog.ErrClosed,
				Cluster: adopters[i], Quiet: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
			},
			Follow: func(name string) events.Source { return logs[i].Follow(name, 0) }, Streams: store,
			Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Limits: publisher.Limits{DrainTimeout: time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	adopters[1].epoch = logs[0].Epoch()
	running, end := context.WithCancel(ctx)
	defer end()
	dying, die := context.WithCancel(ctx)
	defer die()
	var done [2]chan error
	for i, ctx := range []context.Context{dying, running} {
		done[i] = make(chan error, 1)
		go func() { done[i] <- publishers[i].Run(ctx) }()
	}

	// In the second half the actors of the one that is about to die move, one after the other.
	var committed atomic.Int64
	var trading sync.WaitGroup
	for sku := range skus {
		r := rand.New(rand.NewPCG(uint64(sku), 7))
		trading.Go(func() {
			var newest *journalpb.Place
			for seq := 1; seq <= each; seq++ {
				log := logs[1]
				if seq < each*3/4 {
					log = logs[r.IntN(2)]
				}
				follows := newest
				if newest.GetEpoch() == uint32(log.Epoch()) {
					follows = nil
				}
				rec := reservation(t, fmt.Sprintf("SKU-%d", sku), seq, follows)
				durable := make(chan error, 1)
				log.Commit(rec, func(err error) { durable <- err })
				if err := <-durable; err != nil {
					t.Error(err)
					return
				}
				newest = &journalpb.Place{Epoch: uint32(rec.Epoch), Position: rec.Position}
				if committed.Add(1) == skus*each/2 {
					die()
				}
			}
		})
	}
	trading.Wait()
	if err := <-done[0]; err != nil {
		t.Log("the first has left something to do:", err)
	}
	if err := logs[0].Close(ctx); err != nil {
		t.Error(err)
	}
	adopters[1].gone.Store(true)
	store := disk.Open()
	waitForMark(ctx, t, store, logs[0].Epoch(), events.Finished)
	waitForMark(ctx, t, store, logs[1].Epoch(), logs[1].Settled())
	end()
	if err := <-done[1]; err != nil {
		t.Error(err)
	}
	if err := logs[1].Close(ctx); err != nil {
		t.Error(err)
	}

	checker := eventcheck.New(cloudevents.NewMapper(cloudevents.JSON, ""))
	for sku := range skus {
		for rec, err := range store.ReadStream(ctx, fmt.Sprintf("sku/SKU-%d", sku), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if err := checker.Expect(rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := checker.Expected(); n != skus*each {
		t.Errorf("%d events are in the journal, want %d", n, skus*each)
	}
	if err := checker.Topics(ctx, b.Addr(), ""); err != nil {
		t.Fatal(err)
	}
	for _, fault := range checker.Done() {
		t.Error(fault)
	}
}

// waitForMark waits until a log of stock is marked as published up to a position.
func waitForMark(ctx context.Context, t *testing.T, store persistence.Watermarks, epoch entity.Epoch, position uint64) {
	t.Helper()
	for {
		marks, err := store.Watermarks(ctx, publisher.GroupName("sku"))
		if err != nil {
			t.Fatal(err)
		}
		if marks[epoch] >= position {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond): // there is nothing to be told by
		case <-ctx.Done():
			t.Fatalf("epoch %d is marked %d of %d", epoch, marks[epoch], position)
		}
	}
}
