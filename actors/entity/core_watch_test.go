package entity

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"stampede/proto/gen/commonpb"
)

// watchable makes a till that can be looked at: commonpb.Continue is its Get.
func watchable(b *bench) {
	decide := b.kind.Decide
	b.kind.Decide = func(s *till, cmd proto.Message, now time.Time, heard Heard) Decision[*commonpb.Money] {
		if _, ok := cmd.(*commonpb.Continue); ok {
			return Decision[*commonpb.Money]{Reply: &commonpb.Money{MinorUnits: s.sum}}
		}
		return decide(s, cmd, now, heard)
	}
}

func (b *bench) watch(name string, after uint64, wait time.Duration) {
	b.t.Helper()
	get, err := anypb.New(&commonpb.Continue{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.answered[name] = nil
	b.core.receive(&Request{Command: &commonpb.Watch{AfterVersion: after, WaitMs: wait.Milliseconds(), Get: get}, Answer: noted{b, name}})
}

// unanswered fails when the request was answered.
func (b *bench) unanswered(name string) {
	b.t.Helper()
	if got := b.answered[name]; len(got) != 0 {
		b.t.Fatalf("%s was answered %v", name, got)
	}
}

// A watcher hears of a change when it is durable, and not before.
func TestWatchersHearWhatIsDurable(t *testing.T) {
	b := newBench(t, watchable)
	b.watch("w", 0, time.Minute)
	b.unanswered("w")
	b.receive("a", 5, "EUR")
	b.unanswered("w")
	b.written()
	b.only("a", nil)
	b.only("w", nil)
	b.core.gathered() // two were answered together

	// One that comes while something is being written hears of that, or of more.
	b.receive("b", 5, "EUR")
	b.watch("x", 1, time.Minute)
	b.receive("c", 5, "EUR")
	b.unanswered("x")
	b.written()
	b.unanswered("x") // decided with c, which is not durable yet
	b.written()
	b.only("x", nil)
	b.core.gathered()

	// One that is behind is answered at once.
	b.watch("y", 2, time.Minute)
	b.only("y", nil)
	// One that is not waits, also for a version that is far ahead.
	b.watch("z", 99, time.Minute)
	b.receive("d", 5, "EUR")
	b.written()
	b.unanswered("z")
	if b.core.unanswered != 0 {
		t.Errorf("%d unanswered: watchers are not counted", b.core.unanswered)
	}
}

// A watcher waits no longer than it said, and never longer than the bound.
func TestWatchersWaitNoLonger(t *testing.T) {
	b := newBench(t, watchable)
	start := b.clock
	b.watch("w", 0, 10*time.Second)
	b.watch("long", 0, 24*time.Hour)
	for _, want := range []struct {
		name  string
		after time.Duration
	}{{"w", 10 * time.Second}, {"long", b.limits.WatchFor}} {
		b.unanswered(want.name)
		if at := b.woken[len(b.woken)-1]; at.Sub(start) != want.after {
			t.Fatalf("%s: woken after %s, want %s", want.name, at.Sub(start), want.after)
		}
		b.clock = start.Add(want.after)
		b.core.tick()
		b.only(want.name, nil)
	}
	if len(b.records) != 0 {
		t.Errorf("watching wrote %d records", len(b.records))
	}
	if !b.core.wakeAt.IsZero() {
		t.Errorf("a timer is left for %s", b.core.wakeAt)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	b := newBench(t, func(b *bench) { watchable(b); b.limits.MaxWatchers = 2 })
	b.watch("a", 0, time.Minute)
	b.watch("b", 0, time.Minute)
	b.watch("c", 0, time.Minute)
	b.only("c", ErrOverloaded)
	b.receive("d", 1, "EUR")
	b.written()
	b.watch("e", 1, time.Minute)
	b.unanswered("e")
}

// Whoever watches an actor that ends asks again, wherever the actor is then.
func TestWatchersOfAnEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*bench)
		want error
	}{
		"drained":    {func(b *bench) { b.core.drain(false) }, ErrRetry},
		"failed":     {func(b *bench) { b.core.fail(ErrUnavailable) }, ErrRetry},
		"fenced":     {func(b *bench) { b.receive("a", 1, "EUR"); b.core.committed(1, ErrFenced) }, ErrFenced},
		"after that": {func(b *bench) { b.core.drain(false); b.watch("w", 0, time.Minute) }, ErrRetry},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, watchable)
			b.watch("w", 0, time.Minute)
			c.end(b)
			b.only("w", c.want)
			if len(b.ends) != 1 {
				t.Errorf("ended %v: it waits for its watchers", b.ends)
			}
		})
	}
}

// An actor with watchers stays in memory, and goes when they have gone.
func TestWatchersKeepAnActor(t *testing.T) {
	b := newBench(t, watchable)
	b.watch("w", 0, time.Second)
	if b.core.passivate() {
		t.Fatal("passivated under its watcher")
	}
	b.clock = b.clock.Add(time.Second)
	b.core.tick()
	b.only("w", nil)
	if !b.core.passivate() {
		t.Error("stays for a watcher that has gone")
	}
}

// What cannot be read is refused, and nothing is kept of it.
func TestWatchOfNothing(t *testing.T) {
	b := newBench(t, watchable)
	for _, get := range []*anypb.Any{nil, {TypeUrl: "type.googleapis.com/no.such.Message"}} {
		answered := 0
		b.core.receive(&Request{Command: &commonpb.Watch{Get: get}, Answer: respond(func(_ proto.Message, err error) {
			if answered++; err == nil {
				t.Errorf("%v was answered", get)
			}
		})})
		if answered != 1 || len(b.core.watchers) != 0 {
			t.Errorf("%v: %d answers, %d watchers", get, answered, len(b.core.watchers))
		}
	}
}

type respond func(proto.Message, error)

func (r respond) Answer(reply proto.Message, err error) { r(reply, err) }
