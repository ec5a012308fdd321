package entity

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// recoverFrom rebuilds the state from the newest usable snapshot and the
// records after it. A gap, a bad checksum or an event that does not fit is a
// *CorruptError; anything else is the store's and may pass.
//
// Most actors are new or have few records: the journal is read first, and a
// snapshot only looked for when the stream is long enough to have one.
func (c *core[S, E]) recoverFrom(ctx context.Context, store Store) error {
	stream := c.addr.Stream()
	long, err := c.replayFrom(ctx, store, stream, c.limits.SnapshotOnPassivationRecords)
	if err != nil {
		return err
	}
	if long {
		if err := c.restore(ctx, store, stream); err != nil {
			return err
		}
	}
	c.durable = c.version
	return nil
}

// restore takes a snapshot over that is ahead of what was replayed, and replays
// what comes after it. The journal is read from the snapshot's own record on:
// one that is not there makes it the snapshot of another history.
func (c *core[S, E]) restore(ctx context.Context, store Store, stream string) error {
	snap, err := store.LoadSnapshot(ctx, stream)
	if err != nil {
		return fmt.Errorf("load snapshot of %s: %w", stream, err)
	}
	if snap == nil || snap.Seq <= c.seq {
		_, err := c.replayFrom(ctx, store, stream, 0)
		return err
	}
	taken := false
	for rec, err := range store.ReadStream(ctx, stream, snap.Seq-1) {
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if taken {
			if err := c.replay(rec); err != nil {
				return err
			}
			continue
		}
		if taken = c.takeOver(snap, rec); !taken {
			break
		}
	}
	if !taken {
		_, err = c.replayFrom(ctx, store, stream, 0)
	}
	return err
}

// takeOver makes a snapshot the state, given the record that it was taken
// after. A snapshot that cannot be read, or is of another history, is as good
// as none.
func (c *core[S, E]) takeOver(snap *Snapshot, rec *Record) bool {
	if rec.Seq != snap.Seq || rec.LastVersion != snap.Version || rec.Verify() != nil {
		return false
	}
	state, err := c.restored(snap.State)
	if err != nil {
		return false
	}
	c.state, c.seq, c.version = state, snap.Seq, snap.Version
	c.follows = place{rec.Epoch, rec.Position}
	c.since.records, c.since.bytes, c.last = 0, 0, len(snap.State)
	c.snapshotVersion = snap.Version
	return true
}

// replayFrom applies the records after c.seq, at most as many as given (0: all),
// and reports whether there may be more.
func (c *core[S, E]) replayFrom(ctx context.Context, store Store, stream string, most int) (more bool, err error) {
	n := 0
	for rec, err := range store.ReadStream(ctx, stream, c.seq) {
		if err != nil {
			return false, fmt.Errorf("read %s: %w", stream, err)
		}
		if err := c.replay(rec); err != nil {
			return false, err
		}
		if n++; n == most {
			return true, nil
		}
	}
	return false, nil
}

func (c *core[S, E]) restored(snapshot []byte) (state *S, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("restore panicked: %v", v)
		}
	}()
	return c.kind.Restore(c.addr.ID, snapshot)
}

// replay applies one record to the state.
func (c *core[S, E]) replay(rec *Record) (err error) {
	if err := rec.Verify(); err != nil {
		return err
	}
	corrupt := func(format string, args ...any) error {
		return &CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprintf(format, args...)}
	}
	if rec.Seq != c.seq+1 || rec.FirstVersion != c.version+1 {
		return corrupt("a gap: it follows record %d and version %d, and begins with version %d", c.seq, c.version, rec.FirstVersion)
	}
	defer func() {
		if v := recover(); v != nil {
			err = corrupt("an event does not fit the state: %v", v)
		}
	}()
	n := uint64(0)
	var cause []byte
	err = EachEvent(rec.Events, func(event, trace []byte) error {
		e := c.kind.NewEvent()
		if err := proto.Unmarshal(event, e); err != nil {
			return corrupt("event %d: %v", rec.FirstVersion+n, err)
		}
		c.kind.Evolve(c.state, e)
		cause = trace
		n++
		return nil
	})
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			return err
		}
		return corrupt("%v", err)
	}
	if rec.LastVersion != c.version+n {
		return corrupt("it has %d events and says versions %d to %d", n, rec.FirstVersion, rec.LastVersion)
	}
	if c.kind.Pending != nil {
		c.cause = string(cause)
	}
	c.seq, c.version = rec.Seq, rec.LastVersion
	c.follows = place{rec.Epoch, rec.Position}
	c.since.records++
	c.since.bytes += len(rec.Events)
	return nil
}

// EachEvent walks a marshalled journalpb.Batch without building it: it calls
// do with each event's bytes and its traceparent, which may be empty.
func EachEvent(batch []byte, do func(event, trace []byte) error) error {
	return eachField(batch, func(num protowire.Number, entry []byte) error {
		if num != 1 {
			return nil
		}
		var event, trace []byte
		err := eachField(entry, func(num protowire.Number, value []byte) error {
			switch num {
			case 1:
				event = value
			case 2:
				trace = value
			}
			return nil
		})
		if err != nil {
			return err
		}
		return do(event, trace)
	})
}

// Follows reads where the record before this one is, if a marshalled
// journalpb.Batch says so: when its activation did not write that one itself.
func Follows(batch []byte) (epoch Epoch, position uint64) {
	_ = eachField(batch, func(num protowire.Number, value []byte) error { // what cannot be read is found out by whoever reads the events
		if num != 2 {
			return nil
		}
		for len(value) > 0 {
			field, typ, n := protowire.ConsumeTag(value)
			if n < 0 || typ != protowire.VarintType {
				return nil
			}
			number, m := protowire.ConsumeVarint(value[n:])
			if m < 0 {
				return nil
			}
			switch field {
			case 1:
				epoch = Epoch(number) //nolint:gosec // it was one
			case 2:
				position = number
			}
			value = value[n+m:]
		}
		return nil
	})
	return epoch, position
}

// eachField calls do with each length-delimited field and skips all others.
func eachField(b []byte, do func(num protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := do(num, value); err != nil {
			return err
		}
	}
	return nil
}
