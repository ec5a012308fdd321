// This file is how decided events become one durable record, and how the
// answers that rest on them leave.
package entity

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

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

// committed takes in that the record in flight is durable, or is not.
func (c *core[S, E]) committed(seq uint64, err error) {
	if c.ended != nil || c.flying == nil || c.flying.record.Seq != seq {
		return
	}
	if errors.Is(err, ErrOverloaded) && c.flying.retries < maxRecommits {
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
	c.follows = place{}
	c.durable = done.record.LastVersion
	c.since.records++
	c.since.bytes += len(done.record.Events)
	c.unanswered -= len(done.answers)
	for _, a := range done.answers {
		a.to.Answer(a.reply, nil)
	}
	if len(done.answers) > 1 && !c.gathering {
		c.gathering = true
		c.host.gather()
	}
	c.guard(func() {
		if done.snapshot != nil {
			c.saveSnapshot(done.snapshot)
		}
		c.release()
		c.settle()
	})
}

// maxRecommits is how often a record that the log has no room for goes again,
// about a third of a second in all: then callers are told, while they still wait.
const maxRecommits = 10

// recommit sends the record in flight again, after ErrOverloaded.
func (c *core[S, E]) recommit() {
	if c.ended == nil && c.flying != nil {
		c.host.commit(c.flying.record)
	}
}

// maybeDrained ends a draining activation that has nothing left to write and
// nobody left to answer.
func (c *core[S, E]) maybeDrained() {
	if c.draining && c.ended == nil && c.flying == nil && c.filling == nil && (c.unanswered == 0 || c.impatient) {
		c.leave()
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
	c.hide()
	for _, e := range events {
		c.kind.Evolve(c.state, e)
	}
	b.count += len(events)
	c.version += uint64(len(events))
	c.changed, c.paused, c.stalled = true, false, 0
	if c.kind.Pending != nil && len(events) > 0 {
		c.cause = k.trace
	}
	return true
}

// flush sends the batch being filled if none is in flight.
func (c *core[S, E]) flush() {
	if c.flying != nil || c.filling == nil {
		return
	}
	b := c.filling
	b.events = c.follows.append(b.events)
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
	// Only now: whoever waits for it is answered also when the kind has panicked above.
	c.flying, c.filling = b, nil
	c.host.commit(b.record)
}

func (c *core[S, E]) wakeAtMs() int64 {
	if len(c.pending()) > 0 {
		return c.host.now().UnixMilli()
	}
	if c.kind.WakeAt != nil {
		if at := c.kind.WakeAt(c.state); !at.IsZero() {
			return at.UnixMilli()
		}
	}
	return 0
}

func (c *core[S, E]) snapshotDue(next int) bool {
	bytes := c.since.bytes + next
	return c.since.records+1 >= c.limits.SnapshotEveryRecords && bytes >= c.limits.SnapshotEveryBytes && bytes >= c.last
}

// saveSnapshot stores the state as of the last durable record.
func (c *core[S, E]) saveSnapshot(state proto.Message) {
	c.last = proto.Size(state)
	c.since.records, c.since.bytes = 0, 0
	c.snapshotVersion = c.durable
	c.host.snapshot(Snapshot{Kind: c.addr.Kind, ID: c.addr.ID, Seq: c.seq, Version: c.durable}, state)
}

// place is where a record is. The first record of an activation says where the
// one before it is: most likely in another incarnation's log, which is read by
// another reader, and whoever publishes both has to know.
type place struct {
	epoch    Epoch
	position uint64
}

// append appends field 2 of journalpb.Batch, Place{epoch: 1, position: 2}.
func (p place) append(b []byte) []byte {
	if p == (place{}) {
		return b
	}
	size := protowire.SizeTag(1) + protowire.SizeVarint(uint64(p.epoch)) + protowire.SizeTag(2) + protowire.SizeVarint(p.position)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a few bytes
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(p.epoch))
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, p.position)
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
