package publisher

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// reserved is an event that leaves so many units held.
func reserved(held int) *skupb.Event {
	return &skupb.Event{AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Held: int64(held)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}}
}

// TestALateLevelIsNotTheLast: a node that was cut off sends the level of a SKU
// that has long been another's, who has died since and is long forgotten. No
// other node is left that knows of it.
func TestALateLevelIsNotTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		one, two := startNode(t, j, l, 1), startNode(t, j, l, 2)
		one.away.Store(true)
		j.Append(1, "sku", "A", reserved(1))
		j.Append(2, "sku", "A", reserved(2))
		time.Sleep(5 * time.Second)
		two.kill(t)
		three := startNode(t, j, l, 3)
		three.logs.adopt(2)
		time.Sleep(5 * time.Minute)
		three.kill(t)
		one.away.Store(false)
		time.Sleep(5 * time.Second)
		checkPublished(t, l, allRecords(j))
		if got := watermark(t, j, 1); got != 1 {
			t.Errorf("its log is marked %d", got)
		}
		finish(t, one)
	})
}

// TestALevelOfASKUThatIsTraded all the time by another node is never the newest
// when it is looked at. It is sure all the same, or its node could not leave.
func TestALevelOfASKUThatIsTraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		one, two := startNode(t, j, l, 1), startNode(t, j, l, 2)
		one.away.Store(true)
		j.Append(1, "sku", "A", reserved(1))
		trade := func(seconds int) {
			for i := range seconds * 100 {
				j.Append(2, "sku", "A", reserved(2+i))
				time.Sleep(10 * time.Millisecond)
			}
		}
		trade(1)
		one.away.Store(false)
		trade(5)
		if got := watermark(t, j, 1); got != 1 {
			t.Errorf("while the SKU is traded the log is marked %d", got)
		}
		finish(t, one)
		time.Sleep(5 * time.Second)
		checkPublished(t, l, allRecords(j))
		finish(t, two)
	})
}

// TestALateSenderThatDies before it has looked leaves its log unmarked, and who
// adopts that makes good for it.
func TestALateSenderThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		one, two := startNode(t, j, l, 1), startNode(t, j, l, 2)
		one.away.Store(true)
		j.Append(1, "sku", "A", reserved(1))
		j.Append(2, "sku", "A", reserved(2))
		time.Sleep(5 * time.Second)
		one.blind.Store(true)
		one.away.Store(false)
		time.Sleep(5 * time.Second)
		if got := watermark(t, j, 1); got != 0 {
			t.Errorf("its log is marked %d, and nobody has looked", got)
		}
		one.kill(t)
		if faults := faultsOf(t, l, allRecords(j)); len(faults) == 0 {
			t.Fatal("the old level is not the last: this shows nothing")
		}
		three := startNode(t, j, l, 3)
		three.logs.adopt(1)
		time.Sleep(5 * time.Second)
		checkPublished(t, l, allRecords(j))
		finish(t, two, three)
	})
}

// TestALevelThatWasOnItsWay to the broker when its node died is stored after
// the adopter's: that one comes a second time.
func TestALevelThatWasOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		one, two := startSlowNode(t, j, l, 1, func() time.Duration { return 900 * time.Millisecond }), startNode(t, j, l, 2)
		j.Append(1, "sku", "A", reserved(1))
		time.Sleep(200 * time.Millisecond)
		one.dead.Store(true)
		j.Append(2, "sku", "A", reserved(2))
		two.logs.adopt(1)
		time.Sleep(500 * time.Millisecond)
		checkPublished(t, l, allRecords(j))
		time.Sleep(5 * time.Second)
		checkPublished(t, l, allRecords(j))
		one.kill(t)
		if sent := metric(t, two.p, "stampede_events_levels_sent_again_total"); sent < 1 {
			t.Errorf("%v levels were sent again", sent)
		}
		finish(t, two)
	})
}

// TestAStreamThatCannotBeRead keeps its own level from being sure, and no other.
func TestAStreamThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(2), newFakeLink(t)
		j.Append(2, "sku", "A", reserved(1))
		n := startNode(t, j, l, 1)
		damaged := func(stream string) error {
			if stream == "sku/A" {
				return errors.New("a page of the database is damaged")
			}
			return nil
		}
		n.looking.Store(&damaged)
		n.logs.adopt(2) // A's level is its newest record's, which cannot be read
		time.Sleep(5 * time.Second)
		for i := range 20 {
			j.Append(1, "sku", fmt.Sprintf("B%d", i), reserved(1))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if got := watermark(t, j, 1); got != 20 {
			t.Errorf("the log is marked %d of 20", got)
		}
		if got := watermark(t, j, 2); got != 0 {
			t.Errorf("the adopted log is marked %d, and its level was not sent", got)
		}
		n.looking.Store(nil)
		time.Sleep(5 * time.Second)
		checkPublished(t, l, allRecords(j))
		if got := watermark(t, j, 2); got != events.Finished {
			t.Errorf("the adopted log is marked %d at last", got)
		}
		finish(t, n)
	})
}

