package walk

// A move is one mutation: how it is sent, until its outcome is known, and held
// against what the model says.

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// move is a mutation and what the model says of it.
type move struct {
	who, field string
	// token is what it is made with; nil: who's.
	token     func() string
	input     map[string]any
	selection string
	// want has the codes that it may be refused with; empty: it is not refused.
	want map[string]bool
	// took takes what came of it into the model.
	took func(code string, payload map[string]any)
	// again says what the same input will be answered next time; nil: that is not promised.
	again func() *move
	// other is the same key with another input; nil: there is no key.
	other func(input map[string]any)
	// order is the one that it was about.
	order func() *order
	// unsure gives up what it was about: it was sent more than once, the first
	// answer was lost, and the same again is not the same. nil: it is.
	unsure func()
}

func codes(list ...string) map[string]bool {
	m := map[string]bool{}
	for _, c := range list {
		m[c] = true
	}
	return m
}

// do makes a move and compares.
func (w *Walk) do(m *move) {
	w.t.Helper()
	before := len(w.steps)
	payload := w.mutate(m)
	code := text(at(payload, "userErrors", 0, "code"))
	if code == "<nil>" {
		code = ""
	}
	w.steps[before] += " -> " + code
	w.tally.note(m.field, code)
	unforeseen := (code == "") != (len(m.want) == 0) || code != "" && !m.want[code]
	if unforeseen && w.repeats > 0 && m.unsure != nil {
		m.unsure()
		return
	}
	if unforeseen {
		w.fail("it is to be answered with %v: %v", m.want, payload)
	}
	if shop, ok := w.shop.(Restarter); ok && w.chance(10) {
		shop.Restart() // whatever the answer has not waited for goes on
		w.steps = append(w.steps, "restarted")
	}
	w.model.tick(w.shop.Now())
	if m.took != nil {
		m.took(code, payload)
	}
	if m.again != nil {
		w.moves = append(w.moves, m)
	}
	var about *order
	if m.order != nil {
		about = m.order()
	}
	w.check(about)
}

// mutate sends it until its outcome is known.
func (w *Walk) mutate(m *move) map[string]any {
	w.t.Helper()
	w.model.tick(w.shop.Now())
	input, _ := json.Marshal(m.input)
	w.steps = append(w.steps, fmt.Sprintf("%s %s", m.field, input))
	kind := strings.ToUpper(m.field[:1]) + m.field[1:] + "Input"
	document := fmt.Sprintf("mutation($input: %s!) { it: %s(input: $input) { %s userErrors { __typename code message field } } }", kind, m.field, m.selection)
	w.repeats = 0
	for deadline := time.Now().Add(settleWithin); ; w.repeats++ {
		a, err := w.shop.Ask(w.t.Context(), w.tokenFor(m), document, map[string]any{"input": m.input})
		payload, _ := at(answered(a), "it").(map[string]any)
		switch code := text(at(payload, "userErrors", 0, "code")); {
		case err == nil && payload != nil && code != "IN_PROGRESS" && code != "THROTTLED":
			return payload
		case time.Now().After(deadline):
			w.fail("no outcome: %v %v", a, err)
		}
		w.steps[len(w.steps)-1] += " (again)"
		<-time.After(20 * time.Millisecond)
	}
}

// tokenFor is what a move is made with; nobody's is "".
func (w *Walk) tokenFor(m *move) string {
	switch {
	case m.token != nil:
		return m.token()
	case m.who == "":
		return ""
	}
	return w.shop.Token(m.who, m.who == w.staff)
}

func answered(a *Answer) map[string]any {
	if a == nil {
		return nil
	}
	return a.Data
}
