package memstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"

	"stampede/actors/entity"
	"stampede/persistence"
)

// readChunk is how many records a reader takes at a time.
const readChunk = 256

// Store is one process's access to a Disk. Any number may be open at once, as
// nodes of a cluster share a database. It is safe for concurrent use.
type Store struct {
	disk   *Disk
	closed atomic.Bool
}

var _ persistence.Store = (*Store)(nil)

// New is a store on a disk of its own.
func New() *Store { return NewDisk().Open() }

// Open is a store on the disk.
func (d *Disk) Open() *Store { return &Store{disk: d} }

// Disk is what the store writes to.
func (s *Store) Disk() *Disk { return s.disk }

// Close ends the store's use; the disk keeps what was written.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// Ping implements persistence.Store.
func (s *Store) Ping(ctx context.Context) error { return s.usable(ctx) }

// usable says why nothing can be done now.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, err)
	}
	if s.closed.Load() {
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	}
	return nil
}

// OpenEpoch implements persistence.Journal.
func (s *Store) OpenEpoch(ctx context.Context, node string) (entity.Epoch, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	return s.disk.openEpoch(node), nil
}

// Epochs implements persistence.Journal.
func (s *Store) Epochs(ctx context.Context) ([]persistence.EpochInfo, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.disk.Epochs(), nil
}

// Append implements persistence.Journal.
func (s *Store) Append(ctx context.Context, records []*entity.Record) []error {
	errs := make([]error, len(records))
	for i, r := range records {
		if errs[i] = s.usable(ctx); errs[i] == nil {
			errs[i] = s.disk.write(r)
		}
	}
	return errs
}

// ReadStream implements persistence.Journal.
func (s *Store) ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error] {
	of := func(d *Disk) []*entity.Record { return d.streams[stream] }
	return s.read(ctx, afterSeq, func(after uint64) ([]*entity.Record, func(*entity.Record) uint64) {
		return s.disk.chunk(of, bySeq, after, readChunk), func(r *entity.Record) uint64 { return r.Seq }
	})
}

// ReadStreamBack implements persistence.Journal.
func (s *Store) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	return s.read(ctx, beforeSeq, func(before uint64) ([]*entity.Record, func(*entity.Record) uint64) {
		return s.disk.chunkBefore(stream, before, readChunk), func(r *entity.Record) uint64 { return r.Seq }
	})
}

// ReadEpoch implements persistence.Journal.
func (s *Store) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	of := func(d *Disk) []*entity.Record { return d.logs[epoch] }
	return s.read(ctx, after, func(after uint64) ([]*entity.Record, func(*entity.Record) uint64) {
		return s.disk.chunk(of, byPosition, after, readChunk), func(r *entity.Record) uint64 { return r.Position }
	})
}

// read yields chunk after chunk until one is empty.
func (s *Store) read(ctx context.Context, after uint64, next func(after uint64) ([]*entity.Record, func(*entity.Record) uint64)) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for {
			if err := s.usable(ctx); err != nil {
				yield(nil, err)
				return
			}
			records, place := next(after)
			if len(records) == 0 {
				return
			}
			for _, r := range records {
				if err := s.usable(ctx); err != nil {
					yield(nil, err)
					return
				}
				if !yield(copyRecord(r), nil) {
					return
				}
				after = place(r)
			}
		}
	}
}

// MaxRecordBytes implements persistence.Journal.
func (s *Store) MaxRecordBytes() int { return persistence.MaxRecordBytes }

// LoadSnapshot implements persistence.Snapshots. One that is not fit for use is
// dropped, so that its number cannot keep a good one out.
func (s *Store) LoadSnapshot(ctx context.Context, stream string) (*entity.Snapshot, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.disk.fitSnapshot(stream), nil
}

// SaveSnapshot implements persistence.Snapshots.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot *entity.Snapshot) error {
	if err := persistence.CheckSnapshot(snapshot); err != nil {
		return err
	}
	if err := s.usable(ctx); err != nil {
		return err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if there := d.snapshots[snapshot.Stream()]; there == nil || there.Seq <= snapshot.Seq {
		d.snapshots[snapshot.Stream()] = copySnapshot(snapshot)
	}
	return nil
}

// SaveWatermark implements persistence.Watermarks.
func (s *Store) SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error {
	if err := persistence.CheckWatermark(reader, epoch, position); err != nil {
		return err
	}
	if err := s.usable(ctx); err != nil {
		return err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watermarks[reader] == nil {
		d.watermarks[reader] = map[entity.Epoch]uint64{}
	}
	d.watermarks[reader][epoch] = max(d.watermarks[reader][epoch], position)
	return nil
}

// Watermarks implements persistence.Watermarks.
func (s *Store) Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	marks := make(map[entity.Epoch]uint64)
	maps.Copy(marks, s.disk.watermarks[reader])
	return marks, nil
}

// Setting implements persistence.Settings.
func (s *Store) Setting(ctx context.Context, name string, value []byte) ([]byte, error) {
	if err := persistence.CheckSetting(name, value); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.settings[name]; !there {
		d.settings[name] = bytes.Clone(value)
	}
	return bytes.Clone(d.settings[name]), nil
}
