package e2e

// Nodes that leave and come in peace: nobody's request fails.

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// drainFor is --drain-for here: long enough for a balancer that looks every
// tenth of a second.
const drainFor = 700 * time.Millisecond

func drainFlag() string { return fmt.Sprintf("--drain-for=%s", drainFor) }

// leave has a node drain the way that asks for it, and takes it from the list of
// gateways as a load balancer does: when it says that it is not ready.
func (f *fleet) leave(n *clusterNode, ask func(*clusterNode)) {
	f.t.Helper()
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		for n.readyStatus() == http.StatusOK && pause(f.t.Context(), 100*time.Millisecond) {
		}
		f.without(n)
	}()
	ask(n)
	<-seen
}

// without tells clients of the gateways but one.
func (f *fleet) without(n *clusterNode) {
	var urls []string
	for _, url := range f.urls() {
		if url != n.url {
			urls = append(urls, url)
		}
	}
	f.gateways.Store(&urls)
}

// unharmed reports every attempt that failed since before.
func (l *load) unharmed(what string, before int64) {
	l.t.Helper()
	if failed := l.failures() - before; failed != 0 {
		l.t.Errorf("%s: %d attempts failed", what, failed)
	}
}

// A node is drained by its operator and another by SIGTERM, and both are
// started again: no attempt of any shopper fails.
func clusterDrain(t *testing.T) {
	f := startFleet(t, 3, drainFlag())
	l := newLoad(t, f, 100, 100_000)
	l.start(12)
	rounds := 1
	if *clusterLong {
		rounds = 5
	}
	var gaps []time.Duration
	for range rounds {
		for _, ask := range []func(*clusterNode){f.drain, f.terminate} {
			l.more(60)
			l.gap()
			owner := f.owner("sku", l.hot)
			before := l.failures()
			f.leave(owner, ask)
			l.more(100)
			gap, why := l.gap()
			gaps = append(gaps, gap)
			t.Logf("longest wait over the drain of the hot SKU's owner: %s: %s", gap.Round(time.Millisecond), why)
			l.unharmed("drain", before)
			f.again(owner)
			f.settled()
			l.unharmed("drain and start", before)
		}
	}
	report(t, "drain of the hot SKU's owner", gaps)
	l.verify()
	l.recovered()
}

// One node becomes five and then two, under load.
func clusterScales(t *testing.T) {
	f := startFleet(t, 1, drainFlag())
	l := newLoad(t, f, 100, 100_000)
	l.start(12)
	l.more(60)
	for i := 1; i < 5; i++ {
		f.start(fmt.Sprintf("n%d", i))
		f.settled()
		l.more(60)
	}
	l.unharmed("from one node to five", 0)
	for len(f.living()) > 2 {
		f.leave(f.living()[0], f.terminate)
		f.settled()
		l.more(60)
	}
	l.unharmed("from five nodes to two", 0)
	gap, why := l.gap()
	t.Logf("longest wait over all of it: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}
