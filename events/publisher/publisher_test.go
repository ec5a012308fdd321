package publisher

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/internal/logtest"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

var seeds = flag.Uint64("seeds", 0, "how many seeds; 0: few") //nolint:gochecknoglobals // a flag of the tests

// seedsOf is how many seeds a test is run with: fewer in the short form, and
// where the race detector makes each of them take ten times as long. It looks
// for races, which every seed has; what only some seeds have is the others'.
func seedsOf(few uint64) uint64 {
	switch {
	case *seeds > 0:
		return *seeds
	case raceEnabled:
		return max(2, few/10)
	case testing.Short():
		return few / 4
	}
	return few
}

// wanted is the events of a log in order, by mapping it again.
func wanted(t *testing.T, records []*entity.Record) []cloudevents.Message {
	t.Helper()
	mapper := cloudevents.NewMapper(cloudevents.JSON, "")
	var out []cloudevents.Message
	for _, rec := range records {
		var err error
		if out, err = mapper.Map(out, rec); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func headerOf(m cloudevents.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

// checkPublished: what the broker has is what the journal promises.
func checkPublished(t *testing.T, l *fakeLink, records []*entity.Record) {
	t.Helper()
	for _, fault := range faultsOf(t, l, records) {
		t.Error(fault)
	}
	if l.overlapped() {
		t.Error("two batches of one partition were on their way at once")
	}
}

// faultsOf is what of the broker's messages does not agree with the journal.
func faultsOf(t *testing.T, l *fakeLink, records []*entity.Record) []eventcheck.Fault {
	t.Helper()
	checker := eventcheck.New(cloudevents.NewMapper(cloudevents.JSON, ""))
	if err := checker.Expect(records...); err != nil {
		t.Fatal(err)
	}
	for _, m := range l.stored() {
		checker.Consume(eventcheck.Message{Topic: m.topic, Partition: m.partition, Partitions: l.partitions, Key: m.key, Value: m.value, Headers: m.list})
	}
	return checker.Done()
}

// watermark is how far an incarnation's log is marked as published, all topics.
func watermark(t *testing.T, j *logtest.Journal, epoch entity.Epoch) uint64 {
	t.Helper()
	least := events.Finished
	for _, name := range groupNames() {
		marks, err := j.Watermarks(t.Context(), ReaderName+"."+name)
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, marks[epoch])
	}
	return least
}

// watermarksBehind makes the journal refuse, and the test fail for, a watermark
// that is ahead of what the broker has.
func watermarksBehind(t *testing.T, j *logtest.Journal, l *fakeLink) {
	mapper := cloudevents.NewMapper(cloudevents.JSON, "")
	var mu sync.Mutex
	checked := map[string]uint64{}
	j.OnSave = func(reader string, epoch entity.Epoch, position uint64) error {
		have := l.ids()
		mu.Lock()
		defer mu.Unlock()
		at := fmt.Sprint(reader, epoch)
		for _, rec := range j.Records(epoch) {
			if rec.Position <= checked[at] || rec.Position > position || GroupName(rec.Kind) != reader {
				continue
			}
			messages, err := mapper.Map(nil, rec)
			if err != nil {
				t.Error(err)
			}
			for _, m := range messages {
				if id := headerOf(m, "ce_id"); m.Topic != cloudevents.TopicStockLevels && !have[id] {
					t.Errorf("watermark %d of epoch %d, but %s at %d is not stored", position, epoch, id, rec.Position)
				}
			}
		}
		checked[at] = position
		return nil
	}
}

// TestEverythingArrivesInOrderWhateverBreaks runs a shop against a broker that
// fails in every way, by seed: nothing is lost, reordered, or marked as done
// before it is.
func TestEverythingArrivesInOrderWhateverBreaks(t *testing.T) {
	for seed := range seedsOf(25) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				j := logtest.NewJournal(1)
				l := newFakeLink(t)
				l.fault = randomFaults(l, rand.New(rand.NewPCG(seed, 6)))
				l.requestFault, l.term = slow(seed), 1700*time.Millisecond
				l.maxBatch = 3000
				watermarksBehind(t, j, l)
				cfg := testConfig(j, 1)
				cfg.Limits = Limits{PendingBytes: 20_000, BatchRecords: 20, LongestBackoff: 200 * time.Millisecond}
				cfg.Compression = [...]string{"lz4", "zstd", "none", "gzip", "snappy"}[seed%5]
				p := mustNew(t, cfg, l)
				shop := logtest.NewShop(j, seed, 3)
				done := make(chan error, 1)
				go func() { done <- p.Run(t.Context()) }()
				for range 20 {
					shop.Trade(1, 20)
					time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
				}
				j.End(1)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				records := j.Records(1)
				checkPublished(t, l, records)
				if got, want := watermark(t, j, 1), records[len(records)-1].Position; got != want {
					t.Errorf("watermark %d, want %d", got, want)
				}
			})
		})
	}
}

// slow makes some requests take up to two seconds, and some never end.
func slow(seed uint64) func(context.Context) error {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 3))
	return func(ctx context.Context) error {
		mu.Lock()
		n := r.IntN(100)
		mu.Unlock()
		switch {
		case n < 2:
			<-ctx.Done()
			return ctx.Err()
		case n < 20:
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
		}
		return nil
	}
}

