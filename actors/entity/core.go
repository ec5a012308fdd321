// This file is one activation of one actor as a plain state machine: what it
// does with a request, a finished write, an answer to an ask, a deadline. It
// has no goroutine, lock, timer or actor system: those are its host's, so the
// simulation can be a host too.
package entity

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// host is what an activation stands on. None of the methods calls back into
// the core before it returns.
type host interface {
	now() time.Time
	// commit writes the record; then core.committed(rec.Seq, err).
	commit(rec *Record)
	// ask puts the question, after the delay; then core.heard(ask.Key, …).
	ask(a Ask, trace string, after time.Duration)
	// wake sets the one timer; then core.tick(). Zero: none.
	wake(at time.Time)
	// retryCommit calls core.recommit() after the delay.
	retryCommit(after time.Duration)
	// resume calls core.resume() after the delay.
	resume(after time.Duration)
	// snapshot stores a state in the background.
	snapshot(s Snapshot, state proto.Message)
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

	filling *batch
	flying  *batch

	unanswered int
	todo       []*call // to be decided before this message is done with
	deciding   *call
	changed    bool    // the state, since what waits was last decided
	waiting    []*call // parked until the state changes
	asks       map[string]*asking
	blocked    []*asking // asks that leave when what they rest on is durable
	follow     *call     // the follow-up under way: Pending's asks
	stalled    int       // follow-ups in a row that changed nothing
	paused     bool      // no follow-up before resume or a change

	wakeAt time.Time
	since  struct{ records, bytes int } // since the last snapshot
	last   int                          // bytes of the last snapshot

	draining bool
	ended    error // why receive refuses; nil while alive
}

// batch is what goes into one record, and the answers that rest on it.
type batch struct {
	events  []byte // journalpb.Batch, being appended to
	count   int
	answers []answer
	record  *Record
	retries int
	// snapshot is the state right after the batch, when one is due.
	snapshot proto.Message
}

type answer struct {
	to    Responder
	reply proto.Message
}

// call is a command that is being decided. to is nil when nobody waits.
type call struct {
	command  proto.Message
	trace    string
	to       Responder
	heard    Heard
	missing  int
	deadline time.Time
	followUp bool
}

// asking is one ask under way and the calls that wait for it.
type asking struct {
	ask     Ask
	trace   string
	calls   []*call
	version uint64 // leaves when durable has reached it
	tries   int
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
	if c.unanswered >= c.limits.MaxUnanswered {
		req.Answer.Answer(nil, fmt.Errorf("%w: %s has %d requests unanswered", ErrOverloaded, c.addr.Kind, c.unanswered))
		return
	}
	if c.filling != nil && len(c.filling.events) >= c.limits.MaxRecordBytes {
		req.Answer.Answer(nil, fmt.Errorf("%w: %s has %d bytes waiting to be written", ErrOverloaded, c.addr.Kind, len(c.filling.events)))
		return
	}
	c.unanswered++
	k := &call{command: req.Command, trace: req.Trace, to: req.Answer}
	c.todo = append(c.todo, k)
	c.guard(c.settle)
}

// committed takes in that the record in flight is durable, or is not.
func (c *core[S, E]) committed(seq uint64, err error) {
	if c.ended != nil || c.flying == nil || c.flying.record.Seq != seq {
		return
	}
	if errors.Is(err, ErrOverloaded) {
		// Surely not written, and nobody else is ahead of us: it may go again.
		c.flying.retries++
		c.host.retryCommit(c.backoff(c.flying.retries, 2*time.Millisecond, 100*time.Millisecond))
		return
	}
	if err != nil {
		c.fail(err)
		return
	}
	done := c.flying
	c.flying = nil
	c.seq = done.record.Seq
	c.durable = done.record.LastVersion
	c.since.records++
	c.since.bytes += len(done.record.Events)
	if done.snapshot != nil {
		c.saveSnapshot(done.snapshot)
	}
	c.unanswered -= len(done.answers)
	for _, a := range done.answers {
		a.to.Answer(a.reply, nil)
	}
	c.release()
	c.guard(c.settle)
	c.maybeDrained()
}

// recommit sends the record in flight again, after ErrOverloaded.
func (c *core[S, E]) recommit() {
	if c.ended == nil && c.flying != nil {
		c.host.commit(c.flying.record)
	}
}

