package entity

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Replayer rebuilds one actor's state from its records, outside of the runtime:
// for whoever looks at a journal. It belongs to one goroutine.
type Replayer interface {
	// Replay applies the next record. A gap, a bad checksum or an event that does
	// not fit is a *CorruptError, and the end.
	Replay(rec *Record) error
	// Seq and Version are those of the last record.
	Seq() uint64
	Version() uint64
	// Compare reports a snapshot that was taken after the last record and holds
	// another state than the records lead to.
	Compare(snap *Snapshot) error
	// Event reads one event.
	Event(event []byte) (proto.Message, error)
}

// NewReplayer is the replayer of an actor without records.
func NewReplayer[S any, E proto.Message](kind *Kind[S, E], id string) Replayer {
	return &replayer[S, E]{core[S, E]{kind: kind, addr: Address{Kind: kind.Name, ID: id}, state: kind.New(id)}}
}

type replayer[S any, E proto.Message] struct{ core core[S, E] }

func (r *replayer[S, E]) Replay(rec *Record) error { return r.core.replay(rec) }

func (r *replayer[S, E]) Seq() uint64 { return r.core.seq }

func (r *replayer[S, E]) Version() uint64 { return r.core.version }

// ErrSnapshot: a snapshot is not what the journal leads to.
var ErrSnapshot = errors.New("snapshot is not what the journal leads to")

func (r *replayer[S, E]) Compare(snap *Snapshot) error {
	if snap.Seq != r.core.seq || snap.Version != r.core.version {
		return fmt.Errorf("%w: it is of record %d and version %d, the journal has record %d with version %d", ErrSnapshot, snap.Seq, snap.Version, r.core.seq, r.core.version)
	}
	restored, err := r.core.restored(snap.State)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	// What a state restored from the journal's own snapshot looks like is what a
	// stored one has to look like: the layout of caches within is nobody's business.
	own, err := proto.Marshal(r.core.kind.Snapshot(r.core.state))
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", r.core.addr.Stream(), err)
	}
	rebuilt, err := r.core.restored(own)
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", r.core.addr.Stream(), err)
	}
	deterministic := proto.MarshalOptions{Deterministic: true}
	want, wantErr := deterministic.Marshal(r.core.kind.Snapshot(rebuilt))
	got, gotErr := deterministic.Marshal(r.core.kind.Snapshot(restored))
	if err := errors.Join(wantErr, gotErr); err != nil {
		return fmt.Errorf("snapshot of %s: %w", r.core.addr.Stream(), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: after record %d the states differ", ErrSnapshot, snap.Seq)
	}
	return nil
}

func (r *replayer[S, E]) Event(event []byte) (proto.Message, error) {
	e := r.core.kind.NewEvent()
	if err := proto.Unmarshal(event, e); err != nil {
		return nil, err
	}
	return e, nil
}
