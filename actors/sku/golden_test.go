package sku

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/skupb"
)

var update = flag.Bool("update", false, "write the golden files that are missing; existing ones are never written")

// TestGoldenEvents: what was stored once can be read for ever. The files are
// never changed or deleted; an event that changes its shape gets a new file.
func TestGoldenEvents(t *testing.T) {
	after := &skupb.Stock{Available: 10, Held: 2, Committed: 3, Unavailable: 1}
	golden := map[string]*skupb.Event{
		"configured": {Event: &skupb.Event_Configured{Configured: &skupb.Configured{
			ProductId: "prd_1", ProductVersion: 2, Name: "Shoe", Price: eur(1990), Active: true, InitialStock: 16,
		}}},
		"unconfigured": {Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{ProductId: "prd_1"}}},
		"adjusted": {Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{
			Delta: -4, Reason: "count", IdempotencyKey: "k1", ActorId: "usr_s", OnHandCounted: true, InputHash: []byte("0123456789abcdef"),
		}}},
		"reserved": {Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{
			OrderId: "ord_1", CustomerId: "usr_1", Quantity: 2, ExpiresAtMs: 1_800_000_600_000, UnitPrice: eur(1990),
		}}},
		"released":           {Event: &skupb.Event_Released{Released: &skupb.Released{OrderId: "ord_1", Quantity: 2}}},
		"released-committed": {Event: &skupb.Event_Released{Released: &skupb.Released{OrderId: "ord_1", Quantity: 2, Committed: true}}},
		"expired":            {Event: &skupb.Event_Expired{Expired: &skupb.Expired{OrderId: "ord_1", Quantity: 2}}},
		"confirmed":          {Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: "ord_1", Quantity: 2, Reacquired: 2, CustomerId: "usr_1"}}},
		"marked_unavailable": {Event: &skupb.Event_MarkedUnavailable{MarkedUnavailable: &skupb.MarkedUnavailable{
			Quantity: 1, Reason: "damaged", IdempotencyKey: "k2", ActorId: "usr_s", InputHash: []byte("0123456789abcdef"),
		}}},
		"shortfall":   {Event: &skupb.Event_Shortfall{Shortfall: &skupb.Shortfall{Missing: 5, Reason: "count"}}},
		"depleted":    {Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}},
		"replenished": {Event: &skupb.Event_Replenished{Replenished: &skupb.Replenished{}}},
		"fulfilled":   {Event: &skupb.Event_Fulfilled{Fulfilled: &skupb.Fulfilled{OrderId: "ord_1", CustomerId: "usr_1", Move: 2, Quantity: 3}}},
		"returned": {Event: &skupb.Event_Returned{Returned: &skupb.Returned{
			OrderId: "ord_1", CustomerId: "usr_1", Move: 3, Committed: 1, Fulfilled: 2, Restocked: true,
		}}},
		"returned-settled-later": {Event: &skupb.Event_Returned{Returned: &skupb.Returned{
			OrderId: "ord_1", CustomerId: "usr_1", Move: 3, Fulfilled: 2, Restocked: true, SettledLater: true, SaleId: "sal_1",
		}}},
		"return_settled":               {Event: &skupb.Event_ReturnSettled{ReturnSettled: &skupb.ReturnSettled{OrderId: "ord_1", Move: 3}}},
		"release_remembered":           {Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: "ord_1"}}},
		"release_remembered-unclaimed": {Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: "ord_1", Unclaimed: true}}},
		"sale_configured": {Event: &skupb.Event_SaleConfigured{SaleConfigured: &skupb.SaleConfigured{Sale: &skupb.ConfigureSale{
			SaleId: "sal_1", SaleVersion: 3, StartsAtMs: 1_800_000_000_000, EndsAtMs: 1_800_000_600_000, Price: eur(990), Allocation: 5, PerCustomerLimit: 2,
			AdmissionRequired: true, Paused: true, Ended: true,
		}}}},
		"sale_closed":       {Event: &skupb.Event_SaleClosed{SaleClosed: &skupb.SaleClosed{SaleId: "sal_1"}}},
		"sale_reported":     {Event: &skupb.Event_SaleReported{SaleReported: &skupb.SaleReported{SaleId: "sal_1", SoldOut: true, Changes: 3}}},
		"reserved-in-sale":  {Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: "ord_1", CustomerId: "usr_1", Quantity: 2, UnitPrice: eur(990), SaleId: "sal_1"}}},
		"confirmed-in-sale": {Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: "ord_1", Quantity: 2, Reacquired: 2, CustomerId: "usr_1", SaleId: "sal_1"}}},
	}
	fields := (&skupb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		if golden[string(fields.Get(i).Name())] == nil {
			t.Errorf("event %s has no golden file", fields.Get(i).Name())
		}
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			want.AtMs, want.After = t0.UnixMilli(), after
			goldenFile(t, filepath.Join("testdata", "events", name+".binpb"), want, &skupb.Event{})
		})
	}
}

// TestGoldenSnapshot: a stored snapshot of an earlier build is read as well.
func TestGoldenSnapshot(t *testing.T) {
	s := given(t, append(at0(onSale(20), reserve("o1", 2), reserve("o2", 3), reserve("o3", 1), confirm("o3", 1), release("o4")), step{0, adjust("k", 1)}))
	path := filepath.Join("testdata", "snapshot.binpb")
	goldenFile(t, path, Snapshot(s), &skupb.State{})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("SHOE-42", b); err != nil {
		t.Error(err)
	}
}

func TestGoldenSnapshotWithAReturn(t *testing.T) {
	s := given(t, at0(onSale(20), reserve("o1", 2), confirm("o1", 2), fulfil("o1", 1, 2), release("o2"), lastingReturn("o1", 2, 1)))
	goldenFile(t, filepath.Join("testdata", "snapshot-return.binpb"), Snapshot(s), &skupb.State{})
}

func TestGoldenSnapshotWithASale(t *testing.T) {
	s := given(t, at0(onSale(20), inSale(8, 3), buy("o1", "eve", 2), buy("o2", "bob", 3), confirm("o2", 3)))
	goldenFile(t, filepath.Join("testdata", "snapshot-sale.binpb"), Snapshot(s), &skupb.State{})
}

// goldenFile compares a stored message with what it says, both ways.
func goldenFile(t *testing.T, path string, want, empty proto.Message) {
	t.Helper()
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, encoded, 0o644)
		}
		stored = encoded
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(stored, empty); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, empty, protocmp.Transform()); diff != "" {
		t.Errorf("the stored bytes say something else: %s", diff)
	}
	if string(stored) != string(encoded) {
		t.Errorf("encoded to %x, stored %x", encoded, stored)
	}
}
