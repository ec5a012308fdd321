package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// quickly asks what is refused in milliseconds. The bound is far above what a
// slow machine needs, and far below what any attack costs without limits. One
// that is busy with other things for that long is asked again.
func quickly(t *testing.T, ask func() *answer) *answer {
	t.Helper()
	const bound, tries = 2 * time.Second, 5
	for try := 1; ; try++ {
		start := time.Now()
		a := ask()
		took := time.Since(start)
		switch {
		case took <= bound:
			t.Logf("%v: %s", took, shorten(a.text))
			return a
		case try == tries:
			t.Errorf("took %v, and no less than %v in %d tries", took, bound, tries)
			return a
		}
	}
}

// Documents that were made to keep a server busy: each is refused in
// milliseconds with a small answer.
func TestAttacks(t *testing.T) {
	repeat := strings.Repeat
	fragments := func(n int) string { // each spreads the next twice: 2^n fields
		var b strings.Builder
		b.WriteString("{ ...F0 }")
		for i := range n {
			fmt.Fprintf(&b, " fragment F%d on Query { ...F%d ...F%d }", i, i+1, i+1)
		}
		fmt.Fprintf(&b, " fragment F%d on Query { __typename }", n)
		return b.String()
	}
	for name, query := range map[string]string{
		"one field 10,000 times":       "{ " + repeat("__typename ", 10_000) + "}",
		"one field as often as tokens": "{ " + repeat("__typename ", 3_990) + "}",
		"aliases":                      "{ " + aliases(500) + "}",
		"root fields":                  "{ " + repeat(`product(slug: "a") { id } `, 11) + "}",
		"root fields by aliases":       "{ " + aliasesOf(`product(slug: "a") { id }`, 25) + "}",
		"depth":                        "{ " + repeat("a { ", 50) + "b" + repeat(" }", 50) + " }",
		"depth of 1,900":               "{ " + repeat("a { ", 1_900) + "b" + repeat(" }", 1_900) + " }",
		"a list 3,000 deep":            "{ stock(skus: " + repeat("[", 3_000) + repeat("]", 3_000) + ") { sku } }",
		"directives":                   "{ __typename " + repeat("@skip(if: false) ", 650) + "}",
		"directives that nobody knows": "{ __typename " + repeat("@a ", 1_900) + "}",
		"fragments that double":        fragments(30),
		"a fragment in a circle":       "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
		"a fragment in itself":         "{ ...A } fragment A on Query { a: __typename ...A }",
		"a field in itself":            `{ user(id: "x") { ...A } } fragment A on User { orders { edges { node { customer { ...A } } } } }`,
		"unknown fields":               "{ " + repeat("nothingLikeThisAtAll ", 590) + "}",
		"unknown arguments":            "{ products(" + repeat("nothing: 1 ", 1_300) + ") { pageInfo { hasNextPage } } }",
		"variables that nobody uses":   "query(" + repeat("$a: Int ", 990) + ") { __typename }",
		"a text of 200 KB":             `{ product(slug: "` + repeat("a", 200<<10) + `") { id } }`,
		"a name of 200 KB":             `{ ` + repeat("a", 200<<10) + ` }`,
		"200 KB of comments":           repeat("#\n", 100<<10) + "{ nothing }",
		"overlapping fields":           "{ " + repeat(`products { edges { node { id slug name } } } `, 10) + "nothing }",
		"fragments against each other": "{ " + repeat("...A ...B ", 100) + " } fragment A on Query { me { id name email } } fragment B on Query { me { id name roles } }",
		"operations":                   repeat("query Q { __typename } ", 600),
		"an introspection bomb":        "{ __schema { types { " + repeat("fields { type { ", 20) + "name" + repeat(" } }", 20) + " } } }",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.caller.answer = shopOfAlice
			a := quickly(t, func() *answer { return w.ask(asAlice, query, nil) })
			if len(a.Errors) == 0 || len(a.text) > 20<<10 {
				t.Errorf("%d errors in an answer of %d bytes: %s", len(a.Errors), len(a.text), shorten(a.text))
			}
			for _, e := range a.Errors {
				if e.Extensions.Code == "INTERNAL" {
					t.Errorf("INTERNAL: %s", e.Message)
				}
			}
			if n := len(w.caller.sent()); n > 0 {
				t.Errorf("%d commands were sent", n)
			}
			if log := w.log.String(); log != "" {
				t.Errorf("the log says %s", shorten(log))
			}
		})
	}
}

// The same by variables: deep, wide, of other types.
func TestVariableAttacks(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 5_000) + "1" + strings.Repeat("}", 5_000)
	for name, body := range map[string]string{
		"deep variables":        `{"query":"query($id: ID!) { node(id: $id) { id } }","variables":{"id":` + deep + `}}`,
		"deeper than JSON goes": `{"query":"query($id: ID!) { node(id: $id) { id } }","variables":{"id":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}`,
		"50,000 lines":          `{"query":` + quote(placeOrder) + `,"variables":{"input":{"idempotencyKey":"k","lines":[` + strings.TrimSuffix(strings.Repeat(`{},`, 50_000), ",") + `]}}}`,
		"5,000 good lines":      `{"query":` + quote(placeOrder) + `,"variables":{"input":{"idempotencyKey":"k","lines":` + lines(5_000) + `}}}`,
		"20,000 unknown fields": `{"query":` + quote(placeOrder) + `,"variables":{"input":{` + manyKeys(20_000) + `}}}`,
		"deep attributes":       `{"query":` + quote(create) + `,"variables":{"input":` + product(`[`+variant(`{"amount":"1","currency":"EUR"}`, `,"attributes":`+deep)+`]`) + `}}`,
		"a list for an input":   `{"query":` + quote(placeOrder) + `,"variables":{"input":[1,2,3]}}`,
		"a number for an input": `{"query":` + quote(placeOrder) + `,"variables":{"input":1e400}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := quickly(t, func() *answer { return w.post(asStaff, body) })
			if len(a.Errors)+len(a.userErrors()) == 0 || len(a.text) > 20<<10 || a.code() == "INTERNAL" || len(w.caller.sent()) > 0 {
				t.Errorf("%d %s", a.status, shorten(a.text))
			}
			if log := w.log.String(); log != "" {
				t.Errorf("the log says %s", shorten(log))
			}
		})
	}
}

func aliases(n int) string { return aliasesOf("__typename", n) }

func aliasesOf(field string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: %s ", i, field)
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"k%d":1`, i)
	}
	return b.String()
}
