package publisher_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
	"stampede/internal/testservers"
	"stampede/persistence"
)

// The broker goes away in every way that one can while events are published.
// Nothing is lost or reordered, and what cannot be helped is said.
var (
	kills  = flag.Int("kills", 1, "how often the broker is killed")                   //nolint:gochecknoglobals // a flag of the tests
	paused = flag.Duration("paused", 5*time.Second, "how long the broker hangs")      //nolint:gochecknoglobals // a flag of the tests
	away   = flag.Duration("away", 5*time.Second, "how long the broker is not there") //nolint:gochecknoglobals // a flag of the tests
)

// unlessShort is a count of the tests, or one in the short form.
func unlessShort(n int) int {
	if testing.Short() {
		return min(n, 1)
	}
	return n
}

// TestEmbeddedBrokerGoesAway: an orderly end and a start on the same data.
func TestEmbeddedBrokerGoesAway(t *testing.T) {
	dir := t.TempDir()
	open := func(listen string) *broker.Broker {
		b, err := broker.Start(broker.Config{Dir: dir, Listen: listen, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open("")
	addr := b.Addr()
	s := &brokerSuite{addr: addr, topicConfig: broker.TopicConfig()}
	down := func() {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	up := func() { b = open(addr) }
	t.Run("several times", func(t *testing.T) { s.outage(t, unlessShort(*kills), time.Second, down, up) })
	t.Run("actors move, and a node dies meanwhile", func(t *testing.T) { s.moves(t, down, up) })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// goesAway does with one real broker all that ends well for it.
func goesAway(t *testing.T, k *testservers.KafkaServer) {
	s := &brokerSuite{addr: k.Address()}
	t.Run("paused", func(t *testing.T) { s.outage(t, 1, shorter(*paused), k.Pause, k.Resume) })
	t.Run("actors move, and a node dies meanwhile", func(t *testing.T) { s.moves(t, k.Pause, k.Resume) })
	t.Run("a record too large", s.tooLarge)
	if testing.Short() {
		return // a start of the broker takes longer than all of these
	}
	t.Run("a slow consumer", s.slowConsumer)
	t.Run("a topic deleted", s.topicDeleted)
	t.Run("killed", func(t *testing.T) { s.outage(t, *kills, 0, k.Kill, k.Restart) })
	diskFull(t, k, s)
	t.Run("away", func(t *testing.T) { s.outage(t, 1, *away, k.Stop, k.Restart) })
}

// shorter is a duration of the tests, or two seconds in the short form.
func shorter(d time.Duration) time.Duration {
	if testing.Short() {
		return min(d, 2*time.Second)
	}
	return d
}

// outage publishes while the broker goes away some times, each for a while.
func (s *brokerSuite) outage(t *testing.T, times int, long time.Duration, down, up func()) {
	j := logtest.NewJournal(1)
	shop := logtest.NewShop(j, 21, 10)
	cfg := s.config(t, j, 1)
	cfg.Limits = publisher.Limits{LongestBackoff: 500 * time.Millisecond, RequestTimeout: 5 * time.Second}
	p, err := publisher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within+time.Duration(times)*(long+time.Minute))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	shop.Trade(1, 500)
	if err := p.WaitFor(ctx, 100); err != nil {
		t.Fatal(err)
	}
	for range times {
		shop.Trade(1, 2000)
		down()
		shop.Trade(1, 2000)
		if err := waitUntil(ctx, func() bool { return p.Stats().Pending > 0 }); err != nil {
			t.Error("nothing is pending while the broker is away")
		}
		s.tradeFor(shop, long)
		up()
		shop.Trade(1, 500)
	}
	j.End(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A batch that was stored unanswered may be there again.
	s.check(t, cfg, j.Records(1), 2+times)
}

// tradeFor goes on selling.
func (s *brokerSuite) tradeFor(shop *logtest.Shop, long time.Duration) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for begun := time.Now(); time.Since(begun) < long; {
		<-ticker.C
		shop.Trade(1, 10)
	}
}

// moves: two nodes write the same streams in turns while the broker is away.
// One of them dies without having published or marked what it wrote; the other
// adopts its log.
func (s *brokerSuite) moves(t *testing.T, down, up func()) {
	j := logtest.NewJournal(2)
	var dead atomic.Bool
	j.OnSave = func(_ string, epoch entity.Epoch, _ uint64) error {
		if epoch == 1 && dead.Load() {
			return errors.New("dead")
		}
		return nil
	}
	shop := logtest.NewShop(j, 23, 6)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var gone gone
	limits := publisher.Limits{LongestBackoff: 200 * time.Millisecond, RequestTimeout: 2 * time.Second, DrainTimeout: time.Millisecond}
	one, two := s.config(t, j, 1), s.config(t, j, 2)
	two.Source = one.Source
	one.Limits, two.Limits = limits, limits
	one.Log.Quiet, two.Log.Quiet = time.Second, time.Second
	one.Log.Cluster, two.Log.Cluster = nobody{}, &gone
	first, stopFirst := context.WithCancel(ctx)
	second, stopSecond := context.WithCancel(ctx)
	p1, err1 := publisher.New(one)
	p2, err2 := publisher.New(two)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	done1, done2 := make(chan error, 1), make(chan error, 1)
	go func() { done1 <- p1.Run(first) }()
	go func() { done2 <- p2.Run(second) }()
	shop.Trade(1, 200)
	shop.Trade(2, 200)
	if err := errors.Join(p1.WaitFor(ctx, 100), p2.WaitFor(ctx, 100)); err != nil {
		t.Fatal(err)
	}
	down()
	for range 20 {
		shop.Trade(1, 20)
		shop.Trade(2, 20)
	}
	if err := waitUntil(ctx, func() bool { return p1.Stats().Pending > 0 && p2.Stats().Pending > 0 }); err != nil {
		t.Error("nothing is pending while the broker is away")
	}
	dead.Store(true)
	stopFirst()
	if err := <-done1; err == nil {
		t.Error("the dead node had published everything")
	}
	shop.Trade(2, 100)
	up()
	dead.Store(false) // its successor marks its log
	gone.Store(true)
	shop.Trade(2, 100)
	all1, all2 := j.Records(1), j.Records(2)
	if err := p2.WaitFor(ctx, all2[len(all2)-1].Position); err != nil {
		t.Fatal(err)
	}
	if err := waitUntil(ctx, func() bool { return marked(t, j, 1) >= all1[len(all1)-1].Position }); err != nil {
		t.Error("the log of the dead node is not published")
	}
	// What has settled is when nothing but the present log is worked on.
	if err := waitUntil(ctx, func() bool { return p2.Stats() == publisher.Stats{} }); err != nil {
		t.Errorf("left over: %+v", p2.Stats())
	}
	stopSecond()
	if err := <-done2; err != nil {
		t.Error(err)
	}
	// Each move while nothing can be published repeats the tail: how often is not bounded.
	s.check(t, two, append(all1, j.Records(2)...), 0)
}

// nobody adopts nothing; gone adopts the first log once it is set.
type nobody struct{}

func (nobody) Orphans([]persistence.EpochInfo) []entity.Epoch { return nil }

type gone struct{ atomic.Bool }

func (g *gone) Orphans(known []persistence.EpochInfo) []entity.Epoch {
	for _, e := range known {
		if e.Epoch == 1 && g.Load() {
			return []entity.Epoch{1}
		}
	}
	return nil
}

// marked is how far an incarnation's log is marked as published, all topics.
func marked(t *testing.T, j *logtest.Journal, epoch entity.Epoch) uint64 {
	t.Helper()
	least := events.Finished
	for _, kind := range []string{"order", "sku", "account"} {
		marks, err := j.Watermarks(t.Context(), publisher.GroupName(kind))
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, marks[epoch])
	}
	return least
}
