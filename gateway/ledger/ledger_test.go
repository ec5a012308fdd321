package ledger_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/gateway/ledger"
	"stampede/internal/memstore"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/skupb"
)

const name = "MUG"

// counting is a journal that counts the records that were read of it.
type counting struct {
	*memstore.Store
	reads int
}

func (c *counting) ReadStreamBack(ctx context.Context, stream string, before uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for r, err := range c.Store.ReadStreamBack(ctx, stream, before) {
			c.reads++
			if !yield(r, err) {
				return
			}
		}
	}
}

type history struct {
	disk    *memstore.Disk
	journal *counting
	ledger  *ledger.Ledger
	seq     uint64
	events  []*skupb.Event
}

func newHistory() *history {
	disk := memstore.NewDisk()
	h := &history{disk: disk, journal: &counting{Store: disk.Open()}}
	h.ledger = ledger.New(h.journal)
	return h
}

// commit writes one record of events.
func (h *history) commit(t interface{ Fatal(...any) }, events ...*skupb.Event) {
	batch := &journalpb.Batch{}
	for _, e := range events {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		batch.Entries = append(batch.Entries, &journalpb.Entry{Event: b})
	}
	body, err := proto.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	h.seq++
	first := uint64(len(h.events)) + 1
	h.events = append(h.events, events...)
	rec := &entity.Record{Kind: "sku", ID: name, Seq: h.seq, FirstVersion: first, LastVersion: uint64(len(h.events)), Epoch: 1, Position: h.seq, Events: body}
	rec.Checksum = rec.Sum()
	if err := errors.Join(h.journal.Append(context.Background(), []*entity.Record{rec})...); err != nil {
		t.Fatal(err)
	}
}

func adjusted(atMs, available int64, reason string) *skupb.Event {
	return &skupb.Event{AtMs: atMs, After: &skupb.Stock{Available: available}, Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{Reason: reason}}}
}

// Pages put together are the history, newest first, whatever the page size and
// the records it lies in; and what was is found by version and by time.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory()
		at := int64(1000)
		for range rapid.IntRange(0, 30).Draw(rt, "records") {
			var events []*skupb.Event
			for range rapid.IntRange(1, 4).Draw(rt, "events") {
				at += int64(rapid.IntRange(0, 3).Draw(rt, "later"))
				events = append(events, adjusted(at, int64(rapid.IntRange(0, 100).Draw(rt, "available")), "r"))
			}
			h.commit(rt, events...)
		}
		h.checkPages(rt, rapid.IntRange(1, 9).Draw(rt, "first"))
		for v := range uint64(len(h.events)) + 2 {
			e, err := h.ledger.AtVersion(context.Background(), name, v)
			if err != nil {
				rt.Fatal(err)
			}
			if known := v >= 1 && v <= uint64(len(h.events)); known != (e != nil) || known && (e.Version != v || !proto.Equal(e.Event, h.events[v-1])) {
				rt.Fatalf("version %d: %+v", v, e)
			}
		}
		for ms := int64(999); ms <= at+1; ms++ {
			var want uint64
			for i, e := range h.events {
				if e.AtMs <= ms {
					want = uint64(i) + 1
				}
			}
			e, err := h.ledger.AtTime(context.Background(), name, time.UnixMilli(ms))
			if err != nil {
				rt.Fatal(err)
			}
			if (e != nil) != (want > 0) || e != nil && e.Version != want {
				rt.Fatalf("at %d: %+v, want version %d", ms, e, want)
			}
		}
	})
}

func (h *history) checkPages(t *rapid.T, first int) {
	next := len(h.events)
	for place := (ledger.Place{}); ; {
		page, more, ok, err := h.ledger.Page(context.Background(), name, place, first)
		if err != nil || !ok && len(h.events) > 0 {
			t.Fatalf("page: %v, %v", ok, err)
		}
		for _, e := range page {
			var before *skupb.Stock
			if next > 1 {
				before = h.events[next-2].After
			}
			if e.Version != uint64(next) || !proto.Equal(e.Event, h.events[next-1]) || !proto.Equal(e.Before, before) {
				t.Fatalf("%+v where version %d was expected", e, next)
			}
			next--
		}
		if more != (next > 0) || more && len(page) != first {
			t.Fatalf("%d entries, more is %v with %d left", len(page), more, next)
		}
		if !more {
			return
		}
		place = ledger.Place{Seq: page[len(page)-1].Seq, Version: page[len(page)-1].Version}
	}
}

