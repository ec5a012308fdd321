package sqlite

// SIGKILL at any moment of appends, merges and checkpoints.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stampede/actors/entity"
)

// killRounds is how often the process is killed; its directory lives on.
const killRounds = 5

// attempt is a record that was appended, and the answer.
type attempt struct {
	record *entity.Record
	err    error
}

// killWriter appends to a stream of its own and to new ones, until an answer is
// an error. It belongs to one goroutine.
type killWriter struct {
	name     string
	seq      uint64
	attempts []attempt
}

func (w *killWriter) run(c *crash, epoch entity.Epoch, positions chan uint64, payload []byte) {
	for n := 0; ; n++ {
		w.seq++
		batch := []*entity.Record{{Kind: "sku", ID: w.name, Seq: w.seq}}
		for i := range 9 {
			batch = append(batch, &entity.Record{Kind: "order", ID: fmt.Sprintf("%s-%d-%d-%d", w.name, epoch, n, i), Seq: 1})
		}
		for _, r := range batch {
			r.Epoch, r.Position, r.Events = epoch, <-positions, payload
			r.Checksum = r.Sum()
		}
		failed := false
		for i, err := range c.Append(context.Background(), batch) {
			w.attempts = append(w.attempts, attempt{batch[i], err})
			failed = failed || err != nil
		}
		if failed {
			return
		}
	}
}

// TestKilledAtAnyMoment: what was acknowledged is there, nothing is there twice,
// and the fence knows all of it. The payload makes a checkpoint due every 50
// batches or so; a merge is due every 5.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // moments
	c := &crash{t: t, dir: t.TempDir()}
	c.start()
	t.Cleanup(c.Kill)
	writers := []*killWriter{{name: "a"}, {name: "b"}, {name: "c"}}
	payload := make([]byte, 16<<10)
	for round := range killRounds {
		epoch := entity.Epoch(round + 1)
		positions, killed := make(chan uint64), make(chan struct{})
		var done sync.WaitGroup
		for _, w := range writers {
			done.Go(func() { w.run(c, epoch, positions, payload) })
		}
		go func() {
			for p := uint64(1); ; p++ {
				select {
				case positions <- p:
				case <-killed:
					return
				}
			}
		}()
		time.Sleep(time.Duration(20+random.IntN(300)) * time.Millisecond) //nolint:forbidigo // a real process: its moments cannot be faked
		c.Kill()
		done.Wait()
		close(killed)
		if random.IntN(4) == 0 {
			if err := removeDatabase(filepath.Join(c.dir, indexFile)); err != nil {
				t.Fatal(err)
			}
		}
		c.Restart()
		checkKilled(t, c, writers, epoch)
	}
}

// checkKilled compares what all rounds were answered with what is there, and
// settles what is unknown of the last one.
func checkKilled(t *testing.T, c *crash, writers []*killWriter, last entity.Epoch) {
	t.Helper()
	type key struct {
		stream string
		seq    uint64
	}
	stored := make(map[key]*entity.Record)
	for epoch := entity.Epoch(1); epoch <= last; epoch++ {
		for _, r := range collect(t, c.child.ReadEpoch(t.Context(), epoch, 0)) {
			k := key{r.Stream(), r.Seq}
			if stored[k] != nil {
				t.Fatalf("record %d of %s is there twice", r.Seq, r.Stream())
			}
			stored[k] = r
		}
	}
	acknowledged, unknown := 0, 0
	for _, w := range writers {
		for i, a := range w.attempts {
			r := stored[key{a.record.Stream(), a.record.Seq}]
			switch {
			case a.err == nil && (r == nil || r.Verify() != nil || r.Epoch != a.record.Epoch || r.Position != a.record.Position):
				t.Fatalf("record %d of %s was acknowledged and is %v", a.record.Seq, a.record.Stream(), r)
			case a.err == nil:
				acknowledged++
				continue
			case !errors.Is(a.err, entity.ErrUnknownOutcome):
				t.Fatalf("record %d of %s: %v", a.record.Seq, a.record.Stream(), a.err)
			}
			unknown++
			if err := c.Append(t.Context(), []*entity.Record{a.record})[0]; err != nil {
				t.Fatalf("record %d of %s, appended again: %v", a.record.Seq, a.record.Stream(), err)
			}
			w.attempts[i].err = nil
		}
		var stale []*entity.Record
		for i, a := range w.attempts {
			other := *a.record
			other.Epoch, other.Position = 1000, uint64(i+1) //nolint:gosec // small
			other.Checksum = other.Sum()
			stale = append(stale, &other)
		}
		for i, err := range c.Append(t.Context(), stale) {
			if !errors.Is(err, entity.ErrFenced) {
				t.Fatalf("another record %d of %s: %v", stale[i].Seq, stale[i].Stream(), err)
			}
		}
		seq := uint64(0)
		for _, r := range collect(t, c.child.ReadStream(t.Context(), "sku/"+w.name, 0)) {
			if seq++; r.Seq != seq || r.Verify() != nil {
				t.Fatalf("sku/%s: record %d is read as %d", w.name, seq, r.Seq)
			}
		}
		if seq != w.seq {
			t.Fatalf("sku/%s has %d records, want %d", w.name, seq, w.seq)
		}
	}
	if acknowledged == 0 && last == killRounds {
		t.Fatal("nothing was acknowledged, so nothing was tested")
	}
	t.Logf("epoch %d: %d acknowledged, %d unknown", last, acknowledged, unknown)
}

func collect(t *testing.T, records iter.Seq2[*entity.Record, error]) (all []*entity.Record) {
	t.Helper()
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}
