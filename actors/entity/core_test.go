// These tests drive one activation by hand, message by message: what the
// simulation would meet too rarely, and what no kind does but could.
package entity

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// A kind that panics where nothing is being decided takes nobody's answer with it.
func TestPanicBesideADecision(t *testing.T) {
	boom := func() { panic("boom") }
	for name, c := range map[string]struct {
		change func(*bench)
		do     func(*bench)
	}{
		"snapshot of a record": {
			func(b *bench) {
				b.limits.SnapshotEveryRecords, b.limits.SnapshotEveryBytes = 1, 1
				b.kind.Snapshot = func(*till) proto.Message { boom(); return nil }
			},
			func(b *bench) { b.receive("a", 1, "EUR") },
		},
		"what a record wakes for": {
			func(b *bench) {
				b.kind.WakeAt = func(s *till) time.Time {
					if s.sum > 0 {
						boom()
					}
					return time.Time{}
				}
			},
			func(b *bench) { b.receive("a", 1, "EUR") },
		},
		"what a record leads to": {
			func(b *bench) {
				b.kind.Pending = func(s *till) []Ask {
					if s.sum > 0 {
						boom()
					}
					return nil
				}
			},
			func(b *bench) { b.receive("a", 1, "EUR") },
		},
		"passivation": {
			func(b *bench) {
				b.limits.SnapshotOnPassivationRecords = 0
				b.kind.Snapshot = func(*till) proto.Message { boom(); return nil }
			},
			func(b *bench) { b.core.passivate() },
		},
		"drain": {
			func(b *bench) {
				b.limits.SnapshotOnPassivationRecords = 0
				b.kind.Snapshot = func(*till) proto.Message { boom(); return nil }
			},
			func(b *bench) { b.core.drain(false) },
		},
		"an answer that does not come": {
			func(b *bench) {
				calls := 0
				b.kind.Pending = func(*till) []Ask {
					if calls++; calls > 1 {
						boom()
					}
					return []Ask{{Key: "k", Kind: "till", ID: "b"}}
				}
			},
			func(b *bench) { b.core.heard("k", nil, ErrTimeout) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.change)
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("the panic left the core: %v", v)
				}
			}()
			c.do(b)
			if len(b.ends) != 1 || b.ends[0] == nil {
				t.Errorf("ended %v", b.ends)
			}
			for request := range b.answered {
				b.only(request, ErrRetry)
			}
		})
	}
}

// A log that has no room is not waited for until the callers have gone.
func TestFullLogIsTold(t *testing.T) {
	b := newBench(t, nil)
	b.receive("a", 1, "EUR")
	for range 100 {
		if len(b.ends) > 0 {
			break
		}
		b.core.committed(1, ErrOverloaded)
		b.core.recommit()
	}
	b.only("a", ErrOverloaded)
	if b.retries == 0 || b.retries > 20 {
		t.Errorf("%d retries", b.retries)
	}
}

// A call that waits for a change is answered soon after its time, and does not
// take the place of others.
func TestParkedCallsExpire(t *testing.T) {
	b := newBench(t, func(b *bench) { b.limits.MaxUnanswered = 3 })
	for _, name := range []string{"a", "b", "c"} {
		b.receive(name, 1, "WAIT")
	}
	b.receive("d", 1, "EUR")
	b.only("d", ErrOverloaded)
	b.clock = b.clock.Add(b.limits.AskFor)
	b.receive("e", 1, "WAIT")
	for _, name := range []string{"a", "b", "c"} {
		b.only(name, ErrTimeout)
	}
	if b.core.passivate() {
		t.Error("passivated with a call waiting")
	}
	b.clock = b.clock.Add(b.limits.AskFor)
	if !b.core.passivate() {
		t.Error("a call that nobody waits for any more keeps the actor in memory")
	}
	b.only("e", ErrTimeout)
}

