// Package memstore is a complete persistence.Store in memory, for tests: fast,
// with nothing to install and nothing to clean up. It keeps nothing beyond the
// process; what survives the death of a simulated process is its Disk.
package memstore

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// Disk is what the Stores opened on it share and what outlives them. Stored
// values are never changed in place and never handed out uncopied.
type Disk struct {
	mu         sync.Mutex
	epochs     []persistence.EpochInfo
	streams    map[string][]*entity.Record       // by seq
	logs       map[entity.Epoch][]*entity.Record // by position
	snapshots  map[string]*entity.Snapshot
	rows       map[rowKey]persistence.Row
	changes    map[rowKey]uint64 // of tracked rows
	changed    uint64            // the last mark
	watermarks map[string]map[entity.Epoch]uint64
	settings   map[string][]byte
}

type rowKey struct{ kind, id string }

// NewDisk is an empty one.
func NewDisk() *Disk {
	return &Disk{
		streams:    map[string][]*entity.Record{},
		logs:       map[entity.Epoch][]*entity.Record{},
		snapshots:  map[string]*entity.Snapshot{},
		rows:       map[rowKey]persistence.Row{},
		changes:    map[rowKey]uint64{},
		watermarks: map[string]map[entity.Epoch]uint64{},
		settings:   map[string][]byte{},
	}
}

func bySeq(r *entity.Record, seq uint64) int      { return cmp.Compare(r.Seq, seq) }
func byPosition(r *entity.Record, pos uint64) int { return cmp.Compare(r.Position, pos) }

func copyRecord(r *entity.Record) *entity.Record {
	c := *r
	c.Events = bytes.Clone(r.Events)
	return &c
}

func copySnapshot(s *entity.Snapshot) *entity.Snapshot {
	c := *s
	c.State = bytes.Clone(s.State)
	return &c
}

// write stores one record under the rules of persistence.Journal.Append.
func (d *Disk) write(r *entity.Record) error {
	if err := persistence.CheckRecord(r); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	stream, log := d.streams[r.Stream()], d.logs[r.Epoch]
	at, taken := slices.BinarySearchFunc(stream, r.Seq, bySeq)
	if taken {
		there := stream[at]
		if there.Epoch == r.Epoch && there.Position == r.Position && there.Checksum == r.Checksum {
			return nil
		}
		return fmt.Errorf("record %d of %s is of epoch %d, position %d: %w", r.Seq, r.Stream(), there.Epoch, there.Position, entity.ErrFenced)
	}
	place, taken := slices.BinarySearchFunc(log, r.Position, byPosition)
	if taken {
		return fmt.Errorf("record %d of %s: %w: %w", r.Seq, r.Stream(), entity.ErrFenced, persistence.ErrPositionTaken)
	}
	stored := copyRecord(r)
	d.streams[r.Stream()] = slices.Insert(stream, at, stored)
	d.logs[r.Epoch] = slices.Insert(log, place, stored)
	return nil
}

// chunk copies up to so many of a stream's or an epoch's records that come
// after a seq or position. Reading in chunks lets writers in between.
func (d *Disk) chunk(of func(*Disk) []*entity.Record, by func(*entity.Record, uint64) int, after uint64, most int) []*entity.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := of(d)
	from, found := slices.BinarySearchFunc(records, after, by)
	if found {
		from++
	}
	return slices.Clone(records[from:min(len(records), from+most)])
}

// chunkBefore copies up to so many of a stream's records that come before a
// seq, newest first.
func (d *Disk) chunkBefore(stream string, before uint64, most int) []*entity.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := d.streams[stream]
	end, _ := slices.BinarySearchFunc(records, before, bySeq)
	chunk := slices.Clone(records[max(0, end-most):end])
	slices.Reverse(chunk)
	return chunk
}

// Stream copies all records of a stream, in order of Seq.
func (d *Disk) Stream(name string) []*entity.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copyRecords(d.streams[name])
}

// Log copies all records of an epoch, in order of Position.
func (d *Disk) Log(epoch entity.Epoch) []*entity.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copyRecords(d.logs[epoch])
}

func copyRecords(records []*entity.Record) []*entity.Record {
	copies := make([]*entity.Record, 0, len(records))
	for _, r := range records {
		copies = append(copies, copyRecord(r))
	}
	return copies
}

// Streams lists the streams that have records, sorted.
func (d *Disk) Streams() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make([]string, 0, len(d.streams))
	for name := range d.streams {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Epochs lists the epochs that were opened, in ascending order.
func (d *Disk) Epochs() []persistence.EpochInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.epochs)
}

// Snapshot copies a stream's snapshot as it is stored, fit or not; nil if there is none.
func (d *Disk) Snapshot(stream string) *entity.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.snapshots[stream]; s != nil {
		return copySnapshot(s)
	}
	return nil
}

func (d *Disk) fitSnapshot(stream string) *entity.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.snapshots[stream]
	if s == nil {
		return nil
	}
	if s.Sum() != s.Checksum {
		delete(d.snapshots, stream)
		return nil
	}
	return copySnapshot(s)
}

// Tamper changes a stored record, as a failing medium would, and reports
// whether there was one. The change must leave Seq, Epoch and Position alone.
func (d *Disk) Tamper(stream string, seq uint64, change func(*entity.Record)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := d.streams[stream]
	at, found := slices.BinarySearchFunc(records, seq, bySeq)
	if !found {
		return false
	}
	old, changed := records[at], copyRecord(records[at])
	change(changed)
	records[at] = changed
	log := d.logs[old.Epoch]
	place, _ := slices.BinarySearchFunc(log, old.Position, byPosition)
	log[place] = changed
	return true
}

// Lose removes a stored record and reports whether there was one: a gap.
func (d *Disk) Lose(stream string, seq uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := d.streams[stream]
	at, found := slices.BinarySearchFunc(records, seq, bySeq)
	if !found {
		return false
	}
	old := records[at]
	d.streams[stream] = slices.Delete(slices.Clone(records), at, at+1)
	log := d.logs[old.Epoch]
	place, _ := slices.BinarySearchFunc(log, old.Position, byPosition)
	d.logs[old.Epoch] = slices.Delete(slices.Clone(log), place, place+1)
	return true
}

// TamperSnapshot changes a stored snapshot and reports whether there was one.
func (d *Disk) TamperSnapshot(stream string, change func(*entity.Snapshot)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.snapshots[stream]
	if old == nil {
		return false
	}
	changed := copySnapshot(old)
	change(changed)
	d.snapshots[stream] = changed
	return true
}

func (d *Disk) openEpoch(node string) entity.Epoch {
	d.mu.Lock()
	defer d.mu.Unlock()
	epoch := entity.Epoch(len(d.epochs) + 1) //nolint:gosec // a count
	d.epochs = append(d.epochs, persistence.EpochInfo{Epoch: epoch, Node: node, StartedAt: time.Now()})
	return epoch
}
