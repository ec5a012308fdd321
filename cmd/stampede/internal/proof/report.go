package proof

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
)

// Speed is how the sale ran, as the shoppers felt it.
type Speed struct {
	OrdersPerSecond      float64
	P50Ms, P99Ms, P999Ms float64
	// LongestGapMs is the longest time that a shopper's app went without an answer.
	LongestGapMs float64
}

// report is the object that --json prints. Its first keys are a promise.
type report struct {
	Units           int     `json:"units"`
	Shoppers        int     `json:"shoppers"`
	Accepted        int     `json:"accepted"`
	Refused         int     `json:"refused"`
	Oversold        int     `json:"oversold"`
	Lost            int     `json:"lost"`
	Duplicates      int     `json:"duplicates"`
	EventsMissing   int     `json:"eventsMissing"`
	Conserved       bool    `json:"conserved"`
	OrdersPerSecond float64 `json:"ordersPerSecond"`
	P50Ms           float64 `json:"p50Ms"`
	P99Ms           float64 `json:"p99Ms"`
	P999Ms          float64 `json:"p999Ms"`
	Crashes         int     `json:"crashes"`
	LongestGapMs    float64 `json:"longestGapMs"`
	Nodes           int     `json:"nodes"`
	Drained         int     `json:"drained"`

	RefusedByReason map[string]int `json:"refusedByReason"`
	Unanswered      int            `json:"unanswered"`
	Unsold          int            `json:"unsold"`
	EventsSeen      int            `json:"eventsSeen"`
	EventsRepeated  int            `json:"eventsRepeated"`
	Holds           bool           `json:"holds"`
	Violations      []string       `json:"violations"`
}

// WriteJSON writes the verdict as one line of JSON.
func (v *Verdict) WriteJSON(w io.Writer, s Speed) error {
	return json.NewEncoder(w).Encode(v.report(s))
}

func (v *Verdict) report(s Speed) report {
	return report{
		Units: v.Units, Shoppers: v.Shoppers, Accepted: v.Accepted, Refused: v.refused(), Oversold: v.Oversold, Lost: v.Lost,
		Duplicates: v.Duplicates, EventsMissing: v.EventsMissing, Conserved: v.Conserved,
		OrdersPerSecond: round(s.OrdersPerSecond), P50Ms: round(s.P50Ms), P99Ms: round(s.P99Ms), P999Ms: round(s.P999Ms), Crashes: v.Crashes,
		LongestGapMs: round(s.LongestGapMs), Nodes: v.Nodes, Drained: v.Drained,
		RefusedByReason: v.Refused, Unanswered: v.Unanswered, Unsold: v.Unsold, EventsSeen: v.EventsSeen, EventsRepeated: v.EventsRepeated,
		Holds: v.Holds(), Violations: append([]string{}, v.Violations...),
	}
}

// WriteTable writes the verdict for people.
func (v *Verdict) WriteTable(w io.Writer, s Speed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any, note string) { fmt.Fprintf(t, "  %s\t%v\t%s\n", name, value, note) }
	row("units", v.Units, "")
	row("shoppers", v.Shoppers, "each wants one unit")
	row("accepted", v.Accepted, "")
	row("refused", v.refused(), "")
	for _, reason := range slices.Sorted(maps.Keys(v.Refused)) {
		row("  "+reason, v.Refused[reason], "")
	}
	row("unanswered", v.Unanswered, mark(v.Unanswered == 0))
	row("oversold", v.Oversold, mark(v.Oversold == 0))
	row("unsold", v.Unsold, mark(v.Unsold == 0)+", while shoppers were refused")
	row("acknowledged, missing", v.Lost, mark(v.Lost == 0)+", every order read back over the API")
	row("duplicates", v.Duplicates, mark(v.Duplicates == 0)+", the same keys sent again")
	row("events missing", v.EventsMissing, fmt.Sprintf("%s, a consumer group read %d events of the sale, %d of them repetitions", mark(v.EventsMissing == 0), v.EventsSeen, v.EventsRepeated))
	row("every unit accounted for", yes(v.Conserved), mark(v.Conserved)+", on hand = available + held + committed + unavailable")
	if v.Nodes > 1 {
		row("nodes", v.Nodes, fmt.Sprintf("%d killed, %d drained in mid-sale", v.Crashes, v.Drained))
	} else {
		row("server killed", v.Crashes, "")
	}
	row("orders a second", fmt.Sprintf("%.0f", s.OrdersPerSecond), "decisions, accepted and refused")
	row("latency", fmt.Sprintf("p50 %.1f ms", s.P50Ms), fmt.Sprintf("p99 %.1f ms, p99.9 %.1f ms, tries included", s.P99Ms, s.P999Ms))
	row("longest gap", fmt.Sprintf("%.0f ms", s.LongestGapMs), "the longest that a shopper waited from one answer to the next")
	if err := t.Flush(); err != nil {
		return err
	}
	return v.writeEnd(w)
}

// writeEnd writes whether the proof holds, and why not.
func (v *Verdict) writeEnd(w io.Writer) error {
	if v.Holds() {
		_, err := fmt.Fprintln(w, "\nThe proof holds.")
		return err
	}
	fmt.Fprintf(w, "\nThe proof does NOT hold:\n")
	for _, violation := range v.Violations {
		fmt.Fprintf(w, "  - %s\n", violation)
	}
	if v.Suppressed > 0 {
		fmt.Fprintf(w, "  and %d more\n", v.Suppressed)
	}
	return nil
}

func (v *Verdict) refused() int {
	n := 0
	for _, count := range v.Refused {
		n += count
	}
	return n
}

func mark(ok bool) string {
	if ok {
		return "ok"
	}
	return "WRONG"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// round keeps two decimals: more would pretend to a precision that is not there.
func round(f float64) float64 { return math.Round(f*100) / 100 }
