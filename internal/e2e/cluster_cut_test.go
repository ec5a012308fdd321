package e2e

// Nodes that are stopped, cut off from each other or from MongoDB, and come
// back: what they may still want to do must have no effect.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// notAMember is what a node says that was put out.
const notAMember = "this node is no member of the cluster any more"

// wiredFleet is a cluster whose nodes reach MongoDB, and each other, through a
// proxy each.
type wiredFleet struct {
	*fleet
	// toMongo is each node's way to MongoDB, to node the way of all others to it.
	toMongo, toNode map[*clusterNode]*wire
}

func startWiredFleet(t *testing.T, nodes int, flags ...string) *wiredFleet {
	t.Helper()
	f := newFleet(t, "")
	f.flags = append(f.flags, flags...)
	w := &wiredFleet{f, map[*clusterNode]*wire{}, map[*clusterNode]*wire{}}
	for i := range nodes {
		mongo, port := newWire(t, mongoAddress(t, f.mongo)), freePort(t)
		node := newWire(t, port)
		n := f.start(fmt.Sprintf("n%d", i), "--mongo="+mongoVia(mongo), "--cluster-listen="+port, "--cluster-advertise="+node.address())
		w.toMongo[n], w.toNode[n] = mongo, node
	}
	f.settled()
	return w
}

// directlyFor is how long an answer of one node is waited for.
const directlyFor = 30 * time.Second

// directly sends requests to one node alone, with much patience, and records
// what it answers, whenever that is: orders and looks of the hot SKU. wait waits
// for all answers.
func (l *load) directly(n *clusterNode, requests int) (wait func()) {
	var all sync.WaitGroup
	l.runs++
	c := l.customers[0]
	for i := range requests {
		e := entry{operation: operation{client: -1, units: 1}, key: fmt.Sprintf("direct-%d-%d", l.runs, i), sku: l.hot, node: n.url, attempts: 1}
		if i%2 == 0 {
			e.action = look
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(l.t.Context(), directlyFor)
			defer cancel()
			own := newClient(place(n.url), c.token)
			own.http.Timeout = directlyFor
			e.call = int64(time.Since(l.began))
			var err error
			if e.action == look {
				err = e.looked(own.stock(ctx, e.sku))
			} else {
				err = e.placed(own.place(ctx, e.key, "", want{e.sku, e.units}))
			}
			e.back = int64(time.Since(l.began))
			if err != nil {
				e.outcome = unknown
			}
			l.mu.Lock()
			l.entries = append(l.entries, e)
			l.mu.Unlock()
		})
	}
	return all.Wait
}

// The owner of the hot SKU stops for three leases with a write under way that
// reaches MongoDB only after a new owner has written. The write is fenced, what
// was asked meanwhile is not answered from its memory, and it ends.
func clusterOwnerFrozen(t *testing.T) {
	f := startWiredFleet(t, 3)
	l := newLoad(t, f.fleet, 100, 100_000)
	l.start(12)
	l.more(100)
	owner := f.owner("sku", l.hot)
	// What it writes from now on is on its way for longer than its lease lasts.
	f.toMongo[owner].delay("upstream", 2*lease)
	inFlight := l.directly(owner, 16)
	if !pause(t.Context(), lease/10) {
		t.Fatal("the test has ended")
	}
	owner.freeze()
	frozen := time.Now()
	f.ended(owner)
	eventually(t, time.Minute, "the frozen node is put out", func() error {
		if _, there := f.members()[owner.name]; there {
			return fmt.Errorf("%s is still a member", owner.name)
		}
		return nil
	})
	t.Logf("put out %s after SIGSTOP", time.Since(frozen).Round(10*time.Millisecond))
	l.more(100) // a new owner has decided
	late := l.directly(owner, 16)
	if !pause(t.Context(), time.Until(frozen.Add(3*lease))) {
		t.Fatal("the test has ended")
	}
	f.toMongo[owner].heal() // by now all that it wrote has arrived
	owner.thaw()
	owner.failed(soon, notAMember)
	inFlight()
	late()
	l.more(60)
	l.verify()
	l.recovered()
}