// A page and a look into the past cost the same however long the past is.
func TestReadsLittle(t *testing.T) {
	h := newHistory()
	const records = 5000
	for i := range int64(records) {
		h.commit(t, adjusted(1000+i, i, "r"))
	}
	reads := func(what string, most int, do func() error) {
		t.Helper()
		h.journal.reads = 0
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if h.journal.reads > most || h.journal.reads == 0 {
			t.Errorf("%s: %d records read, want at most %d", what, h.journal.reads, most)
		}
	}
	reads("the newest page", 12, func() error { _, _, _, err := h.ledger.Page(t.Context(), name, ledger.Place{}, 10); return err })
	reads("a page from the middle", 12, func() error {
		_, _, _, err := h.ledger.Page(t.Context(), name, ledger.Place{Seq: 2500, Version: 2500}, 10)
		return err
	})
	reads("a version", 2, func() error { _, err := h.ledger.AtVersion(t.Context(), name, 1234); return err })
	reads("a time", 15, func() error { _, err := h.ledger.AtTime(t.Context(), name, time.UnixMilli(1000+1234)); return err })
	reads("now", 1, func() error { _, err := h.ledger.AtTime(t.Context(), name, time.UnixMilli(math.MaxInt32)); return err })
}

// A place that the SKU does not have is not taken for another one.
func TestForeignPlaces(t *testing.T) {
	h := newHistory()
	h.commit(t, adjusted(1, 1, "a"), adjusted(2, 2, "b"))
	h.commit(t, adjusted(3, 3, "c"))
	for _, p := range []ledger.Place{{Seq: 3, Version: 4}, {Seq: 1, Version: 3}, {Seq: 2, Version: 2}, {Seq: 9, Version: 1}} {
		if _, _, ok, err := h.ledger.Page(t.Context(), name, p, 10); ok || err != nil {
			t.Errorf("%+v: %v, %v", p, ok, err)
		}
	}
	if page, more, ok, err := h.ledger.Page(t.Context(), name, ledger.Place{Seq: 1, Version: 1}, 10); len(page) != 0 || more || !ok || err != nil {
		t.Errorf("after the first entry: %v, %v, %v, %v", page, more, ok, err)
	}
}

// A past that cannot be trusted is not shown.
func TestCorrupt(t *testing.T) {
	for what, harm := range map[string]func(*memstore.Disk){
		"a checksum":          func(d *memstore.Disk) { d.Tamper("sku/"+name, 2, func(r *entity.Record) { r.Events[3] ^= 1 }) },
		"a gap":               func(d *memstore.Disk) { d.Lose("sku/"+name, 2) },
		"a missing beginning": func(d *memstore.Disk) { d.Lose("sku/"+name, 1) },
	} {
		h := newHistory()
		for i := range int64(3) {
			h.commit(t, adjusted(i, i, "r"))
		}
		harm(h.disk)
		if _, _, _, err := h.ledger.Page(t.Context(), name, ledger.Place{}, 10); !errors.Is(err, entity.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Every event is called what it is called on the topic of stock events.
func TestNames(t *testing.T) {
	mapper := cloudevents.NewMapper(cloudevents.JSON, "")
	fields := (&skupb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		e := &skupb.Event{AtMs: 1, After: &skupb.Stock{}}
		e.ProtoReflect().Set(fields.Get(i), e.ProtoReflect().NewField(fields.Get(i)))
		h := newHistory()
		h.commit(t, e)
		messages, err := mapper.Map(nil, h.disk.Stream("sku/" + name)[0])
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, header := range messages[0].Headers {
			if header.Key == "ce_type" {
				want = header.Value
			}
		}
		if got := (&ledger.Entry{Event: e}).Type(); got != want || got == "" {
			t.Errorf("%s is %q in the ledger and %q on the topic", fields.Get(i).Name(), got, want)
		}
	}
	if got := (&ledger.Entry{Event: &skupb.Event{}}).Type(); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

func TestReferences(t *testing.T) {
	for _, c := range []struct {
		event *skupb.Event
		want  string
	}{
		{&skupb.Event{Event: &skupb.Event_Configured{Configured: &skupb.Configured{ProductId: "p"}}}, ""},
		{&skupb.Event{Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{Reason: "delivery"}}}, "delivery"},
		{&skupb.Event{Event: &skupb.Event_MarkedUnavailable{MarkedUnavailable: &skupb.MarkedUnavailable{Reason: "wet"}}}, "wet"},
		{&skupb.Event{Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_Released{Released: &skupb.Released{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_Expired{Expired: &skupb.Expired{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_Returned{Returned: &skupb.Returned{OrderId: "o"}}}, "o"},
		{&skupb.Event{Event: &skupb.Event_Shortfall{Shortfall: &skupb.Shortfall{Reason: "count"}}}, "count"},
		{&skupb.Event{Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}}, ""},
		{&skupb.Event{}, ""},
	} {
		if got := (&ledger.Entry{Event: c.event}).Reference(); got != c.want {
			t.Errorf("%v: %q", c.event, got)
		}
	}
}