// A kind with a deadline behind it and nothing to do about it is not asked in a hot loop.
func TestIdleTicksBackOff(t *testing.T) {
	b := newBench(t, func(b *bench) { b.kind.WakeAt = func(*till) time.Time { return time.UnixMilli(1) } })
	start := b.clock
	for ticks := 0; b.clock.Sub(start) < time.Minute; ticks++ {
		if ticks > 100 {
			t.Fatalf("%d ticks in %s", ticks, b.clock.Sub(start))
		}
		if at := b.woken[len(b.woken)-1]; at.After(b.clock) {
			b.clock = at
		}
		b.core.tick()
	}
	// A tick that is early is no idle one.
	b.kind.WakeAt = func(*till) time.Time { return b.clock.Add(time.Millisecond) }
	b.core.tick()
	if at := b.woken[len(b.woken)-1]; at.Sub(b.clock) != time.Millisecond {
		t.Errorf("after an early tick the next one is %s later", at.Sub(b.clock))
	}
}

// What waited for a change is decided when there is one, and no more of it at
// once than fits a record.
func TestRecordsStayInTheirBounds(t *testing.T) {
	b := newBench(t, func(b *bench) { b.limits.MaxRecordBytes = 1000 })
	text := "WAIT" + strings.Repeat("x", 200)
	var names []string
	for i := range 50 {
		names = append(names, text[:10]+string(rune('a'+i)))
		b.receive(names[i], 1, text)
	}
	b.receive("a", 100, "EUR")
	for n := -1; n != len(b.records); {
		n = len(b.records)
		b.written()
	}
	for _, name := range names {
		b.only(name, nil)
	}
	for _, rec := range b.records {
		if len(rec.Events) > 2*b.limits.MaxRecordBytes {
			t.Errorf("record %d has %d bytes", rec.Seq, len(rec.Events))
		}
	}
	if b.core.unanswered != 0 || len(b.core.todo) != 0 {
		t.Errorf("%d unanswered, %d to do", b.core.unanswered, len(b.core.todo))
	}
}

// Whoever is asked and cannot be helped by asking again is not asked again.
func TestAskThatFailsForGood(t *testing.T) {
	b := newBench(t, nil)
	b.receive("a", 1, "ASK")
	b.core.heard("other", nil, &CorruptError{Stream: "till/other", Seq: 1, Reason: "damaged"})
	b.only("a", ErrCorrupt)
	if len(b.asked) != 1 || !b.core.idle() {
		t.Errorf("asked %d times, idle: %v", len(b.asked), b.core.idle())
	}
}

// That there is no room at whoever is asked is said at once, but only to a caller
// on whose behalf surely nothing has been done by anybody.
func TestNoRoomWhereItAsks(t *testing.T) {
	ask := func(keys ...string) (d Decision[*commonpb.Money]) {
		for _, key := range keys {
			d.Asks = append(d.Asks, Ask{Key: key, Kind: "till", ID: key})
		}
		return d
	}
	for name, c := range map[string]struct {
		decide func(heard Heard) Decision[*commonpb.Money]
		before func(*core[till, *commonpb.Money])
		failed error
		told   bool
	}{
		"at first":              {func(Heard) Decision[*commonpb.Money] { return ask("k") }, nil, ErrFull, true},
		"perhaps done":          {func(Heard) Decision[*commonpb.Money] { return ask("k") }, nil, errors.Join(ErrUnknownOutcome, ErrFull), false},
		"another may be done":   {func(Heard) Decision[*commonpb.Money] { return ask("k", "other") }, nil, ErrFull, false},
		"not the first attempt": {func(Heard) Decision[*commonpb.Money] { return ask("k") }, func(c *core[till, *commonpb.Money]) { c.heard("k", nil, ErrTimeout) }, ErrFull, false},
		"another was done": {func(heard Heard) Decision[*commonpb.Money] {
			if heard == nil {
				return ask("first")
			}
			return ask("first", "k")
		}, func(c *core[till, *commonpb.Money]) { c.heard("first", &commonpb.Money{}, nil) }, ErrFull, false},
		"after an event": {func(Heard) Decision[*commonpb.Money] {
			d := ask("k")
			d.Events = []*commonpb.Money{{MinorUnits: 1}}
			return d
		}, func(c *core[till, *commonpb.Money]) { c.committed(1, nil) }, ErrFull, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(b *bench) {
				b.kind.Decide = func(_ *till, _ proto.Message, _ time.Time, heard Heard) Decision[*commonpb.Money] {
					return c.decide(heard)
				}
			})
			b.receive("a", 1, "EUR")
			if c.before != nil {
				c.before(b.core)
			}
			b.core.heard("k", nil, c.failed)
			if c.told {
				b.only("a", ErrFull)
			} else if got := b.answered["a"]; len(got) > 0 {
				t.Errorf("it was told %v", got)
			}
		})
	}
}

