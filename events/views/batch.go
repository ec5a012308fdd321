package views

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"stampede/actors/entity"
	"stampede/persistence"
)

// batch is the work on one Take: whatever many records touch a row, it is
// written once.
type batch struct {
	p *Projector
	// touched are the rows to write, by stream; order is how they came.
	touched map[string]*cached
	order   []string
	// current are the rows of the batch, by stream: those of the cache could
	// be evicted while it is worked on.
	current  map[string]*cached
	oldestMs int64
}

// load reads the rows that the records need and the cache does not have.
func (b *batch) load(ctx context.Context, records []*entity.Record) error {
	b.current = make(map[string]*cached, len(records))
	missing := make(map[string][]string)
	for _, rec := range records {
		stream := rec.Stream()
		if _, known := b.p.kinds[rec.Kind]; !known || b.current[stream] != nil {
			continue
		}
		row, ok := b.p.rows.Get(stream)
		if !ok {
			row = b.p.fresh(rec.Kind, rec.ID)
			if rec.FirstVersion > 1 {
				missing[rec.Kind] = append(missing[rec.Kind], rec.ID)
			}
		}
		b.current[stream] = row
	}
	for kind, ids := range missing {
		if err := b.read(ctx, kind, ids); err != nil {
			return err
		}
	}
	return nil
}

func (p *Projector) fresh(kind, id string) *cached {
	return &cached{kind: kind, id: id, aggregate: p.kinds[kind].empty(id)}
}

// read replaces current rows by those of the store, where it has them.
func (b *batch) read(ctx context.Context, kind string, ids []string) error {
	rows, err := b.p.cfg.Views.GetRows(ctx, kind, ids)
	if err != nil {
		return fmt.Errorf("get %d rows of kind %s: %w", len(ids), kind, err)
	}
	for id, r := range rows {
		aggregate, err := b.p.restore(kind, id, r.Body)
		if err != nil {
			b.p.cfg.Logger.Error("a view's row cannot be read and is rebuilt", slog.String("kind", kind), slog.String("id", id), slog.Any("error", err))
			continue
		}
		stream := entity.Address{Kind: kind, ID: id}.Stream()
		b.current[stream] = &cached{kind: kind, id: id, version: r.Version, wakeAtMs: r.WakeAtMs, aggregate: aggregate}
	}
	return nil
}

// fold takes one record into its row.
func (b *batch) fold(ctx context.Context, rec *entity.Record) error {
	stream := rec.Stream()
	row := b.current[stream]
	if row == nil && unlisted(rec.Kind) {
		return nil
	}
	if row == nil {
		b.p.metrics.unknown.Inc()
		b.p.cfg.Logger.Error("a record of an unknown kind was left out of the views", slog.String("stream", stream))
		return nil
	}
	if rec.LastVersion <= row.version {
		return nil // it is in the row
	}
	if rec.FirstVersion == row.version+1 {
		err := b.apply(row, rec)
		if err == nil {
			b.touch(stream, row)
			return nil
		}
		b.p.cfg.Logger.Error("a record does not fit its view's row, which is rebuilt", slog.String("stream", stream),
			slog.Uint64("seq", rec.Seq), slog.Any("error", err))
	}
	return b.catchUp(ctx, rec)
}

// catchUp makes a row current that the record does not follow: from the store,
// where another node may have written it, or from the journal.
func (b *batch) catchUp(ctx context.Context, rec *entity.Record) error {
	stream := rec.Stream()
	// What is in memory may be half applied: the store's row or none.
	b.p.rows.Remove(stream)
	b.current[stream] = b.p.fresh(rec.Kind, rec.ID)
	delete(b.touched, stream)
	err := b.p.persistently(ctx, "read a row", func() error { return b.read(ctx, rec.Kind, []string{rec.ID}) })
	if err != nil {
		return err
	}
	row := b.current[stream]
	switch {
	case rec.LastVersion <= row.version:
		return nil
	case rec.FirstVersion == row.version+1 && b.apply(row, rec) == nil:
		b.touch(stream, row)
		return nil
	}
	return b.p.persistently(ctx, "rebuild a row", func() error { return b.rebuild(ctx, rec.Kind, rec.ID) })
}