// heard takes in the answer to an ask, or that there was none.
func (c *core[S, E]) heard(key string, reply proto.Message, err error) {
	q := c.asks[key]
	if c.ended != nil || q == nil {
		return
	}
	if err != nil {
		c.unheard(q, err)
		return
	}
	delete(c.asks, key)
	for _, k := range q.calls {
		if k.heard == nil {
			k.heard = Heard{}
		}
		k.heard[key] = reply
		if k.missing--; k.missing == 0 {
			c.todo = append(c.todo, k)
		}
	}
	c.guard(c.settle)
	c.maybeDrained()
}

// unheard lets go of the calls that have waited long enough, and of a follow-up
// that the state no longer implies, and asks again for the others.
func (c *core[S, E]) unheard(q *asking, err error) {
	now := c.host.now()
	kept := q.calls[:0]
	for _, k := range q.calls {
		if k.to != nil && !now.Before(k.deadline) {
			c.unanswered--
			k.to.Answer(nil, fmt.Errorf("%w: %s did not answer: %w", ErrTimeout, q.ask.Kind, err))
			k.to = nil
			continue
		}
		if k.followUp && !c.implied(q.ask.Key) {
			if c.follow == k {
				c.follow = nil
			}
			continue
		}
		if k.to != nil || k.followUp {
			kept = append(kept, k)
		}
	}
	q.calls = kept
	if len(kept) == 0 {
		delete(c.asks, q.ask.Key)
		c.guard(c.settle)
		c.maybeDrained()
		return
	}
	q.tries++
	c.host.ask(q.ask, q.trace, c.backoff(q.tries, 20*time.Millisecond, 5*time.Second))
}

// tick takes in that the moment set by wake has come.
func (c *core[S, E]) tick() {
	if c.ended != nil {
		return
	}
	c.wakeAt = time.Time{}
	c.todo = append(c.todo, &call{command: &commonpb.Tick{}})
	c.guard(c.settle)
}

// resume tries a follow-up again that had changed nothing.
func (c *core[S, E]) resume() {
	if c.ended != nil {
		return
	}
	c.paused = false
	c.guard(c.settle)
}

// passivate ends the activation if there is nothing it would lose or delay.
func (c *core[S, E]) passivate() bool {
	if c.ended != nil {
		return true
	}
	if !c.idle() || c.pending() != nil {
		return false
	}
	if c.kind.WakeAt != nil {
		if at := c.kind.WakeAt(c.state); !at.IsZero() && at.Sub(c.host.now()) < c.limits.KeepBefore {
			return false
		}
	}
	if c.since.records >= c.limits.SnapshotOnPassivationRecords {
		c.saveSnapshot(c.kind.Snapshot(c.state))
	}
	c.finish(nil)
	return true
}

// drain finishes what is decided or asked and ends the activation then.
func (c *core[S, E]) drain() {
	if c.ended == nil {
		c.draining = true
		c.maybeDrained()
	}
}

func (c *core[S, E]) maybeDrained() {
	if c.draining && c.ended == nil && c.flying == nil && c.filling == nil {
		if c.since.records >= c.limits.SnapshotOnPassivationRecords {
			c.saveSnapshot(c.kind.Snapshot(c.state))
		}
		c.finish(nil)
	}
}

func (c *core[S, E]) idle() bool {
	return c.flying == nil && c.filling == nil && c.unanswered == 0 && len(c.asks) == 0 && c.follow == nil
}

