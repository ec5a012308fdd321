package sku

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/skupb"
)

// TestEvolveRefusesWhatCannotBe: an event that was not decided in this state is
// a corrupt journal, whichever way it does not fit.
func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	take := func(cmd proto.Message, change func(e *skupb.Event)) func(s *State) *skupb.Event {
		return func(s *State) *skupb.Event {
			events, _ := Decide(s, cmd, t0)
			change(events[0])
			return events[0]
		}
	}
	event := func(e *skupb.Event) func(s *State) *skupb.Event {
		return func(s *State) *skupb.Event {
			if e.After == nil {
				e.After = s.stock.message()
			}
			return e
		}
	}
	tests := []struct {
		name  string
		given string
		event func(s *State) *skupb.Event
	}{
		{"another stock", "on sale", take(reserve("o1", 2), func(e *skupb.Event) { e.After.Available++ })},
		{"no stock", "on sale", take(reserve("o1", 2), func(e *skupb.Event) { e.After = nil })},
		{"another quantity", "on sale", take(reserve("o1", 2), func(e *skupb.Event) { e.GetReserved().Quantity = 1 })},
		{"impossible quantity", "on sale", take(reserve("o1", 2), func(e *skupb.Event) { e.GetReserved().Quantity = -2 })},
		{"more than there is", "on sale", take(reserve("o1", 2), func(e *skupb.Event) {
			e.GetReserved().Quantity = 6
			e.After = &skupb.Stock{Available: -1, Held: 6}
		})},
		{"reserved twice", "held", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{Available: 1, Held: 4}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: "o1", Quantity: 2}}}
		}},
		{"reserved after its end", "released", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{Available: 3, Held: 2}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: "o1", Quantity: 2}}}
		}},
		{"released by another", "held", take(release("o1"), func(e *skupb.Event) { e.GetReleased().OrderId = "o2" })},
		{"released fewer", "held", take(release("o1"), func(e *skupb.Event) { e.GetReleased().Quantity = 1 })},
		{"released as committed", "held", take(release("o1"), func(e *skupb.Event) { e.GetReleased().Committed = true })},
		{"tombstone of what is held", "held", event(&skupb.Event{Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: "o1"}}})},
		{"expired when committed", "committed", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{Available: 5}, Event: &skupb.Event_Expired{Expired: &skupb.Expired{OrderId: "o1", Quantity: 2}}}
		}},
		{"confirmed twice", "committed", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{Available: 3, Committed: 4, Held: -2}, Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: "o1", Quantity: 2}}}
		}},
		{"reacquired what is held", "held", take(confirm("o9", 2), func(e *skupb.Event) { e.GetConfirmed().OrderId = "o1" })},
		{"reacquired some", "on sale", take(confirm("o9", 2), func(e *skupb.Event) { e.GetConfirmed().Reacquired = 1 })},
		{"configured by two", "on sale", event(&skupb.Event{Event: &skupb.Event_Configured{Configured: &skupb.Configured{ProductId: "prd_2"}}})},
		{"stocked twice", "on sale", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{Available: 6}, Event: &skupb.Event_Configured{Configured: &skupb.Configured{ProductId: "prd_1", InitialStock: 1}}}
		}},
		{"unconfigured by another", "claimed", func(s *State) *skupb.Event {
			return &skupb.Event{After: &skupb.Stock{}, Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{ProductId: "prd_2"}}}
		}},
		{"depleted with units", "on sale", event(&skupb.Event{Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}})},
		{"replenished without", "sold out", event(&skupb.Event{Event: &skupb.Event_Replenished{Replenished: &skupb.Replenished{}}})},
		{"nothing", "on sale", event(&skupb.Event{})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := given(t, states[tt.given])
			e := tt.event(s)
			defer func() {
				if v, _ := recover().(string); !strings.Contains(v, "sku SHOE-42 version ") || !strings.Contains(v, "corrupt") {
					t.Errorf("panicked with %q", v)
				}
			}()
			Evolve(s, e)
			t.Error("the event was taken")
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *skupb.State)
	}{
		{"another SKU", func(m *skupb.State) { m.Sku = "OTHER" }},
		{"another stock", func(m *skupb.State) { m.Stock.Held++ }},
		{"negative stock", func(m *skupb.State) { m.Stock.Available = -1 }},
		{"too much stock", func(m *skupb.State) { m.Stock.Available = maxStock }},
		{"an allocation twice", func(m *skupb.State) { m.Allocations = append(m.Allocations, m.Allocations[0]) }},
		{"an allocation fewer", func(m *skupb.State) { m.Allocations = m.Allocations[1:] }},
		{"an impossible quantity", func(m *skupb.State) { m.Allocations[0].Quantity = 1 << 32 }},
		{"two of one version", func(m *skupb.State) { m.Allocations[1].ReservedVersion = m.Allocations[0].ReservedVersion }},
		{"a version to come", func(m *skupb.State) { m.Allocations[0].ReservedVersion = m.Version + 1 }},
		{"ended and held", func(m *skupb.State) {
			m.Settled = append(m.Settled, &skupb.Settled{OrderId: m.Allocations[0].OrderId})
		}},
		{"ended and returning", func(m *skupb.State) {
			m.Settled = append(m.Settled, &skupb.Settled{OrderId: m.Settled[0].OrderId, Move: 1, Unsettled: true})
		}},
		{"returning without a move", func(m *skupb.State) { m.Settled = append(m.Settled, &skupb.Settled{OrderId: "o9", Unsettled: true}) }},
		{"ended twice", func(m *skupb.State) { m.Settled = append(m.Settled, m.Settled[0]) }},
		{"remembered twice", func(m *skupb.State) { m.Remembered = append(m.Remembered, m.Remembered[0]) }},
		{"stock without a product", func(m *skupb.State) { m.ProductId = "" }},
		{"negative version", func(m *skupb.State) { m.Version = -1 }},
	}
	s := given(t, append(at0(onSale(20), reserve("o1", 2), reserve("o2", 3), reserve("o3", 1), confirm("o3", 1), release("o4")), step{0, adjust("k", 1)}))
	if s2 := restored(t, s); s2.version != s.version {
		t.Fatal("not even the untouched snapshot is taken")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := proto.Clone(Snapshot(s)).(*skupb.State)
			tt.change(m)
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Restore("SHOE-42", b); err == nil {
				t.Error("restored")
			}
		})
	}
	if _, err := Restore("SHOE-42", []byte{0xff}); err == nil {
		t.Error("restored from garbage")
	}
}

// restored is the state after a snapshot and its way through bytes.
func restored(t testing.TB, s *State) *State {
	t.Helper()
	b, err := proto.Marshal(Snapshot(s))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Restore(s.id, b)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(Snapshot(out), Snapshot(s)) {
		t.Fatalf("restored\n%v\nof\n%v", Snapshot(out), Snapshot(s))
	}
	return out
}

// TestSnapshotIsApart: a snapshot stays what it was while the state goes on.
func TestSnapshotIsApart(t *testing.T) {
	s := given(t, states["held"])
	snapshot := Snapshot(s)
	before := proto.Clone(snapshot)
	for _, cmd := range []proto.Message{confirm("o1", 2), adjust("k", 3), takeBack("o1"), &skupb.Configure{ProductId: "prd_1", ProductVersion: 2, Price: eur(5), Active: true}} {
		decide(t, s, cmd, t0.Add(time.Minute))
	}
	if !proto.Equal(before, snapshot) {
		t.Error("the snapshot changed")
	}
}
