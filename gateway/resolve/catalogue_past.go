package resolve

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"time"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/gateway/ledger"
	"stampede/gateway/scalar"
	"stampede/proto/gen/skupb"
)

// defaultLedgerPage is how many entries a page of a ledger has.
const defaultLedgerPage = 50

// stockLedger is a page of a SKU's past, newest first. What has been added
// since the first page comes before it, so a cursor stays good for ever.
func (r *Resolver) stockLedger(ctx context.Context, sku string, first *int32, after *string) (*graph.StockEntryConnection, error) {
	n := defaultLedgerPage
	if first != nil {
		n = int(*first)
	}
	if n < 1 || n > maxPage {
		return nil, fault.InvalidField("must be 1 to 100", "first")
	}
	var place ledger.Place
	if after != nil {
		var ok bool
		if place, ok = parseLedgerCursor(*after); !ok {
			return nil, errCursor()
		}
	}
	page, more, ok, err := r.ledger.Page(ctx, sku, place, n)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errCursor()
	}
	edges := make([]graph.StockEntryEdge, len(page))
	for i := range page {
		edges[i] = graph.StockEntryEdge{Cursor: ledgerCursor(&page[i]), Node: entryOf(&page[i])}
	}
	info := graph.PageInfo{HasNextPage: more, HasPreviousPage: after != nil}
	if len(edges) > 0 {
		info.StartCursor, info.EndCursor = &edges[0].Cursor, &edges[len(edges)-1].Cursor
	}
	return &graph.StockEntryConnection{Edges: edges, PageInfo: info}, nil
}

func errCursor() error { return fault.InvalidField("must be a cursor that this list gave", "after") }

// stockAt is a SKU's level at a version or a time; nil when it had none.
func (r *Resolver) stockAt(ctx context.Context, sku string, version *int32, at *scalar.DateTime) (*graph.StockLevel, error) {
	var entry *ledger.Entry
	var err error
	switch {
	case (version == nil) == (at == nil):
		return nil, fault.InvalidField("must be given, or else at: exactly one of the two", "version")
	case version != nil && *version < 1:
		return nil, fault.InvalidField("must be at least 1", "version")
	case version != nil:
		entry, err = r.ledger.AtVersion(ctx, sku, uint64(*version))
	default:
		entry, err = r.ledger.AtTime(ctx, sku, time.UnixMilli(int64(*at)))
	}
	if entry == nil || err != nil {
		return nil, err
	}
	level := &skupb.Level{Sku: sku, Stock: entry.Event.GetAfter(), Version: clampVersion(entry.Version), AsOfMs: entry.Event.GetAtMs()}
	if at != nil { // the level is as of then, though it had come about before; of the time to come nothing is known
		level.AsOfMs = max(level.AsOfMs, min(int64(*at), r.Clock().UnixMilli()))
	}
	return levelOf(level), nil
}

func entryOf(e *ledger.Entry) graph.StockEntry {
	before, after := e.Before, e.Event.GetAfter()
	return graph.StockEntry{
		Version: int32of(clampVersion(e.Version)), Type: e.Type(),
		Available:   int32of(after.GetAvailable() - before.GetAvailable()),
		Held:        int32of(after.GetHeld() - before.GetHeld()),
		Committed:   int32of(after.GetCommitted() - before.GetCommitted()),
		Unavailable: int32of(after.GetUnavailable() - before.GetUnavailable()),
		Reference:   optional(e.Reference()), At: scalar.DateTime(e.Event.GetAtMs()),
	}
}

func clampVersion(v uint64) int64 { return int64(min(v, math.MaxInt64)) } //nolint:gosec // bounded on this line

// A ledger's cursor is the place of an entry: version, record, event.
const ledgerCursorVersion = 2

func ledgerCursor(e *ledger.Entry) string {
	b := []byte{ledgerCursorVersion}
	b = binary.AppendUvarint(b, e.Seq)
	return base64.RawURLEncoding.EncodeToString(binary.AppendUvarint(b, e.Version))
}

func parseLedgerCursor(cursor string) (p ledger.Place, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < 3 || raw[0] != ledgerCursorVersion {
		return p, false
	}
	seq, n := binary.Uvarint(raw[1:])
	if n <= 0 {
		return p, false
	}
	version, m := binary.Uvarint(raw[1+n:])
	if m <= 0 || 1+n+m != len(raw) || seq == 0 || version == 0 || seq >= math.MaxInt64 {
		return p, false
	}
	return ledger.Place{Seq: seq, Version: version}, true
}
