package entity

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
)

// TestHost is host for tests outside the package.
type TestHost interface {
	Now() time.Time
	Commit(rec *Record)
	Ask(a Ask, trace string, after time.Duration)
	Wake(at time.Time)
	After(d time.Duration, do func())
	Snapshot(s *Snapshot)
	End(reason error)
	// Hides is false for a host that breaks the rule that hide is.
	Hides() bool
	Rand() *rand.Rand
}

// TestCore is one activation for tests outside the package.
type TestCore struct {
	Recover   func(ctx context.Context, store Store) error
	Begin     func()
	Receive   func(*Request)
	Committed func(seq uint64, err error)
	Heard     func(key string, reply proto.Message, err error)
	Tick      func()
	Passivate func() bool
	Drain     func()
	State     func() proto.Message
	Version   func() uint64
	Durable   func() uint64
	// Glimpse is what readers are answered without a turn of the actor, or nil, and
	// Decided what the kind would answer in the same moment; nil where it would not.
	Glimpse func(cmd proto.Message) proto.Message
	Decided func(cmd proto.Message) proto.Message
}

type hostAdapter struct {
	TestHost
	recommitF, resumeF, gatheredF func()

	shown proto.Message
	until time.Time
}

func (h *hostAdapter) now() time.Time                               { return h.Now() }
func (h *hostAdapter) fit() error                                   { return nil }
func (h *hostAdapter) commit(rec *Record)                           { h.Commit(rec) }
func (h *hostAdapter) ask(a Ask, trace string, after time.Duration) { h.Ask(a, trace, after) }
func (h *hostAdapter) wake(at time.Time)                            { h.Wake(at) }
func (h *hostAdapter) gather()                                      { h.After(0, h.gatheredF) }
func (h *hostAdapter) retryCommit(after time.Duration)              { h.After(after, h.recommitF) }
func (h *hostAdapter) resume(after time.Duration)                   { h.After(after, h.resumeF) }
func (h *hostAdapter) end(reason error)                             { h.End(reason) }
func (h *hostAdapter) show(r proto.Message, until time.Time)        { h.shown, h.until = r, until }
func (h *hostAdapter) rand() *rand.Rand                             { return h.Rand() }

func (h *hostAdapter) hide() {
	if h.Hides() {
		h.shown = nil
	}
}

func (h *hostAdapter) snapshot(s Snapshot, state proto.Message) {
	var err error
	if s.State, err = proto.Marshal(state); err != nil {
		panic(err)
	}
	s.Checksum = s.Sum()
	h.Snapshot(&s)
}

// NewTestCore makes an activation on the host.
func NewTestCore[S any, E proto.Message](kind *Kind[S, E], addr Address, limits *Limits, h TestHost) *TestCore {
	a := &hostAdapter{TestHost: h}
	c := newCore(kind, addr, limits, host(a))
	a.recommitF, a.resumeF, a.gatheredF = c.recommit, c.resume, c.gathered
	return &TestCore{
		Recover: func(ctx context.Context, store Store) error { return c.recoverFrom(ctx, store) },
		Begin:   c.begin, Receive: c.receive, Committed: c.committed, Heard: c.heard, Tick: c.tick, Passivate: c.passivate, Drain: func() { c.drain(false) },
		State:   func() proto.Message { return kind.Snapshot(c.state) },
		Version: func() uint64 { return c.version },
		Durable: func() uint64 { return c.durable },
		Glimpse: func(cmd proto.Message) proto.Message {
			if a.shown == nil || !a.until.IsZero() && !h.Now().Before(a.until) {
				return nil
			}
			return kind.Glimpse.Again(a.shown, cmd, h.Now())
		},
		Decided: func(cmd proto.Message) proto.Message {
			if c.version != c.durable || c.ended != nil {
				return nil
			}
			d := kind.Decide(c.state, cmd, h.Now(), nil)
			if len(d.Events) > 0 {
				return nil
			}
			return d.Reply
		},
	}
}
