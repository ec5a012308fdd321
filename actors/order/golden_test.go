package order

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

var update = flag.Bool("update", false, "write the golden files that are missing; existing ones are never written")

// TestGoldenEvents: what was stored once can be read for ever. The files are
// never changed or deleted; an event that changes its shape gets a new file.
func TestGoldenEvents(t *testing.T) {
	refusal := &commonpb.Refusal{
		Reason: commonpb.Reason_REASON_INSUFFICIENT_STOCK, Message: "3 units of A are available, 4 were asked for", Field: []string{"lines", "0", "quantity"},
		Sku: "A", Requested: 4, Available: 3,
	}
	golden := map[string]*orderpb.Event{
		"placed": {Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{
			CustomerId: "usr_1", IdempotencyKey: "k1", InputHash: []byte("0123456789abcdef0123456789abcdef"), HoldMs: 600_000,
			Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1, ExpectedPrice: eur(1990)}, {Sku: "B", Quantity: 2}},
		}}},
		"reserved": {Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{
			Lines: []*orderpb.LineHold{
				{SkuVersion: 3, UnitPrice: eur(1990), Name: "Shoe", Sku: "A", Quantity: 1},
				{SkuVersion: 7, UnitPrice: eur(250), Name: "Sock", Sku: "B", Quantity: 2},
			},
			Total: eur(2490), ExpiresAtMs: 1_800_000_600_000,
		}}},
		"rejected": {Event: &orderpb.Event_Rejected{Rejected: &orderpb.Rejected{Refusal: refusal, HeldLines: []int32{0, 2}}}},
		"payment_requested": {Event: &orderpb.Event_PaymentRequested{PaymentRequested: &orderpb.PaymentRequested{
			Attempt: 1, IdempotencyKey: "p1", InputHash: []byte("0123456789abcdef0123456789abcdef"), Token: "tok_ok", Amount: eur(2490),
		}}},
		"payment_action_required": {Event: &orderpb.Event_PaymentActionRequired{PaymentActionRequired: &orderpb.PaymentActionRequired{
			Attempt: 1, Provider: "simulator", Reference: "sim_1", NextActionUrl: "https://simulator.invalid/payments/sim_1",
		}}},
		"payment_authorized": {Event: &orderpb.Event_PaymentAuthorized{PaymentAuthorized: &orderpb.PaymentAuthorized{
			Attempt: 1, Provider: "simulator", Reference: "sim_1", Amount: eur(2490),
		}}},
		"payment_declined":   {Event: &orderpb.Event_PaymentDeclined{PaymentDeclined: &orderpb.PaymentDeclined{Attempt: 1, Provider: "simulator", Reason: "insufficient funds"}}},
		"payment_unanswered": {Event: &orderpb.Event_PaymentUnanswered{PaymentUnanswered: &orderpb.PaymentUnanswered{Attempt: 1}}},
		"confirmed":          {Event: &orderpb.Event_Confirmed{Confirmed: &orderpb.Confirmed{SkuVersions: []int64{4, 300}}}},
		"payment_captured":   {Event: &orderpb.Event_PaymentCaptured{PaymentCaptured: &orderpb.PaymentCaptured{Amount: eur(2490)}}},
		"payment_voided":     {Event: &orderpb.Event_PaymentVoided{PaymentVoided: &orderpb.PaymentVoided{Attempt: 1}}},
		"cancelled":          {Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Reason: "changed my mind", ActorId: "usr_1", Refusal: refusal}}},
		"expired":            {Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}},
		"fulfilled": {Event: &orderpb.Event_Fulfilled{Fulfilled: &orderpb.Fulfilled{
			Number: 1, IdempotencyKey: "f1", InputHash: []byte("0123456789abcdef0123456789abcdef"), Lines: []*orderpb.MovedLine{{Line: 1, Sku: "B", Quantity: 2}},
			Tracking: "T-1", ActorId: "usr_s", Complete: true,
		}}},
		"refund_requested": {Event: &orderpb.Event_RefundRequested{RefundRequested: &orderpb.RefundRequested{
			Number: 2, IdempotencyKey: "r1", InputHash: []byte("0123456789abcdef0123456789abcdef"), Amount: eur(500), Restock: true, Reason: "broken", ActorId: "usr_s",
			Lines: []*orderpb.MovedLine{{Line: 1, Sku: "B", Quantity: 2, Unfulfilled: 1}},
		}}},
		"refunded": {Event: &orderpb.Event_Refunded{Refunded: &orderpb.Refunded{
			Number: 2, Lines: []*orderpb.MovedLine{{Line: 1, Sku: "B", Quantity: 2, Unfulfilled: 1}}, Amount: eur(500), Total: eur(750),
			Reference: "re_1", Reason: "broken", Restock: true,
		}}},
		"refund_refused":            {Event: &orderpb.Event_RefundRefused{RefundRefused: &orderpb.RefundRefused{Number: 2, Reason: "no balance"}}},
		"units_moved":               {Event: &orderpb.Event_UnitsMoved{UnitsMoved: &orderpb.UnitsMoved{Number: 2}}},
		"units_moved-settled-later": {Event: &orderpb.Event_UnitsMoved{UnitsMoved: &orderpb.UnitsMoved{Number: 2, SettledLater: true}}},
		"return_settled":            {Event: &orderpb.Event_ReturnSettled{ReturnSettled: &orderpb.ReturnSettled{Number: 2}}},
		"holds_released":            {Event: &orderpb.Event_HoldsReleased{HoldsReleased: &orderpb.HoldsReleased{}}},
	}
	fields := (&orderpb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		if golden[string(fields.Get(i).Name())] == nil {
			t.Errorf("event %s has no golden file", fields.Get(i).Name())
		}
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			want.AtMs = t0.UnixMilli()
			goldenFile(t, filepath.Join("testdata", "events", name+".binpb"), want, &orderpb.Event{})
		})
	}
}

// TestGoldenSnapshot: a stored snapshot of an earlier build is read as well.
func TestGoldenSnapshot(t *testing.T) {
	acting := inState(t, "acting")
	decide(t, acting, pay("p2", "tok2"), t0, nil)
	first := Snapshot(acting).(*orderpb.Order)
	first.Payment.RequestedAtMs = 0 // snapshots did not have it yet
	moving := then(t, "partly refunded", refund("r2", false, "A", 1, "B", 1))
	follow(t, moving, t0, grant)
	for name, want := range map[string]proto.Message{"snapshot.binpb": first, "snapshot-moves.binpb": Snapshot(moving)} {
		path := filepath.Join("testdata", name)
		goldenFile(t, path, want, &orderpb.Order{})
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Restore(acting.id, b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, Snapshot(s), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
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
