package cluster_test

// These tests are of the moments at which requests, answers and whole actors
// could get lost: late answers, ends, drains, overload, a store in trouble.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/proto/gen/commonpb"
)

// chain is a kind whose every command asks the account alice for the same first.
func chain() *entity.Kind[account, *commonpb.Money] {
	k := accounts()
	k.Name = "chain"
	k.Pending = func(*account) []entity.Ask { return nil }
	k.Decide = func(s *account, cmd proto.Message, _ time.Time, heard entity.Heard) entity.Decision[*commonpb.Money] {
		m, ok := cmd.(*commonpb.Money)
		if !ok {
			return entity.Decision[*commonpb.Money]{}
		}
		if heard == nil {
			return entity.Decision[*commonpb.Money]{Asks: []entity.Ask{{Key: "k", Kind: "account", ID: "alice", Command: m}}}
		}
		return entity.Decision[*commonpb.Money]{Events: []*commonpb.Money{m}, Reply: heard["k"]}
	}
	return k
}

// late closes the circle between actors that ask and the node that carries it.
type late struct {
	cluster.Caller
	// first, if set, is what becomes of the first request that is sent the short way.
	first func(*entity.Request) bool
}

// Send implements entity.Sender.
func (l *late) Send(to entity.Address, req *entity.Request) bool {
	if f := l.first; f != nil {
		l.first = nil
		return f(req)
	}
	return l.Caller.(entity.Sender).Send(to, req)
}

// startChain starts a node with both kinds.
func startChain(t *testing.T, d *disk, store entity.Store, change func(*entity.Limits, *cluster.Options)) *cluster.Node {
	return startChainOver(t, &late{}, d, store, change)
}

func startChainOver(t *testing.T, caller *late, d *disk, store entity.Store, change func(*entity.Limits, *cluster.Options)) *cluster.Node {
	limits, options := entity.DefaultLimits(), cluster.DefaultOptions()
	options.SweepEvery = 10 * time.Millisecond
	if change != nil {
		change(&limits, &options)
	}
	rt := &entity.Runtime{Log: d, Store: store, Asker: caller, Clock: time.Now, Logger: quiet, Limits: limits}
	n := cluster.NewNode(quiet, []entity.Spawner{entity.Bind(rt, accounts()), entity.Bind(rt, chain())}, nil, options)
	caller.Caller = n
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = n.Close(ctx) // tests that hold writes back leave actors with something to finish
	})
	return n
}

// twice is an actor that answers each request a second time when the next one
// comes, as a network that repeats would.
type twice struct{ last *entity.Request }

func (a *twice) Receive(ctx actor.Context) {
	if req, ok := ctx.Message().(*entity.Request); ok {
		if a.last != nil {
			a.last.Answer.Answer(a.last.Command, nil)
		}
		a.last = req
		req.Answer.Answer(req.Command, nil)
	}
}

// Nobody gets another one's answer, however often and late answers come.
func TestSecondAnswersReachNobody(t *testing.T) {
	spawner := entity.Spawner{Kind: "twice", Props: func(string, func(), *entity.Window) *actor.Props {
		return actor.PropsFromProducer(func() actor.Actor { return &twice{} })
	}}
	n := cluster.NewNode(quiet, []entity.Spawner{spawner}, nil, cluster.DefaultOptions())
	for i := range int64(1000) {
		reply, err := n.Call(t.Context(), entity.Address{Kind: "twice", ID: "x"}, add(i))
		if got := reply.(*commonpb.Money).GetMinorUnits(); err != nil || got != i {
			t.Fatalf("call %d was answered %d, %v", i, got, err)
		}
	}
}

// The calls that a node carries cannot starve what they ask for themselves.
func TestAsksAreNotRefusedByTheirCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startChain(t, d, d, func(_ *entity.Limits, o *cluster.Options) { o.MaxInFlight = 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := n.Call(ctx, entity.Address{Kind: "chain", ID: "c"}, add(1)); err != nil {
			t.Error(err)
		}
	})
}