// TestALevelThatIsReadAsItIsQueued does not take the place of the one from the
// log, whose acknowledgement is what the log's watermark waits for.
func TestALevelThatIsReadAsItIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		l.partitions = 1
		j.Append(2, "sku", "A", reserved(1))
		j.Append(3, "sku", "B", reserved(1))
		var refusing atomic.Bool // the levels' topic
		refusing.Store(true)
		l.fault = func(b outgoing) (bool, error) {
			if refusing.Load() && b.topic == cloudevents.TopicStockLevels {
				return false, kafka.NotLeaderForPartition
			}
			return true, nil
		}
		n := startNode(t, j, l, 1)
		n.logs.adopt(3)
		time.Sleep(time.Second) // B's level is on its way, and others wait in the queue
		var once sync.Once
		meanwhile := func(stream string) error {
			if stream == "sku/A" {
				once.Do(func() {
					j.Append(1, "sku", "A", reserved(2))
					time.Sleep(time.Second) // until it is in the queue
				})
			}
			return nil
		}
		n.looking.Store(&meanwhile)
		n.logs.adopt(2, 3)
		time.Sleep(10 * time.Second)
		if got := watermark(t, j, 1); got != 0 {
			t.Errorf("the log is marked %d, and its level was not sent", got)
		}
		refusing.Store(false)
		time.Sleep(10 * time.Second)
		checkPublished(t, l, allRecords(j))
		if one, two := watermark(t, j, 1), watermark(t, j, 2); one != 1 || two != events.Finished {
			t.Errorf("the logs are marked %d and %d", one, two)
		}
		finish(t, n)
	})
}

// TestNodesComeAndGo: nodes are started, cut off and killed at any moment, with
// requests on their way and duties left undone, and others adopt their logs.
// Once it is quiet the topics are what the journal says.
func TestNodesComeAndGo(t *testing.T) {
	const epochs = 8
	for seed := range seedsOf(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 31))
				j, l := logtest.NewJournal(epochs), newFakeLink(t)
				l.fault = randomFaults(l, rand.New(rand.NewPCG(seed, 32)))
				shop := logtest.NewShop(j, seed, 4)
				nodes, gone := map[entity.Epoch]*testNode{}, []entity.Epoch{}
				begin := func(epoch entity.Epoch) {
					slow := rand.New(rand.NewPCG(seed, uint64(epoch)))
					nodes[epoch] = startSlowNode(t, j, l, epoch, func() time.Duration { return time.Duration(slow.IntN(5)/4*slow.IntN(900)) * time.Millisecond })
				}
				begin(1)
				begin(2)
				for next := entity.Epoch(3); next <= epochs || len(gone) < epochs-2; {
					for _, epoch := range slices.Sorted(maps.Keys(nodes)) {
						nodes[epoch].away.Store(r.IntN(3) == 0)
						shop.Trade(epoch, r.IntN(12))
					}
					time.Sleep(time.Duration(r.IntN(600)) * time.Millisecond)
					switch live := slices.Sorted(maps.Keys(nodes)); {
					case r.IntN(3) > 0:
					case len(live) > 2:
						epoch := live[r.IntN(len(live))]
						go nodes[epoch].kill(t)
						delete(nodes, epoch)
						gone = append(gone, epoch)
					case next <= epochs:
						begin(next)
						next++
					}
					adoptBySome(r, nodes, gone)
				}
				for _, n := range nodes {
					n.away.Store(false)
					n.logs.adopt(gone...)
				}
				time.Sleep(2 * time.Minute)
				checkPublished(t, l, allRecords(j))
				for epoch := entity.Epoch(1); epoch <= epochs; epoch++ {
					if log := j.Records(epoch); len(log) > 0 && watermark(t, j, epoch) < log[len(log)-1].Position {
						t.Errorf("epoch %d is marked %d of %d", epoch, watermark(t, j, epoch), log[len(log)-1].Position)
					}
				}
				finish(t, slices.Collect(maps.Values(nodes))...)
			})
		})
	}
}

// adoptBySome gives the logs of those that are gone to nodes: mostly one each.
func adoptBySome(r *rand.Rand, nodes map[entity.Epoch]*testNode, gone []entity.Epoch) {
	mine := map[entity.Epoch][]entity.Epoch{}
	live := slices.Sorted(maps.Keys(nodes))
	for _, epoch := range gone {
		for range 1 + r.IntN(4)/3 {
			by := live[r.IntN(len(live))]
			mine[by] = append(mine[by], epoch)
		}
	}
	for epoch, n := range nodes {
		n.logs.adopt(mine[epoch]...)
	}
}

// finish ends nodes that have nothing left to do.
func finish(t *testing.T, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		if s := n.p.Stats(); s.Bytes != 0 || s.Pending != 0 {
			t.Errorf("left over: %+v", s)
		}
		n.stop()
		if err := <-n.done; err != nil {
			t.Error(err)
		}
	}
}

// TestARefusedEventOfATail: what a moved actor has left behind is refused by
// the broker while it is published before what is new. All of it waits, none
// of it is lost.
func TestARefusedEventOfATail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(2), newFakeLink(t)
		one := startNode(t, j, l, 1)
		one.away.Store(true)
		var refusing atomic.Bool
		refusing.Store(true)
		l.refuse = func(key string) bool { return refusing.Load() && key == "ord_1" }
		expired := func() *orderpb.Event { return &orderpb.Event{Event: &orderpb.Event_Expired{}} }
		for range 5 {
			j.Append(1, "order", "ord_1", expired())
		}
		two := startNode(t, j, l, 2)
		last := j.Append(2, "order", "ord_1", expired())
		time.Sleep(5 * time.Second)
		if got := watermark(t, j, 2); got >= last.Position {
			t.Errorf("marked %d, and nothing is published", got)
		}
		refusing.Store(false)
		time.Sleep(time.Minute)
		checkPublished(t, l, allRecords(j))
		one.kill(t)
		finish(t, two)
	})
}
