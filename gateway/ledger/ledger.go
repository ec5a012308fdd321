// Package ledger reads a SKU's past out of the journal: what moved its units,
// page by page, and how its stock stood at a version or a time. The journal
// has only what is durable, and has it before anyone is told; so what an answer
// has shown is here, on every node. It asks no actor and keeps nothing.
package ledger

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/skupb"
)

// Journal is what a past is read from; see persistence.Journal.
type Journal interface {
	ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error]
}

// Ledger reads the pasts of SKUs.
type Ledger struct{ journal Journal }

// New is a ledger over a journal.
func New(j Journal) *Ledger { return &Ledger{j} }

// Entry is one event of a SKU. Before is nil for the first one.
type Entry struct {
	Seq     uint64 // of the record that has the event
	Version uint64
	Event   *skupb.Event
	Before  *skupb.Stock
}

// Place is where a page ended: its last entry. The zero Place is the beginning.
type Place struct{ Seq, Version uint64 }

// Page is at most so many entries before the place, newest first, and whether
// there are more. It reads as many records as it has entries, and two more at
// most. ok is false for a place that the SKU does not have.
func (l *Ledger) Page(ctx context.Context, sku string, after Place, first int) (page []Entry, more, ok bool, err error) {
	before := uint64(math.MaxUint64)
	if after != (Place{}) {
		before = after.Seq + 1
	}
	found := after == Place{}
	for c, err := range l.back(ctx, sku, before) {
		if err != nil {
			return nil, false, false, err
		}
		if !found && (c.seq != after.Seq || after.Version < c.first || after.Version > c.last()) {
			return nil, false, false, nil
		}
		found = true
		for i := len(c.events) - 1; i >= 0; i-- {
			version := c.first + uint64(i)
			if after.Version != 0 && version >= after.Version {
				continue
			}
			if n := len(page); n > 0 {
				page[n-1].Before = c.events[i].GetAfter()
			}
			if len(page) == first {
				return page, true, true, nil
			}
			page = append(page, Entry{Seq: c.seq, Version: version, Event: c.events[i]})
		}
	}
	return page, false, found, nil
}

// AtVersion is the event that made the version; nil when the SKU has none such.
func (l *Ledger) AtVersion(ctx context.Context, sku string, version uint64) (*Entry, error) {
	newest, err := l.newest(ctx, sku)
	if newest == nil || err != nil || version == 0 || version > newest.last() {
		return nil, err
	}
	// A record has one event at least, which bounds the search at both ends.
	low, high := uint64(1), min(newest.seq, version)
	if behind := newest.last() - version; newest.seq > behind {
		low = newest.seq - behind
	}
	c, err := l.search(ctx, sku, newest, low, high, func(c *commit) bool { return c.first <= version })
	if c == nil || err != nil {
		return nil, err
	}
	return c.entry(int(version - c.first)), nil //nolint:gosec // within the record
}

// AtTime is the last event up to and including the time; nil when the SKU has
// none so old. Events carry the clocks of the nodes that decided them. Where two
// clocks differ and a SKU moved between their nodes, times go back by that
// much, and a time in between may be answered by either side's event.
func (l *Ledger) AtTime(ctx context.Context, sku string, at time.Time) (*Entry, error) {
	newest, err := l.newest(ctx, sku)
	if newest == nil || err != nil {
		return nil, err
	}
	ms := at.UnixMilli()
	c, err := l.search(ctx, sku, newest, 1, newest.seq, func(c *commit) bool { return c.events[0].GetAtMs() <= ms })
	if c == nil || err != nil {
		return nil, err
	}
	i := len(c.events) - 1
	for i > 0 && c.events[i].GetAtMs() > ms {
		i--
	}
	return c.entry(i), nil
}

// search is the last commit between low and high for which begun holds, by
// bisection; nil if there is none. It reads the logarithm of what is between.
func (l *Ledger) search(ctx context.Context, sku string, newest *commit, low, high uint64, begun func(*commit) bool) (*commit, error) {
	var best *commit
	for probe := high; low <= high; probe = low + (high-low)/2 { // the newest is what is asked for most
		c := newest
		if probe != newest.seq {
			var err error
			if c, err = l.at(ctx, sku, probe); err != nil {
				return nil, err
			}
		}
		if begun(c) {
			best, low = c, probe+1
		} else {
			high = probe - 1
		}
	}
	return best, nil
}

// newest is the SKU's last commit; nil when it has none.
func (l *Ledger) newest(ctx context.Context, sku string) (*commit, error) {
	for c, err := range l.back(ctx, sku, math.MaxUint64) {
		return c, err
	}
	return nil, nil //nolint:nilnil // there is none
}

// at is the commit with the seq, which must be there.
func (l *Ledger) at(ctx context.Context, sku string, seq uint64) (*commit, error) {
	for c, err := range l.back(ctx, sku, seq+1) {
		if err == nil && c.seq != seq {
			return nil, &entity.CorruptError{Stream: stream(sku), Seq: seq, Reason: "it is missing"}
		}
		return c, err
	}
	return nil, &entity.CorruptError{Stream: stream(sku), Seq: seq, Reason: "it is missing"}
}

// commit is one record, read.
type commit struct {
	seq, first uint64
	events     []*skupb.Event
}

func (c *commit) last() uint64 { return c.first + uint64(len(c.events)) - 1 }

func (c *commit) entry(i int) *Entry {
	return &Entry{Seq: c.seq, Version: c.first + uint64(i), Event: c.events[i]} //nolint:gosec // an index
}

func stream(sku string) string { return entity.Address{Kind: "sku", ID: sku}.Stream() }

// back yields a SKU's commits before a seq, newest first, each checked and
// following the one after it without a gap.
func (l *Ledger) back(ctx context.Context, sku string, before uint64) iter.Seq2[*commit, error] {
	return func(yield func(*commit, error) bool) {
		var newer *commit
		for rec, err := range l.journal.ReadStreamBack(ctx, stream(sku), before) {
			if err != nil {
				yield(nil, fmt.Errorf("read ledger of %s: %w", sku, err))
				return
			}
			c, err := read(rec)
			if err == nil && newer != nil && (c.seq+1 != newer.seq || c.last()+1 != newer.first) {
				err = &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprintf("it ends with version %d, and record %d begins with version %d", c.last(), newer.seq, newer.first)}
			}
			if err != nil {
				yield(nil, fmt.Errorf("read ledger of %s: %w", sku, err))
				return
			}
			if !yield(c, nil) {
				return
			}
			newer = c
		}
		if newer != nil && newer.seq != 1 {
			yield(nil, fmt.Errorf("read ledger of %s: %w", sku, &entity.CorruptError{Stream: stream(sku), Seq: newer.seq - 1, Reason: "it is missing"}))
		}
	}
}

func read(rec *entity.Record) (*commit, error) {
	if err := rec.Verify(); err != nil {
		return nil, err
	}
	c := &commit{seq: rec.Seq, first: rec.FirstVersion}
	err := entity.EachEvent(rec.Events, func(event, _ []byte) error {
		e := &skupb.Event{}
		if err := proto.Unmarshal(event, e); err != nil {
			return err
		}
		c.events = append(c.events, e)
		return nil
	})
	if err != nil {
		return nil, &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: err.Error()}
	}
	if len(c.events) == 0 || c.last() != rec.LastVersion {
		return nil, &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: fmt.Sprintf("it has %d events and says versions %d to %d", len(c.events), rec.FirstVersion, rec.LastVersion)}
	}
	return c, nil
}