// Whatever becomes of an ask that was sent the short way, the long way asks
// again; an answer that comes late besides changes nothing.
func TestAsksThatAreLostAreAskedAgain(t *testing.T) {
	for name, first := range map[string]func(*entity.Request) bool{
		"not sent":      func(*entity.Request) bool { return false },
		"lost":          func(*entity.Request) bool { return true },
		"told to retry": func(r *entity.Request) bool { r.Answer.Answer(nil, entity.ErrRetry); return true },
		"answered twice": func(r *entity.Request) bool {
			r.Answer.Answer(nil, entity.ErrTimeout)
			r.Answer.Answer(add(99), nil)
			return true
		},
		"answered after it was said not to be sent": func(r *entity.Request) bool { r.Answer.Answer(nil, entity.ErrFenced); return false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				n := startChainOver(t, &late{first: first}, d, d, nil)
				began := time.Now()
				reply, err := n.Call(t.Context(), entity.Address{Kind: "chain", ID: "c"}, add(7))
				if err != nil || reply.(*commonpb.Money).GetMinorUnits() != 7 {
					t.Errorf("answered %v, %v", reply, err)
				}
				if took := time.Since(began); took > 1500*time.Millisecond {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A draining node finishes what it accepted, also when that takes a second
// actor, even one that is not in memory yet.
func TestDrainFinishesConversations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startChain(t, d, d, nil)
		d.holdWrites()
		errs := make(chan error, 1)
		go func() {
			_, err := n.Call(t.Context(), entity.Address{Kind: "chain", ID: "c"}, add(1))
			errs <- err
		}()
		eventually(t, "the asked actor to write", func() bool { return d.heldWrites() == 1 })
		closed := make(chan error, 1)
		go func() { closed <- n.Close(t.Context()) }()
		eventually(t, "the drain to begin", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := n.Call(ctx, entity.Address{Kind: "chain", ID: "new"}, add(1))
			return errors.Is(err, entity.ErrRetry)
		})
		d.releaseWrites()
		if err := <-errs; err != nil {
			t.Errorf("an accepted request failed: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A node that has drained says so at once: it will not come back.
func TestClosedNodeRefusesQuickly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(), nil)
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := n.Call(t.Context(), alice, add(1)); !errors.Is(err, entity.ErrRetry) || time.Since(start) > time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// What a drain that ran out of time leaves open is answered all the same.
func TestDrainOutOfTimeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, func(l *entity.Limits, o *cluster.Options) {
			l.StopFor, o.AttemptFor = 50*time.Millisecond, time.Minute
		})
		d.holdWrites()
		errs := make(chan error, 1)
		go func() {
			_, err := n.Call(t.Context(), alice, add(1))
			errs <- err
		}()
		eventually(t, "the write to be under way", func() bool { return d.heldWrites() == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := n.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		select {
		case err := <-errs:
			if !entity.Retryable(err) {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("a caller hangs")
		}
	})
}

// moody is a store whose reads fail as long as it is told to.
type moody struct {
	*disk
	down  atomic.Bool
	reads atomic.Int64
}

func (m *moody) ReadStream(ctx context.Context, stream string, after uint64) iter.Seq2[*entity.Record, error] {
	m.reads.Add(1)
	if m.down.Load() {
		return func(yield func(*entity.Record, error) bool) { yield(nil, errors.New("disk I/O error")) }
	}
	return m.disk.ReadStream(ctx, stream, after)
}

// A read that fails says nothing about the journal, whatever the driver calls it.
func TestFailedReadIsNoCorruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{disk: newDisk()}
		m.down.Store(true)
		n := startChain(t, m.disk, m, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		// What is given up may still be done later, so this asks for nothing to be done.
		if _, err := n.Call(ctx, alice, &commonpb.Money{}); !entity.Retryable(err) {
			t.Errorf("while reads fail: %v", err)
		}
		m.down.Store(false)
		if got := mustCall(t, n, add(1)); got != 1 {
			t.Errorf("then: %d", got)
		}
	})
}

// Actors beyond the bound are refused by name, and there is room again when
// others have passivated.
func TestActorsInMemoryAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, func(_ *entity.Limits, o *cluster.Options) {
			o.MaxActive, o.SweepEvery, o.PassivateAfter = 10, 300*time.Millisecond, time.Hour
		})
		refused := 0
		for i := range 40 {
			_, err := n.Call(t.Context(), entity.Address{Kind: "account", ID: fmt.Sprint(i)}, add(1))
			switch {
			case errors.Is(err, entity.ErrOverloaded):
				refused++
			case err != nil:
				t.Fatal(err)
			}
		}
		if active := n.Active()["account"]; active > 20 || refused == 0 {
			t.Errorf("%d actors in memory, %d refused", active, refused)
		}
		eventually(t, "room", func() bool {
			_, err := n.Call(t.Context(), entity.Address{Kind: "account", ID: "late"}, add(1))
			return err == nil
		})
	})
}

