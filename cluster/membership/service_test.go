package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/cluster/members"
	"stampede/internal/memtable"
	"stampede/internal/testservers"
	"stampede/persistence/mongo"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// TestDrainAndLeave: one is asked by another to drain, does, and leaves.
func TestDrainAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		nodes := w.addAll(3)
		a, b := nodes[0], nodes[1]
		if err := a.RequestDrain(t.Context(), "nobody"); !errors.Is(err, ErrNoMember) {
			t.Errorf("asking nobody: %v", err)
		}
		if err := a.RequestDrain(t.Context(), b.Self().ID); err != nil {
			t.Fatal(err)
		}
		w.until("hearing of it", time.Second, func() bool {
			select {
			case <-b.Drained():
				return true
			default:
				return false
			}
		})
		if b.Self().State != members.Up {
			t.Errorf("before it drains: %s", b.Self().State)
		}
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.until("all to see it drain, and act on it", time.Second, func() bool {
			m := a.View().Find(b.Self().ID)
			return m.State == members.Draining && !m.Owns() && a.Settled() == a.View().Version
		})
		if b.Fit() != nil {
			t.Error("one that drains still answers what it has")
		}
		w.mu.Lock()
		b.ended = true
		w.mu.Unlock()
		if err := b.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.Fit() == nil || b.Err() != nil {
			t.Errorf("after leaving it is fit: %v, lost: %v", b.Fit(), b.Err())
		}
		if err := b.Drain(t.Context()); err == nil && b.Self().State != members.Down {
			t.Error("one that left can drain")
		}
		w.until("all to see it gone", time.Second, func() bool { return without(w.living(), b) })
		if all := a.Members(); len(all) != 3 || all[1].State != members.Down {
			t.Errorf("who left is not shown: %+v", all)
		}
		w.end()
	})
}

// Who gives up asking takes nothing back from another who asks for the same.
func TestTwoAskForOneDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		nodes := w.addAll(2)
		a, b := nodes[0], nodes[1]
		a.client.Freeze() // what is asked gets no further than a, for now
		impatient, giveUp := context.WithCancel(t.Context())
		asked := map[string]chan error{"who gives up": make(chan error, 1), "who waits": make(chan error, 1)}
		go func() { asked["who gives up"] <- a.RequestDrain(impatient, b.Self().ID) }()
		go func() { asked["who waits"] <- a.RequestDrain(t.Context(), b.Self().ID) }()
		synctest.Wait()
		giveUp()
		if err := <-asked["who gives up"]; !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up: %v", err)
		}
		a.client.Thaw()
		w.until("the other to be done", time.Second, func() bool { return len(asked["who waits"]) == 1 })
		if err := <-asked["who waits"]; err != nil {
			t.Errorf("who waits: %v", err)
		}
		w.end()
	})
}

// TestRestartedAtOnce: who starts again at its address takes the place of the
// one before, without waiting for a lease.
func TestRestartedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		nodes := w.addAll(3)
		w.kill(nodes[1], false)
		w.add("host:1")
		w.until("being three again", lease/2, func() bool { return w.agree(w.living()) })
		w.end()
	})
}

func TestStartEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table memtable.Table
		client := table.Connect(1)
		client.Cut(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := Start(ctx, Config{
			Self: members.Member{ID: NewID(), Address: "host:1"}, Table: client, Logger: slog.New(slog.DiscardHandler),
			Probe: func(context.Context, members.Member) members.Finding { return members.Answers },
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	_, err := Start(t.Context(), Config{Lease: time.Millisecond})
	for _, want := range []string{"an ID and an address", "a lease of 1ms", "a table, a probe and a logger"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// TestStopWatching: after stop no call begins, and the other watchers go on.
func TestStopWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		a := w.addAll(1)[0]
		calls := 0
		stop := a.Watch(func(*members.View) { calls++ })
		w.run(time.Second)
		stop()
		w.add("host:1")
		w.run(time.Second)
		if calls != 1 {
			t.Errorf("%d calls, want the one before stop", calls)
		}
		w.end()
	})
}

// process is a member on real sockets and a real database.
type process struct {
	*Service
	listener net.Listener
}

func startProcess(t *testing.T, table Table) *process {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Config{
		Self:  members.Member{ID: NewID(), Address: l.Addr().String(), Roles: []members.Role{members.Actors}},
		Table: table, Logger: slog.New(slog.DiscardHandler),
		Probe: probeTCP,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Service: s, listener: l}
	t.Cleanup(p.die)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// probeTCP only connects: what else a node asks of who answers is remoting's.
func probeTCP(ctx context.Context, m members.Member) members.Finding {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Address)
	if err == nil {
		conn.Close()
	}
	return FindingOf(err)
}

// die is what SIGKILL looks like to the others.
func (p *process) die() {
	p.listener.Close()
	p.Close()
}

// TestOnMongoDB: the same on the real thing. One of three dies, and the others
// go on without it well before its lease could lapse.
func TestOnMongoDB(t *testing.T) {
	uri, database := testservers.Mongo(t), fmt.Sprintf("test-%016x", rand.Uint64())
	var all []*process
	for range 3 {
		store, err := mongo.Open(t.Context(), uri, database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		all = append(all, startProcess(t, store.Members()))
	}
	a, b, c := all[0], all[1], all[2]
	changed := make(chan struct{}, 100)
	for _, p := range all {
		p.Watch(func(*members.View) { changed <- struct{}{} })
	}
	until := func(what string, holds func() bool) time.Duration {
		t.Helper()
		began, deadline := time.Now(), time.After(2*time.Minute)
		for !holds() {
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("%s takes too long: %+v, %+v", what, a.View(), b.View())
			}
		}
		return time.Since(began)
	}
	sees := func(p *process, n int) bool {
		v := p.View()
		up := 0
		for i := range v.Members {
			if v.Members[i].Owns() {
				up++
			}
		}
		return up == n && len(v.Members) == n && p.Settled() == v.Version
	}
	until("seeing each other", func() bool { return sees(a, 3) && sees(b, 3) && sees(c, 3) })
	c.die()
	a.Suspect(c.config.Self.ID, members.Unreachable)
	b.Suspect(c.config.Self.ID, members.Unreachable)
	took := until("going on without it", func() bool { return sees(a, 2) && sees(b, 2) })
	t.Logf("after %s", took) // rules_test and simulation_test bound it, by a clock that a busy machine does not move
	if a.Fit() != nil || b.Fit() != nil {
		t.Errorf("those that are left: %v, %v", a.Fit(), b.Fit())
	}
	registry := prometheus.NewRegistry()
	if err := Register(registry, a.Service); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if values["stampede_members UP"] != 2 || values["stampede_members DOWN"] != 1 || values["stampede_membership_probes_total gone"] == 0 ||
		values["stampede_membership_lease_left_seconds"] <= 0 || values["stampede_membership_view_version"] != float64(a.View().Version) {
		t.Errorf("metrics: %v", values)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("being alone", func() bool { return sees(a, 1) })
}

func BenchmarkFit(b *testing.B) {
	var table memtable.Table
	s, err := Start(b.Context(), Config{
		Self: members.Member{ID: NewID(), Address: "host:1"}, Table: table.Connect(1), Logger: slog.New(slog.DiscardHandler),
		Probe: func(context.Context, members.Member) members.Finding { return members.Answers },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if s.Fit() != nil {
			b.Fatal("not fit")
		}
	}
}