// A draining activation finishes what it accepted, also what it has to ask for,
// but does not wait for others for ever.
func TestDrainFinishesWhatWasAccepted(t *testing.T) {
	b := newBench(t, nil)
	b.receive("a", 1, "ASK")
	b.core.drain(false)
	b.receive("b", 1, "EUR")
	b.only("b", ErrRetry)
	if len(b.ends) > 0 {
		t.Fatal("ended with a request unanswered")
	}
	b.core.heard("other", &commonpb.Money{}, nil)
	b.written()
	b.only("a", nil)
	if len(b.ends) != 1 || b.ends[0] != nil {
		t.Errorf("ended %v", b.ends)
	}

	b = newBench(t, nil)
	b.receive("a", 1, "ASK")
	b.receive("c", 1, "EUR")
	b.core.drain(false)
	b.core.drain(false)
	if len(b.ends) > 0 {
		t.Fatal("ended with a write under way")
	}
	b.written()
	b.only("a", ErrRetry)
	b.only("c", nil)
	if len(b.ends) != 1 {
		t.Errorf("ended %v", b.ends)
	}
}

// Follow-ups go on during a drain only for those who wait for them.
func TestDrainAndFollowUps(t *testing.T) {
	pending := func(b *bench) {
		b.kind.Pending = func(*till) []Ask { return []Ask{{Key: "k", Kind: "till", ID: "b"}} }
	}
	b := newBench(t, pending)
	b.core.drain(false)
	if len(b.ends) != 1 {
		t.Error("an activation nobody waits for stays for its follow-up: its successor has it too")
	}
	b = newBench(t, pending)
	b.receive("a", 1, "WAIT")
	b.core.drain(false)
	if len(b.ends) != 0 || len(b.asked) != 1 {
		t.Errorf("ended %v, asked %d times", b.ends, len(b.asked))
	}
}

// An idle activation has nothing left of its conversations.
func TestIdleActivationKeepsNothing(t *testing.T) {
	b := newBench(t, func(b *bench) { b.kind.Pending = func(*till) []Ask { return []Ask{} } })
	b.receive("a", 1, "ASK")
	b.core.heard("other", &commonpb.Money{}, nil)
	b.written()
	if b.core.asks != nil {
		t.Error("an empty map of asks is kept")
	}
	if rec := b.records[0]; rec.WakeAtMs != 0 {
		t.Errorf("an empty list of follow-ups is a reminder at %d", rec.WakeAtMs)
	}
	if !b.core.passivate() {
		t.Error("an empty list of follow-ups keeps the actor in memory")
	}
}

// An unfit node answers neither reads nor writes, whatever they were waiting
// for; only what was written before tells its callers so.
func TestUnfitNodeDecidesNothing(t *testing.T) {
	lapsed := errors.New("lease lapsed")
	for name, c := range map[string]struct {
		before, after func(*bench)
		refused       []string
	}{
		"a write":    {func(*bench) {}, func(b *bench) { b.receive("a", 1, "EUR") }, []string{"a"}},
		"a deadline": {func(*bench) {}, func(b *bench) { b.core.tick() }, nil},
		"what waited for a change": {
			func(b *bench) { b.receive("a", 1, "WAIT") }, func(b *bench) { b.receive("b", 200, "EUR") }, []string{"a", "b"},
		},
		"what waited for an answer": {
			func(b *bench) { b.receive("a", 1, "ASK") }, func(b *bench) { b.core.heard("other", &commonpb.Money{}, nil) }, []string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			c.before(b)
			b.unfit = lapsed
			c.after(b)
			for _, name := range c.refused {
				b.only(name, ErrUnavailable)
				b.only(name, lapsed)
			}
			if len(b.records) != 0 || len(b.ends) != 1 || !errors.Is(b.ends[0], lapsed) {
				t.Errorf("%d records, ends %v", len(b.records), b.ends)
			}
		})
	}
}

