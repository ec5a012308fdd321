package faultstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/internal/faultstore"
	"stampede/persistence"
)

func rec(id string, seq uint64, epoch entity.Epoch, position uint64) *entity.Record {
	r := &entity.Record{Kind: "sku", ID: id, Seq: seq, FirstVersion: seq, LastVersion: seq, Epoch: epoch, Position: position, Events: []byte(id)}
	r.Checksum = r.Sum()
	return r
}

// TestWhatAnAppendSaysAndDoes has each fault happen for sure: what the caller
// is told, and what is on the disk then and in the end.
func TestWhatAnAppendSaysAndDoes(t *testing.T) {
	late := faultstore.Faults{LateTime: time.Minute}
	with := func(change func(*faultstore.Faults)) faultstore.Faults {
		f := late
		change(&f)
		return f
	}
	for _, c := range []struct {
		fault     faultstore.Fault
		faults    faultstore.Faults
		told      error
		now, then int // records on the disk
		takes     time.Duration
	}{
		{"", late, nil, 1, 1, 0},
		{faultstore.RefuseBatch, with(func(f *faultstore.Faults) { f.RefuseBatch = 1 }), entity.ErrUnavailable, 0, 0, 0},
		{faultstore.RefuseRecord, with(func(f *faultstore.Faults) { f.RefuseRecord = 1 }), entity.ErrUnavailable, 0, 0, 0},
		{faultstore.LoseWrite, with(func(f *faultstore.Faults) { f.LoseWrite = 1 }), entity.ErrUnknownOutcome, 0, 0, 0},
		{faultstore.LoseAnswer, with(func(f *faultstore.Faults) { f.LoseAnswer = 1 }), entity.ErrUnknownOutcome, 1, 1, 0},
		{faultstore.LateWrite, with(func(f *faultstore.Faults) { f.LateWrite = 1 }), entity.ErrUnknownOutcome, 0, 1, 0},
		{faultstore.DuplicateWrite, with(func(f *faultstore.Faults) { f.DuplicateWrite = 1 }), nil, 1, 1, 0},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := faultstore.New(1, c.faults)
				began := time.Now()
				err := s.Append(t.Context(), []*entity.Record{rec("a", 1, 1, 1)})[0]
				if !errors.Is(err, c.told) {
					t.Errorf("told %v, want %v", err, c.told)
				}
				if got := len(s.Truth().Stream("sku/a")); got != c.now || time.Since(began) != c.takes {
					t.Errorf("%d records after %s, want %d after %s", got, time.Since(began), c.now, c.takes)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := len(s.Truth().Stream("sku/a")); got != c.then || s.InTheAir() != 0 {
					t.Errorf("%d records in the end, want %d; %d in the air", got, c.then, s.InTheAir())
				}
				if c.fault != "" && s.Injected()[c.fault] != 1 {
					t.Errorf("injected %v", s.Injected())
				}
			})
		})
	}
}

// TestLateWriteIsFenced: what was written meanwhile stays, and a late write
// that was repeated meanwhile is the same one.
func TestLateWriteIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New(1, faultstore.Faults{LateWrite: 1, LateTime: time.Minute})
		zombies := []*entity.Record{rec("a", 1, 1, 1), rec("b", 1, 1, 2)}
		s.Append(t.Context(), zombies)
		s.Calm()
		if errs := s.Append(t.Context(), []*entity.Record{rec("a", 1, 2, 1), zombies[1]}); errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, stream := range []string{"sku/a", "sku/b"} {
			if got := s.Truth().Stream(stream); len(got) != 1 || (got[0].Epoch == 2) != (stream == "sku/a") {
				t.Errorf("%s: %+v", stream, got)
			}
		}
		if err := s.Append(t.Context(), zombies[:1])[0]; !errors.Is(err, entity.ErrFenced) {
			t.Errorf("told %v, want ErrFenced", err)
		}
	})
}

// TestTornBatches: over many seeds some are torn in every way, and nobody is
// told more than is known.
func TestTornBatches(t *testing.T) {
	written := map[int]bool{}
	for seed := range uint64(200) {
		s := faultstore.New(seed, faultstore.Faults{TearBatch: 1})
		var batch []*entity.Record
		for i := range uint64(5) {
			batch = append(batch, rec(fmt.Sprint(i), 1, 1, i+1))
		}
		for _, err := range s.Append(t.Context(), batch) {
			if !errors.Is(err, entity.ErrUnknownOutcome) {
				t.Fatalf("seed %d: told %v", seed, err)
			}
		}
		written[len(s.Truth().Log(1))] = true
	}
	if len(written) != 6 {
		t.Errorf("numbers of records written: %v, want 0 to 5", written)
	}
}

