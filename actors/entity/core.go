// This file is one activation of one actor as a plain state machine: what it
// does with a request, a finished write, an answer to an ask, a deadline. It
// has no goroutine, lock, timer or actor system: those are its host's, so the
// simulation can be a host too.
package entity

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// host is what an activation stands on. None of the methods calls back into
// the core before it returns.
type host interface {
	now() time.Time
	// fit is nil while the node may decide: while no other node can be the owner.
	fit() error
	// commit writes the record; then core.committed(rec.Seq, err).
	commit(rec *Record)
	// ask puts the question, after the delay; then core.heard(ask.Key, …).
	ask(a Ask, trace string, after time.Duration)
	// wake sets the one timer; then core.tick(). Zero: none.
	wake(at time.Time)
	// gather calls core.gathered() when those who were just answered have had
	// their turn to ask again.
	gather()
	// retryCommit calls core.recommit() after the delay.
	retryCommit(after time.Duration)
	// resume calls core.resume() after the delay.
	resume(after time.Duration)
	// snapshot stores a state in the background.
	snapshot(s Snapshot, state proto.Message)
	// show lets readers have what Glimpse.Again makes of the reply, at any time
	// before until (zero: for ever). No more of them have it when hide returns.
	show(reply proto.Message, until time.Time)
	hide()
	// end ends the activation: no method of the core is called again but
	// receive, which refuses. A nil reason is a passivation.
	end(reason error)
	rand() *rand.Rand
}

// core is one activation of one actor.
//
// Invariants: the state is every event up to version. Events up to durable are
// in the journal; those of the batch flying are being written; those of the
// batch filling are not. At most one record is in flight. An answer leaves
// only when durable has reached the version that it was decided at.
type core[S any, E proto.Message] struct {
	kind   *Kind[S, E]
	addr   Address
	limits *Limits
	host   host

	state   *S
	version uint64
	durable uint64
	seq     uint64 // of the last record that is durable
	follows place  // of the last record that was recovered, until one of this activation follows it

	filling   *batch
	flying    *batch
	gathering bool // the batch being filled leaves with gathered

	unanswered int
	todo       []*call // to be decided before this message is done with
	deciding   *call
	changed    bool    // the state, since what waits was last decided
	waiting    []*call // parked until the state changes
	asks       map[string]*asking
	blocked    []*asking // asks that leave when what they rest on is durable
	follow     *call     // the follow-up under way: Pending's asks
	cause      string    // the trace of the command that the follow-ups come of
	stalled    int       // follow-ups in a row that changed nothing
	paused     bool      // no follow-up before resume or a change
	watchers   []watcher // kept aside until the version is above theirs

	wakeAt          time.Time
	notBefore       time.Time                    // no tick before: the last one was due and changed nothing
	idleTicks       int                          // of those in a row
	since           struct{ records, bytes int } // since the last snapshot
	last            int                          // bytes of the last snapshot
	snapshotVersion uint64                       // of the last snapshot; 0: none is known of

	shown     bool // readers have what glimpsed has shown
	draining  bool
	impatient bool  // draining, and not waiting for parked calls any more
	ended     error // why receive refuses; nil while alive
}

// call is a command that is being decided. to is nil when nobody waits; else
// it is answered by the deadline, or soon after.
type call struct {
	command  proto.Message
	trace    string
	to       Responder
	heard    Heard
	missing  int
	deadline time.Time
	followUp bool
	// acted: events followed from it, or it was answered by whom it asked.
	acted bool
}

func newCore[S any, E proto.Message](kind *Kind[S, E], addr Address, limits *Limits, h host) *core[S, E] {
	return &core[S, E]{kind: kind, addr: addr, limits: limits, host: h, state: kind.New(addr.ID)}
}

// begin goes on with what the recovered state implies.
func (c *core[S, E]) begin() {
	c.guard(c.settle)
}

// receive takes a request in.
func (c *core[S, E]) receive(req *Request) {
	if c.ended != nil {
		req.Answer.Answer(nil, c.ended)
		return
	}
	if c.draining {
		req.Answer.Answer(nil, ErrRetry)
		return
	}
	c.expire()
	if w, ok := req.Command.(*commonpb.Watch); ok {
		c.watch(req, w)
		return
	}
	if c.unanswered >= c.limits.MaxUnanswered {
		req.Answer.Answer(nil, fmt.Errorf("%w: %s has %d requests unanswered", ErrOverloaded, c.addr.Kind, c.unanswered))
		return
	}
	if c.full() {
		req.Answer.Answer(nil, fmt.Errorf("%w: %s has %d bytes waiting to be written", ErrOverloaded, c.addr.Kind, len(c.filling.events)))
		return
	}
	c.unanswered++
	c.todo = append(c.todo, &call{command: req.Command, trace: req.Trace, to: req.Answer, deadline: c.host.now().Add(c.limits.AskFor)})
	c.guard(c.settle)
}

// tick takes in that the moment set by wake has come.
func (c *core[S, E]) tick() {
	if c.ended != nil {
		return
	}
	c.wakeAt = time.Time{}
	c.guard(func() {
		if c.wakesWithin(0) {
			c.todo = append(c.todo, &call{command: &commonpb.Tick{}})
		} else { // it was for a watcher, or is early
			c.notBefore, c.idleTicks = time.Time{}, 0
		}
		c.settle()
	})
}

// decide lets the kind decide and does what it said.
func (c *core[S, E]) decide(k *call) {
	c.deciding = k
	if c.follow == k {
		c.follow = nil
	}
	d := c.kind.Decide(c.state, k.command, c.host.now(), k.heard)
	if len(d.Events) > 0 {
		k.acted = true
		if !c.apply(d.Events, k) {
			c.deciding = nil
			return
		}
	}
	switch {
	case k.to == nil:
		c.decided(k, d)
	case d.Reply != nil:
		c.reply(k, d.Reply)
		c.glimpsed(k.command, d.Reply)
	case len(d.Asks) > 0:
		c.converse(k, d.Asks)
	default:
		k.heard = nil
		c.waiting = append(c.waiting, k)
	}
	c.deciding = nil
}

// decided is decide's end for a command nobody waits for.
func (c *core[S, E]) decided(k *call, d Decision[E]) {
	if !k.followUp {
		c.ticked(len(d.Events) > 0)
		return
	}
	switch {
	case len(d.Events) > 0:
	case len(d.Asks) > 0:
		c.follow = k
		c.converse(k, d.Asks)
	default:
		// What was heard changed nothing and yet may still be pending: again, but not in a hot loop.
		c.stalled++
		c.paused = true
		c.host.resume(c.backoff(c.stalled, 20*time.Millisecond, 5*time.Second))
	}
}

// ticked notes what a tick led to. A kind that has nothing to do although its
// moment has come is not asked again in a hot loop.
func (c *core[S, E]) ticked(changed bool) {
	c.notBefore = time.Time{}
	now := c.host.now()
	if changed || c.kind.WakeAt == nil || c.kind.WakeAt(c.state).After(now) {
		c.idleTicks = 0
		return
	}
	c.idleTicks++
	c.notBefore = now.Add(c.backoff(c.idleTicks, 10*time.Millisecond, 5*time.Second))
}

// reply answers now if all that the answer has seen is durable, else with the
// record that makes it so.
func (c *core[S, E]) reply(k *call, reply proto.Message) {
	switch {
	case c.filling != nil:
		c.filling.answers = append(c.filling.answers, answer{k.to, reply})
	case c.flying != nil:
		c.flying.answers = append(c.flying.answers, answer{k.to, reply})
	default:
		c.unanswered--
		k.to.Answer(reply, nil)
	}
}
