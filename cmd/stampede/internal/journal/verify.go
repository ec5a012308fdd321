// Package journal looks at a store's journal without the program that writes it:
// every record of it, or those of one stream. It changes nothing.
package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/persistence"
)

// Store is what is looked at.
type Store interface {
	Epochs(ctx context.Context) ([]persistence.EpochInfo, error)
	ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error]
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error]
	LoadSnapshot(ctx context.Context, stream string) (*entity.Snapshot, error)
}

// Report is what Verify found.
type Report struct {
	Epochs, Streams, Records, Events, Snapshots int
	Bytes                                       int64
	// Faults say what is wrong, at most maxFaults of them.
	Faults []string
	// Suppressed counts further ones.
	Suppressed int
}

// maxFaults bounds what is listed.
const maxFaults = 100

func (r *Report) wrong(format string, args ...any) {
	if len(r.Faults) == maxFaults {
		r.Suppressed++
		return
	}
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// Progress hears how many of a number of steps are done.
type Progress func(what string, done, of int)

// verifier walks the journal twice: by incarnation, and by stream. What one way
// shows and the other does not is a fault, too. It remembers each stream's name
// and number of records.
type verifier struct {
	store    Store
	report   *Report
	progress Progress
	epochs   map[entity.Epoch]bool
	// seen is how many records of each stream the logs have.
	seen map[string]int
}

// Verify checks each record's checksum, that a place in a log is used once, that
// each stream's records and versions follow each other, that its events lead to a
// state, and that its snapshot is that state. Its error is the store's; what is
// wrong with the journal is in the report.
func Verify(ctx context.Context, store Store, progress Progress) (*Report, error) {
	v := &verifier{store: store, report: &Report{}, progress: progress, epochs: map[entity.Epoch]bool{}, seen: map[string]int{}}
	epochs, err := store.Epochs(ctx)
	if err != nil {
		return nil, fmt.Errorf("incarnations: %w", err)
	}
	v.report.Epochs = len(epochs)
	for _, e := range epochs {
		v.epochs[e.Epoch] = true
	}
	for i, e := range epochs {
		if err := v.log(ctx, e.Epoch); err != nil {
			return nil, err
		}
		progress("logs", i+1, len(epochs))
	}
	v.report.Streams = len(v.seen)
	for i, stream := range slices.Sorted(maps.Keys(v.seen)) {
		if err := v.stream(ctx, stream); err != nil {
			return nil, err
		}
		progress("streams", i+1, len(v.seen))
	}
	return v.report, nil
}

// log walks one incarnation's records.
func (v *verifier) log(ctx context.Context, epoch entity.Epoch) error {
	last := uint64(0)
	for rec, err := range v.store.ReadEpoch(ctx, epoch, 0) {
		if err != nil {
			return fmt.Errorf("log of incarnation %d: %w", epoch, err)
		}
		v.report.Records++
		v.report.Bytes += int64(len(rec.Events))
		v.seen[rec.Stream()]++
		if rec.Epoch != epoch {
			v.report.wrong("%s record %d: it is in the log of incarnation %d and says %d", rec.Stream(), rec.Seq, epoch, rec.Epoch)
		}
		if rec.Position <= last {
			v.report.wrong("%s record %d: its place %d in the log of incarnation %d is taken by another, or out of order after %d", rec.Stream(), rec.Seq, rec.Position, epoch, last)
		}
		last = rec.Position
	}
	return nil
}

// stream walks one actor's records and replays them.
func (v *verifier) stream(ctx context.Context, stream string) error {
	snapshot, err := v.store.LoadSnapshot(ctx, stream)
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	w := walk{report: v.report, snapshot: snapshot}
	for rec, err := range v.store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if err := v.knowEpoch(ctx, rec); err != nil {
			return err
		}
		w.take(rec)
	}
	if w.records != v.seen[stream] {
		if err := v.compareWays(ctx, stream, w.records); err != nil {
			return err
		}
	}
	if snapshot != nil && !w.compared && !w.broken {
		v.report.wrong("%s: its snapshot is of record %d, which the journal does not have", stream, snapshot.Seq)
	}
	return nil
}

// knowEpoch looks for the incarnation that a record names; a node may have
// started since.
func (v *verifier) knowEpoch(ctx context.Context, rec *entity.Record) error {
	if v.epochs[rec.Epoch] {
		return nil
	}
	epochs, err := v.store.Epochs(ctx)
	if err != nil {
		return fmt.Errorf("incarnations: %w", err)
	}
	for _, e := range epochs {
		v.epochs[e.Epoch] = true
	}
	if !v.epochs[rec.Epoch] {
		v.report.wrong("%s record %d: no incarnation %d was ever started", rec.Stream(), rec.Seq, rec.Epoch)
	}
	return nil
}

// compareWays finds out why a stream has another number of records by its name
// than in the logs. In a store that is in use it may have got some since: each
// has to be at its place.
func (v *verifier) compareWays(ctx context.Context, stream string, records int) error {
	if records < v.seen[stream] {
		v.report.wrong("%s: %d records by its name, %d in the logs", stream, records, v.seen[stream])
		return nil
	}
	for rec, err := range v.store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		there := false
		for at, err := range v.store.ReadEpoch(ctx, rec.Epoch, rec.Position-1) {
			if err != nil {
				return fmt.Errorf("log of incarnation %d: %w", rec.Epoch, err)
			}
			there = at.Stream() == stream && at.Seq == rec.Seq
			break
		}
		if !there {
			v.report.wrong("%s record %d: not at its place %d in the log of incarnation %d", stream, rec.Seq, rec.Position, rec.Epoch)
		}
	}
	return nil
}

// walk is the way through one stream.
type walk struct {
	report   *Report
	snapshot *entity.Snapshot

	replayer entity.Replayer
	previous *entity.Record
	records  int
	// broken: a record does not fit, and so what follows cannot be judged.
	broken, compared bool
}

func (w *walk) take(rec *entity.Record) {
	if w.records == 0 {
		if w.replayer = actors.Replayer(entity.Address{Kind: rec.Kind, ID: rec.ID}); w.replayer == nil {
			w.report.wrong("%s: this program knows no %q", rec.Stream(), rec.Kind)
			w.broken = true
		}
	}
	w.records++
	previous := w.previous
	w.previous = rec
	if w.broken {
		// What a record is by itself is judged all the same.
		if err := rec.Verify(); err != nil {
			w.report.wrong("%v", err)
		}
		return
	}
	if err := w.replayer.Replay(rec); err != nil {
		w.report.wrong("%v", err)
		w.broken = true
		return
	}
	w.report.Events += int(rec.LastVersion - rec.FirstVersion + 1)
	if epoch, position := entity.Follows(rec.Events); epoch != 0 && (previous == nil || previous.Epoch != epoch || previous.Position != position) {
		w.report.wrong("%s record %d: it says that it follows place %d of incarnation %d, and does not", rec.Stream(), rec.Seq, position, epoch)
	}
	if w.snapshot != nil && w.snapshot.Seq == rec.Seq {
		w.compared = true
		w.report.Snapshots++
		if err := w.replayer.Compare(w.snapshot); err != nil {
			w.report.wrong("%s: %v", rec.Stream(), err)
		}
	}
}

// ErrNoStream: the journal has no record of it.
var ErrNoStream = errors.New("the journal has no such stream")
