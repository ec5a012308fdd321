package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/skupb"
)

// past writes a SKU's first record.
func (w *world) past(sku string, events ...*skupb.Event) {
	w.t.Helper()
	batch := &journalpb.Batch{}
	for _, e := range events {
		b, err := proto.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		batch.Entries = append(batch.Entries, &journalpb.Entry{Event: b})
	}
	body, err := proto.Marshal(batch)
	if err != nil {
		w.t.Fatal(err)
	}
	rec := &entity.Record{Kind: "sku", ID: sku, Seq: 1, FirstVersion: 1, LastVersion: uint64(len(events)), Epoch: 1, Position: 1, Events: body}
	rec.Checksum = rec.Sum()
	if err := errors.Join(w.journal.Append(w.t.Context(), []*entity.Record{rec})...); err != nil {
		w.t.Fatal(err)
	}
}

func newPast(t *testing.T) *world {
	w := newWorld(t)
	w.past("MUG",
		&skupb.Event{AtMs: 1000, After: &skupb.Stock{Available: 10}, Event: &skupb.Event_Configured{Configured: &skupb.Configured{InitialStock: 10}}},
		&skupb.Event{AtMs: 2000, After: &skupb.Stock{Available: 8, Held: 2}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: anOrder, Quantity: 2}}},
		&skupb.Event{AtMs: 3000, After: &skupb.Stock{Available: 8, Committed: 2}, Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: anOrder, Quantity: 2}}},
		&skupb.Event{AtMs: 3000, After: &skupb.Stock{Committed: 2, Unavailable: 8}, Event: &skupb.Event_MarkedUnavailable{MarkedUnavailable: &skupb.MarkedUnavailable{Quantity: 8, Reason: "water damage"}}},
		&skupb.Event{AtMs: 3000, After: &skupb.Stock{Committed: 2, Unavailable: 8}, Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}},
	)
	return w
}

const ledgerQuery = `query($sku: String!, $first: Int, $after: String) { stockLedger(sku: $sku, first: $first, after: $after) { edges { cursor node { version type available held committed unavailable reference at } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`

func TestStockLedger(t *testing.T) {
	w := newPast(t)
	var got []any
	for after := any(nil); ; {
		a := w.ask(asStaff, ledgerQuery, map[string]any{"sku": "MUG", "first": 2, "after": after})
		page, _ := a.Data["stockLedger"].(map[string]any)
		if page == nil {
			t.Fatal(a.text)
		}
		for _, e := range page["edges"].([]any) {
			got = append(got, e.(map[string]any)["node"])
		}
		info := page["pageInfo"].(map[string]any)
		if info["hasPreviousPage"] != (after != nil) {
			t.Errorf("hasPreviousPage is %v after %v", info["hasPreviousPage"], after)
		}
		if after = info["endCursor"]; info["hasNextPage"] != true {
			break
		}
	}
	entry := func(version float64, kind string, available, held, committed, unavailable float64, reference any, at string) any {
		return map[string]any{"version": version, "type": kind, "available": available, "held": held, "committed": committed, "unavailable": unavailable, "reference": reference, "at": at}
	}
	want := []any{
		entry(5, "StockDepleted", 0, 0, 0, 0, nil, "1970-01-01T00:00:03.000Z"),
		entry(4, "StockAdjusted", -8, 0, 0, 8, "water damage", "1970-01-01T00:00:03.000Z"),
		entry(3, "ReservationConfirmed", 0, -2, 2, 0, anOrder, "1970-01-01T00:00:03.000Z"),
		entry(2, "StockReserved", -2, 2, 0, 0, anOrder, "1970-01-01T00:00:02.000Z"),
		entry(1, "SkuConfigured", 10, 0, 0, 0, nil, "1970-01-01T00:00:01.000Z"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a := w.ask(asStaff, ledgerQuery, map[string]any{"sku": "NONE"}); len(a.Errors) > 0 || !strings.Contains(a.text, `"edges":[]`) {
		t.Errorf("of a SKU that has no past: %s", a.text)
	}
	for name, variables := range map[string]map[string]any{
		"sku":   {"sku": "a b"},
		"first": {"sku": "MUG", "first": 101},
		"after": {"sku": "MUG", "after": "AgkJ"},
	} {
		a := w.ask(asStaff, ledgerQuery, variables)
		if a.code() != "INVALID" || a.Errors[0].Extensions.Field[0] != name {
			t.Errorf("%s: %s", name, a.text)
		}
	}
}

func TestStockAt(t *testing.T) {
	w := newPast(t)
	level := func(arguments string) any {
		a := w.ask(asStaff, `{ stockAt(sku: "MUG", `+arguments+`) { version onHand available held committed unavailable asOf } }`, nil)
		if len(a.Errors) > 0 {
			return a.code() + " " + strings.Join(a.Errors[0].Extensions.Field, ".")
		}
		return a.Data["stockAt"]
	}
	of := func(version, available, held, committed, unavailable float64, asOf string) any {
		return map[string]any{"version": version, "onHand": 10.0, "available": available, "held": held, "committed": committed, "unavailable": unavailable, "asOf": asOf}
	}
	for arguments, want := range map[string]any{
		"version: 1":                             of(1, 10, 0, 0, 0, "1970-01-01T00:00:01.000Z"),
		"version: 2":                             of(2, 8, 2, 0, 0, "1970-01-01T00:00:02.000Z"),
		"version: 5":                             of(5, 0, 0, 2, 8, "1970-01-01T00:00:03.000Z"),
		"version: 6":                             nil,
		`at: "1970-01-01T00:00:00.999Z"`:         nil,
		`at: "1970-01-01T00:00:01Z"`:             of(1, 10, 0, 0, 0, "1970-01-01T00:00:01.000Z"),
		`at: "1970-01-01T00:00:02.500Z"`:         of(2, 8, 2, 0, 0, "1970-01-01T00:00:02.500Z"),
		`at: "1970-01-01T00:00:03Z"`:             of(5, 0, 0, 2, 8, "1970-01-01T00:00:03.000Z"),
		`at: "2999-01-01T00:00:00Z"`:             of(5, 0, 0, 2, 8, clock().UTC().Format("2006-01-02T15:04:05.000Z")),
		"":                                       "INVALID version",
		"version: 0":                             "INVALID version",
		`version: 1, at: "1970-01-01T00:00:01Z"`: "INVALID version",
	} {
		if diff := cmp.Diff(want, level(arguments)); diff != "" {
			t.Errorf("%q: %s", arguments, diff)
		}
	}
}
