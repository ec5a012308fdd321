package e2e

// What clients did to one SKU and what they were told, with the time of each;
// and the check by version: that what was told fits one order of events.

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type action int

const (
	reserve action = iota
	cancel
	look
)

func (a action) String() string { return [...]string{"reserve", "cancel", "look"}[a] }

type outcome int

const (
	done outcome = iota
	// refused: there were not enough units.
	refused
	// unknown: it was given up before it was answered. It may be done at any
	// time after its call, or never.
	unknown
)

func (o outcome) String() string { return [...]string{"done", "refused", "unknown"}[o] }

// operation is one request of one client and what came of it.
type operation struct {
	client int
	action action
	// units are what was asked for, or what is given back.
	units int
	// call and back are when it was sent and when its answer was there, in
	// nanoseconds of one monotonic clock.
	call, back int64
	outcome    outcome
	// version is the SKU's: of the reservation that was made, or of the level that was seen.
	version int64
	// available is of the level that was seen, or what the refusal named.
	available int
	// held is of the level that was seen.
	held int
}

func (o operation) String() string {
	return fmt.Sprintf("client %d %s %d [%d,%d] %s version %d available %d held %d",
		o.client, o.action, o.units, o.call, o.back, o.outcome, o.version, o.available, o.held)
}

// recorder collects operations from many clients.
type recorder struct {
	began time.Time
	// answered, if set, counts the operations.
	answered *atomic.Int64

	mu  sync.Mutex
	all []operation
}

func newRecorder() *recorder { return &recorder{began: time.Now()} }

func (r *recorder) now() int64 { return int64(time.Since(r.began)) }

func (r *recorder) add(o operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, o)
	if r.answered != nil {
		r.answered.Add(1)
	}
}

// place puts what an operation saw into the one order of events: right at the
// event of a reservation, right after an event for a look.
func (o operation) place() (at int64, ok bool) {
	switch {
	case o.action == reserve && o.outcome == done:
		return 2 * o.version, true
	case o.action == look && o.outcome == done:
		return 2*o.version + 1, true
	}
	return 0, false
}

// checkVersions checks a history of one SKU by the versions in its answers.
// Versions are unique among reservations. They keep to real time: what was
// answered before another was sent has the lower version, and a look sees all
// that was answered before it and nothing that was sent after it. In a history
// without cancels and unknown outcomes, each level that was seen, and each
// amount that a refusal named, is what the reservations up to there leave of
// the initial stock.
func checkVersions(history []operation, initial int) error {
	if err := checkUnique(history); err != nil {
		return err
	}
	if err := checkRealTime(history); err != nil {
		return err
	}
	for _, o := range history {
		if o.action == cancel || o.outcome == unknown {
			return nil
		}
	}
	return checkLevels(history, initial)
}

func checkUnique(history []operation) error {
	taken := map[int64]operation{}
	for _, o := range history {
		if o.action != reserve || o.outcome != done {
			continue
		}
		if o.version <= 0 {
			return fmt.Errorf("a reservation without a version: %v", o)
		}
		if other, ok := taken[o.version]; ok {
			return fmt.Errorf("two reservations have one version:\n%v\n%v", other, o)
		}
		taken[o.version] = o
	}
	return nil
}

// checkRealTime finds a pair of which the earlier in real time has the later
// place: going down the places, the first answer of all that lie strictly above.
func checkRealTime(history []operation) error {
	var placed []operation
	for _, o := range history {
		if _, ok := o.place(); ok {
			placed = append(placed, o)
		}
	}
	at := func(o operation) int64 { p, _ := o.place(); return p }
	slices.SortFunc(placed, func(a, b operation) int { return cmp.Compare(at(b), at(a)) })
	first := operation{back: math.MaxInt64}
	for i := 0; i < len(placed); {
		same := i
		for ; same < len(placed) && at(placed[same]) == at(placed[i]); same++ {
			if o := placed[same]; first.back < o.call {
				return fmt.Errorf("real time and versions disagree: the first was answered before the second was sent\n%v\n%v", first, o)
			}
		}
		for ; i < same; i++ {
			if placed[i].back < first.back {
				first = placed[i]
			}
		}
	}
	return nil
}

// checkLevels compares what was seen with what the reservations add up to.
func checkLevels(history []operation, initial int) error {
	var made []operation
	for _, o := range history {
		if o.action == reserve && o.outcome == done {
			made = append(made, o)
		}
	}
	slices.SortFunc(made, func(a, b operation) int { return cmp.Compare(a.version, b.version) })
	left := make([]int, len(made)+1) // left[n]: available after the first n
	left[0] = initial
	for n, o := range made {
		left[n+1] = left[n] - o.units
	}
	if left[len(made)] < 0 {
		return fmt.Errorf("oversold: %d units were reserved of %d", initial-left[len(made)], initial)
	}
	for _, o := range history {
		switch {
		case o.action == look:
			n, _ := slices.BinarySearchFunc(made, o.version+1, func(m operation, v int64) int { return cmp.Compare(m.version, v) })
			if o.available != left[n] || o.held != initial-left[n] {
				return fmt.Errorf("the reservations up to version %d leave %d, but this was seen: %v", o.version, left[n], o)
			}
		case o.outcome == refused:
			if err := checkRefusal(o, made, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRefusal: what a refusal names was there at some moment while it was
// asked for, and was too little.
func checkRefusal(o operation, made []operation, left []int) error {
	if o.available >= o.units {
		return fmt.Errorf("refused although there was enough: %v", o)
	}
	from, to := 0, len(made)
	for n, m := range made {
		if m.back < o.call {
			from = n + 1
		}
		if m.call > o.back {
			to = min(to, n)
		}
	}
	for n := from; n <= to; n++ {
		if left[n] == o.available {
			return nil
		}
	}
	return fmt.Errorf("while this was asked for, at no time that many were available (%v): %v", left[from:max(from, to)+1], o)
}
