package mongo

import (
	"testing"

	"stampede/internal/testservers"
	"stampede/persistence/conformance"
)

func TestMembersConformance(t *testing.T) {
	uri := testservers.Mongo(t)
	conformance.RunMembers(t, func(t *testing.T) func() conformance.MembersTable {
		s := openForTest(t, uri)
		database := s.journal.Database().Name()
		return func() conformance.MembersTable {
			other, err := Open(t.Context(), uri, database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
			return other.Members()
		}
	})
}
