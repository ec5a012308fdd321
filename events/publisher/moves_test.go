package publisher

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/events/internal/logtest"
	"stampede/persistence"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// orphans are the logs that a node of a test adopts, from when they are set.
type orphans struct {
	epochs atomic.Pointer[[]entity.Epoch]
}

func (o *orphans) adopt(epochs ...entity.Epoch) { o.epochs.Store(&epochs) }

func (o *orphans) Orphans(known []persistence.EpochInfo) []entity.Epoch {
	var out []entity.Epoch
	if mine := o.epochs.Load(); mine != nil {
		for _, e := range known {
			for _, m := range *mine {
				if e.Epoch == m {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// testNode is one of several nodes on one journal and one broker.
type testNode struct {
	p    *Publisher
	logs orphans
	away atomic.Bool // the broker, for this node
	// dead: nothing that it does reaches anybody. blind: it cannot read streams.
	dead, blind atomic.Bool
	// looking, if set, is called with what is to be read back, and may fail it.
	looking atomic.Pointer[func(stream string) error]
	// delay, if set, is how long a request is on its way to the broker. It is
	// called by one at a time.
	delay   func() time.Duration
	delayMu sync.Mutex
	stop    context.CancelFunc
	done    chan error
}

// kill ends a node without a word; what is on its way arrives.
func (n *testNode) kill(t *testing.T) {
	n.dead.Store(true)
	n.stop()
	if err := <-n.done; err == nil {
		t.Log("the dead one had nothing left to do")
	}
}

var errDead = errors.New("dead")

// nodeStore is the journal as one node has it.
type nodeStore struct {
	*logtest.Journal
	node *testNode
}

func (s nodeStore) SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error {
	if s.node.dead.Load() {
		return errDead
	}
	return s.Journal.SaveWatermark(ctx, reader, epoch, position)
}

func (s nodeStore) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	if s.node.dead.Load() || s.node.blind.Load() {
		return func(yield func(*entity.Record, error) bool) { yield(nil, errDead) }
	}
	if looking := s.node.looking.Load(); looking != nil {
		if err := (*looking)(stream); err != nil {
			return func(yield func(*entity.Record, error) bool) { yield(nil, err) }
		}
	}
	return s.Journal.ReadStreamBack(ctx, stream, beforeSeq)
}

func startNode(t *testing.T, j *logtest.Journal, l *fakeLink, epoch entity.Epoch) *testNode {
	return startSlowNode(t, j, l, epoch, nil)
}

func startSlowNode(t *testing.T, j *logtest.Journal, l *fakeLink, epoch entity.Epoch, delay func() time.Duration) *testNode {
	n := &testNode{done: make(chan error, 1), delay: delay}
	cfg := testConfig(j, epoch)
	l.mu.Lock()
	l.several = true
	l.mu.Unlock()
	store := nodeStore{j, n}
	cfg.Log.Cluster, cfg.Log.Quiet, cfg.Log.Watermarks, cfg.Streams = &n.logs, time.Second, store, store
	cfg.Limits = Limits{PendingBytes: 60_000, BatchRecords: 20, LongestBackoff: 200 * time.Millisecond, DrainTimeout: 20 * time.Second}
	n.p = mustNew(t, cfg, &awayLink{l, n})
	ctx, stop := context.WithCancel(t.Context())
	n.stop = stop
	go func() { n.done <- n.p.Run(ctx) }()
	return n
}

// awayLink is a broker that one node does not reach now and then.
type awayLink struct {
	*fakeLink
	node *testNode
}

func (l *awayLink) produce(ctx context.Context, leader int, batches []outgoing) ([]error, error) {
	if l.node.away.Load() || l.node.dead.Load() {
		return nil, errors.New("connection refused")
	}
	if l.node.delay != nil {
		l.node.delayMu.Lock()
		d := l.node.delay()
		l.node.delayMu.Unlock()
		time.Sleep(d)
		ctx = context.WithoutCancel(ctx) // it has left
	}
	return l.fakeLink.produce(ctx, leader, batches)
}

// TestActorsMove: two nodes write the same streams in turns, each cut off from
// the broker now and then; one dies, and another adopts its log. First
// occurrences are in order all the time, and the last level is the newest.
func TestActorsMove(t *testing.T) {
	for seed := range seedsOf(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 9))
				j, l := logtest.NewJournal(3), newFakeLink(t)
				l.fault = randomFaults(l, rand.New(rand.NewPCG(seed, 6)))
				shop := logtest.NewShop(j, seed, 4)
				one, two := startNode(t, j, l, 1), startNode(t, j, l, 2)
				trade := func(nodes map[entity.Epoch]*testNode, rounds int) {
					for range rounds {
						for epoch, n := range nodes {
							n.away.Store(r.IntN(3) == 0)
							shop.Trade(epoch, 1+r.IntN(15))
						}
						time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
					}
				}
				trade(map[entity.Epoch]*testNode{1: one, 2: two}, 15)
				// One dies: what it had read is lost, and so are the watermarks that it had not saved.
				one.away.Store(true)
				shop.Trade(1, 10)
				time.Sleep(50 * time.Millisecond)
				one.kill(t)
				three := startNode(t, j, l, 3)
				trade(map[entity.Epoch]*testNode{2: two, 3: three}, 5)
				two.logs.adopt(1)
				if seed%2 == 0 {
					three.logs.adopt(1) // twice: no harm
				}
				trade(map[entity.Epoch]*testNode{2: two, 3: three}, 10)
				two.away.Store(false)
				three.away.Store(false)
				time.Sleep(time.Minute)
				checkPublished(t, l, allRecords(j))
				for _, epoch := range []entity.Epoch{1, 2, 3} {
					log := j.Records(epoch)
					if got, want := watermark(t, j, epoch), log[len(log)-1].Position; got < want {
						t.Errorf("epoch %d is marked %d of %d", epoch, got, want)
					}
				}
				for _, n := range []*testNode{two, three} {
					if s := n.p.Stats(); s.Bytes != 0 || s.Pending != 0 {
						t.Errorf("left over: %+v", s)
					}
					n.stop()
					if err := <-n.done; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// allRecords is the records of all logs in the order of their streams.
func allRecords(j *logtest.Journal) []*entity.Record {
	var out []*entity.Record
	for stream := range j.Streams() {
		for rec, err := range j.ReadStream(context.Background(), stream, 0) {
			if err != nil {
				panic(err) // a journal in memory
			}
			out = append(out, rec)
		}
	}
	return out
}

// TestALongTail: an actor moves away from a node that cannot publish, with more
// unpublished than fits in memory. The new owner publishes it first; other keys
// of the same partition do not wait for it.
func TestALongTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(2), newFakeLink(t)
		l.partitions = 1
		reserved := func(n int) *skupb.Event {
			return &skupb.Event{AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Held: int64(n)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}}
		}
		one := startNode(t, j, l, 1)
		for i := range 200 {
			j.Append(1, "sku", "HOT", reserved(i))
		}
		time.Sleep(2 * time.Second)
		one.away.Store(true)
		for i := range 3000 {
			j.Append(1, "sku", "HOT", reserved(200+i))
		}
		time.Sleep(time.Second)
		two := startNode(t, j, l, 2)
		two.away.Store(true)
		for i := range 2000 {
			j.Append(2, "sku", "HOT", reserved(3200+i))
			j.Append(2, "sku", fmt.Sprintf("COLD-%d", i%50), reserved(i))
			j.Append(2, "order", fmt.Sprintf("ord_%d", i), &orderpb.Event{Event: &orderpb.Event_Expired{}})
		}
		time.Sleep(time.Second)
		if s := two.p.Stats(); s.Bytes > 64_000 {
			t.Errorf("%d bytes in memory", s.Bytes)
		}
		two.away.Store(false)
		time.Sleep(20 * time.Second)
		ids := l.ids()
		if !ids["sku/HOT/5200"] || !ids["order/ord_1999/1"] || !ids["sku/COLD-49/40"] {
			t.Errorf("the new owner has not published everything: %d events", len(ids))
		}
		one.away.Store(false)
		time.Sleep(20 * time.Second)
		checkPublished(t, l, allRecords(j))
		if n := metric(t, two.p, "stampede_events_tail_records_total"); n < 3000 || n > 5300 {
			t.Errorf("%v records were read for the tail", n)
		}
		for _, n := range []*testNode{one, two} {
			n.stop()
			if err := <-n.done; err != nil {
				t.Error(err)
			}
		}
	})
}