// due is a list of reminders that stays as it is.
type due []entity.Address

func (d due) Due(_ context.Context, _ time.Time, limit int) ([]entity.Address, error) {
	return d[:min(limit, len(d))], nil
}

// Reminders that nothing comes of do not hide the others.
func TestOldRemindersDoNotHideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, nil)
		var all due
		for i := range 1500 {
			all = append(all, entity.Address{Kind: "account", ID: fmt.Sprint(i)})
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go n.WakeDue(ctx, time.Now, all)
		eventually(t, "all to be woken", func() bool { return n.Active()["account"] == 1500 })
	})
}

// An actor that knows of nothing to do, though it is reminded, reads its journal again.
func TestReminderDoesNotKeepAnIdleActor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{disk: newDisk()}
		n := startChain(t, m.disk, m, func(_ *entity.Limits, o *cluster.Options) { o.PassivateAfter = 1200 * time.Millisecond })
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go n.WakeDue(ctx, time.Now, due{alice})
		eventually(t, "a second activation", func() bool { return m.reads.Load() >= 2 })
	})
}

// A deadline is noticed also when the clock was set, or the machine asleep:
// timers know nothing of it.
func TestDeadlineAfterAJumpOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		k := accounts()
		at := time.Now().Add(time.Hour)
		k.WakeAt = func(s *account) time.Time {
			if s.sum != 1 {
				return time.Time{}
			}
			return at
		}
		d := newDisk()
		rt := &entity.Runtime{Log: d, Store: d, Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, Logger: quiet, Limits: entity.DefaultLimits()}
		options := cluster.DefaultOptions()
		options.PassivateAfter = 24 * time.Hour
		n := cluster.NewNode(quiet, []entity.Spawner{entity.Bind(rt, k)}, nil, options)
		mustCall(t, n, add(1))
		time.Sleep(time.Minute)
		if got := mustCall(t, n, &commonpb.Money{}); got != 1 {
			t.Errorf("too early: %d", got)
		}
		ahead.Store(int64(time.Hour))
		time.Sleep(time.Minute)
		if got := mustCall(t, n, &commonpb.Money{}); got != 1001 {
			t.Errorf("a minute after the jump: %d", got)
		}
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// That the last attempt did nothing says nothing of one before it.
func TestADoubtfulAttemptIsNotForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		first   error
		unknown bool
	}{
		"its outcome is unknown": {entity.ErrUnknownOutcome, true},
		"it did nothing, either": {entity.ErrUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				n := startNode(t, d, nil)
				var writes atomic.Int64
				d.setFate(func(*entity.Record) error {
					if writes.Add(1) == 1 {
						return c.first
					}
					return entity.ErrUnavailable
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := n.Call(ctx, alice, add(1))
				if errors.Is(err, entity.ErrUnknownOutcome) != c.unknown || !errors.Is(err, entity.ErrUnavailable) || writes.Load() < 2 {
					t.Errorf("after %d writes: %v", writes.Load(), err)
				}
			})
		})
	}
}

// That there is no room does not pass while somebody waits: it is said at once,
// and only where it is certain that nothing was done.
func TestNoRoomIsSaidAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		first error
		told  error
		soon  bool
	}{
		"from the first":         {entity.ErrFull, entity.ErrFull, true},
		"after an unknown write": {entity.ErrUnknownOutcome, entity.ErrUnknownOutcome, false},
	} {
		for _, kind := range []string{"account", "chain"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDisk()
					n := startChain(t, d, d, nil)
					var writes atomic.Int64
					d.setFate(func(*entity.Record) error {
						if writes.Add(1) == 1 {
							return c.first
						}
						return entity.ErrFull
					})
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					began := time.Now()
					_, err := n.Call(ctx, entity.Address{Kind: kind, ID: "alice"}, add(1))
					if !errors.Is(err, c.told) && !errors.Is(err, entity.ErrTimeout) || c.soon != (time.Since(began) < 100*time.Millisecond && errors.Is(err, entity.ErrFull) && !errors.Is(err, entity.ErrUnknownOutcome)) {
						t.Errorf("after %s: %v", time.Since(began), err)
					}
				})
			})
		}
	}
}
