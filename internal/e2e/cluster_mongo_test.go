package e2e

// What happens to MongoDB happens to the cluster's journal and to its table of
// members at once. Nodes wait for it, and go on.

import (
	"testing"
	"time"

	"stampede/internal/testservers"
)

// mongod is killed under load and started again.
func clusterMongoKilled(t *testing.T) {
	server := testservers.MongoProcess(t)
	f := newFleet(t, server.URI())
	for _, name := range []string{"n0", "n1", "n2"} {
		f.start(name)
	}
	f.settled()
	l := newLoad(t, f, 100, 100_000)
	l.start(12)
	for range 3 {
		l.more(100)
		l.gap()
		server.Kill()
		if !pause(t.Context(), lease) {
			t.Fatal("the test has ended")
		}
		began := time.Now()
		server.Restart()
		l.more(100)
		gap, why := l.gap()
		t.Logf("mongod was there again after %s, longest wait %s: %s", time.Since(began).Round(time.Millisecond), gap.Round(time.Millisecond), why)
	}
	f.sameNodes()
	l.verify()
	l.recovered()
}

// The primary of a replica set of three steps down under load, and the next one
// is killed.
func clusterStepDown(t *testing.T) {
	set := testservers.MongoReplicaSet(t)
	f := newFleet(t, set.URI())
	for _, name := range []string{"n0", "n1", "n2"} {
		f.start(name)
	}
	f.settled()
	l := newLoad(t, f, 60, 100_000)
	l.start(12)
	for what, do := range map[string]func() string{"stepped down": set.StepDown, "was killed": set.KillPrimary} {
		l.more(100)
		l.gap()
		primary := do()
		l.more(200)
		gap, why := l.gap()
		t.Logf("the primary %s, %s is the next; longest wait %s: %s", what, primary, gap.Round(time.Millisecond), why)
	}
	f.sameNodes()
	l.verify()
	l.recovered()
}

// sameNodes: every process is the one that was started.
func (f *fleet) sameNodes() {
	f.t.Helper()
	for _, n := range f.nodes {
		select {
		case <-n.exited:
			f.t.Errorf("%s has ended: %v", n.name, n.err)
		default:
		}
	}
}
