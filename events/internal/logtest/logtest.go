// Package logtest is a journal in memory for the tests of the log's readers:
// several incarnations, their watermarks, and the present log as a source.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/persistence"
	"stampede/proto/gen/journalpb"
)

// ErrEnded is what a source returns at the end of a closed log.
var ErrEnded = errors.New("log is closed")

// Journal is a journal and its watermarks. Its methods may be called from any
// goroutine; the hooks must be set before they are used.
type Journal struct {
	// OnSave is called before a watermark is stored; an error refuses it.
	OnSave func(reader string, epoch entity.Epoch, position uint64) error
	// OnRead is called before an incarnation or a stream is read; an error ends it.
	OnRead func() error

	mu      sync.Mutex
	epochs  []entity.Epoch
	records map[entity.Epoch][]*entity.Record
	streams map[string][]*entity.Record
	marks   map[string]map[entity.Epoch]uint64
	ended   map[entity.Epoch]bool
	changed chan struct{}
}

// NewJournal returns a journal with the incarnations 1 to n.
func NewJournal(n int) *Journal {
	j := &Journal{
		records: make(map[entity.Epoch][]*entity.Record), streams: make(map[string][]*entity.Record),
		marks: make(map[string]map[entity.Epoch]uint64), ended: make(map[entity.Epoch]bool), changed: make(chan struct{}),
	}
	for e := range n {
		j.epochs = append(j.epochs, entity.Epoch(e+1))
	}
	return j
}

// Append makes one record of a kind's events durable as the newest of its
// stream and of an incarnation, and returns it.
func (j *Journal) Append(epoch entity.Epoch, kind, id string, events ...proto.Message) *entity.Record {
	return j.AppendAt(epoch, 1, kind, id, events...)
}

// AppendAt is Append with step-1 positions left out before it: records that
// were never written.
func (j *Journal) AppendAt(epoch entity.Epoch, step uint64, kind, id string, events ...proto.Message) *entity.Record {
	batch := &journalpb.Batch{}
	for _, e := range events {
		b, err := proto.Marshal(e)
		if err != nil {
			panic(err)
		}
		batch.Entries = append(batch.Entries, &journalpb.Entry{Event: b})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	rec := &entity.Record{Kind: kind, ID: id, Seq: 1, FirstVersion: 1, Epoch: epoch, Position: step}
	if s := j.streams[rec.Stream()]; len(s) > 0 {
		last := s[len(s)-1]
		rec.Seq, rec.FirstVersion = last.Seq+1, last.LastVersion+1
		if last.Epoch != epoch {
			batch.Follows = &journalpb.Place{Epoch: uint32(last.Epoch), Position: last.Position}
		}
	}
	b, err := proto.Marshal(batch)
	if err != nil {
		panic(err)
	}
	rec.Events = b
	if l := j.records[epoch]; len(l) > 0 {
		rec.Position = l[len(l)-1].Position + step
	}
	rec.LastVersion = rec.FirstVersion + uint64(len(events)) - 1
	rec.Checksum = rec.Sum()
	j.records[epoch] = append(j.records[epoch], rec)
	j.streams[rec.Stream()] = append(j.streams[rec.Stream()], rec)
	j.notify()
	return rec
}

func (j *Journal) notify() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// End closes the log of an incarnation.
func (j *Journal) End(epoch entity.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended[epoch] = true
	j.notify()
}

// Records is an incarnation's log.
func (j *Journal) Records(epoch entity.Epoch) []*entity.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records[epoch])
}

// Streams lists the streams that there are.
func (j *Journal) Streams() iter.Seq[string] {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Keys(maps.Clone(j.streams))
}

// Epochs implements persistence.Journal.
func (j *Journal) Epochs(context.Context) ([]persistence.EpochInfo, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []persistence.EpochInfo
	for _, e := range j.epochs {
		out = append(out, persistence.EpochInfo{Epoch: e, Node: fmt.Sprintf("node-%d", e)})
	}
	return out, nil
}

// ReadEpoch implements persistence.Journal.
func (j *Journal) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return j.read(ctx, j.Records(epoch), func(r *entity.Record) bool { return r.Position > after })
}

// ReadStream implements persistence.Journal.
func (j *Journal) ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error] {
	j.mu.Lock()
	records := slices.Clone(j.streams[stream])
	j.mu.Unlock()
	return j.read(ctx, records, func(r *entity.Record) bool { return r.Seq > afterSeq })
}

// ReadStreamBack implements persistence.Journal.
func (j *Journal) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	j.mu.Lock()
	records := slices.Clone(j.streams[stream])
	j.mu.Unlock()
	slices.Reverse(records)
	return j.read(ctx, records, func(r *entity.Record) bool { return r.Seq < beforeSeq })
}

func (j *Journal) read(ctx context.Context, records []*entity.Record, want func(*entity.Record) bool) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		if j.OnRead != nil {
			if err := j.OnRead(); err != nil {
				yield(nil, err)
				return
			}
		}
		for _, r := range records {
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if want(r) && !yield(r, nil) {
				return
			}
		}
	}
}

// SaveWatermark implements persistence.Watermarks.
func (j *Journal) SaveWatermark(_ context.Context, reader string, epoch entity.Epoch, position uint64) error {
	if j.OnSave != nil {
		if err := j.OnSave(reader, epoch, position); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.marks[reader] == nil {
		j.marks[reader] = make(map[entity.Epoch]uint64)
	}
	j.marks[reader][epoch] = max(j.marks[reader][epoch], position)
	return nil
}

// Watermarks implements persistence.Watermarks.
func (j *Journal) Watermarks(_ context.Context, reader string) (map[entity.Epoch]uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make(map[entity.Epoch]uint64)
	for e, p := range j.marks[reader] {
		out[e] = p
	}
	return out, nil
}

// Source is the log of an incarnation, from its start.
func (j *Journal) Source(epoch entity.Epoch) *Source { return &Source{journal: j, epoch: epoch} }

// Source yields an incarnation's log as it grows.
type Source struct {
	journal *Journal
	epoch   entity.Epoch
	at      uint64
	// Err is returned, once, by the next Next.
	Err error
	// Chunk bounds what Next returns; 0: 64 records.
	Chunk int
}

// Next implements events.Source.
func (s *Source) Next(ctx context.Context) ([]*entity.Record, uint64, error) {
	if err := s.Err; err != nil {
		s.Err = nil
		return nil, s.at, err
	}
	chunk := s.Chunk
	if chunk == 0 {
		chunk = 64
	}
	for {
		s.journal.mu.Lock()
		log := s.journal.records[s.epoch]
		first := sort.Search(len(log), func(i int) bool { return log[i].Position > s.at })
		out := slices.Clone(log[first:min(first+chunk, len(log))])
		ended, changed := s.journal.ended[s.epoch], s.journal.changed
		s.journal.mu.Unlock()
		switch {
		case len(out) > 0:
			s.at = out[len(out)-1].Position
			return out, s.at, nil
		case ended:
			return nil, s.at, ErrEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, s.at, ctx.Err()
		}
	}
}

func appendAll[E proto.Message](j *Journal, epoch entity.Epoch, kind, id string, events []E) {
	messages := make([]proto.Message, len(events))
	for i, e := range events {
		messages[i] = e
	}
	j.Append(epoch, kind, id, messages...)
}
