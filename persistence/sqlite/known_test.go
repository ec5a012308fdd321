package sqlite

import (
	"fmt"
	"testing"
	"time"

	"stampede/actors/entity"
)

// What was written before the directory was opened, and since, is never taken
// for unknown; what was not, mostly is.
func TestKnownStreams(t *testing.T) {
	const streams = 3 * learnPage / 2
	dir := t.TempDir()
	write := func(s *Store, from, to int) {
		epoch, err := s.OpenEpoch(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		var batch []*entity.Record
		for i := from; i < to; i++ {
			r := &entity.Record{Kind: "order", ID: fmt.Sprint(i), Seq: 1, FirstVersion: 1, LastVersion: 1, Epoch: epoch, Position: uint64(i + 1), Events: []byte("e")}
			r.Checksum = r.Sum()
			batch = append(batch, r)
		}
		for _, err := range s.Append(t.Context(), batch) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	first, err := open(t.Context(), dir, 1000, streamHash)
	if err != nil {
		t.Fatal(err)
	}
	write(first, 0, streams)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), dir, 1000, streamHash)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	write(s, streams, streams+10)
	for end := time.Now().Add(time.Minute); !s.known.complete.Load(); {
		if time.Now().After(end) {
			t.Fatal("the streams were not learnt")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // polls a goroutine that reads a file, with a deadline
	}
	for i := range streams + 10 {
		n := 0
		for _, err := range s.ReadStream(t.Context(), fmt.Sprintf("order/%d", i), 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 {
			t.Fatalf("stream %d has %d records, want 1", i, n)
		}
	}
	taken := 0
	for i := range 10_000 {
		if s.known.mayHave(s.hash("order", fmt.Sprint("other", i))) {
			taken++
		}
	}
	if taken > 100 {
		t.Errorf("%d of 10,000 streams that are not there are taken for known", taken)
	}
}
