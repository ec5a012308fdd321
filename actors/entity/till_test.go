package entity

// A core whose world is a slice: what it writes, asks and answers is noted.

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
)

// till is a toy kind: a command adds its minor units. Its currency says how:
// "ASK" asks another till first, "WAIT" waits until the sum is 100 or more,
// and adds the text of the currency then; anything else adds at once.
type till struct {
	sum int64
}

// bench is a till on a host that only takes notes.
type bench struct {
	t        *testing.T
	kind     *Kind[till, *commonpb.Money]
	limits   Limits
	core     *core[till, *commonpb.Money]
	clock    time.Time
	unfit    error
	records  []*Record
	asked    []Ask
	traces   []string // of what was asked
	woken    []time.Time
	retries  int
	gathers  int
	ends     []error
	shown    proto.Message
	until    time.Time
	answered map[string][]error // by request
}

func newBench(t *testing.T, change func(*bench)) *bench {
	b := &bench{t: t, clock: time.UnixMilli(1_000_000), limits: DefaultLimits(), answered: map[string][]error{}}
	b.kind = &Kind[till, *commonpb.Money]{
		Name: "till",
		New:  func(string) *till { return &till{} },
		Decide: func(s *till, cmd proto.Message, _ time.Time, heard Heard) Decision[*commonpb.Money] {
			m, ok := cmd.(*commonpb.Money)
			switch {
			case !ok:
				return Decision[*commonpb.Money]{}
			case m.Currency == "ASK" && heard == nil:
				return Decision[*commonpb.Money]{Asks: []Ask{{Key: "other", Kind: "till", ID: "other"}}}
			case strings.HasPrefix(m.Currency, "WAIT") && s.sum < 100:
				return Decision[*commonpb.Money]{}
			}
			return Decision[*commonpb.Money]{Events: []*commonpb.Money{m}, Reply: &commonpb.Money{MinorUnits: s.sum + m.MinorUnits}}
		},
		Evolve:   func(s *till, e *commonpb.Money) { s.sum += e.MinorUnits },
		NewEvent: func() *commonpb.Money { return &commonpb.Money{} },
		Snapshot: func(s *till) proto.Message { return &commonpb.Money{MinorUnits: s.sum} },
		Restore:  func(string, []byte) (*till, error) { return &till{}, nil },
	}
	if change != nil {
		change(b)
	}
	b.core = newCore(b.kind, Address{Kind: "till", ID: "a"}, &b.limits, host(b))
	b.core.begin()
	return b
}

func (b *bench) now() time.Time     { return b.clock }
func (b *bench) fit() error         { return b.unfit }
func (b *bench) commit(rec *Record) { b.records = append(b.records, rec) }
func (b *bench) ask(a Ask, trace string, _ time.Duration) {
	b.asked, b.traces = append(b.asked, a), append(b.traces, trace)
}
func (b *bench) wake(at time.Time)                { b.woken = append(b.woken, at) }
func (b *bench) gather()                          { b.gathers++ }
func (b *bench) retryCommit(time.Duration)        { b.retries++ }
func (b *bench) resume(time.Duration)             {}
func (b *bench) snapshot(Snapshot, proto.Message) {}
func (b *bench) show(r proto.Message, until time.Time) {
	b.shown, b.until = r, until
}
func (b *bench) hide()            { b.shown = nil }
func (b *bench) end(reason error) { b.ends = append(b.ends, reason) }
func (b *bench) rand() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }

type noted struct {
	b    *bench
	name string
}

func (n noted) Answer(_ proto.Message, err error) {
	n.b.answered[n.name] = append(n.b.answered[n.name], err)
}

func (b *bench) receive(name string, units int64, how string) {
	b.answered[name] = nil
	b.core.receive(&Request{Command: &commonpb.Money{MinorUnits: units, Currency: how}, Answer: noted{b, name}})
}

// written reports that the newest record is durable.
func (b *bench) written() { b.core.committed(b.records[len(b.records)-1].Seq, nil) }

// only fails unless the request was answered once, with an error that wraps want.
func (b *bench) only(name string, want error) {
	b.t.Helper()
	got := b.answered[name]
	if len(got) != 1 || want == nil && got[0] != nil || want != nil && !errors.Is(got[0], want) {
		b.t.Errorf("%s was answered %v, want once %v", name, got, want)
	}
}
