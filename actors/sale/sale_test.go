package sale

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// t0 is when all tests begin; the sale opens a minute later and lasts ten.
var (
	t0    = time.UnixMilli(1_800_000_000_000).UTC()
	opens = t0.Add(time.Minute)
	ends  = opens.Add(10 * time.Minute)
)

func eur(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }

func create(admission salepb.Admission) *salepb.Create {
	c := &salepb.Create{
		Actor: &commonpb.Actor{UserId: "usr_s", Staff: true}, IdempotencyKey: "k", Name: "Friday", StartsAtMs: opens.UnixMilli(), EndsAtMs: ends.UnixMilli(),
		PerCustomerLimit: 2, Admission: admission, ShuffleSecret: []byte(strings.Repeat("s", SecretBytes)),
		Items: []*salepb.CreateItem{{Sku: "A", SalePrice: eur(990), Allocation: 5}, {Sku: "B", SalePrice: eur(1990), Allocation: 3}},
	}
	if admission != salepb.Admission_ADMISSION_OPEN_TO_ALL {
		c.AdmitPerSecond = 10
	}
	return c
}

// world is a sale and SKUs that agree to everything, unless they refuse.
type world struct {
	t      testing.TB
	s      *State
	refuse map[string]*commonpb.Refusal
}

func newWorld(t testing.TB) *world { return &world{t: t, s: New("sal_1")} }

// send decides a command and verifies what must hold for every one.
func (w *world) send(cmd proto.Message, now time.Time) Decision {
	w.t.Helper()
	return w.decide(cmd, now, nil)
}

func (w *world) decide(cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	w.t.Helper()
	before, input := Snapshot(w.s), proto.Clone(cmd)
	d := Decide(w.s, cmd, now, heard)
	if after := Snapshot(w.s); !proto.Equal(before, after) {
		w.t.Fatalf("Decide changed the state: %s", cmp.Diff(before, after, protocmp.Transform()))
	}
	if !proto.Equal(input, cmd) {
		w.t.Fatalf("Decide changed the command")
	}
	for _, e := range d.Events {
		Evolve(w.s, e)
	}
	if err := check(w.s); err != nil {
		w.t.Fatalf("after %T: %v", cmd, err)
	}
	return d
}

// follow asks the SKUs what is pending until nothing is, and returns what was asked.
func (w *world) follow(now time.Time) (asked []*skupb.ConfigureSale) {
	w.t.Helper()
	for range 8 {
		asks := Pending(w.s)
		if len(asks) == 0 {
			return asked
		}
		heard := map[string]proto.Message{}
		for _, a := range asks {
			asked = append(asked, a.Command.(*skupb.ConfigureSale))
			heard[a.Key] = &skupb.ConfigureSaleReply{Refusal: w.refuse[a.ID]}
		}
		w.decide(&commonpb.Continue{}, now, heard)
	}
	w.t.Fatalf("there is always something pending: %v", Pending(w.s))
	return nil
}

func (w *world) status() string { return nameOf(w.s.sale.GetStatus()) }

func reasonOf(d Decision) string {
	if d.Reply == nil {
		return "waits"
	}
	r := d.Reply.(interface{ GetRefusal() *commonpb.Refusal }).GetRefusal()
	if r == nil {
		return "ok"
	}
	return strings.TrimPrefix(r.GetReason().String(), "REASON_")
}

// scheduled is a sale that its SKUs have agreed to.
func scheduled(t testing.TB, admission salepb.Admission) *world {
	w := newWorld(t)
	w.send(create(admission), t0)
	w.follow(t0)
	if w.status() != "SCHEDULED" {
		t.Fatalf("status %s", w.status())
	}
	return w
}

