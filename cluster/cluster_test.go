package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/proto/gen/commonpb"
)

// account is a toy kind: a command adds its minor units, the reply is the sum.
// A currency of "BOOM" panics, "WAKE" sets a deadline that adds 1000.
type account struct {
	sum    int64
	wakeAt time.Time
}

func accounts() *entity.Kind[account, *commonpb.Money] {
	return &entity.Kind[account, *commonpb.Money]{
		Name: "account",
		New:  func(string) *account { return &account{} },
		Decide: func(s *account, cmd proto.Message, now time.Time, _ entity.Heard) entity.Decision[*commonpb.Money] {
			if _, tick := cmd.(*commonpb.Tick); tick {
				return entity.Decision[*commonpb.Money]{Events: []*commonpb.Money{{MinorUnits: 1000, Currency: "TICK"}}}
			}
			m := cmd.(*commonpb.Money)
			if m.Currency == "BOOM" {
				panic("boom")
			}
			if m.MinorUnits == 0 && m.Currency == "" {
				return entity.Decision[*commonpb.Money]{Reply: &commonpb.Money{MinorUnits: s.sum}}
			}
			return entity.Decision[*commonpb.Money]{Events: []*commonpb.Money{m}, Reply: &commonpb.Money{MinorUnits: s.sum + m.MinorUnits}}
		},
		Evolve: func(s *account, e *commonpb.Money) {
			s.sum += e.MinorUnits
			s.wakeAt = time.Time{}
			if e.Currency == "WAKE" {
				s.wakeAt = time.Now().Add(30 * time.Millisecond)
			}
		},
		WakeAt:   func(s *account) time.Time { return s.wakeAt },
		Glimpse:  sums(),
		NewEvent: func() *commonpb.Money { return &commonpb.Money{} },
		Snapshot: func(s *account) proto.Message { return &commonpb.Money{MinorUnits: s.sum} },
		Restore: func(_ string, b []byte) (*account, error) {
			var m commonpb.Money
			err := proto.Unmarshal(b, &m)
			return &account{sum: m.MinorUnits}, err
		},
	}
}

// disk is an entity.Log and entity.Store in memory, whose writes can be held
// back and can fail.
type disk struct {
	mu        sync.Mutex
	streams   map[string][]*entity.Record
	snapshots map[string]*entity.Snapshot
	held      []func()
	hold      bool
	fate      func(rec *entity.Record) error // nil: written
	writes    int
	delay     func() time.Duration // of a write; nil: none
}

func newDisk() *disk {
	return &disk{streams: map[string][]*entity.Record{}, snapshots: map[string]*entity.Snapshot{}}
}

func (d *disk) Commit(rec *entity.Record, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	write := func() {
		var err error
		if d.fate != nil {
			err = d.fate(rec)
		}
		if err == nil && uint64(len(d.streams[rec.Stream()]))+1 != rec.Seq {
			err = entity.ErrFenced
		}
		if err == nil {
			rec.Checksum = rec.Sum()
			d.streams[rec.Stream()] = append(d.streams[rec.Stream()], rec)
			d.writes++
		}
		go done(err)
	}
	if d.delay != nil {
		go func() {
			time.Sleep(d.delay()) //nolint:forbidigo // in a synctest bubble
			d.mu.Lock()
			defer d.mu.Unlock()
			write()
		}()
		return
	}
	if d.hold {
		d.held = append(d.held, write)
		return
	}
	write()
}

func (d *disk) Settle(context.Context, entity.Address) error { return nil }

func (d *disk) holdWrites() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = true
}

func (d *disk) heldWrites() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

func (d *disk) releaseWrites() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = false
	for _, w := range d.held {
		w()
	}
	d.held = nil
}

func (d *disk) setFate(f func(*entity.Record) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fate = f
}

func (d *disk) LoadSnapshot(_ context.Context, stream string) (*entity.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.snapshots[stream], nil
}

func (d *disk) SaveSnapshot(_ context.Context, s *entity.Snapshot) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.snapshots[s.Stream()] = s
	return nil
}

