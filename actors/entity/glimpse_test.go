package entity

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// peeking makes "READ" a command of the till that changes nothing.
func peeking(b *bench) {
	decide := b.kind.Decide
	b.kind.Decide = func(s *till, cmd proto.Message, now time.Time, heard Heard) Decision[*commonpb.Money] {
		if cmd.(*commonpb.Money).GetCurrency() == "READ" {
			return Decision[*commonpb.Money]{Reply: &commonpb.Money{MinorUnits: s.sum}}
		}
		return decide(s, cmd, now, heard)
	}
	b.kind.Glimpse = &Glimpse{
		Reads: func(cmd proto.Message) bool { return cmd.(*commonpb.Money).GetCurrency() == "READ" },
		Again: func(before, _ proto.Message, _ time.Time) proto.Message { return before },
	}
}

func (b *bench) wantShown(when string, want int64) {
	b.t.Helper()
	got := int64(-1)
	if b.shown != nil {
		got = b.shown.(*commonpb.Money).GetMinorUnits()
	}
	if got != want {
		b.t.Errorf("%s: readers have %d, want %d (-1: nothing)", when, got, want)
	}
}

// What readers have is taken away before a change, and comes back when somebody
// reads what is durable.
func TestGlimpse(t *testing.T) {
	b := newBench(t, peeking)
	b.wantShown("nobody has read", -1)
	b.receive("r1", 0, "READ")
	b.wantShown("one has read", 0)
	b.receive("w1", 5, "")
	b.wantShown("a change is being written", -1)
	b.receive("r2", 0, "READ")
	b.wantShown("read while it is being written", -1)
	b.receive("w2", 2, "")
	b.written()
	b.only("r2", nil)
	b.wantShown("written, but what came meanwhile is not", -1)
	b.core.gathered()
	b.written()
	b.wantShown("all is written", -1)
	b.receive("r3", 0, "READ")
	b.wantShown("and read", 7)
	b.receive("r4", 0, "READ")
	b.wantShown("and read again", 7)
}

// What one was refused is not what another one reads: it is not shown, and does
// not keep the answer that somebody else gets from being.
func TestGlimpseOfARefusal(t *testing.T) {
	b := newBench(t, func(b *bench) {
		peeking(b)
		b.kind.Glimpse.Again = func(before, _ proto.Message, _ time.Time) proto.Message {
			if before.(*commonpb.Money).GetMinorUnits() == 0 {
				return nil
			}
			return before
		}
	})
	b.receive("a stranger", 0, "READ")
	b.wantShown("one was refused", -1)
	b.core.state.sum = 7
	b.receive("the owner", 0, "READ")
	b.wantShown("another one was answered", 7)
}

// Nothing is to be read of an activation that has ended or is about to, whatever ends it.
func TestGlimpseEnds(t *testing.T) {
	for name, end := range map[string]func(b *bench){
		"passivated":    func(b *bench) { b.core.passivate() },
		"drained":       func(b *bench) { b.core.drain(false) },
		"without lease": func(b *bench) { b.unfit = errors.New("lapsed"); b.receive("w", 1, "") },
		"write unknown": func(b *bench) { b.receive("w", 1, ""); b.core.committed(1, ErrUnknownOutcome) },
		"write fenced":  func(b *bench) { b.receive("w", 1, ""); b.core.committed(1, ErrFenced) },
		"kind panicking": func(b *bench) {
			b.core.kind.Evolve = func(*till, *commonpb.Money) { panic("boom") }
			b.receive("w", 1, "")
		},
		"too large": func(b *bench) { b.limits.MaxRecordBytes = 1; b.receive("w", 1, ""); b.core.drain(true) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, peeking)
			b.receive("r", 0, "READ")
			b.wantShown("before", 0)
			end(b)
			b.wantShown("after", -1)
			b.receive("late", 0, "READ")
			b.wantShown("and for one that comes late", -1)
		})
	}
}

// A window is blind without a lease, and from the moment on at which the actor
// has something to do.
func TestWindow(t *testing.T) {
	now, lapsed := time.UnixMilli(1000), error(nil)
	rt := &Runtime{Clock: func() time.Time { return now }, Fit: func() error { return lapsed }}
	kind := &Kind[till, *commonpb.Money]{Glimpse: &Glimpse{Again: func(before, _ proto.Message, now time.Time) proto.Message {
		return &commonpb.Money{MinorUnits: before.(*commonpb.Money).GetMinorUnits() + now.UnixMilli()}
	}}}
	var w Window
	a := &activation[till, *commonpb.Money]{rt: rt, kind: kind, window: &w}
	want := func(when string, sum int64) {
		t.Helper()
		got := int64(-1)
		if reply := w.Read(&commonpb.Money{}); reply != nil {
			got = reply.(*commonpb.Money).GetMinorUnits()
		}
		if got != sum {
			t.Errorf("%s: %d, want %d (-1: nothing)", when, got, sum)
		}
	}
	want("at first", -1)
	a.show(&commonpb.Money{MinorUnits: 10}, time.UnixMilli(2000))
	want("shown", 1010)
	now = time.UnixMilli(1999)
	want("just before the deadline", 2009)
	now = time.UnixMilli(2000)
	want("at the deadline", -1)
	a.show(&commonpb.Money{MinorUnits: 20}, time.Time{})
	want("without a deadline", 2020)
	lapsed = errors.New("lapsed")
	want("without a lease", -1)
	lapsed = nil
	want("with a lease again", 2020)
	a.hide()
	want("hidden", -1)
}