// in brings a sale into a state.
func in(t testing.TB, state string) (*world, time.Time) {
	w := newWorld(t)
	if state == "NONE" {
		return w, t0
	}
	w.send(create(salepb.Admission_ADMISSION_FIRST_COME), t0)
	switch state {
	case "DRAFT":
		return w, t0
	case "REJECTED":
		w.refuse = map[string]*commonpb.Refusal{"B": {Reason: commonpb.Reason_REASON_CONFLICT, Field: []string{"sku"}}}
		w.follow(t0)
		return w, t0
	}
	w.follow(t0)
	now := opens.Add(time.Second)
	switch state {
	case "SCHEDULED":
		return w, t0
	case "PAUSED":
		w.send(&salepb.Control{Pause: proto.Bool(true)}, now)
	case "SOLD_OUT":
		w.send(&salepb.Report{Sku: "A", SkuVersion: 5, SoldOut: true}, now)
		w.send(&salepb.Report{Sku: "B", SkuVersion: 5, SoldOut: true}, now)
	case "ENDED":
		w.send(&salepb.Control{End: true}, now)
	}
	w.send(&commonpb.Tick{}, now)
	w.follow(now)
	return w, now
}

// Every state and every command: what is answered, and what the sale is then.
func TestEveryStateAndCommand(t *testing.T) {
	commands := map[string]func(now time.Time) proto.Message{
		"create":   func(time.Time) proto.Message { return create(salepb.Admission_ADMISSION_FIRST_COME) },
		"other":    func(time.Time) proto.Message { return create(salepb.Admission_ADMISSION_OPEN_TO_ALL) },
		"get":      func(time.Time) proto.Message { return &salepb.Get{} },
		"schedule": func(time.Time) proto.Message { return &salepb.GetSchedule{} },
		"join":     func(time.Time) proto.Message { return &salepb.Join{CustomerId: "usr_1"} },
		"pause":    func(time.Time) proto.Message { return &salepb.Control{Pause: proto.Bool(true)} },
		"resume":   func(time.Time) proto.Message { return &salepb.Control{Pause: proto.Bool(false)} },
		"end":      func(time.Time) proto.Message { return &salepb.Control{End: true} },
		"rate":     func(time.Time) proto.Message { return &salepb.Control{AdmitPerSecond: proto.Int64(99)} },
		"start":    func(now time.Time) proto.Message { return &salepb.Control{StartsAtMs: proto.Int64(now.UnixMilli())} },
		"longer": func(time.Time) proto.Message {
			return &salepb.Control{EndsAtMs: proto.Int64(ends.Add(time.Hour).UnixMilli())}
		},
		"stale":   func(time.Time) proto.Message { return &salepb.Control{IfVersion: 1, AdmitPerSecond: proto.Int64(99)} },
		"nothing": func(time.Time) proto.Message { return &salepb.Control{} },
		"report":  func(time.Time) proto.Message { return &salepb.Report{Sku: "A", SkuVersion: 9} },
		"tick":    func(time.Time) proto.Message { return &commonpb.Tick{} },
		"unknown": func(time.Time) proto.Message { return &salepb.Sale{} },
		"nil":     func(time.Time) proto.Message { return (*salepb.Get)(nil) },
	}
	// An answer and the state after it, where that is another one.
	table := map[string]map[string]string{
		"NONE": {
			"create": "waits DRAFT", "other": "waits DRAFT", "get": "NOT_FOUND", "schedule": "NOT_FOUND", "join": "NOT_FOUND", "pause": "NOT_FOUND", "resume": "NOT_FOUND",
			"end": "NOT_FOUND", "rate": "NOT_FOUND", "start": "NOT_FOUND", "longer": "NOT_FOUND", "stale": "NOT_FOUND", "nothing": "NOT_FOUND", "report": "told",
		},
		"DRAFT": {
			"create": "waits", "other": "IDEMPOTENCY_MISMATCH", "get": "NOT_FOUND", "schedule": "NOT_FOUND", "join": "NOT_FOUND", "pause": "NOT_FOUND", "resume": "NOT_FOUND",
			"end": "NOT_FOUND", "rate": "NOT_FOUND", "start": "NOT_FOUND", "longer": "NOT_FOUND", "stale": "NOT_FOUND", "nothing": "NOT_FOUND", "report": "told",
		},
		"REJECTED": {
			"create": "CONFLICT", "other": "IDEMPOTENCY_MISMATCH", "get": "NOT_FOUND", "schedule": "NOT_FOUND", "join": "NOT_FOUND", "pause": "NOT_FOUND", "resume": "NOT_FOUND",
			"end": "NOT_FOUND", "rate": "NOT_FOUND", "start": "NOT_FOUND", "longer": "NOT_FOUND", "stale": "NOT_FOUND", "nothing": "NOT_FOUND", "report": "told",
		},
		"SCHEDULED": {
			"create": "ok", "other": "IDEMPOTENCY_MISMATCH", "get": "ok", "schedule": "ok", "join": "ok", "pause": "ILLEGAL_TRANSITION", "resume": "ok",
			"end": "waits ENDED", "rate": "ok", "start": "waits OPEN", "longer": "waits", "stale": "VERSION_CONFLICT", "nothing": "INVALID", "report": "told",
		},
		"OPEN": {
			"create": "ok", "other": "IDEMPOTENCY_MISMATCH", "get": "ok", "schedule": "ok", "join": "ok", "pause": "waits PAUSED", "resume": "ok",
			"end": "waits ENDED", "rate": "ok", "start": "ILLEGAL_TRANSITION", "longer": "waits", "stale": "VERSION_CONFLICT", "nothing": "INVALID", "report": "told",
		},
		"PAUSED": {
			"create": "ok", "other": "IDEMPOTENCY_MISMATCH", "get": "ok", "schedule": "ok", "join": "ok", "pause": "ok", "resume": "waits OPEN",
			"end": "waits ENDED", "rate": "ok", "start": "ILLEGAL_TRANSITION", "longer": "waits", "stale": "VERSION_CONFLICT", "nothing": "INVALID", "report": "told",
		},
		"SOLD_OUT": {
			"create": "ok", "other": "IDEMPOTENCY_MISMATCH", "get": "ok", "schedule": "ok", "join": "ok", "pause": "waits PAUSED", "resume": "ok",
			"end": "waits ENDED", "rate": "ok", "start": "ILLEGAL_TRANSITION", "longer": "waits", "stale": "VERSION_CONFLICT", "nothing": "INVALID", "report": "told OPEN",
		},
		"ENDED": {
			"create": "ok", "other": "IDEMPOTENCY_MISMATCH", "get": "ok", "schedule": "ok", "join": "SALE_ENDED", "pause": "ILLEGAL_TRANSITION", "resume": "ILLEGAL_TRANSITION",
			"end": "ok", "rate": "ILLEGAL_TRANSITION", "start": "ILLEGAL_TRANSITION", "longer": "ILLEGAL_TRANSITION", "stale": "ILLEGAL_TRANSITION", "nothing": "INVALID", "report": "told",
		},
	}
	for state, row := range table {
		for name, cmd := range commands {
			t.Run(state+"/"+name, func(t *testing.T) {
				w, now := in(t, state)
				d := w.send(cmd(now), now)
				var got string
				if _, told := d.Reply.(*salepb.ReportReply); told {
					got = "told"
				} else {
					got = reasonOf(d)
				}
				if after := w.status(); after != state && !(state == "NONE" && after == "UNSPECIFIED") {
					got += " " + after
				}
				want := row[name]
				switch name {
				case "tick":
					want = "waits"
				case "unknown", "nil":
					want = "INVALID"
				}
				if got != want {
					t.Errorf("%s, want %s", got, want)
				}
				// Whatever it waits for comes to an end, and then the same again is answered.
				if d.Reply == nil && name != "tick" {
					w.refuse = nil
					w.follow(now)
					if again := w.send(cmd(now), now); reasonOf(again) != "ok" {
						t.Errorf("the same again: %s", reasonOf(again))
					}
				}
			})
		}
	}
}