// A write in flight when the node becomes unfit is answered with what became
// of it; what was decided meanwhile is not written any more.
func TestUnfitWithAWriteInFlight(t *testing.T) {
	b := newBench(t, nil)
	b.receive("flying", 1, "EUR")
	b.receive("filling", 1, "EUR")
	b.unfit = errors.New("lease lapsed")
	b.receive("late", 1, "EUR")
	b.only("late", ErrUnavailable)
	if len(b.ends) != 0 {
		t.Fatal("it ended with a write in flight")
	}
	b.written()
	b.only("flying", nil)
	b.only("filling", ErrUnavailable)
	if len(b.records) != 1 || len(b.ends) != 1 {
		t.Errorf("%d records, ends %v", len(b.records), b.ends)
	}
}

// An actor that another node waits for does not wait for others.
func TestDrainInAHurry(t *testing.T) {
	b := newBench(t, nil)
	b.receive("parked", 1, "WAIT")
	b.receive("asking", 1, "ASK")
	b.receive("written", 1, "EUR")
	b.core.drain(true)
	if len(b.ends) != 0 {
		t.Fatal("it left without its write")
	}
	b.written()
	b.only("written", nil)
	b.only("parked", ErrRetry)
	b.only("asking", ErrRetry)
	if len(b.ends) != 1 || b.ends[0] != nil {
		t.Errorf("ends %v", b.ends)
	}
}

// What a state leads to is traced to the command that led to the state: in the
// asks, in their events, and after a recovery.
func TestFollowUpsAreTracedToTheirCause(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	settling := func(b *bench) {
		b.kind.Pending = func(s *till) []Ask {
			if s.sum > 0 {
				return []Ask{{Key: "settle", Kind: "till", ID: "other"}}
			}
			return nil
		}
		decide := b.kind.Decide
		b.kind.Decide = func(s *till, cmd proto.Message, now time.Time, heard Heard) Decision[*commonpb.Money] {
			if _, ok := cmd.(*commonpb.Continue); ok {
				return Decision[*commonpb.Money]{Events: []*commonpb.Money{{MinorUnits: -s.sum}}}
			}
			return decide(s, cmd, now, heard)
		}
	}
	b := newBench(t, settling)
	b.core.receive(&Request{Command: &commonpb.Money{MinorUnits: 5}, Trace: trace, Answer: noted{b, "a"}})
	b.written()

	again := newBench(t, settling)
	recovered := newCore(again.kind, again.core.addr, &again.limits, host(again))
	b.records[0].Checksum = b.records[0].Sum()
	if err := recovered.replay(b.records[0]); err != nil {
		t.Fatal(err)
	}
	recovered.durable = recovered.version
	recovered.begin()

	for name, on := range map[string]struct {
		b *bench
		c *core[till, *commonpb.Money]
	}{"asked at once": {b, b.core}, "asked after a recovery": {again, recovered}} {
		if len(on.b.traces) != 1 || on.b.traces[0] != trace {
			t.Fatalf("%s: traces %q", name, on.b.traces)
		}
		on.c.heard("settle", &commonpb.Money{}, nil)
		record := on.b.records[len(on.b.records)-1]
		err := EachEvent(record.Events, func(_, got []byte) error {
			if string(got) != trace {
				t.Errorf("%s: the event's trace is %q", name, got)
			}
			return nil
		})
		if err != nil || record.Seq != 2 {
			t.Errorf("%s: record %d, %v", name, record.Seq, err)
		}
		on.c.committed(record.Seq, nil)
		if on.c.cause != "" {
			t.Errorf("%s: an idle activation keeps %q", name, on.c.cause)
		}
	}
}
