package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway/live"
	"stampede/proto/gen/commonpb"
)

var quiet = slog.New(slog.DiscardHandler)

// actors are fake ones whose state is a version, told as minor units; 0: there
// is no such thing. They understand Watch as the runtime does.
type actors struct {
	mu       sync.Mutex
	versions map[string]int64
	changed  chan struct{}
	err      error // what every call is answered with
	// watching counts by actor what is under way.
	watching map[string]int
	most     int // watches of one actor at once
	gets     int
}

func newActors() *actors {
	return &actors{versions: map[string]int64{}, changed: make(chan struct{}), watching: map[string]int{}}
}

// set changes an actor, or what all of them fail with; whoever watches hears.
func (a *actors) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *actors) to(id string, version int64) { a.set(func() { a.versions[id] = version }) }

// counts are the most watches of one actor at once, the gets, and the watches
// of A that are under way.
func (a *actors) counts() (most, gets, now int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.most, a.gets, a.watching["A"]
}

func (a *actors) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	w, watches := cmd.(*commonpb.Watch)
	var late <-chan time.Time
	a.mu.Lock()
	defer a.mu.Unlock()
	if watches {
		a.watching[to.ID]++
		a.most = max(a.most, a.watching[to.ID])
		defer func() { a.watching[to.ID]-- }()
		late = time.After(time.Duration(w.WaitMs) * time.Millisecond)
	} else {
		a.gets++
	}
	for expired := false; ; {
		if a.err != nil {
			return nil, a.err
		}
		if version := a.versions[to.ID]; !watches || version > int64(w.AfterVersion) || expired {
			return &commonpb.Money{MinorUnits: version}, nil
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			expired = true
		case <-ctx.Done():
			a.mu.Lock()
			return nil, entity.ErrTimeout
		}
		a.mu.Lock()
	}
}

func kind() *live.Kind {
	return &live.Kind{Name: "sku", Get: &commonpb.Money{}, Version: func(reply proto.Message) uint64 {
		return uint64(reply.(*commonpb.Money).MinorUnits)
	}}
}

func source(perSecond int, ids ...string) live.Source {
	return live.Source{Kind: kind(), IDs: ids, PerSecond: perSecond, Allowed: func(proto.Message) bool { return true }}
}

// reader takes whatever there is, as a socket's pump does.
type reader struct {
	t      *testing.T
	sub    *live.Subscription
	news   chan struct{}
	mu     sync.Mutex
	got    []uint64
	at     []time.Time
	done   bool
	err    error
	paused bool
}

func read(t *testing.T, h *live.Hub, s live.Source) *reader {
	t.Helper()
	r := &reader{t: t, news: make(chan struct{}, 1)}
	var err error
	r.sub, err = h.Subscribe(s, func() {
		select {
		case r.news <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	go r.run()
	r.news <- struct{}{}
	return r
}

func (r *reader) run() {
	for range r.news {
		r.mu.Lock()
		for !r.paused && !r.done {
			taken := r.sub.Take(time.Now())
			if taken.State != nil {
				r.got, r.at = append(r.got, taken.State.Version), append(r.at, time.Now())
				continue
			}
			if taken.Wait > 0 {
				r.mu.Unlock()
				time.Sleep(taken.Wait)
				r.mu.Lock()
				continue
			}
			r.done, r.err = taken.Done, taken.Err
			break
		}
		r.mu.Unlock()
	}
}

func (r *reader) close() {
	r.sub.Close()
	close(r.news)
}

// wants waits until nothing more happens and compares what was read.
func (r *reader) wants(want ...uint64) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.got) != fmt.Sprint(want) {
		r.t.Errorf("read %d, want %d", r.got, want)
	}
}

// scene runs a test in a bubble, which panics if a goroutine is left at its end.
func scene(t *testing.T, limits live.Limits, do func(t *testing.T, a *actors, h *live.Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newActors()
		h := live.NewHub(a, limits, quiet)
		do(t, a, h)
		h.Close()
	})
}