func TestWhatASaleAccepts(t *testing.T) {
	cases := map[string]func(*salepb.Create){
		"idempotencyKey":   func(c *salepb.Create) { c.IdempotencyKey = "" },
		"name":             func(c *salepb.Create) { c.Name = " " },
		"perCustomerLimit": func(c *salepb.Create) { c.PerCustomerLimit = MaxPerCustomer + 1 },
		"admitPerSecond":   func(c *salepb.Create) { c.AdmitPerSecond = 0 },
		"admission":        func(c *salepb.Create) { c.ShuffleSecret = nil },
		"startsAt":         func(c *salepb.Create) { c.StartsAtMs = 0 },
		"endsAt":           func(c *salepb.Create) { c.EndsAtMs = c.StartsAtMs },
		"items":            func(c *salepb.Create) { c.Items = nil },
		"items.0.sku":      func(c *salepb.Create) { c.Items[0].Sku = "a b" },
		"items.1.sku":      func(c *salepb.Create) { c.Items[1].Sku = "A" },
		"items.1.salePrice": func(c *salepb.Create) {
			c.Items[1].SalePrice = nil
		},
		"items.0.allocation": func(c *salepb.Create) { c.Items[0].Allocation = 0 },
	}
	for field, spoil := range cases {
		w, c := newWorld(t), create(salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING)
		spoil(c)
		d := w.send(c, t0)
		if r := d.Reply.(*salepb.SaleReply).GetRefusal(); reasonOf(d) != "INVALID" || strings.Join(r.GetField(), ".") != field || len(d.Events) > 0 {
			t.Errorf("%s: %v", field, r)
		}
	}
}

