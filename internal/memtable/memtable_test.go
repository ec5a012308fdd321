package memtable_test

import (
	"testing"

	"stampede/internal/memtable"
	"stampede/persistence/conformance"
)

func TestConformance(t *testing.T) {
	conformance.RunMembers(t, func(*testing.T) func() conformance.MembersTable {
		var table memtable.Table
		seed := uint64(0)
		return func() conformance.MembersTable {
			seed++
			return table.Connect(seed)
		}
	})
}
