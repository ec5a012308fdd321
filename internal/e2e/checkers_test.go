package e2e

// The checks of histories are checked themselves: each takes histories that
// could have happened and refuses those that could not.

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Operations of written-down histories.
func reserved(units int, call, back, version int64) operation {
	return operation{action: reserve, units: units, call: call, back: back, version: version}
}

func refusedWith(available, units int, call, back int64) operation {
	return operation{action: reserve, outcome: refused, units: units, available: available, call: call, back: back}
}

func seen(available, held int, call, back, version int64) operation {
	return operation{action: look, available: available, held: held, call: call, back: back, version: version}
}

func cancelled(units int, call, back int64) operation {
	return operation{action: cancel, units: units, call: call, back: back}
}

func givenUp(o operation) operation {
	o.outcome, o.version = unknown, 0
	return o
}

func TestCheckersAreNotFooled(t *testing.T) {
	const initial = 3
	for _, c := range []struct {
		name    string
		history []operation
		// versions is in the error of the check by version; empty: it passes.
		versions string
		want     porcupine.CheckResult
	}{
		{"nothing", nil, "", porcupine.Ok},
		{"one after the other", []operation{reserved(1, 0, 1, 2), reserved(2, 2, 3, 3), refusedWith(0, 1, 4, 5), seen(0, 3, 6, 7, 4)}, "", porcupine.Ok},
		{"at once, in either order", []operation{reserved(1, 0, 9, 3), reserved(2, 0, 9, 2), seen(1, 2, 0, 9, 2)}, "", porcupine.Ok},
		{"the same version twice", []operation{reserved(1, 0, 1, 2), reserved(1, 2, 3, 2)}, "one version", porcupine.Ok},
		{"without a version", []operation{reserved(1, 0, 1, 0)}, "without a version", porcupine.Ok},
		{"later in time, earlier by version", []operation{reserved(1, 0, 1, 3), reserved(1, 2, 3, 2)}, "disagree", porcupine.Ok},
		{"a look misses what was answered", []operation{reserved(1, 0, 1, 2), seen(3, 0, 2, 3, 1)}, "disagree", porcupine.Illegal},
		{"a look sees what was not sent", []operation{seen(2, 1, 0, 1, 2), reserved(1, 2, 3, 2)}, "disagree", porcupine.Illegal},
		{"looks go back", []operation{reserved(1, 0, 9, 2), seen(2, 1, 1, 2, 2), seen(3, 0, 3, 4, 1)}, "disagree", porcupine.Illegal},
		{"a look does not add up", []operation{reserved(1, 0, 1, 2), seen(1, 2, 2, 3, 2)}, "leave 2", porcupine.Illegal},
		{"a look loses units", []operation{reserved(1, 0, 1, 2), seen(2, 0, 2, 3, 2)}, "leave 2", porcupine.Illegal},
		{"oversold", []operation{reserved(2, 0, 1, 2), reserved(2, 2, 3, 3)}, "oversold", porcupine.Illegal},
		{"oversold at once", []operation{reserved(2, 0, 9, 2), reserved(2, 0, 9, 3)}, "oversold", porcupine.Illegal},
		{"refused although there was enough", []operation{refusedWith(3, 1, 0, 1)}, "enough", porcupine.Illegal},
		{"refused with what never was", []operation{reserved(2, 0, 1, 2), refusedWith(0, 2, 2, 3)}, "at no time", porcupine.Illegal},
		{"refused with what was before", []operation{reserved(1, 0, 1, 2), reserved(1, 2, 3, 3), refusedWith(2, 3, 4, 5)}, "at no time", porcupine.Illegal},
		{"given back and taken again", []operation{reserved(3, 0, 1, 2), cancelled(3, 2, 3), reserved(3, 4, 5, 6)}, "", porcupine.Ok},
		{"taken again before it was given back", []operation{reserved(3, 0, 1, 2), reserved(3, 2, 3, 6), cancelled(3, 4, 5)}, "", porcupine.Illegal},
		{"given back and not there", []operation{reserved(3, 0, 1, 2), cancelled(3, 2, 3), refusedWith(0, 1, 4, 5)}, "", porcupine.Illegal},
		{"maybe done", []operation{givenUp(reserved(3, 0, 1, 0)), refusedWith(0, 1, 2, 3)}, "", porcupine.Ok},
		{"maybe not done", []operation{givenUp(reserved(3, 0, 1, 0)), reserved(3, 2, 3, 2)}, "", porcupine.Ok},
		{"maybe done late", []operation{givenUp(reserved(3, 0, 1, 0)), seen(3, 0, 2, 3, 1), refusedWith(0, 1, 4, 5)}, "", porcupine.Ok},
		{"done and then not", []operation{givenUp(reserved(3, 0, 1, 0)), seen(0, 3, 2, 3, 2), reserved(3, 4, 5, 3)}, "", porcupine.Illegal},
		{"maybe given back", []operation{reserved(3, 0, 1, 2), givenUp(cancelled(3, 2, 3)), refusedWith(0, 1, 4, 5), seen(3, 0, 6, 7, 4)}, "", porcupine.Ok},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkVersions(c.history, initial)
			if (err == nil) != (c.versions == "") || err != nil && !strings.Contains(err.Error(), c.versions) {
				t.Errorf("by version: %v, want %q in it", err, c.versions)
			}
			if got := linearizable(c.history, initial, time.Minute); got != c.want {
				t.Errorf("Porcupine says %s, want %s", got, c.want)
			}
		})
	}
}

