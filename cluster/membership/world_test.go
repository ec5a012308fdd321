package membership

// A world of services over a table that fails, for tests in a
// testing/synctest bubble: it watches over what membership.go guarantees.

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/internal/memtable"
)

const (
	lease = DefaultLease
	// tick is how often the guarantees are looked at.
	tick = 5 * time.Millisecond
)

type world struct {
	t     *testing.T
	dice  *rand.Rand
	table memtable.Table
	began time.Time

	mu    sync.Mutex
	nodes []*node
	cut   map[[2]int]bool // from, to
	seen  map[uint64][]members.Member
	// newer is when the first version of the view after this one was there.
	newer map[uint64]time.Time
	wrong error
}

type node struct {
	*Service
	index  int
	client *memtable.Client
	ended  bool // its process has ended
	frozen bool
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{
		t: t, dice: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), cut: map[[2]int]bool{},
		seen: map[uint64][]members.Member{}, newer: map[uint64]time.Time{},
	}
}

// add starts a node at an address and has it be Up. Its wall clock is up to an
// hour off, and its monotonic one goes up to four hundredths fast or slow.
func (w *world) add(address string) *node {
	w.t.Helper()
	skew := time.Duration((w.dice.Float64()*2 - 1) * float64(time.Hour))
	rate := 1 + (w.dice.Float64()*2-1)*0.04
	n := &node{client: w.table.Connect(w.dice.Uint64())}
	w.mu.Lock()
	n.index = len(w.nodes)
	w.mu.Unlock()
	config := Config{
		Self: members.Member{
			ID: fmt.Sprintf("n%03d", n.index), Name: fmt.Sprintf("node %d", n.index), Address: address, Roles: []members.Role{members.Actors},
		},
		Table: n.client, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(skew) },
		Probe: func(ctx context.Context, m members.Member) members.Finding { return w.probe(ctx, n, m) },
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	s, err := start(ctx, config, func() moment { return moment(float64(time.Since(began)) * rate) })
	if err != nil {
		w.fatal("start: %v", err)
	}
	n.Service = s
	var last uint64
	s.Watch(func(v *members.View) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if v.Version <= last {
			w.fail("node %d was told of view %d after %d", n.index, v.Version, last)
		}
		last = v.Version
		if old, known := w.seen[v.Version]; known && !cmp.Equal(old, v.Members) {
			w.fail("view %d is two:\n%s", v.Version, cmp.Diff(old, v.Members))
		}
		w.seen[v.Version] = v.Members
	})
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	if err := s.Ready(ctx); err != nil && !errors.Is(err, ErrLost) {
		w.fatal("ready: %v", err)
	}
	return n
}

func (w *world) addAll(count int) []*node {
	all := make([]*node, count)
	for i := range all {
		all[i] = w.add(fmt.Sprintf("host:%d", i))
	}
	w.run(time.Second)
	return all
}

// fail remembers what went wrong first. The caller holds mu.
func (w *world) fail(format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf("after %s: %s", time.Since(w.began), fmt.Sprintf(format, args...))
	}
}

// probe is what n finds at the address of m.
func (w *world) probe(ctx context.Context, n *node, m members.Member) members.Finding {
	n.client.AwaitThaw()
	defer n.client.AwaitThaw()
	w.mu.Lock()
	finding := members.Gone
	for _, other := range w.nodes {
		if other.ended || other.config.Self.Address != m.Address {
			continue
		}
		switch {
		case w.cut[[2]int{n.index, other.index}] || w.cut[[2]int{other.index, n.index}] || other.frozen:
			finding = members.Unreachable
		case other.config.Self.ID == m.ID:
			finding = members.Answers
		}
	}
	w.mu.Unlock()
	if finding == members.Unreachable {
		<-ctx.Done()
	}
	return finding
}

// kill ends the node's process, and the others' connections to it.
func (w *world) kill(n *node, noticed bool) {
	w.thaw(n)
	w.mu.Lock()
	n.ended = true
	w.mu.Unlock()
	n.Close()
	if noticed {
		w.suspected(n.config.Self.ID)
	}
}

func (w *world) suspected(id string) {
	for _, other := range w.living() {
		if !other.frozen {
			other.Suspect(id, members.Unreachable)
		}
	}
}

func (w *world) freeze(n *node) { w.setFrozen(n, true); n.client.Freeze() }
func (w *world) thaw(n *node)   { w.setFrozen(n, false); n.client.Thaw() }

func (w *world) setFrozen(n *node, frozen bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.frozen = frozen
}

// separate cuts two nodes off from each other, or heals that.
func (w *world) separate(a, b *node, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]int{a.index, b.index}] = cut
}

