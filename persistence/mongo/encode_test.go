package mongo

import (
	"bytes"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"
)

// TestInsertCommand: the bytes are those that the driver's own encoder writes.
func TestInsertCommand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var docs []*insertion
		var plain []document
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			d := document{
				ID:           rapid.String().Draw(t, "id"),
				FirstVersion: rapid.Int64().Draw(t, "first"), LastVersion: rapid.Int64().Draw(t, "last"),
				Epoch: rapid.Int64().Draw(t, "epoch"), Position: rapid.Int64().Draw(t, "position"),
				WakeAtMs: rapid.Int64().Draw(t, "wakeAt"), Checksum: rapid.Int64().Draw(t, "checksum"),
				Events: rapid.SliceOf(rapid.Byte()).Draw(t, "events"),
			}
			docs, plain = append(docs, &insertion{doc: d}), append(plain, d)
		}
		if plain == nil {
			plain = []document{}
		}
		want, err := bson.Marshal(bson.D{
			{Key: "insert", Value: "journal"},
			{Key: "documents", Value: plain},
			{Key: "ordered", Value: false},
			{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}, {Key: "j", Value: true}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := insertCommand("journal", docs); !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
	})
}