// forgery makes a history that happened into one that cannot have, or reports
// that the history has no room for it.
type forgery struct {
	name  string
	forge func(h []operation, initial int) ([]operation, bool)
}

// versionForgeries are for the check by version.
var versionForgeries = []forgery{
	{"a reservation is told the version of another", func(h []operation, _ int) ([]operation, bool) {
		first, second, ok := inSequence(h)
		if ok {
			h[second].version = h[first].version
		}
		return h, ok
	}},
	{"two reservations change their versions", func(h []operation, _ int) ([]operation, bool) {
		first, second, ok := inSequence(h)
		if ok {
			h[first].version, h[second].version = h[second].version, h[first].version
		}
		return h, ok
	}},
	{"a reservation took a unit more", func(h []operation, _ int) ([]operation, bool) {
		first, _, ok := inSequence(h)
		if ok {
			h[first].units++
		}
		return h, ok
	}},
	{"a refusal was an acceptance", func(h []operation, _ int) ([]operation, bool) {
		i := slices.IndexFunc(h, func(o operation) bool { return o.outcome == refused })
		if i >= 0 {
			h[i].outcome, h[i].version = done, 1<<40
		}
		return h, i >= 0
	}},
	{"the last look saw a unit that was sold", aUnitTooMany},
}

// modelForgeries are for Porcupine, which knows nothing of versions.
var modelForgeries = []forgery{
	{"a look lost a unit", func(h []operation, _ int) ([]operation, bool) {
		i := slices.IndexFunc(h, func(o operation) bool { return o.action == look })
		if i >= 0 {
			h[i].available--
		}
		return h, i >= 0
	}},
	{"a reservation took all and one more", func(h []operation, initial int) ([]operation, bool) {
		i := slices.IndexFunc(h, func(o operation) bool { return o.action == reserve && o.outcome == done })
		if i >= 0 {
			h[i].units = initial + 1
		}
		return h, i >= 0
	}},
	{"the last look saw a unit that was sold", aUnitTooMany},
}

// aUnitTooMany adds a look after everything that sees one unit more than can be
// left. Reservations whose outcome is unknown only leave fewer.
func aUnitTooMany(h []operation, initial int) ([]operation, bool) {
	left, end, version := initial, int64(0), int64(0)
	for _, o := range h {
		end, version = max(end, o.back), max(version, o.version)
		if o.outcome == done {
			switch o.action {
			case reserve:
				left -= o.units
			case cancel:
				left += o.units
			case look:
			}
		}
	}
	return append(h, seen(left+1, initial-left-1, end+1, end+2, version)), left < initial
}

// inSequence finds two reservations of which one was answered before the other was sent.
func inSequence(h []operation) (first, second int, ok bool) {
	for i, a := range h {
		for j, b := range h {
			if a.action == reserve && b.action == reserve && a.outcome == done && b.outcome == done && a.back < b.call {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

// mustNotice doctors a history that was found right, in each way that it has
// room for: the check must refuse each, or it would have found anything right.
// It returns how many ways there were.
func mustNotice(t *testing.T, history []operation, initial int, forgeries []forgery, refuses func([]operation) bool) (tried int) {
	t.Helper()
	for _, f := range forgeries {
		doctored, ok := f.forge(slices.Clone(history), initial)
		if !ok {
			continue
		}
		tried++
		if !refuses(doctored) {
			t.Errorf("the check does not notice that %s", f.name)
		}
	}
	return tried
}
