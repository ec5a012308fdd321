package sqlite

import (
	"fmt"
	"strconv"
	"testing"

	"stampede/persistence"
	"stampede/persistence/conformance"
)

func BenchmarkAppend(b *testing.B) {
	conformance.BenchmarkAppend(b, func(b *testing.B) conformance.Appender {
		s, err := Open(b.Context(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		return s
	})
}

// BenchmarkRecover is what a new actor costs before its first command: there is
// no snapshot and no record of it.
func BenchmarkRecover(b *testing.B) {
	s := openForTest(b, b.TempDir(), mergeEvery, streamHash)
	b.ReportAllocs()
	for i := range b.N {
		stream := "order/ord_" + strconv.Itoa(i)
		if snap, err := s.LoadSnapshot(b.Context(), stream); err != nil || snap != nil {
			b.Fatal(snap, err)
		}
		for r, err := range s.ReadStream(b.Context(), stream, 0) {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkPutRows puts each order's row twice, as its state changes, in
// batches of 100; an operation is one row.
func BenchmarkPutRows(b *testing.B) {
	s := openForTest(b, b.TempDir(), mergeEvery, streamHash)
	body := make([]byte, 400)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		var rows []persistence.Row
		for range 100 {
			version := uint64(done%2 + 1)
			rows = append(rows, persistence.Row{
				Kind: "order", ID: fmt.Sprintf("ord_%016x", uint64(done/2)*0x9e3779b97f4a7c15), Version: version,
				Owner: fmt.Sprintf("usr_%016x", uint64(done/2)*0xbf58476d1ce4e5b9), State: []string{"RESERVED", "CONFIRMED"}[version-1],
				SortMs: int64(done / 2), Body: body,
			})
			done++
		}
		if err := s.PutRows(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
	}
}
