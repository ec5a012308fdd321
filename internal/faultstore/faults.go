// Package faultstore is a persistence.Store that fails as real ones do: before
// a write, after it, in the middle of a batch, late, twice, slowly. It wraps a
// memstore.Disk and injects faults at the real interface, so that what runs
// over it in a test is what runs over a database. Everything is decided by a
// seed; time is the time package's, so inside a testing/synctest bubble nothing
// really waits.
//
//	store := faultstore.New(seed, faultstore.Hostile()) // one process's connection
//	other := store.Connect()                            // another process, or the next life of one
//	store.Kill()                                        // SIGKILL, with writes under way
//	store.Calm()                                        // no more faults: now everything must recover
//	store.Truth().Stream("sku/a")                       // what is durable, whatever anyone was told
//
// Decisions depend on the seed, on what is called (a record's stream and seq,
// not its position) and on how often, so a failing seed replays also when
// goroutines interleave otherwise.
package faultstore

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Fault names a kind of fault.
type Fault string

// The faults. Those of a batch befall all records of one Append, those of a
// record only it.
const (
	RefuseBatch      Fault = "batch refused"         // nothing written, ErrUnavailable
	TearBatch        Fault = "batch torn"            // some records written, all outcomes unknown
	HangAppend       Fault = "append hangs"          // until its context ends; what was written is anyone's guess
	SlowAppend       Fault = "append slow"           // within SlowTime
	RefuseRecord     Fault = "record refused"        // not written, ErrUnavailable
	LoseWrite        Fault = "write lost"            // not written, ErrUnknownOutcome
	LoseAnswer       Fault = "answer lost"           // written, ErrUnknownOutcome
	LateWrite        Fault = "late write"            // written within LateTime after its caller was told ErrUnknownOutcome
	DuplicateWrite   Fault = "duplicate write"       // written, and again within LateTime
	FailRead         Fault = "read failed"           // at its begin or in the middle
	SlowRead         Fault = "read slow"             // within SlowTime
	LoseSnapshot     Fault = "snapshot lost"         // saved and gone
	CorruptSnapshot  Fault = "snapshot corrupt"      // saved with a bit flipped
	StaleSnapshot    Fault = "snapshot stale"        // an older one is loaded
	FailOther        Fault = "other call failed"     // everything else, before it was done
	LoseOtherAnswers Fault = "other call unanswered" // or after it was done
)

// Faults are the probabilities of faults, 0 to 1, each decided for itself
// unless they exclude each other. The zero value is a store without faults.
type Faults struct {
	// At most one of these befalls a batch.
	RefuseBatch, TearBatch, HangAppend, SlowAppend float64
	// At most one of these befalls a record, unless its batch was refused or torn.
	RefuseRecord, LoseWrite, LoseAnswer, LateWrite, DuplicateWrite float64
	// Reads of streams and epochs, and loads of snapshots.
	FailRead, SlowRead float64
	// At most one of the first two befalls a saved snapshot.
	LoseSnapshot, CorruptSnapshot, StaleSnapshot float64
	// At most one of these befalls any other call.
	FailOther, LoseOtherAnswers float64

	// AppendTime and ReadTime are what calls take without a fault, evenly up
	// to it; 0: no time at all.
	AppendTime, ReadTime time.Duration
	// SlowTime is what SlowAppend and SlowRead add, evenly up to it.
	SlowTime time.Duration
	// LateTime is when late and duplicate writes land, evenly up to it.
	LateTime time.Duration
}

// Hostile is a store in which every fault is likely.
func Hostile() Faults {
	return Faults{
		RefuseBatch: 0.03, TearBatch: 0.03, HangAppend: 0.02, SlowAppend: 0.05,
		RefuseRecord: 0.03, LoseWrite: 0.03, LoseAnswer: 0.03, LateWrite: 0.03, DuplicateWrite: 0.05,
		FailRead: 0.05, SlowRead: 0.05, LoseSnapshot: 0.1, CorruptSnapshot: 0.1, StaleSnapshot: 0.1,
		FailOther: 0.05, LoseOtherAnswers: 0.05,
		AppendTime: 5 * time.Millisecond, ReadTime: 2 * time.Millisecond, SlowTime: 3 * time.Second, LateTime: 20 * time.Second,
	}
}

// option is a fault and how likely it is.
type option struct {
	fault Fault
	p     float64
}

func (f *Faults) batch() []option {
	return []option{{RefuseBatch, f.RefuseBatch}, {TearBatch, f.TearBatch}, {HangAppend, f.HangAppend}, {SlowAppend, f.SlowAppend}}
}

func (f *Faults) record() []option {
	return []option{
		{RefuseRecord, f.RefuseRecord},
		{LoseWrite, f.LoseWrite},
		{LoseAnswer, f.LoseAnswer},
		{LateWrite, f.LateWrite},
		{DuplicateWrite, f.DuplicateWrite},
	}
}

func (f *Faults) saved() []option {
	return []option{{LoseSnapshot, f.LoseSnapshot}, {CorruptSnapshot, f.CorruptSnapshot}}
}

func (f *Faults) other() []option {
	return []option{{FailOther, f.FailOther}, {LoseOtherAnswers, f.LoseOtherAnswers}}
}

// check panics on probabilities that are none: the test is wrong then.
func (f *Faults) check() {
	for _, exclusive := range [][]option{
		f.batch(), f.record(), f.saved(), f.other(),
		{{FailRead, f.FailRead}},
		{{SlowRead, f.SlowRead}},
		{{StaleSnapshot, f.StaleSnapshot}},
	} {
		sum := 0.0
		for _, o := range exclusive {
			if o.p < 0 {
				panic(fmt.Sprintf("faultstore: probability of %q is %v", o.fault, o.p))
			}
			sum += o.p
		}
		if sum > 1 {
			panic(fmt.Sprintf("faultstore: probabilities of %v add up to %v", exclusive, sum))
		}
	}
}

// dice decide one call. They depend on the seed, the call and how often it was
// made, and on nothing else: not on what other goroutines did before. So a
// seed replays even where the scheduler does not.
type dice struct{ *rand.Rand }

func throw(seed uint64, call string, attempt uint64) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(call))                                                   // cannot fail
	return dice{rand.New(rand.NewPCG(seed, h.Sum64()+attempt*0x9e3779b97f4a7c15))} //nolint:gosec // replayable on purpose
}

// pick picks one of the options or none. It always throws once, so that one
// probability does not change what others lead to.
func (d dice) pick(options []option) Fault {
	x := d.Float64()
	for _, o := range options {
		if x < o.p {
			return o.fault
		}
		x -= o.p
	}
	return ""
}

// upTo is a duration of at most t. It always throws once.
func (d dice) upTo(t time.Duration) time.Duration {
	return time.Duration(d.Float64() * float64(t))
}