// decide lets the kind decide and does what it said.
func (c *core[S, E]) decide(k *call) {
	c.deciding = k
	if c.follow == k {
		c.follow = nil
	}
	d := c.kind.Decide(c.state, k.command, c.host.now(), k.heard)
	if len(d.Events) > 0 {
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

// apply marshals the events into the batch being filled and evolves the state.
// It reports false when the decision cannot be stored at all: the caller was
// told, and nothing was changed.
func (c *core[S, E]) apply(events []E, k *call) bool {
	if c.filling == nil {
		c.filling = &batch{}
	}
	b := c.filling
	before := len(b.events)
	for _, e := range events {
		var err error
		if b.events, err = appendEntry(b.events, e, k.trace); err != nil {
			panic(fmt.Sprintf("marshal %T: %v", e, err))
		}
	}
	if size := len(b.events) - before; size > c.limits.MaxRecordBytes {
		b.events = b.events[:before]
		if b.count == 0 && len(b.answers) == 0 {
			c.filling = nil
		}
		err := fmt.Errorf("%w: %d bytes of events, at most %d", ErrTooLarge, size, c.limits.MaxRecordBytes)
		if k.to == nil {
			c.fail(err)
			return false
		}
		c.unanswered--
		k.to.Answer(nil, err)
		return false
	}
	for _, e := range events {
		c.kind.Evolve(c.state, e)
	}
	b.count += len(events)
	c.version += uint64(len(events))
	c.changed, c.paused, c.stalled = true, false, 0
	return true
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

// converse asks what the call needs to hear before it can be decided.
func (c *core[S, E]) converse(k *call, asks []Ask) {
	if k.deadline.IsZero() {
		k.deadline = c.host.now().Add(c.limits.AskFor)
	}
	k.missing = 0
	for _, a := range asks {
		if _, ok := k.heard[a.Key]; ok {
			continue
		}
		k.missing++
		if q := c.asks[a.Key]; q != nil {
			q.calls = append(q.calls, k)
			continue
		}
		q := &asking{ask: a, trace: k.trace, calls: []*call{k}, version: c.version}
		if c.asks == nil {
			c.asks = map[string]*asking{}
		}
		c.asks[a.Key] = q
		if q.version > c.durable {
			c.blocked = append(c.blocked, q)
		} else {
			c.host.ask(a, k.trace, 0)
		}
	}
	if k.missing == 0 {
		panic(fmt.Sprintf("%T asks only what it has heard", k.command))
	}
}

// release lets the asks leave that waited for a write.
func (c *core[S, E]) release() {
	kept := c.blocked[:0]
	for _, q := range c.blocked {
		if q.version > c.durable {
			kept = append(kept, q)
			continue
		}
		c.host.ask(q.ask, q.trace, 0)
	}
	c.blocked = kept
}

// settle ends the handling of one message: what is to be decided is decided,
// then, on the changed state, what waited for a change; the next record leaves,
// follow-ups start, the timer is set.
func (c *core[S, E]) settle() {
	for c.ended == nil {
		if len(c.todo) > 0 {
			k := c.todo[0]
			c.todo = c.todo[1:]
			c.decide(k)
			continue
		}
		if !c.changed || len(c.waiting) == 0 {
			break
		}
		c.changed = false
		c.todo, c.waiting = c.waiting, nil
	}
	c.todo, c.changed = nil, false
	if c.ended != nil {
		return
	}
	c.flush()
	if c.flying == nil {
		c.followUp()
	}
	c.rearm()
}

// flush sends the batch being filled if none is in flight.
func (c *core[S, E]) flush() {
	if c.flying != nil || c.filling == nil {
		return
	}
	b := c.filling
	c.filling = nil
	b.record = &Record{
		Kind: c.addr.Kind, ID: c.addr.ID,
		Seq:          c.seq + 1,
		FirstVersion: c.durable + 1,
		LastVersion:  c.version,
		WakeAtMs:     c.wakeAtMs(),
		Events:       b.events,
	}
	if c.snapshotDue(len(b.events)) {
		b.snapshot = c.kind.Snapshot(c.state)
	}
	c.flying = b
	c.host.commit(b.record)
}

func (c *core[S, E]) wakeAtMs() int64 {
	if c.pending() != nil {
		return c.host.now().UnixMilli()
	}
	if c.kind.WakeAt != nil {
		if at := c.kind.WakeAt(c.state); !at.IsZero() {
			return at.UnixMilli()
		}
	}
	return 0
}

func (c *core[S, E]) pending() []Ask {
	if c.kind.Pending == nil {
		return nil
	}
	return c.kind.Pending(c.state)
}

// followUp asks what the state implies, when the state is durable and no other
// follow-up is under way.
func (c *core[S, E]) followUp() {
	if c.follow != nil || c.paused || c.durable != c.version || c.draining {
		return
	}
	asks := c.pending()
	if len(asks) == 0 {
		return
	}
	c.follow = &call{command: &commonpb.Continue{}, followUp: true}
	c.converse(c.follow, asks)
}

// implied reports whether the state still implies the ask.
func (c *core[S, E]) implied(key string) bool {
	for _, a := range c.pending() {
		if a.Key == key {
			return true
		}
	}
	return false
}

// rearm sets the timer to what the state now says.
func (c *core[S, E]) rearm() {
	if c.kind.WakeAt == nil {
		return
	}
	if at := c.kind.WakeAt(c.state); !at.Equal(c.wakeAt) {
		c.wakeAt = at
		c.host.wake(at)
	}
}

func (c *core[S, E]) snapshotDue(next int) bool {
	bytes := c.since.bytes + next
	return c.since.records+1 >= c.limits.SnapshotEveryRecords && bytes >= c.limits.SnapshotEveryBytes && bytes >= c.last
}

// saveSnapshot stores the state as of the last durable record.
func (c *core[S, E]) saveSnapshot(state proto.Message) {
	c.last = proto.Size(state)
	c.since.records, c.since.bytes = 0, 0
	c.host.snapshot(Snapshot{Kind: c.addr.Kind, ID: c.addr.ID, Seq: c.seq, Version: c.durable}, state)
}

// fail ends the activation: what it has in memory is not the truth any more.
// Callers whose command was not written are told so and may send it again.
func (c *core[S, E]) fail(err error) {
	if c.ended != nil {
		return
	}
	c.finish(err)
}

// finish answers everyone and ends. After it only receive is called, and refuses.
func (c *core[S, E]) finish(err error) {
	why := err
	if why == nil {
		why = ErrRetry
	}
	c.ended = why
	if !errors.Is(err, ErrCorrupt) {
		c.ended = ErrRetry
	}
	unwritten := why
	var p *panicError
	if errors.As(err, &p) {
		unwritten = ErrRetry
	}
	for _, b := range []*batch{c.flying, c.filling} {
		if b == nil {
			continue
		}
		for _, a := range b.answers {
			a.to.Answer(nil, unwritten)
		}
	}
	for _, k := range append(c.waiting, c.todo...) {
		k.refuse(ErrRetry)
	}
	for _, q := range c.asks {
		for _, k := range q.calls {
			k.refuse(ErrRetry)
		}
	}
	if c.deciding != nil {
		c.deciding.refuse(why)
	}
	c.flying, c.filling, c.waiting, c.todo, c.asks, c.blocked, c.follow, c.deciding = nil, nil, nil, nil, nil, nil, nil, nil
	c.unanswered = 0
	c.host.end(err)
}

// refuse answers the call with an error, once.
func (k *call) refuse(err error) {
	if k.to != nil {
		k.to.Answer(nil, err)
		k.to = nil
	}
}

// panicError is a kind's panic: a defect, or a state that cannot be. Whoever
// sent the command that caused it is told so; everyone else may retry.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("actor panicked: %v", e.value) }

// guard turns a panic of the kind into the end of the activation: the state in
// memory may be half changed, the journal is not.
func (c *core[S, E]) guard(do func()) {
	defer func() {
		if v := recover(); v != nil {
			c.fail(&panicError{v, debug.Stack()})
		}
	}()
	do()
}

// backoff is a jittered exponential delay: the n-th try waits between a half
// and the whole of min(first·2^(n-1), most).
func (c *core[S, E]) backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if shift := n - 1; shift < 20 && first<<shift < most {
		d = first << shift
	}
	return d/2 + time.Duration(c.host.rand().Int64N(int64(d/2)+1))
}

// appendEntry appends one journalpb.Batch entry: field 1 of Batch, whose
// content is Entry{event: 1, trace_parent: 2}, without intermediate messages.
func appendEntry(b []byte, event proto.Message, trace string) ([]byte, error) {
	opts := proto.MarshalOptions{}
	size := opts.Size(event)
	entry := protowire.SizeTag(1) + protowire.SizeBytes(size)
	if trace != "" {
		entry += protowire.SizeTag(2) + protowire.SizeBytes(len(trace))
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(entry))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	opts.UseCachedSize = true
	b, err := opts.MarshalAppend(b, event)
	if err == nil && trace != "" {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, trace)
	}
	return b, err
}
