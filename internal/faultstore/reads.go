package faultstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// ReadStream implements persistence.Journal.
func (s *Store) ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error] {
	return s.read(ctx, "read of "+stream, s.inner.ReadStream(ctx, stream, afterSeq))
}

// ReadStreamBack implements persistence.Journal.
func (s *Store) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	return s.read(ctx, "read back of "+stream, s.inner.ReadStreamBack(ctx, stream, beforeSeq))
}

// ReadEpoch implements persistence.Journal.
func (s *Store) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return s.read(ctx, fmt.Sprintf("read of epoch %d", epoch), s.inner.ReadEpoch(ctx, epoch, after))
}

// read fails at once, or after some records, or not at all. What it yields is
// what is there when it comes to it, never less than when it was called.
func (s *Store) read(ctx context.Context, call string, records iter.Seq2[*entity.Record, error]) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		d, faults := s.decide(call)
		fails := d.pick([]option{{FailRead, faults.FailRead}})
		left := d.IntN(8)
		if err := s.takeTime(ctx, call, d, &faults); err != nil {
			yield(nil, err)
			return
		}
		for rec, err := range records {
			if fails != "" && left == 0 {
				break
			}
			left--
			if ended := s.ended(ctx); ended != nil {
				rec, err = nil, ended
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
		if s.note(fails, call) != "" {
			yield(nil, injected(entity.ErrUnavailable, fails, call))
		}
	}
}

// takeTime lets a read take the time that it takes.
func (s *Store) takeTime(ctx context.Context, call string, d dice, faults *Faults) error {
	takes, slow := d.upTo(faults.ReadTime), d.upTo(faults.SlowTime)
	if s.note(d.pick([]option{{SlowRead, faults.SlowRead}}), call) != "" {
		takes += slow
	}
	if !s.wait(ctx, takes) {
		return s.ended(ctx)
	}
	return nil
}

// MaxRecordBytes implements persistence.Journal.
func (s *Store) MaxRecordBytes() int { return s.inner.MaxRecordBytes() }

// LoadSnapshot implements persistence.Snapshots.
func (s *Store) LoadSnapshot(ctx context.Context, stream string) (*entity.Snapshot, error) {
	call := "load snapshot of " + stream
	d, faults := s.decide(call)
	fails := d.pick([]option{{FailRead, faults.FailRead}})
	stale := d.pick([]option{{StaleSnapshot, faults.StaleSnapshot}})
	if err := s.takeTime(ctx, call, d, &faults); err != nil {
		return nil, err
	}
	if s.note(fails, call) != "" {
		return nil, injected(entity.ErrUnavailable, fails, call)
	}
	s.mu.Lock()
	older := s.older[stream]
	s.mu.Unlock()
	if older != nil && s.note(stale, call) != "" {
		copied := *older
		copied.State = bytes.Clone(older.State)
		return &copied, nil
	}
	return s.inner.LoadSnapshot(ctx, stream)
}

// SaveSnapshot implements persistence.Snapshots.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot *entity.Snapshot) error {
	stream := snapshot.Stream()
	call := "save snapshot of " + stream
	return s.other(ctx, call, func(d dice, faults *Faults) error {
		fate, bit := d.pick(faults.saved()), d.Uint64()
		if s.note(fate, call) == LoseSnapshot {
			return nil
		}
		if before := s.disk.Snapshot(stream); before != nil && before.Seq < snapshot.Seq && before.Sum() == before.Checksum {
			s.mu.Lock()
			s.older[stream] = before
			s.mu.Unlock()
		}
		if err := s.inner.SaveSnapshot(ctx, snapshot); err != nil {
			return err
		}
		if fate == CorruptSnapshot {
			s.disk.TamperSnapshot(stream, func(there *entity.Snapshot) { flip(there, bit) })
		}
		return nil
	})
}

// flip changes one bit of a snapshot's state, or of its checksum if it has none.
func flip(snapshot *entity.Snapshot, bit uint64) {
	if n := uint64(len(snapshot.State)); n > 0 {
		snapshot.State[bit/8%n] ^= 1 << (bit % 8)
		return
	}
	snapshot.Checksum ^= 1 << (bit % 32)
}