// The owner of the hot SKU is cut off from MongoDB: it must fall silent when its
// lease has run out, the others go on, and it ends when it hears of that.
func clusterCutOffFromMongo(t *testing.T) {
	f := startWiredFleet(t, 3)
	l := newLoad(t, f.fleet, 100, 100_000)
	l.start(12)
	l.more(100)
	l.gap()
	owner := f.owner("sku", l.hot)
	f.toMongo[owner].cut()
	late := l.directly(owner, 8)
	l.more(300)
	eventually(t, time.Minute, "another node owns the hot SKU", func() error {
		f.without(owner)
		if now := f.owner("sku", l.hot); now == owner {
			return fmt.Errorf("still %s", now.name)
		}
		return nil
	})
	f.ended(owner)
	again := l.directly(owner, 8) // its lease is over: it must not answer from memory
	l.more(100)
	f.toMongo[owner].heal()
	owner.failed(time.Minute, notAMember)
	late()
	again()
	gap, why := l.gap()
	t.Logf("longest wait: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}

// The owner of the hot SKU is cut off from MongoDB while it has nothing to write,
// so that nothing but its lease keeps it from answering: when another has taken
// over and sold, what it has in memory is old. Nobody must be told so.
func clusterReadsAfterTheLease(t *testing.T) {
	f := startWiredFleet(t, 3)
	l := newLoad(t, f.fleet, 100, 100_000)
	l.start(8)
	l.more(60)
	l.stop()
	owner := f.owner("sku", l.hot)
	l.directly(owner, 4)() // it has the SKU in memory
	f.toMongo[owner].cut()
	f.ended(owner)
	eventually(t, time.Minute, "another node owns the hot SKU", func() error {
		if now := f.ownerID("sku", l.hot); now == "" || now == f.idOf(owner) {
			return errors.New("it is still the same")
		}
		return nil
	})
	l.start(8)
	l.more(60)
	l.directly(owner, 16)()
	l.more(20)
	f.toMongo[owner].heal()
	owner.failed(time.Minute, notAMember)
	l.verify()
	l.recovered()
}

// No other node reaches the owner of the hot SKU, though it reaches them and
// MongoDB: two find so, and it is put out.
func clusterCutOffOneWay(t *testing.T) {
	f := startWiredFleet(t, 3)
	l := newLoad(t, f.fleet, 100, 100_000)
	l.start(12)
	l.more(100)
	l.gap()
	owner := f.owner("sku", l.hot)
	f.toNode[owner].cut()
	owner.failed(10*lease, notAMember)
	f.ended(owner)
	l.more(100)
	gap, why := l.gap()
	t.Logf("longest wait: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}

// Two nodes do not reach each other, and both reach MongoDB: nobody could say
// which one is to go, so both stay, and each refuses what the other owns. When
// they reach each other again all is done that was asked for.
func clusterCutInTwo(t *testing.T) {
	f := startWiredFleet(t, 2)
	l := newLoad(t, f.fleet, 100, 100_000)
	l.start(12)
	l.more(100)
	f.toNode[f.nodes[0]].cut()
	f.toNode[f.nodes[1]].cut()
	if !pause(t.Context(), 4*lease) {
		t.Fatal("the test has ended")
	}
	if there := f.members(); len(there) != 2 {
		t.Errorf("only %v are left", there)
	}
	f.toNode[f.nodes[0]].heal()
	f.toNode[f.nodes[1]].heal()
	l.more(200)
	gap, why := l.gap()
	t.Logf("longest wait: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}

// refusedWithin is how soon a node whose lease has run out says so, on a busy machine.
const refusedWithin = 3 * time.Second

// MongoDB becomes slow: by a fifth of a second, which only costs time; then by
// five seconds, with which no lease can be renewed. Then everybody is told at once
// when to come again, and nothing piles up.
func clusterSlowMongo(t *testing.T) {
	f := startWiredFleet(t, 3)
	l := newLoad(t, f.fleet, 60, 100_000)
	l.start(12)
	l.more(60)
	for _, n := range f.nodes {
		f.toMongo[n].slow(200 * time.Millisecond)
	}
	l.gap()
	l.more(200)
	gap, why := l.gap()
	t.Logf("with 200 ms more to MongoDB: longest wait %s: %s", gap.Round(time.Millisecond), why)
	shed := l.shed.Load()
	for _, n := range f.nodes {
		f.toMongo[n].heal()
		f.toMongo[n].slow(5 * time.Second)
	}
	// Well before they give up, which they do half a minute after their leases were
	// last renewed.
	if !pause(t.Context(), 2*lease) {
		t.Fatal("the test has ended")
	}
	var asked sync.WaitGroup
	for _, n := range f.nodes {
		asked.Go(func() { l.refusedInTime(n, 24) })
	}
	asked.Wait()
	for _, n := range f.nodes {
		if goroutines := n.metric("go_goroutines"); goroutines > 5_000 {
			t.Errorf("%s has %v goroutines", n.name, goroutines)
		}
		if bytes := n.metric("process_resident_memory_bytes"); bytes > 1<<30 {
			t.Errorf("%s has %v bytes in memory", n.name, bytes)
		}
	}
	for _, n := range f.nodes {
		f.toMongo[n].heal()
	}
	l.more(100)
	if l.shed.Load() == shed {
		t.Error("no shopper was told to come later: this shows little")
	}
	l.verify()
	l.recovered()
}

// refusedInTime asks a node that cannot decide from many connections at once.
func (l *load) refusedInTime(n *clusterNode, requests int) {
	l.t.Helper()
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			c := newClient(place(n.url), l.customers[i%loadCustomers].token)
			began := time.Now()
			o, err := c.place(l.t.Context(), fmt.Sprintf("slow-%s-%d", n.name, i), "", want{l.hot, 1})
			took := time.Since(began)
			e := entry{operation: operation{client: -1, units: 1, call: int64(began.Sub(l.began)), back: int64(time.Since(l.began))}, key: "slow", sku: l.hot, node: n.url, attempts: 1}
			if e.placed(o, err) != nil {
				e.outcome = unknown
			}
			l.mu.Lock()
			l.entries = append(l.entries, e)
			l.mu.Unlock()
			if took > refusedWithin {
				l.t.Errorf("%s answers after %s: %v", n.name, took, err)
			}
			if err != nil && hint(err) == 0 {
				l.t.Errorf("%s does not say when to come again: %v", n.name, err)
			}
		})
	}
	all.Wait()
}

// metric is one value of a node's metrics that has no labels.
func (n *clusterNode) metric(name string) float64 {
	n.t.Helper()
	_, text := get(n.t, n.admin+"/metrics")
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				n.t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	n.t.Fatalf("%s has no metric %s", n.name, name)
	return 0
}
