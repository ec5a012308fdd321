// Package entity is the runtime that all virtual actors share: it recovers an
// actor from its journal, lets its kind decide, commits what was decided in
// groups, and answers only when what the answer has seen is durable.
//
// It knows no kind, no database and no cluster: kinds are given to it as pure
// functions (Kind), storage as the two interfaces of this file.
package entity

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
)

// Epoch numbers one incarnation of one node: a process from its start to its
// end. The store hands them out, each once.
type Epoch uint32

// Address names one virtual actor.
type Address struct {
	Kind string
	ID   string
}

// Stream is the name of the actor's journal: kind/id.
func (a Address) Stream() string { return a.Kind + "/" + a.ID }

// Record is one commit of one actor: everything it decided since its previous
// one. (Stream, Seq) is unique in the store: of two activations of one actor
// only one can write it, and the other is fenced.
type Record struct {
	Kind string
	ID   string
	// Seq numbers the stream's records: 1, 2, 3, … without gaps.
	Seq uint64
	// FirstVersion and LastVersion are the event versions in the record, both inclusive.
	FirstVersion uint64
	LastVersion  uint64
	// Epoch and Position say which incarnation of which node wrote the record,
	// and its place in that node's own order. The log assigns them.
	Epoch    Epoch
	Position uint64
	// WakeAtMs is when the actor next has something to do by itself (Unix
	// milliseconds); 0: never. Whoever starts after a crash wakes it then.
	WakeAtMs int64
	// Events is a marshalled stampede.journal.v1.Batch.
	Events []byte
	// Checksum is Sum() as of when the record was written.
	Checksum uint32
}

// Stream is the name of the record's stream.
func (r *Record) Stream() string { return r.Kind + "/" + r.ID }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the CRC-32C of every field but the checksum itself.
func (r *Record) Sum() uint32 {
	head := make([]byte, 0, 128)
	head = append(head, r.Kind...)
	head = append(head, 0)
	head = append(head, r.ID...)
	head = append(head, 0)
	for _, n := range [...]uint64{r.Seq, r.FirstVersion, r.LastVersion, uint64(r.Epoch), r.Position, uint64(r.WakeAtMs)} {
		head = binary.BigEndian.AppendUint64(head, n)
	}
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, r.Events)
}

// Verify reports a record whose checksum does not fit, as *CorruptError.
func (r *Record) Verify() error {
	if got := r.Sum(); got != r.Checksum {
		return &CorruptError{Stream: r.Stream(), Seq: r.Seq, Reason: fmt.Sprintf("checksum is %08x, stored %08x", got, r.Checksum)}
	}
	return nil
}

// Snapshot is an actor's state after one of its records: a cache, never the
// truth. Missing, old or corrupt, the journal rebuilds the same state.
type Snapshot struct {
	Kind string
	ID   string
	// Seq and Version are those of the last record that the state includes.
	Seq     uint64
	Version uint64
	State   []byte
	// Checksum is Sum() as of when the snapshot was written.
	Checksum uint32
}

// Stream is the name of the snapshot's stream.
func (s *Snapshot) Stream() string { return s.Kind + "/" + s.ID }

// Sum is the CRC-32C of every field but the checksum itself.
func (s *Snapshot) Sum() uint32 {
	r := Record{Kind: s.Kind, ID: s.ID, Seq: s.Seq, LastVersion: s.Version, Events: s.State}
	return r.Sum()
}

// Log makes records durable. It is what an actor commits to.
type Log interface {
	// Commit takes the record over and calls done exactly once, from any
	// goroutine: with nil when the record is durable, else with an error that
	// wraps ErrFenced, ErrUnavailable, ErrUnknownOutcome, ErrTooLarge or
	// ErrOverloaded. It never blocks. It sets Epoch, Position and Checksum.
	Commit(rec *Record, done func(error))
	// Settle waits until the outcome of every record of the actor that the log
	// took over is known: an activation that reads the journal before may miss
	// one that is still on its way, and not notice until it writes.
	Settle(ctx context.Context, addr Address) error
}

// Store is what an actor recovers from.
type Store interface {
	// LoadSnapshot returns the newest snapshot of a stream, or nil if there is
	// none or it is not fit for use.
	LoadSnapshot(ctx context.Context, stream string) (*Snapshot, error)
	// SaveSnapshot replaces the stream's snapshot unless a newer one is stored.
	SaveSnapshot(ctx context.Context, s *Snapshot) error
	// ReadStream yields the stream's records with Seq > afterSeq in order of
	// Seq. It does not check for gaps or checksums: its reader does.
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*Record, error]
}
