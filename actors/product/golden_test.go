package product

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
)

// golden is one of every event as it has been stored. Their bytes are in
// testdata and stay there for ever: journals hold them. A new field gets a new
// entry with a new name.
func golden() map[string]*productpb.Event {
	variants := []*productpb.Variant{{
		Sku: "S", Name: "Size S", Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"}, AttributesJson: `{"size":"S"}`, InitialStock: 7,
	}}
	return map[string]*productpb.Event{
		"created-1": {AtMs: 1_700_000_000_000, Event: &productpb.Event_Created{Created: &productpb.Created{
			ActorId: "usr_staff",
			Product: &productpb.Product{
				Id: ID(slug), Slug: slug, Name: "Linen shirt", Description: "Light.", ImageUrl: "/shirt.png", Published: true, Variants: variants,
				Version: 1, CreatedAtMs: 1_700_000_000_000, UpdatedAtMs: 1_700_000_000_000, IdempotencyKey: "k1", InputHash: []byte{1, 2, 3},
			},
		}}},
		"updated-1": {AtMs: 1_700_000_000_001, Event: &productpb.Event_Updated{Updated: &productpb.Updated{
			Name: "Shirt", Description: "Light", ImageUrl: "/s.png", Published: true, Variants: variants, Removed: []string{"M"},
			ActorId: "usr_staff", Slug: slug, CommandId: "c1",
		}}},
		"skus-configured-1": {AtMs: 1_700_000_000_002, Event: &productpb.Event_SkusConfigured{SkusConfigured: &productpb.SkusConfigured{
			ProductVersion: 4, Lost: []string{"L"},
		}}},
	}
}

func TestGoldenEvents(t *testing.T) {
	for name, want := range golden() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".hex")
			stored, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) && os.Getenv("GOLDEN") == "add" {
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				stored = []byte(hex.EncodeToString(b) + "\n")
				err = os.WriteFile(path, stored, 0o644)
				if err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatalf("%v (GOLDEN=add writes files that are missing)", err)
			}
			b, err := hex.DecodeString(strings.TrimSpace(string(stored)))
			if err != nil {
				t.Fatal(err)
			}
			got := &productpb.Event{}
			if err := proto.Unmarshal(b, got); err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "event", got, want)
		})
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != len(golden()) {
		t.Fatalf("%d files for %d events: %v", len(files), len(golden()), err)
	}
}

// The hash of a creation is stored: it must stay what it was.
func TestInputHashStays(t *testing.T) {
	const want = "303cfca6baedfa3ba32b20dbdd1a73bb9c3c38c4d10ae4d4e1e7a40fe4a5332d"
	if got := hex.EncodeToString(inputHash(creation())); got != want {
		t.Fatalf("hash %s, want %s", got, want)
	}
}