// TestMemoryStaysBoundedWhileTheBrokerIsAway: nothing more is read than fits,
// and all of it arrives when the broker is back.
func TestMemoryStaysBoundedWhileTheBrokerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		var away atomic.Bool
		away.Store(true)
		l.requestFault = func(context.Context) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}
		cfg := testConfig(j, 1)
		cfg.Limits = Limits{PendingBytes: 10_000}
		p := mustNew(t, cfg, l)
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		logtest.NewShop(j, 7, 3).Trade(1, 2000)
		time.Sleep(10 * time.Minute)
		if s := p.Stats(); s.Bytes > 14_000 || s.Pending == 0 || s.Oldest < 10*time.Minute {
			t.Errorf("%+v", s)
		}
		if n := l.requested(); n > 2000 {
			t.Errorf("%d requests in ten minutes", n)
		}
		away.Store(false)
		j.End(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkPublished(t, l, j.Records(1))
		if s := p.Stats(); s.Pending != 0 || s.Bytes != 0 || s.Oldest != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestARestartFromAnOldWatermarkRepeatsTheSameIDs: what was published and not
// marked comes again under the same ids.
func TestARestartFromAnOldWatermarkRepeatsTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(3), newFakeLink(t)
		shop := logtest.NewShop(j, 3, 3)
		shop.Trade(1, 50)
		refuse := errors.New("no watermark is saved in this life")
		j.OnSave = func(string, entity.Epoch, uint64) error { return refuse }
		ctx, crash := context.WithCancel(t.Context())
		first := mustNew(t, testConfig(j, 1), l)
		done := make(chan error, 1)
		go func() { done <- first.Run(ctx) }()
		time.Sleep(time.Second)
		crash()
		if err := <-done; !errors.Is(err, refuse) {
			t.Fatal(err)
		}
		before := len(l.stored())

		j.OnSave = nil
		shop.Trade(2, 50) // by a process whose publisher never ran
		shop.Trade(3, 50)
		j.End(3)
		if err := mustNew(t, testConfig(j, 3), l).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkPublished(t, l, append(append(j.Records(1), j.Records(2)...), j.Records(3)...))
		values := map[string]string{}
		for i, m := range l.stored() {
			if m.topic == cloudevents.TopicStockLevels {
				continue
			}
			id := m.headers["ce_id"]
			if v, ok := values[id]; ok && (i < before || v != string(m.value)) {
				t.Errorf("%s again as %s, was %s", id, m.value, v)
			}
			values[id] = string(m.value)
		}
		for epoch, finished := range map[entity.Epoch]bool{1: true, 2: true, 3: false} {
			if mark := watermark(t, j, epoch); mark == 0 || (mark == events.Finished) != finished {
				t.Errorf("epoch %d is marked %d", epoch, mark)
			}
		}

		// What is finished is not read again.
		n := len(l.stored())
		j.OnRead = func() error { t.Error("a finished log was read"); return nil }
		last := testConfig(j, 3)
		last.Follow = func(string) events.Source { return &logtest.Source{Err: logtest.ErrEnded} }
		if err := mustNew(t, last, l).Run(t.Context()); err != nil || len(l.stored()) != n {
			t.Errorf("%v, %d messages more", err, len(l.stored())-n)
		}
	})
}

// TestALateWriteOfADeadProcessIsPublished: where the store cannot prove that
// the predecessor is dead, its log is read until it has been quiet, and the
// present one does not wait for that.
func TestALateWriteOfADeadProcessIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(2), newFakeLink(t)
		shop := logtest.NewShop(j, 3, 3)
		shop.Trade(1, 20)
		cfg := testConfig(j, 2)
		cfg.Log.Quiet = 10 * time.Second
		done := make(chan error, 1)
		go func() { done <- mustNew(t, cfg, l).Run(t.Context()) }()
		time.Sleep(9 * time.Second)
		shop.Trade(1, 5) // late writes
		shop.Trade(2, 20)
		time.Sleep(5 * time.Second)
		checkPublished(t, l, append(j.Records(1), j.Records(2)...))
		time.Sleep(10 * time.Second) // then the levels have been sent a second time
		records := j.Records(1)
		if got := watermark(t, j, 1); got != records[len(records)-1].Position {
			t.Errorf("a log that can grow is marked %d", got)
		}
		time.Sleep(3 * time.Minute)
		if got := watermark(t, j, 1); got != events.Finished {
			t.Errorf("a log that was quiet for minutes is marked %d", got)
		}
		j.End(2)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnEventTooLargeForTheBrokerGoesOutWithoutItsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		l.maxBatch = 1500
		big := &orderpb.Reserved{}
		for i := range 100 {
			big.Lines = append(big.Lines, &orderpb.LineHold{Sku: fmt.Sprintf("%x", rand.Uint64()), SkuVersion: int64(i)})
		}
		small := func() *orderpb.Event { return &orderpb.Event{Event: &orderpb.Event_Expired{}} }
		for i := range 8 {
			j.Append(1, "order", fmt.Sprintf("ord_%d", i), small(), small())
		}
		j.Append(1, "order", "ord_big", small(), &orderpb.Event{Event: &orderpb.Event_Reserved{Reserved: big}}, small())
		for i := range 8 {
			j.Append(1, "order", fmt.Sprintf("ord_%d", i), small())
		}
		j.End(1)
		cfg := testConfig(j, 1)
		cfg.Compression = "none"
		p := mustNew(t, cfg, l)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		faults := faultsOf(t, l, j.Records(1))
		if len(faults) != 1 || faults[0].Rule != eventcheck.Different || faults[0].Key != "ord_big" {
			t.Errorf("%v, want one event that differs", faults)
		}
		if n := metric(t, p, "stampede_events_data_omitted_total"); n != 1 {
			t.Errorf("%v counted", n)
		}
		for _, m := range l.stored() {
			omitted := m.headers["ce_id"] == "order/ord_big/2"
			if (m.headers[cloudevents.HeaderDataOmitted] != "") != omitted || m.null || (len(m.value) == 0) != omitted {
				t.Errorf("%s: %d bytes, null %t, headers %v", m.headers["ce_id"], len(m.value), m.null, m.headers)
			}
		}
	})
}