// A SKU that will not take part: the sale is not made, whoever agreed is told
// so, and the same again is answered the same.
func TestASKURefuses(t *testing.T) {
	w := newWorld(t)
	w.refuse = map[string]*commonpb.Refusal{"B": {Reason: commonpb.Reason_REASON_INSUFFICIENT_STOCK, Field: []string{"allocation"}, Sku: "B", Available: 2}}
	w.send(create(salepb.Admission_ADMISSION_OPEN_TO_ALL), t0)
	asked := w.follow(t0)
	if len(asked) != 4 || asked[0].GetEnded() || !asked[2].GetEnded() || !asked[3].GetEnded() || asked[2].GetSaleVersion() <= asked[0].GetSaleVersion() {
		t.Errorf("asked %v", asked)
	}
	d := w.send(create(salepb.Admission_ADMISSION_OPEN_TO_ALL), t0)
	r := d.Reply.(*salepb.SaleReply).GetRefusal()
	if reasonOf(d) != "INSUFFICIENT_STOCK" || strings.Join(r.GetField(), ".") != "items.1.allocation" || w.s.Shown() != nil || w.s.StatusName() != "" {
		t.Errorf("answered %v", d.Reply)
	}
}

// A crash anywhere between the SKUs: what is pending is derived from the state,
// so whoever restores it asks the same again.
// A sale that is extended at its last moment, when one of its SKUs has closed
// it by its own deadline already, is over: it would sell nothing.
func TestExtendedTooLate(t *testing.T) {
	w, now := in(t, "OPEN")
	extend := &salepb.Control{EndsAtMs: proto.Int64(ends.Add(time.Hour).UnixMilli())}
	if got := reasonOf(w.send(extend, now)); got != "waits" {
		t.Fatalf("extended: %s", got)
	}
	w.refuse = map[string]*commonpb.Refusal{"B": {Reason: commonpb.Reason_REASON_SALE_ENDED, Field: []string{"saleId"}}}
	asked := w.follow(now)
	if last := asked[len(asked)-1]; w.status() != "ENDED" || !last.GetEnded() {
		t.Errorf("it is %s, and the SKUs were told %v last", w.status(), last)
	}
	if got := reasonOf(w.send(extend, now)); got != "ILLEGAL_TRANSITION" {
		t.Errorf("who extended it is told %s", got)
	}
}

