package sale

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

var update = flag.Bool("update", false, "write the golden files that are missing; existing ones are never written")

// TestGoldenEvents: what was stored once can be read for ever. The files are
// never changed or deleted; an event that changes its shape gets a new file.
func TestGoldenEvents(t *testing.T) {
	items := []*salepb.CreateItem{{Sku: "A", SalePrice: eur(990), Allocation: 5}}
	golden := map[string]*salepb.Event{
		"drafted": {Event: &salepb.Event_Drafted{Drafted: &salepb.Drafted{
			Name: "Friday", StartsAtMs: 1, EndsAtMs: 2, PerCustomerLimit: 3, Admission: salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING, AdmitPerSecond: 4, Items: items,
			ShuffleSecret: []byte("0123456789abcdef"), IdempotencyKey: "k", InputHash: []byte("hash"), ActorId: "usr_s",
		}}},
		"scheduled": {Event: &salepb.Event_Scheduled{Scheduled: &salepb.Scheduled{
			Name: "Friday", StartsAtMs: 1, EndsAtMs: 2, PerCustomerLimit: 3, Admission: salepb.Admission_ADMISSION_FIRST_COME, Items: items, ShuffleCommitment: []byte("c"),
		}}},
		"rejected":          {Event: &salepb.Event_Rejected{Rejected: &salepb.Rejected{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_CONFLICT, Message: "m", Field: []string{"items"}}}}},
		"opened":            {Event: &salepb.Event_Opened{Opened: &salepb.Opened{JoinedEarly: 7, ShuffleSecret: []byte("0123456789abcdef")}}},
		"paused":            {Event: &salepb.Event_Paused{Paused: &salepb.Paused{ActorId: "usr_s"}}},
		"resumed":           {Event: &salepb.Event_Resumed{Resumed: &salepb.Resumed{ActorId: "usr_s"}}},
		"rescheduled":       {Event: &salepb.Event_Rescheduled{Rescheduled: &salepb.Rescheduled{StartsAtMs: 1, EndsAtMs: 2, ActorId: "usr_s"}}},
		"admission_changed": {Event: &salepb.Event_AdmissionChanged{AdmissionChanged: &salepb.AdmissionChanged{AdmitPerSecond: 9, ActorId: "usr_s"}}},
		"ended":             {Event: &salepb.Event_Ended{Ended: &salepb.Ended{ActorId: "usr_s"}}},
		"skus_configured":   {Event: &salepb.Event_SkusConfigured{SkusConfigured: &salepb.SkusConfigured{ConfigVersion: 3}}},
		"joined":            {Event: &salepb.Event_Joined{Joined: &salepb.Joined{CustomerId: "usr_1", Number: 4}}},
		"stock_reported":    {Event: &salepb.Event_StockReported{StockReported: &salepb.StockReported{Sku: "A", SkuVersion: 5, SoldOut: true, SaleSoldOut: true, Changed: true}}},
	}
	fields := (&salepb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		if golden[string(fields.Get(i).Name())] == nil {
			t.Errorf("event %s has no golden file", fields.Get(i).Name())
		}
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			want.AtMs = t0.UnixMilli()
			goldenFile(t, filepath.Join("testdata", "events", name+".binpb"), want, &salepb.Event{})
		})
	}
}

// TestGoldenSnapshot: a stored snapshot of an earlier build is read as well.
func TestGoldenSnapshot(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING)
	for _, id := range []string{"usr_1", "usr_2", "usr_3"} {
		w.send(&salepb.Join{CustomerId: id}, t0)
	}
	w.send(&salepb.Control{Pause: proto.Bool(true)}, opens)
	path := filepath.Join("testdata", "snapshot.binpb")
	goldenFile(t, path, Snapshot(w.s), &salepb.State{})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("sal_1", b); err != nil {
		t.Error(err)
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