// TestHangsUntilTheContextEnds: what had not arrived by then is lost or lands
// late, what had is there; over the seeds all three happen.
func TestHangsUntilTheContextEnds(t *testing.T) {
	for name, end := range map[string]func(*faultstore.Store, context.CancelFunc){
		"context": func(_ *faultstore.Store, cancel context.CancelFunc) { cancel() },
		"process": func(s *faultstore.Store, _ context.CancelFunc) { s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			fates := map[[2]int]int{}
			for seed := range uint64(50) {
				synctest.Test(t, func(t *testing.T) {
					s := faultstore.New(seed, faultstore.Faults{HangAppend: 1, LateTime: time.Minute})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					told := make(chan error)
					go func() { told <- s.Append(ctx, []*entity.Record{rec("a", 1, 1, 1)})[0] }()
					time.Sleep(time.Hour)
					synctest.Wait()
					select {
					case err := <-told:
						t.Fatalf("seed %d: told %v after an hour", seed, err)
					default:
					}
					end(s, cancel)
					if err := <-told; !errors.Is(err, entity.ErrUnknownOutcome) {
						t.Errorf("seed %d: told %v", seed, err)
					}
					now := len(s.Truth().Log(1))
					time.Sleep(time.Minute)
					synctest.Wait()
					fates[[2]int{now, len(s.Truth().Log(1))}]++
				})
			}
			if fates[[2]int{0, 0}] == 0 || fates[[2]int{0, 1}] == 0 || fates[[2]int{1, 1}] == 0 {
				t.Errorf("records then and in the end: %v, want lost, late and there", fates)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := faultstore.New(1, faultstore.Faults{})
		if err := first.Append(t.Context(), []*entity.Record{rec("a", 1, 1, 1)})[0]; err != nil {
			t.Fatal(err)
		}
		second := first.Connect()
		first.Kill()
		if err := first.Append(t.Context(), []*entity.Record{rec("a", 2, 1, 2)})[0]; !errors.Is(err, entity.ErrUnavailable) || !errors.Is(err, persistence.ErrClosed) {
			t.Errorf("append of a killed process: %v", err)
		}
		if err := first.Ping(t.Context()); !errors.Is(err, persistence.ErrClosed) {
			t.Errorf("ping of a killed process: %v", err)
		}
		n := 0
		for _, err := range second.ReadStream(t.Context(), "sku/a", 0) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("the second process reads %d records, want 1", n)
		}
	})
}

// TestReadsFailAnywhere: at once, in the middle, at the end, and never
// silently.
func TestReadsFailAnywhere(t *testing.T) {
	failedAfter := map[int]bool{}
	for seed := range uint64(200) {
		s := faultstore.New(seed, faultstore.Faults{})
		for i := range uint64(5) {
			s.Append(t.Context(), []*entity.Record{rec("a", i+1, 1, i+1)})
		}
		s.SetFaults(faultstore.Faults{FailRead: 1})
		n := 0
		var failed error
		for _, err := range s.ReadStream(t.Context(), "sku/a", 0) {
			if failed = err; err == nil {
				n++
			}
		}
		if !errors.Is(failed, entity.ErrUnavailable) {
			t.Fatalf("seed %d: the read ended with %v", seed, failed)
		}
		failedAfter[n] = true
		if _, err := s.LoadSnapshot(t.Context(), "sku/a"); !errors.Is(err, entity.ErrUnavailable) {
			t.Fatalf("seed %d: load snapshot: %v", seed, err)
		}
	}
	if len(failedAfter) != 6 {
		t.Errorf("reads failed after %v records, want 0 to 5", failedAfter)
	}
}

func TestSlowReadsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New(3, faultstore.Faults{SlowRead: 1, SlowTime: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var failed error
		for _, failed = range s.ReadEpoch(ctx, 1, 0) {
		}
		if !errors.Is(failed, context.DeadlineExceeded) {
			t.Errorf("the read ended with %v", failed)
		}
	})
}