// The present state comes first, then changes, each to everyone, by one watch.
func TestOneWatchForAll(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 7)
		var all []*reader
		for range 1000 {
			all = append(all, read(t, h, source(0, "A")))
		}
		for _, r := range all {
			r.wants(7)
		}
		time.Sleep(time.Minute) // nothing happens, and the watch is asked again and again
		a.to("A", 8)
		for _, r := range all {
			r.wants(7, 8)
		}
		if most, gets, _ := a.counts(); most != 1 || gets != 1 || h.Topics() != 1 {
			t.Errorf("%d watches at once, %d gets, %d topics", most, gets, h.Topics())
		}
		late := read(t, h, source(0, "A"))
		late.wants(8)
		late.close()
		for _, r := range all {
			r.close()
		}
		time.Sleep(live.DefaultLimits().WatchFor + time.Second)
		if _, _, now := a.counts(); h.Topics() != 0 || now != 0 {
			t.Errorf("nobody listens, and %d topics and %d watches are left", h.Topics(), now)
		}
	})
}

// What comes and goes does not add up at the actor.
func TestComingAndGoing(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		for range 500 {
			r := read(t, h, source(0, "A"))
			r.wants(1)
			r.close()
			time.Sleep(25 * time.Millisecond)
		}
		if most, gets, _ := a.counts(); most != 1 || gets != 1 {
			t.Errorf("%d watches at once, %d gets", most, gets)
		}
	})
}

// A subscriber gets no more than it asked for a second, the newest, and the last one always.
func TestConflation(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		slow, fast := read(t, h, source(4, "A")), read(t, h, source(50, "A"))
		defer slow.close()
		defer fast.close()
		for i := range int64(2000) {
			time.Sleep(time.Millisecond)
			a.to("A", 2+i)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, c := range []struct {
			r         *reader
			perSecond int
		}{{slow, 4}, {fast, 50}} {
			got := c.r.got
			if n, most := len(got), 2*c.perSecond+2; n > most || n < most/2 || got[n-1] != 2001 {
				t.Errorf("%d a second: read %d states, the last is %d", c.perSecond, n, got[n-1])
			}
			for i := 1; i < len(got); i++ {
				if gap := c.r.at[i].Sub(c.r.at[i-1]); gap < time.Second/time.Duration(c.perSecond) || got[i] <= got[i-1] {
					t.Errorf("%d a second: %d came %s after %d", c.perSecond, got[i], gap, got[i-1])
				}
			}
		}
	})
}

// A pace is for changes: the present states of many SKUs come at once.
func TestPresentStatesAreNotPaced(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		var ids []string
		for i := range 100 {
			ids = append(ids, fmt.Sprint("S", i))
			a.to(ids[i], 1)
		}
		start := time.Now()
		r := read(t, h, source(1, ids...))
		defer r.close()
		synctest.Wait()
		if len(r.got) != 100 || time.Since(start) > 0 {
			t.Errorf("%d present states after %s", len(r.got), time.Since(start))
		}
	})
}

// A reader that does not read holds nothing up, costs nothing, and finds the newest.
func TestSlowReader(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		slow, other := read(t, h, source(0, "A")), read(t, h, source(0, "A"))
		defer slow.close()
		defer other.close()
		slow.wants(1)
		slow.mu.Lock()
		slow.paused = true
		slow.mu.Unlock()
		for i := range int64(100) {
			time.Sleep(100 * time.Millisecond)
			a.to("A", 2+i)
		}
		synctest.Wait()
		if len(other.got) != 101 {
			t.Errorf("the other one read %d states", len(other.got))
		}
		slow.mu.Lock()
		slow.paused = false
		slow.mu.Unlock()
		slow.news <- struct{}{}
		slow.wants(1, 101)
	})
}

// Whoever has a version gets nothing that is not newer.
func TestResume(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 5)
		for after, want := range map[uint64][]uint64{0: {5, 6}, 4: {5, 6}, 5: {6}, 6: nil, 9: nil} {
			s := source(0, "A")
			s.After = after
			a.to("A", 5)
			r := read(t, h, s)
			time.Sleep(time.Second)
			a.to("A", 6)
			time.Sleep(time.Second)
			r.wants(want...)
			r.close()
			time.Sleep(time.Minute)
		}
	})
}

// What goes wrong and passes is not the subscribers' business: they get the
// newest when it has, and no state is ever followed by an older one.
func TestActorsThatRestart(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		r := read(t, h, source(0, "A"))
		defer r.close()
		r.wants(1)
		for i, err := range []error{entity.ErrRetry, entity.ErrFenced, entity.ErrTimeout, entity.ErrOverloaded, entity.ErrUnavailable} {
			a.set(func() { a.err = err })
			time.Sleep(10 * time.Second)
			a.set(func() { a.err = nil; a.versions["A"] = int64(2 + i) })
			time.Sleep(time.Second)
		}
		r.wants(1, 2, 3, 4, 5, 6)
		a.set(func() { a.versions["A"] = 3 }) // an activation that is out of date
		time.Sleep(time.Minute)
		a.to("A", 7)
		r.wants(1, 2, 3, 4, 5, 6, 7)
	})
}