// other is any other call: it can fail before it is done, or after.
func (s *Store) other(ctx context.Context, call string, do func(dice, *Faults) error) error {
	d, faults := s.decide(call)
	fault := d.pick(faults.other())
	if !s.wait(ctx, d.upTo(faults.ReadTime)) {
		return s.ended(ctx)
	}
	if s.note(fault, call) == FailOther {
		return injected(entity.ErrUnavailable, fault, call)
	}
	if err := do(d, &faults); err != nil {
		return err
	}
	if fault == LoseOtherAnswers {
		return injected(entity.ErrUnknownOutcome, fault, call)
	}
	return nil
}

// otherOf is other for a call with a result.
func otherOf[T any](ctx context.Context, s *Store, call string, do func() (T, error)) (T, error) {
	var result, none T
	err := s.other(ctx, call, func(dice, *Faults) (err error) {
		result, err = do()
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}

// OpenEpoch implements persistence.Journal. A number whose answer was lost is
// never handed out again.
func (s *Store) OpenEpoch(ctx context.Context, node string) (entity.Epoch, error) {
	return otherOf(ctx, s, "open epoch of "+node, func() (entity.Epoch, error) { return s.inner.OpenEpoch(ctx, node) })
}

// Epochs implements persistence.Journal.
func (s *Store) Epochs(ctx context.Context) ([]persistence.EpochInfo, error) {
	return otherOf(ctx, s, "list epochs", func() ([]persistence.EpochInfo, error) { return s.inner.Epochs(ctx) })
}

// PutRows implements persistence.Views.
func (s *Store) PutRows(ctx context.Context, rows []persistence.Row) error {
	call := "put no rows"
	if len(rows) > 0 {
		call = fmt.Sprintf("put %d rows with %s/%s", len(rows), rows[0].Kind, rows[0].ID)
	}
	return s.other(ctx, call, func(dice, *Faults) error { return s.inner.PutRows(ctx, rows) })
}

// GetRows implements persistence.Views.
func (s *Store) GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	return otherOf(ctx, s, fmt.Sprintf("get %d rows of %s", len(ids), kind), func() (map[string]persistence.Row, error) {
		return s.inner.GetRows(ctx, kind, ids)
	})
}

// ListRows implements persistence.Views.
func (s *Store) ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	return otherOf(ctx, s, "list rows of "+q.Kind, func() ([]persistence.Row, error) { return s.inner.ListRows(ctx, q) })
}

// Changes implements persistence.Views.
func (s *Store) Changes(ctx context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		err := s.other(ctx, "changes of "+kind, func(dice, *Faults) error { return nil })
		if err != nil {
			yield(persistence.Change{}, err)
			return
		}
		s.inner.Changes(ctx, kind, since)(yield)
	}
}

// LastChange implements persistence.Views.
func (s *Store) LastChange(ctx context.Context, kind string) (uint64, error) {
	return otherOf(ctx, s, "last change of "+kind, func() (uint64, error) { return s.inner.LastChange(ctx, kind) })
}

// DueRows implements persistence.Views.
func (s *Store) DueRows(ctx context.Context, before time.Time, limit int) ([]persistence.Row, error) {
	return otherOf(ctx, s, "list due rows", func() ([]persistence.Row, error) { return s.inner.DueRows(ctx, before, limit) })
}

// SaveWatermark implements persistence.Watermarks.
func (s *Store) SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error {
	return s.other(ctx, fmt.Sprintf("save watermark of %s in %d", reader, epoch), func(dice, *Faults) error {
		return s.inner.SaveWatermark(ctx, reader, epoch, position)
	})
}

// Watermarks implements persistence.Watermarks.
func (s *Store) Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error) {
	return otherOf(ctx, s, "watermarks of "+reader, func() (map[entity.Epoch]uint64, error) { return s.inner.Watermarks(ctx, reader) })
}

// Setting implements persistence.Settings.
func (s *Store) Setting(ctx context.Context, name string, value []byte) ([]byte, error) {
	return otherOf(ctx, s, "setting "+name, func() ([]byte, error) { return s.inner.Setting(ctx, name, value) })
}

// Ping implements persistence.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.other(ctx, "ping", func(dice, *Faults) error { return s.inner.Ping(ctx) })
}