func TestSnapshots(t *testing.T) {
	save := func(s *faultstore.Store, seq uint64) {
		t.Helper()
		snap := &entity.Snapshot{Kind: "sku", ID: "a", Seq: seq, Version: seq, State: []byte("state")}
		snap.Checksum = snap.Sum()
		if err := s.SaveSnapshot(t.Context(), snap); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		fault  faultstore.Fault
		faults faultstore.Faults
		want   uint64 // seq of what is loaded after 1 and 2 were saved; 0: none
	}{
		{"", faultstore.Faults{}, 2},
		{faultstore.LoseSnapshot, faultstore.Faults{LoseSnapshot: 1}, 1},
		{faultstore.CorruptSnapshot, faultstore.Faults{CorruptSnapshot: 1}, 0},
		{faultstore.StaleSnapshot, faultstore.Faults{StaleSnapshot: 1}, 1},
	} {
		s := faultstore.New(1, faultstore.Faults{})
		save(s, 1)
		s.SetFaults(c.faults)
		save(s, 2)
		snap, err := s.LoadSnapshot(t.Context(), "sku/a")
		if err != nil || (snap == nil) != (c.want == 0) || snap != nil && (snap.Seq != c.want || snap.Sum() != snap.Checksum) {
			t.Errorf("%q: loaded %+v, %v; want seq %d", c.fault, snap, err, c.want)
		}
		if c.fault != "" && s.Injected()[c.fault] != 1 {
			t.Errorf("%q: injected %v", c.fault, s.Injected())
		}
	}
}

// TestOtherCalls fail before or after they are done.
func TestOtherCalls(t *testing.T) {
	for _, c := range []struct {
		faults faultstore.Faults
		told   error
		done   bool
	}{
		{faultstore.Faults{}, nil, true},
		{faultstore.Faults{FailOther: 1}, entity.ErrUnavailable, false},
		{faultstore.Faults{LoseOtherAnswers: 1}, entity.ErrUnknownOutcome, true},
	} {
		s := faultstore.New(1, c.faults)
		_, opened := s.OpenEpoch(t.Context(), "node")
		_, set := s.Setting(t.Context(), "name", []byte("first"))
		for call, err := range map[string]error{
			"put rows": s.PutRows(t.Context(), []persistence.Row{{Kind: "order", ID: "a", Version: 1}}), "open epoch": opened,
			"save watermark": s.SaveWatermark(t.Context(), "r", 1, 5), "setting": set, "ping": s.Ping(t.Context()),
		} {
			if !errors.Is(err, c.told) {
				t.Errorf("%s with %+v: %v, want %v", call, c.faults, err, c.told)
			}
		}
		s.Calm()
		rows, err1 := s.GetRows(t.Context(), "order", []string{"a"})
		listed, err2 := s.ListRows(t.Context(), persistence.ListQuery{Kind: "order", Limit: 5})
		due, err3 := s.DueRows(t.Context(), time.Now(), 5)
		marks, err4 := s.Watermarks(t.Context(), "r")
		epochs, err5 := s.Epochs(t.Context())
		value, err6 := s.Setting(t.Context(), "name", []byte("second"))
		if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil || len(due) != 0 {
			t.Error(err, due)
		}
		done := []bool{len(rows) == 1, len(listed) == 1, marks[1] == 5, len(epochs) == 1, string(value) == "first"}
		for i, got := range done {
			if got != c.done {
				t.Errorf("%+v: call %d was done: %v", c.faults, i, got)
			}
		}
	}
}

// TestASeedReplays: the same calls in another order meet the same faults; with
// another seed they do not.
func TestASeedReplays(t *testing.T) {
	run := func(seed uint64, backwards bool) map[string]string {
		told := map[string]string{}
		synctest.Test(t, func(t *testing.T) {
			s := faultstore.New(seed, faultstore.Hostile())
			for i := range 100 {
				if backwards {
					i = 99 - i
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				r := rec(fmt.Sprint(i), 1, 1, uint64(i+1))
				told[r.ID] = fmt.Sprint(s.Append(ctx, []*entity.Record{r})[0])
				cancel()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, r := range s.Truth().Log(1) {
				told[r.ID] += " written"
			}
		})
		return told
	}
	if diff := cmp.Diff(run(1, false), run(1, true)); diff != "" {
		t.Errorf("the same seed:\n%s", diff)
	}
	if cmp.Equal(run(1, false), run(2, false)) {
		t.Error("seeds 1 and 2 are the same")
	}
}

func TestProbabilitiesAreChecked(t *testing.T) {
	for _, f := range []faultstore.Faults{{LoseWrite: -0.1}, {LoseWrite: 0.6, LoseAnswer: 0.6}, {FailRead: 1.5}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", f)
				}
			}()
			faultstore.New(1, f)
		}()
	}
}