func (d *disk) ReadStream(_ context.Context, stream string, after uint64) iter.Seq2[*entity.Record, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := d.streams[stream]
	return func(yield func(*entity.Record, error) bool) {
		for _, r := range records {
			if r.Seq > after && !yield(r, nil) {
				return
			}
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

func startNode(t testing.TB, d *disk, change func(*entity.Limits, *cluster.Options)) *cluster.Node {
	limits, options := entity.DefaultLimits(), cluster.DefaultOptions()
	options.SweepEvery = 10 * time.Millisecond
	if change != nil {
		change(&limits, &options)
	}
	rt := &entity.Runtime{Log: d, Store: d, Clock: time.Now, Logger: quiet, Limits: limits}
	n := cluster.NewNode(quiet, []entity.Spawner{entity.Bind(rt, accounts())}, nil, options)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = n.Close(ctx) // tests that hold writes back leave actors with something to finish
	})
	return n
}

var alice = entity.Address{Kind: "account", ID: "alice"}

func add(n int64) *commonpb.Money { return &commonpb.Money{MinorUnits: n, Currency: "EUR"} }

func mustCall(t testing.TB, n *cluster.Node, cmd proto.Message) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := n.Call(ctx, alice, cmd)
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return reply.(*commonpb.Money).MinorUnits
}

func TestStateSurvivesPassivationAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, func(l *entity.Limits, o *cluster.Options) {
			o.PassivateAfter = 20 * time.Millisecond
			l.SnapshotOnPassivationRecords = 2
		})
		for i := range int64(5) {
			if got := mustCall(t, n, add(1)); got != i+1 {
				t.Fatalf("sum is %d after %d additions", got, i+1)
			}
		}
		eventually(t, "the idle actor to passivate", func() bool { return n.Active()["account"] == 0 })
		if got := mustCall(t, n, add(10)); got != 15 {
			t.Errorf("after passivation: %d, want 15", got)
		}
		if err := n.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := mustCall(t, startNode(t, d, nil), add(100)); got != 115 {
			t.Errorf("after a restart: %d, want 115", got)
		}
	})
}

// An answer leaves when what it has seen is durable: that of a read too.
func TestAnswersWaitForTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, nil)
		d.holdWrites()
		answers := make(chan string, 2)
		call := func(name string, cmd proto.Message) {
			reply, err := n.Call(t.Context(), alice, cmd)
			answers <- fmt.Sprintf("%s %d %v", name, reply.(*commonpb.Money).GetMinorUnits(), err)
		}
		go call("write", add(7))
		eventually(t, "the write to be under way", func() bool { return d.heldWrites() == 1 })
		go call("read", &commonpb.Money{})
		select {
		case a := <-answers:
			t.Fatalf("%s was answered before the write was durable", a)
		case <-time.After(50 * time.Millisecond):
		}
		d.releaseWrites()
		got := map[string]bool{<-answers: true, <-answers: true}
		if !got["write 7 <nil>"] || !got["read 7 <nil>"] {
			t.Errorf("answers: %v", got)
		}
	})
}

// While one record is being written, what is decided meanwhile goes into the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, nil)
		mustCall(t, n, add(1))
		d.holdWrites()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { mustCall(t, n, add(1)) })
		}
		eventually(t, "the first write", func() bool { return d.heldWrites() == 1 })
		synctest.Wait() // all have asked
		d.releaseWrites()
		wg.Wait()
		if got := mustCall(t, n, &commonpb.Money{}); got != 201 {
			t.Errorf("sum %d, want 201", got)
		}
		if d.writes > 20 {
			t.Errorf("%d writes for 201 commands", d.writes)
		}
	})
}

func TestFailedWrite(t *testing.T) {
	for _, fate := range []error{entity.ErrUnavailable, entity.ErrUnknownOutcome, entity.ErrFenced} {
		t.Run(fate.Error(), func(t *testing.T) {
			d := newDisk()
			n := startNode(t, d, nil)
			mustCall(t, n, add(1))
			failures := 2
			d.setFate(func(*entity.Record) error {
				if failures--; failures >= 0 {
					return fmt.Errorf("disk: %w", fate)
				}
				return nil
			})
			if got := mustCall(t, n, add(1)); got != 2 {
				t.Errorf("the request path gave %d, want 2", got)
			}
		})
	}
}

func TestStoreDownIsARetryableErrorWithinTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, nil)
		d.setFate(func(*entity.Record) error { return entity.ErrUnavailable })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := n.Call(ctx, alice, add(1))
		if !entity.Retryable(err) {
			t.Errorf("got %v, want a retryable error", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s with a deadline of 300ms", took)
		}
	})
}

func TestOverloadIsRefusedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, func(l *entity.Limits, _ *cluster.Options) { l.MaxUnanswered = 10 })
		d.holdWrites()
		refused := make(chan error, 100)
		for range 30 {
			go func() {
				if _, err := n.Call(t.Context(), alice, add(1)); err != nil {
					refused <- err
				}
			}()
		}
		for range 20 {
			select {
			case err := <-refused:
				if !errors.Is(err, entity.ErrOverloaded) {
					t.Fatalf("got %v", err)
				}
			case <-time.After(2 * time.Second):
				t.Fatal("an overloaded actor let its caller hang")
			}
		}
		d.releaseWrites()
		eventually(t, "the ten that were let in", func() bool {
			reply, err := n.Call(t.Context(), alice, &commonpb.Money{})
			return err == nil && reply.(*commonpb.Money).MinorUnits == 10
		})
	})
}

func TestCorruptJournalRefuses(t *testing.T) {
	damage := map[string]func(d *disk){
		"checksum": func(d *disk) { d.streams["account/alice"][1].Events[3] ^= 1 },
		"gap":      func(d *disk) { s := d.streams["account/alice"]; d.streams["account/alice"] = append(s[:1:1], s[2:]...) },
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			n := startNode(t, d, nil)
			for range 3 {
				mustCall(t, n, add(1))
			}
			if err := n.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			harm(d)
			n = startNode(t, d, nil)
			_, err := n.Call(t.Context(), alice, add(1))
			var corrupt *entity.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Stream != "account/alice" {
				t.Fatalf("got %v, want a CorruptError that names the stream", err)
			}
			if _, err := n.Call(t.Context(), entity.Address{Kind: "account", ID: "bob"}, add(1)); err != nil {
				t.Errorf("another actor: %v", err)
			}
		})
	}
}

func TestPanicEndsTheActivationOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(), nil)
		mustCall(t, n, add(5))
		if _, err := n.Call(t.Context(), alice, &commonpb.Money{Currency: "BOOM"}); err == nil || entity.Retryable(err) {
			t.Errorf("got %v, want an error that is not worth retrying", err)
		}
		if got := mustCall(t, n, add(1)); got != 6 {
			t.Errorf("after the panic: %d, want 6", got)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(), nil)
		mustCall(t, n, &commonpb.Money{MinorUnits: 1, Currency: "WAKE"})
		eventually(t, "the deadline", func() bool { return mustCall(t, n, &commonpb.Money{}) == 1001 })
	})
}

// A drained node answers everything that it accepted.
func TestDrainAnswersWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		n := startNode(t, d, nil)
		d.holdWrites()
		errs := make(chan error, 1)
		go func() {
			_, err := n.Call(t.Context(), alice, add(1))
			errs <- err
		}()
		eventually(t, "the write to be under way", func() bool { return d.heldWrites() == 1 })
		closed := make(chan error, 1)
		go func() { closed <- n.Close(t.Context()) }()
		select {
		case err := <-closed:
			t.Fatalf("drained with a write in flight: %v", err)
		case <-time.After(30 * time.Millisecond):
		}
		d.releaseWrites()
		if err := <-errs; err != nil {
			t.Errorf("an accepted request failed: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestUnknownKind(t *testing.T) {
	n := startNode(t, newDisk(), nil)
	if _, err := n.Call(t.Context(), entity.Address{Kind: "cat"}, add(1)); !errors.Is(err, entity.ErrUnknownKind) {
		t.Errorf("got %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // outside a bubble it polls real processes, with a deadline
	}
}

// BenchmarkCall is the request path with a log that writes at once.
func BenchmarkCall(b *testing.B) {
	n := startNode(b, newDisk(), nil)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mustCall(b, n, &commonpb.Money{})
		}
	})
}

// BenchmarkIdleActor reports the memory of one idle actor.
func BenchmarkIdleActor(b *testing.B) {
	n := startNode(b, newDisk(), func(_ *entity.Limits, o *cluster.Options) { o.SweepEvery = time.Hour })
	const actors = 50_000
	for round := range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range actors {
			if _, err := n.Call(b.Context(), entity.Address{Kind: "account", ID: fmt.Sprint(round, "-", i)}, &commonpb.Money{}); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/actors, "B/actor")
	}
}
