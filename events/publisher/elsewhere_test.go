package publisher

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
)

// TestTheClustersOutbox: a node that has published everything tells what one
// that cannot has left, while it lives and when it is gone, until its log is
// adopted; and nothing twice.
func TestTheClustersOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(2), newFakeLink(t)
		var storeAway atomic.Bool
		j.OnRead = func() error {
			if storeAway.Load() {
				return errors.New("store away")
			}
			return nil
		}
		shop := logtest.NewShop(j, 8, 4)
		one, two := startNode(t, j, l, 1), startNode(t, j, l, 2)
		shop.Trade(1, 200)
		time.Sleep(5 * time.Second)
		published := len(j.Records(1))
		one.away.Store(true)
		shop.Trade(1, 300)
		time.Sleep(5 * time.Second)
		want := map[string]uint64{}
		for _, m := range wanted(t, j.Records(1)[published:]) {
			if m.Topic != cloudevents.TopicStockLevels {
				want[m.Topic]++
			}
		}
		expect := func(when string, pending map[string]uint64, oldest bool) {
			t.Helper()
			time.Sleep(elsewhereFor)
			topics, err := two.p.ClusterOutbox(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range topics {
				if s.Pending != pending[s.Topic] || (s.Oldest >= 5*time.Second) != (oldest && s.Pending > 0) {
					t.Errorf("%s: %s: pending %d, oldest %v, want %d", when, s.Topic, s.Pending, s.Oldest, pending[s.Topic])
				}
			}
		}
		expect("one is cut off", want, true)
		if want[cloudevents.TopicOrders] == 0 || want[cloudevents.TopicStock] == 0 {
			t.Errorf("nothing was there to count: %v", want)
		}
		storeAway.Store(true)
		time.Sleep(elsewhereFor)
		if topics, err := two.p.ClusterOutbox(t.Context()); err == nil {
			t.Errorf("the store is away, and the answer is %v", topics)
		}
		storeAway.Store(false)
		one.stop()
		if err := <-one.done; err == nil {
			t.Error("one had published everything")
		}
		expect("one is gone", want, true)
		two.away.Store(true)
		two.logs.adopt(1)
		time.Sleep(5 * time.Second)
		topics, err := two.p.ClusterOutbox(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range topics {
			if s.Topic == cloudevents.TopicOrders && s.Pending != want[s.Topic] {
				t.Errorf("adopted: %d orders' events pending, want %d", s.Pending, want[s.Topic])
			}
		}
		two.away.Store(false)
		time.Sleep(20 * time.Second)
		expect("all is published", nil, false)

		two.stop()
		if err := <-two.done; err != nil {
			t.Error(err)
		}
	})
}
