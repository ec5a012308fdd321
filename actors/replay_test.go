package actors_test

import (
	"testing"

	"stampede/actors"
	"stampede/actors/entity"
)

// TestEveryKindCanBeReplayed: a kind that was forgotten here would be passed over
// by who verifies a journal.
func TestEveryKindCanBeReplayed(t *testing.T) {
	kinds := actors.Kinds(&entity.Runtime{})
	for _, kind := range kinds {
		if actors.Replayer(entity.Address{Kind: kind.Kind, ID: "x"}) == nil {
			t.Errorf("%s cannot be replayed", kind.Kind)
		}
	}
	if len(kinds) == 0 {
		t.Error("there are no kinds")
	}
	if actors.Replayer(entity.Address{Kind: "unknown"}) != nil {
		t.Error("an unknown kind can be replayed")
	}
}