// rebuild makes a row of its whole stream. A stream that cannot be trusted is
// said and leaves its row as it was.
func (b *batch) rebuild(ctx context.Context, kind, id string) error {
	b.p.metrics.rebuilt.Inc()
	row := b.p.fresh(kind, id)
	stream := entity.Address{Kind: kind, ID: id}.Stream()
	for rec, err := range b.p.cfg.Streams.ReadStream(ctx, stream, 0) {
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		if err := b.next(row, rec); err != nil {
			b.p.metrics.unreadable.Inc()
			b.p.cfg.Logger.Error("a stream cannot be trusted: its view's row stays as it was", slog.String("stream", stream), slog.Any("error", err))
			b.leaveAsIs(stream)
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.current[stream] = row
	b.touch(stream, row)
	return nil
}

// leaveAsIs makes the batch pass over the stream's other records. What is in
// memory of it may be half applied and is forgotten.
func (b *batch) leaveAsIs(stream string) {
	b.current[stream] = &cached{version: math.MaxUint64}
	delete(b.touched, stream)
	b.p.rows.Remove(stream)
}

// next applies a record of a stream that is read from its start.
func (b *batch) next(row *cached, rec *entity.Record) error {
	if err := rec.Verify(); err != nil {
		return err
	}
	if rec.FirstVersion != row.version+1 {
		return &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprintf("version %d after %d", rec.FirstVersion, row.version)}
	}
	return b.apply(row, rec)
}

// apply folds a record into a row. After an error the row is not fit for use.
func (b *batch) apply(row *cached, rec *entity.Record) (err error) {
	defer func() {
		if cause := recover(); cause != nil { // the kind says that the journal is corrupt
			err = &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprint(cause)}
		}
	}()
	version := rec.FirstVersion
	err = entity.EachEvent(rec.Events, func(event, _ []byte) error {
		atMs, err := row.aggregate.apply(event, version)
		if err != nil {
			return err
		}
		version++
		b.happened(atMs)
		return nil
	})
	if err != nil {
		return &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: err.Error()}
	}
	if version == rec.FirstVersion || version-1 != rec.LastVersion {
		return &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: "its versions are not those of its events"}
	}
	row.version, row.wakeAtMs = rec.LastVersion, rec.WakeAtMs
	return nil
}

// happened notes the age of what the batch holds.
func (b *batch) happened(atMs int64) {
	if b.oldestMs == 0 || atMs < b.oldestMs {
		b.oldestMs = atMs
		b.p.setOldest(atMs)
	}
}

func (b *batch) touch(stream string, row *cached) {
	if b.touched[stream] == nil {
		b.order = append(b.order, stream)
	}
	b.touched[stream] = row
	b.p.rows.Add(stream, row)
}

// finished is the rows to write.
func (b *batch) finished() []persistence.Row {
	rows := make([]persistence.Row, 0, len(b.order))
	for _, stream := range b.order {
		row := b.touched[stream]
		if row == nil {
			continue // it turned out to be in the store already
		}
		delete(b.touched, stream)
		r := persistence.Row{Kind: row.kind, ID: row.id, Version: row.version, WakeAtMs: row.wakeAtMs}
		if err := errors.Join(row.aggregate.row(&r), persistence.CheckRow(&r)); err != nil {
			b.p.metrics.unreadable.Inc()
			b.p.cfg.Logger.Error("a view's row cannot be written down", slog.String("stream", stream), slog.Any("error", err))
			continue
		}
		rows = append(rows, r)
	}
	return rows
}

// restore is a row's body as an aggregate. Kinds may panic on a body that
// cannot be.
func (p *Projector) restore(kind, id string, body []byte) (a aggregate, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			a, err = nil, errors.New(fmt.Sprint(cause))
		}
	}()
	return p.kinds[kind].restore(id, body)
}