// living are the nodes whose processes have not ended. One that is lost ends soon.
func (w *world) living() []*node {
	var all []*node
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if !n.ended {
			all = append(all, n)
		}
	}
	return all
}

// run lets time pass, looking at the guarantees all the while. Processes that
// are lost end.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(tick) {
		synctest.Wait()
		w.look()
		if w.wrong != nil {
			w.fatal("%v", w.wrong)
		}
		for _, n := range w.living() {
			if n.Err() != nil && !n.frozen {
				w.kill(n, true)
			}
		}
	}
}

// until lets time pass until something holds, and returns how long that took.
func (w *world) until(what string, within time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > within {
			w.fatal("%s took longer than %s:\n%s", what, within, w.describe())
		}
		w.run(tick)
	}
	return time.Since(began)
}

// fatal ends everything, without which the bubble would hide what went wrong.
func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.end()
	w.t.Fatalf(format, args...)
}

func (w *world) describe() string {
	text := fmt.Sprintf("the table: %+v\n", w.truth())
	for _, n := range w.living() {
		text += fmt.Sprintf("node %d: view %+v, settled %d, fit %v, err %v\n", n.index, *n.View(), n.Settled(), n.Fit(), n.Err())
	}
	return text
}

func (w *world) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	truth := w.truth()
	if _, known := w.newer[truth.View]; !known && truth.View > 0 {
		for v := truth.View; v > 0; v-- {
			if _, known := w.newer[v]; known {
				break
			}
			w.newer[v] = time.Now()
		}
	}
	// Two owners of one address act on different views, so one of these is
	// replaced, and that is bounded above.
	owners := map[string]map[uint64]*node{}
	for _, address := range addresses() {
		owners[address] = map[uint64]*node{}
	}
	for _, n := range w.nodes {
		if n.ended || n.Fit() != nil {
			continue
		}
		v := n.View()
		w.lookAt(n, v, &truth)
		for _, address := range addresses() {
			if owner(v, address) != n.config.Self.ID {
				continue
			}
			if other := owners[address][v.Version]; other != nil {
				w.fail("by view %d, %s has two owners: node %d and %d", v.Version, address, n.index, other.index)
			}
			owners[address][v.Version] = n
		}
	}
}

// lookAt looks at what is guaranteed of a fit node. The caller holds mu.
func (w *world) lookAt(n *node, v *members.View, truth *members.Contents) {
	if r := truth.Row(n.config.Self.ID); r == nil || !r.Member.Alive() {
		w.fail("node %d is fit, and in the table it is %+v", n.index, r)
	}
	if replaced, known := w.newer[v.Version+1]; known && time.Since(replaced) > lease*105/100 {
		w.fail("node %d is fit with view %d, which is replaced since %s", n.index, v.Version, time.Since(replaced))
	}
	for _, other := range w.nodes {
		if !other.ended && v.Find(other.config.Self.ID) != nil && other.Settled() > v.Version {
			w.fail("node %d says that view %d is settled, and node %d is fit with %d", other.index, other.Settled(), n.index, v.Version)
		}
	}
}

func (w *world) truth() members.Contents {
	h := w.table.History()
	if len(h) == 0 {
		return members.Contents{}
	}
	return h[len(h)-1]
}

func addresses() []string { return []string{"a", "b", "c", "d", "e", "f", "g", "h"} }

// owner is by rendezvous hashing.
func owner(v *members.View, address string) (id string) {
	best := uint64(0)
	for i := range v.Members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(address + v.Members[i].ID))
		if x := h.Sum64() * 0x9e3779b97f4a7c15; v.Members[i].Owns() && x >= best {
			best, id = x, v.Members[i].ID
		}
	}
	return id
}

// end ends all processes.
func (w *world) end() {
	for _, n := range w.living() {
		w.kill(n, false)
	}
}

// agree reports whether the nodes have one view, of themselves alone.
func (w *world) agree(nodes []*node) bool {
	for _, n := range nodes {
		v := n.View()
		if len(v.Members) != len(nodes) || v.Version != nodes[0].View().Version || n.Fit() != nil || n.Settled() != v.Version {
			return false
		}
		for _, other := range nodes {
			if v.Find(other.config.Self.ID) == nil {
				return false
			}
		}
	}
	return true
}

// without reports whether none of the nodes has the one in its view.
func without(nodes []*node, gone *node) bool {
	for _, n := range nodes {
		if n != gone && n.View().Find(gone.config.Self.ID) != nil {
			return false
		}
	}
	return true
}

func retryable(err error) bool { return errors.Is(err, entity.ErrRetry) }