func TestAskingTheSKUsAgainAfterACrash(t *testing.T) {
	for _, state := range []string{"DRAFT", "SCHEDULED", "OPEN", "PAUSED", "SOLD_OUT"} {
		w, now := in(t, state)
		if state != "DRAFT" {
			w.send(&salepb.Control{End: true}, now)
		}
		before := Pending(w.s)
		// One SKU has answered when the node dies: that is not enough to decide.
		if d := Decide(w.s, &commonpb.Continue{}, now, map[string]proto.Message{before[0].Key: &skupb.ConfigureSaleReply{}}); len(d.Events) > 0 {
			t.Errorf("%s: decided %v on half the answers", state, d.Events)
		}
		b, err := proto.Marshal(Snapshot(w.s))
		if err != nil {
			t.Fatal(err)
		}
		if w.s, err = Restore("sal_1", b); err != nil {
			t.Fatal(err)
		}
		after := Pending(w.s)
		if len(after) != 2 || !slices.EqualFunc(before, after, func(a, b Ask) bool { return a.Key == b.Key && proto.Equal(a.Command, b.Command) }) {
			t.Errorf("%s: asked %v, after the crash %v", state, before, after)
		}
		w.follow(now)
	}
}

func TestOpeningAndEndingOnTime(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING)
	if got := WakeAt(w.s); !got.Equal(opens) {
		t.Errorf("wakes at %s", got)
	}
	w.send(&salepb.Join{CustomerId: "early"}, opens.Add(-time.Millisecond))
	if c := w.s.sale.Schedule; len(c.GetShuffleSecret()) > 0 || string(c.GetShuffleCommitment()) != string(Commitment(w.s.secret)) || !Stale(c, opens.UnixMilli()) || Stale(c, opens.UnixMilli()-1) {
		t.Errorf("before the opening: %v", c)
	}
	d := w.send(&salepb.Join{CustomerId: "late"}, opens)
	if len(d.Events) != 2 || d.Events[0].GetOpened().GetJoinedEarly() != 1 || w.status() != "OPEN" {
		t.Errorf("at the opening: %v", d.Events)
	}
	c := d.Reply.(*salepb.JoinReply).GetSchedule()
	if string(Commitment(c.GetShuffleSecret())) != string(c.GetShuffleCommitment()) || c.GetJoined() != 2 || c.GetJoinedEarly() != 1 {
		t.Errorf("the schedule at the opening: %v", c)
	}
	if got := WakeAt(w.s); !got.Equal(ends) {
		t.Errorf("wakes at %s", got)
	}
	w.send(&commonpb.Tick{}, ends)
	if asked := w.follow(ends); w.status() != "ENDED" || len(asked) != 2 || !asked[0].GetEnded() || !WakeAt(w.s).IsZero() {
		t.Errorf("at its end: %s, asked %v", w.status(), asked)
	}
}

func TestJoiningTwice(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_FIRST_COME)
	for range 2 {
		for i := range 50 {
			d := w.send(&salepb.Join{CustomerId: fmt.Sprint("usr_", i)}, t0)
			if got := d.Reply.(*salepb.JoinReply).GetNumber(); got != int64(i+1) {
				t.Fatalf("customer %d got number %d", i, got)
			}
		}
	}
	open := scheduled(t, salepb.Admission_ADMISSION_OPEN_TO_ALL)
	if got := reasonOf(open.send(&salepb.Join{CustomerId: "usr_1"}, t0)); got != "INVALID" {
		t.Errorf("without a waiting room: %s", got)
	}
}