// TestLevelsAreConflatedAndTheLastIsSent: a hot SKU's levels go out a few
// times a second, events all of them, and the final level is the newest.
func TestLevelsAreConflatedAndTheLastIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		p := mustNew(t, testConfig(j, 1), l)
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		for i := range 1000 {
			j.Append(1, "sku", "HOT", &skupb.Event{AtMs: time.Now().UnixMilli(), After: &skupb.Stock{Held: int64(i)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}})
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if m := watermark(t, j, 1); m != 1000 {
			t.Errorf("watermark %d: a level was held back for good", m)
		}
		j.End(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkPublished(t, l, j.Records(1))
		var levels []time.Time
		for _, m := range l.stored() {
			if m.topic == cloudevents.TopicStockLevels {
				levels = append(levels, m.at)
			}
		}
		if n := len(levels); n < 8 || n > 11 {
			t.Errorf("%d levels in two seconds", n)
		}
		for i := 1; i < len(levels); i++ {
			if d := levels[i].Sub(levels[i-1]); d < 240*time.Millisecond {
				t.Errorf("levels %v apart", d)
			}
		}
		if n := metric(t, p, "stampede_events_levels_conflated_total"); int(n) != 1000-len(levels) {
			t.Errorf("%v conflated, %d sent", n, len(levels))
		}
	})
}

func TestUnreadableRecordsAreSaidAndDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		expired := func() *orderpb.Event { return &orderpb.Event{Event: &orderpb.Event_Expired{}} }
		j.Append(1, "order", "ord_1", expired())
		j.Append(1, "order", "ord_2", expired()).Checksum++
		j.AppendAt(1, 5, "order", "ord_3", &orderpb.Event{}) // of a newer version of the program
		j.Append(1, "order", "ord_4", expired())
		j.End(1)
		var logged bytes.Buffer
		cfg := testConfig(j, 1)
		cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		cfg.Log.Logger = cfg.Logger
		p := mustNew(t, cfg, l)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.ids(); len(got) != 2 || !got["order/ord_1/1"] || !got["order/ord_4/1"] {
			t.Errorf("%v", got)
		}
		for _, want := range []string{"order/ord_2 record 1", "order/ord_3 record 1"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("log does not name %s:\n%s", want, &logged)
			}
		}
		if n := metric(t, p, "stampede_events_unpublishable_records_total"); n != 1 {
			t.Errorf("%v counted", n)
		}
		if m := watermark(t, j, 1); m != 8 {
			t.Errorf("watermark %d", m)
		}
	})
}

// TestStoppingTakesWhatWasReadAlong, within its time.
func TestStopping(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("broker away %t", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, l := logtest.NewJournal(1), newFakeLink(t)
				logtest.NewShop(j, 1, 3).Trade(1, 30)
				l.requestFault = func(ctx context.Context) error {
					if away {
						<-ctx.Done() // paused: it accepts and does not answer
						return ctx.Err()
					}
					time.Sleep(time.Second)
					return nil
				}
				ctx, stop := context.WithCancel(t.Context())
				p := mustNew(t, testConfig(j, 1), l)
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				time.Sleep(100 * time.Millisecond)
				stop()
				start := time.Now()
				err := <-done
				if (err != nil) != away || time.Since(start) > 6*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				if !away {
					checkPublished(t, l, j.Records(1))
				}
			})
		})
	}
}

func TestWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, l := logtest.NewJournal(1), newFakeLink(t)
		rec := j.Append(1, "order", "ord_1", &orderpb.Event{Event: &orderpb.Event_Expired{}})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		p := mustNew(t, testConfig(j, 1), l)
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		if err := p.WaitFor(ctx, rec.Position); err != nil {
			t.Fatal(err)
		}
		if !l.ids()["order/ord_1/1"] {
			t.Error("not published")
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.WaitFor(short, rec.Position+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