// What does not exist, must not be seen or cannot be trusted ends.
func TestEnds(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		a.to("B", 1)
		nothing := read(t, h, source(0, "no such thing"))
		some := read(t, h, source(0, "no such thing", "A"))
		hidden := source(0, "A")
		hidden.Allowed = func(proto.Message) bool { return false }
		never := read(t, h, hidden)
		hidden.Allowed, hidden.Later = func(m proto.Message) bool { return m.(*commonpb.Money).MinorUnits >= 2 }, true
		notYet := read(t, h, hidden)
		synctest.Wait()
		if !nothing.done || some.done || !never.done || notYet.done || nothing.err != nil {
			t.Errorf("done: %v %v %v %v", nothing.done, some.done, never.done, notYet.done)
		}
		never.wants()
		notYet.wants()
		a.to("A", 2)
		time.Sleep(time.Second)
		notYet.wants(2)
		some.wants(1, 2)

		a.set(func() { a.err = &entity.CorruptError{Stream: "sku/A", Seq: 1, Reason: "damaged"} })
		time.Sleep(time.Minute)
		synctest.Wait()
		if !some.done || !errors.Is(some.err, entity.ErrCorrupt) {
			t.Errorf("done: %v, %v", some.done, some.err)
		}
		for _, r := range []*reader{nothing, some, never, notYet} {
			r.close()
		}
	})
}

func TestBounds(t *testing.T) {
	scene(t, live.Limits{Topics: 2}, func(t *testing.T, a *actors, h *live.Hub) {
		for _, id := range []string{"A", "B", "C"} {
			a.to(id, 1)
		}
		r := read(t, h, source(0, "A"))
		if _, err := h.Subscribe(source(0, "B", "C"), func() {}); !errors.Is(err, entity.ErrOverloaded) {
			t.Errorf("a third topic: %v", err)
		}
		time.Sleep(time.Minute) // what was refused holds nothing
		again := read(t, h, source(0, "C"))
		again.wants(1)
		again.close()
		r.close()
	})
}

// Text is made once for all who show a state in the same way.
func TestTextIsShared(t *testing.T) {
	s := &live.State{}
	made := 0
	for i := range 100 {
		text := s.Text(i%2, func() []byte { made++; return []byte{byte(i)} })
		if int(text[0]) != i%2 {
			t.Errorf("way %d got text %d", i%2, text[0])
		}
	}
	if made != 2 {
		t.Errorf("made %d times", made)
	}
}

// A state that says something else after a while is taken again then, without
// anything being asked; one that changes nothing for its reader is passed over.
func TestAgain(t *testing.T) {
	scene(t, live.Limits{}, func(t *testing.T, a *actors, h *live.Hub) {
		a.to("A", 1)
		s := source(1, "A")
		s.Again = func(proto.Message) time.Duration { return 10 * time.Second }
		s.Key = func(reply proto.Message) any { return reply.(*commonpb.Money).MinorUnits / 10 }
		sub, err := h.Subscribe(s, func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		synctest.Wait()
		wants := func(when string, version uint64, again time.Duration) {
			t.Helper()
			synctest.Wait()
			taken := sub.Take(time.Now())
			if version > 0 {
				if taken.State == nil || taken.State.Version != version {
					t.Fatalf("%s: took %+v, want version %d", when, taken, version)
				}
				taken = sub.Take(time.Now())
			}
			if taken.State != nil || taken.Wait != 0 || taken.Done || taken.Again != again {
				t.Fatalf("%s: then %+v, want it again in %v", when, taken, again)
			}
		}
		wants("at first", 1, 10*time.Second)
		time.Sleep(4 * time.Second)
		a.to("A", 2)
		wants("a change of nothing", 0, 6*time.Second)
		time.Sleep(6 * time.Second)
		_, before, _ := a.counts()
		wants("again", 2, 10*time.Second)
		if _, after, _ := a.counts(); after != before {
			t.Error("the actor was asked")
		}
		time.Sleep(3 * time.Second)
		a.to("A", 20)
		wants("a change", 20, 10*time.Second)
		time.Sleep(25 * time.Second)
		wants("late", 20, 10*time.Second)
	})
}