// Old words, and words about what is no part of the sale, change nothing.
func TestReports(t *testing.T) {
	w, now := in(t, "OPEN")
	steps := []struct {
		sku     string
		version int64
		out     bool
		status  string
		events  int
	}{
		{"A", 5, true, "OPEN", 1},
		{"A", 5, true, "OPEN", 0},
		{"A", 4, false, "OPEN", 0},
		{"B", 2, true, "SOLD_OUT", 1},
		{"C", 9, false, "SOLD_OUT", 0},
		{"A", 6, false, "OPEN", 1},
		{"A", 7, true, "SOLD_OUT", 1},
	}
	for i, step := range steps {
		d := w.send(&salepb.Report{Sku: step.sku, SkuVersion: step.version, SoldOut: step.out}, now)
		if w.status() != step.status || len(d.Events) != step.events {
			t.Errorf("step %d: %s after %v", i, w.status(), d.Events)
		}
	}
}

// Anything in any order: nothing panics, a restored state and a reader's fold
// are the same state, numbers are given once, and admission never goes back.
func TestRandomWalk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		fold := NewFold("sal_1")
		admission := rapid.SampledFrom([]salepb.Admission{1, 2, 3}).Draw(rt, "admission")
		now, admitted := t0, int64(0)
		numbers := map[string]int64{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
			var cmd proto.Message
			switch rapid.IntRange(0, 9).Draw(rt, "command") {
			case 0:
				cmd = create(admission)
			case 1:
				cmd = &salepb.Control{Pause: proto.Bool(rapid.Bool().Draw(rt, "pause"))}
			case 2:
				cmd = &salepb.Control{AdmitPerSecond: proto.Int64(rapid.Int64Range(0, 5).Draw(rt, "rate"))}
			case 3:
				cmd = &salepb.Control{StartsAtMs: proto.Int64(now.Add(time.Minute).UnixMilli())}
			case 4:
				cmd = &salepb.Control{EndsAtMs: proto.Int64(now.Add(time.Hour).UnixMilli())}
			case 5:
				cmd = &salepb.Report{Sku: rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "sku"), SkuVersion: rapid.Int64Range(1, 99).Draw(rt, "version"), SoldOut: rapid.Bool().Draw(rt, "out")}
			case 6:
				cmd = &commonpb.Continue{}
			default:
				cmd = &salepb.Join{CustomerId: fmt.Sprint("usr_", rapid.IntRange(0, 20).Draw(rt, "customer"))}
			}
			heard := map[string]proto.Message{}
			for _, a := range Pending(w.s) {
				heard[a.Key] = &skupb.ConfigureSaleReply{}
			}
			d := w.decide(cmd, now, heard)
			for _, e := range d.Events {
				Evolve(fold, e)
			}
			if j, ok := d.Reply.(*salepb.JoinReply); ok && j.GetRefusal() == nil {
				id := cmd.(*salepb.Join).GetCustomerId()
				if before := numbers[id]; before != 0 && before != j.GetNumber() || !proto.Equal(j.GetSchedule(), w.s.sale.GetSchedule()) {
					rt.Fatalf("%s has %d, had %d; schedule %v of %v", id, j.GetNumber(), before, j.GetSchedule(), w.s.sale.GetSchedule())
				}
				numbers[id] = j.GetNumber()
			}
			whole, seen := Snapshot(w.s).(*salepb.State), Snapshot(fold).(*salepb.State)
			b, err := proto.Marshal(whole)
			if err != nil {
				rt.Fatal(err)
			}
			restored, err := Restore("sal_1", b)
			if err != nil || !proto.Equal(Snapshot(restored), whole) {
				rt.Fatalf("restored: %v", err)
			}
			whole.Waiting = nil
			if !proto.Equal(whole, seen) {
				rt.Fatalf("a reader sees %s", cmp.Diff(whole, seen, protocmp.Transform()))
			}
			if c := w.s.sale.GetSchedule(); w.s.public() {
				at := Admitted(c, now.UnixMilli())
				if at < admitted || at > c.GetJoined() {
					rt.Fatalf("%d admitted of %d, before %d: %v", at, c.GetJoined(), admitted, c)
				}
				admitted = at
			}
		}
	})
}
