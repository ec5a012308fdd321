package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
	"stampede/persistence"
	"stampede/proto/gen/orderpb"
)

// TestARefusedEventIsParked: the broker takes nothing of a key, not even
// without its data. Other keys of its partition go on, memory stays flat, and
// when the broker takes it all of the key is there, in order.
func TestARefusedEventIsParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		l.partitions = 1
		var refusing atomic.Bool
		refusing.Store(true)
		l.refuse = func(key string) bool { return refusing.Load() && key == "ord_bad" }
		cfg := testConfig(j, 1)
		cfg.Limits = Limits{PendingBytes: 60_000}
		p := mustNew(t, cfg, l)
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		expired := func() *orderpb.Event { return &orderpb.Event{Event: &orderpb.Event_Expired{}} }
		for i := range 3000 {
			if i%3 == 0 {
				j.Append(1, "order", "ord_bad", expired())
			}
			j.Append(1, "order", fmt.Sprintf("ord_%d", i), expired(), expired())
		}
		time.Sleep(2 * time.Minute)
		have := l.ids()
		if len(have) != 6000 || !have["order/ord_2999/2"] {
			t.Errorf("%d events of other keys are published", len(have))
		}
		if n := metric(t, p, "stampede_events_parked_keys"); n != 1 {
			t.Errorf("%v keys are said to be parked", n)
		}
		if s := p.Stats(); s.Pending != 0 || s.Bytes > 30_000 {
			t.Errorf("%+v", s)
		}
		if n := len(p.groups[0].trackers[1].spans); n > fewSpans {
			t.Errorf("%d spans in memory", n)
		}
		if mark := watermark(t, j, 1); mark != 0 {
			t.Errorf("watermark %d is beyond an event that is not published", mark)
		}
		if n := l.requested(); n > 400 {
			t.Errorf("%d requests", n)
		}
		refusing.Store(false)
		j.End(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkPublished(t, l, j.Records(1))
		if n := metric(t, p, "stampede_events_parked_keys") + metric(t, p, "stampede_events_held_streams"); n != 0 {
			t.Errorf("%v is left", n)
		}
	})
}

// rowsOf lists the streams of a journal.
type rowsOf struct{ *logtest.Journal }

func (r rowsOf) ListRows(_ context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	var rows []persistence.Row
	for stream := range r.Streams() {
		kind, id, _ := strings.Cut(stream, "/")
		if kind == q.Kind && (q.AfterID == "" || id < q.AfterID) {
			rows = append(rows, persistence.Row{Kind: kind, ID: id})
		}
	}
	slices.SortFunc(rows, func(a, b persistence.Row) int { return strings.Compare(b.ID, a.ID) })
	return rows[:min(len(rows), q.Limit)], nil
}

// TestReplay: the same ids again, of what was asked for and nothing else, no
// faster than allowed; what is not published yet does not come early; and the
// newest level of a SKU comes last.
func TestReplay(t *testing.T) {
	for name, c := range map[string]struct {
		what Replay
		is   func(kind, id string, version uint64) bool
	}{
		"a kind":                {Replay{Kind: "order", FromVersion: 1}, func(kind, _ string, _ uint64) bool { return kind == "order" }},
		"a key":                 {Replay{Kind: "sku", Key: "SKU-1", FromVersion: 1}, func(kind, id string, _ uint64) bool { return kind == "sku" && id == "SKU-1" }},
		"a key from a version":  {Replay{Kind: "sku", Key: "SKU-1", FromVersion: 50}, func(kind, id string, v uint64) bool { return kind == "sku" && id == "SKU-1" && v >= 50 }},
		"a kind from a version": {Replay{Kind: "sku", FromVersion: 300}, func(kind, _ string, v uint64) bool { return kind == "sku" && v >= 300 }},
		"nobody":                {Replay{Kind: "sku", Key: "none", FromVersion: 1}, func(string, string, uint64) bool { return false }},
		"the future":            {Replay{Kind: "sku", FromVersion: 1, SinceMs: 1 << 50}, func(string, string, uint64) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, l := logtest.NewJournal(1), newFakeLink(t)
				p := mustNew(t, testConfig(j, 1), l)
				done := make(chan error, 1)
				go func() { done <- p.Run(t.Context()) }()
				logtest.NewShop(j, 5, 3).Trade(1, 1200)
				time.Sleep(10 * time.Second)
				before := len(l.stored())
				want := 0
				for _, rec := range j.Records(1) {
					for v := rec.FirstVersion; v <= rec.LastVersion; v++ {
						if c.is(rec.Kind, rec.ID, v) {
							want++
						}
					}
				}
				r := NewReplayer(p, rowsOf{j}, 1000)
				defer r.Close()
				began := time.Now()
				short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, _, err := r.Replay(short, c.what)
				cancel()
				n, over, err2 := r.Replay(t.Context(), c.what)
				if err != nil || err2 != nil || !over && want > 0 || n != want {
					t.Fatalf("%d republished of %d, over: %t, %v, %v", n, want, over, err, err2)
				}
				if most := time.Duration(want)*time.Second/1000 - time.Second; time.Since(began) < most {
					t.Errorf("%d events in %s", n, time.Since(began))
				}
				time.Sleep(5 * time.Second)
				last := map[string]uint64{}
				events := 0
				for _, m := range l.stored()[before:] {
					if m.topic == cloudevents.TopicStockLevels {
						continue
					}
					events++
					kind, rest, _ := strings.Cut(m.headers["ce_id"], "/")
					version, err := strconv.ParseUint(m.headers["ce_sequence"], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					if !c.is(kind, strings.Split(rest, "/")[0], version) || version <= last[m.key] {
						t.Errorf("%s after %d", m.headers["ce_id"], last[m.key])
					}
					last[m.key] = version
				}
				if events != want {
					t.Errorf("%d events came again, want %d", events, want)
				}
				j.End(1)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				checkPublished(t, l, j.Records(1))
			})
		})
	}
}

// TestReplaysAreBounded, and what is not published is not replayed.
func TestReplaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		var away atomic.Bool
		l.requestFault = func(context.Context) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}
		p := mustNew(t, testConfig(j, 1), l)
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		expired := &orderpb.Event{Event: &orderpb.Event_Expired{}}
		for range 10 {
			j.Append(1, "order", "ord_1", expired)
		}
		time.Sleep(time.Second)
		away.Store(true)
		for range 10 {
			j.Append(1, "order", "ord_1", expired)
		}
		time.Sleep(time.Second)
		r := NewReplayer(p, rowsOf{j}, 1000)
		waiting, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, over, err := r.Replay(waiting, Replay{Kind: "order", FromVersion: 1}); n != 10 || over || err != nil {
			t.Errorf("%d republished, over: %t, %v", n, over, err)
		}
		for i := range maxReplays {
			_, _, err := r.Replay(waiting, Replay{Kind: "order", Key: "ord_1", FromVersion: uint64(i + 1)})
			if full := i == maxReplays-1; errors.Is(err, ErrTooManyReplays) != full {
				t.Errorf("replay %d: %v", i, err)
			}
		}
		away.Store(false)
		if n, over, err := r.Replay(t.Context(), Replay{Kind: "order", FromVersion: 1}); n != 10 || !over || err != nil {
			t.Errorf("%d republished, over: %t, %v", n, over, err)
		}
		r.Close()
		j.End(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkPublished(t, l, j.Records(1))
	})
}
