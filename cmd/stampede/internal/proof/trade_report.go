package proof

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// tradeReport is what --json prints of a trade: all that it prints of any sale,
// and more.
type tradeReport struct {
	report

	Captured           string `json:"captured"`
	Refunded           string `json:"refunded"`
	Currency           string `json:"currency"`
	Confirmed          int    `json:"confirmed"`
	Cancelled          int    `json:"cancelled"`
	Expired            int    `json:"expired"`
	Fulfilled          int    `json:"fulfilled"`
	UnitsFulfilled     int    `json:"unitsFulfilled"`
	UnitsRefunded      int    `json:"unitsRefunded"`
	MoneyConserved     bool   `json:"moneyConserved"`
	RebuiltFromEvents  bool   `json:"rebuiltFromEvents"`
	IllegalTransitions int    `json:"illegalTransitions"`
	Phantoms           int    `json:"phantoms"`

	*roomReport
}

// roomReport is there when there was a waiting room.
type roomReport struct {
	Waited             int    `json:"waited"`
	Intruders          int    `json:"intruders"`
	AdmissionBypassed  int    `json:"admissionBypassed"`
	AdmittedEarly      int    `json:"admittedEarly"`
	LimitExceeded      int    `json:"limitExceeded"`
	AllocationExceeded int    `json:"allocationExceeded"`
	PositionsBijective bool   `json:"positionsBijective"`
	ShuffleProved      *bool  `json:"shuffleProved,omitempty"`
	SaleState          string `json:"saleState"`
	Remaining          int    `json:"remaining"`
}

// WriteJSON writes the verdict as one line of JSON.
func (v *TradeVerdict) WriteJSON(w io.Writer, s Speed) error {
	r := tradeReport{
		report: v.report(s), Captured: decimal(v.CapturedMinor), Refunded: decimal(v.RefundedMinor), Currency: v.Currency,
		Confirmed: v.Confirmed, Cancelled: v.Cancelled, Expired: v.Expired, Fulfilled: v.Fulfilled, UnitsFulfilled: v.UnitsFulfilled, UnitsRefunded: v.UnitsRefunded,
		MoneyConserved: v.MoneyConserved, RebuiltFromEvents: v.Rebuilt, IllegalTransitions: v.Illegal, Phantoms: v.Phantoms,
	}
	if v.Room {
		r.roomReport = &roomReport{
			Waited: v.Waited, Intruders: v.Intruders, AdmissionBypassed: v.Intruded, AdmittedEarly: v.AdmittedEarly, LimitExceeded: v.LimitExceeded,
			AllocationExceeded: v.AllocationExceeded, PositionsBijective: v.Positions, SaleState: v.SaleState, Remaining: v.Remaining,
		}
		if v.Shuffled {
			r.ShuffleProved = &v.ShuffleProved
		}
	}
	return json.NewEncoder(w).Encode(r)
}

// WriteTable writes the verdict for people.
func (v *TradeVerdict) WriteTable(w io.Writer, s Speed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any, note string) { fmt.Fprintf(t, "  %s\t%v\t%s\n", name, value, note) }
	row("units", v.Units, "")
	row("shoppers", v.Shoppers, "")
	row("orders accepted", v.Accepted, "")
	row("orders refused", v.refused(), "")
	for _, reason := range slices.Sorted(maps.Keys(v.Refused)) {
		row("  "+reason, v.Refused[reason], "")
	}
	row("unanswered", v.Unanswered, mark(v.Unanswered == 0))
	if v.Room {
		v.roomRows(row)
	}
	if v.Paid {
		v.moneyRows(row)
	}
	row("oversold", v.Oversold, mark(v.Oversold == 0)+", at no version of any SKU")
	row("acknowledged, missing", v.Lost, mark(v.Lost == 0)+", every step that anybody was told of is in its order's history")
	row("duplicates", v.Duplicates, mark(v.Duplicates == 0)+", the same keys sent again")
	row("illegal steps", v.Illegal, mark(v.Illegal == 0)+", of orders from state to state")
	row("every unit accounted for", yes(v.Conserved), mark(v.Conserved)+", in the beginning = available + held + committed + unavailable + left")
	row("events missing", v.EventsMissing, fmt.Sprintf("%s, a consumer group read %d events, %d of them repetitions", mark(v.EventsMissing == 0), v.EventsSeen, v.EventsRepeated))
	row("rebuilt from the events", yes(v.Rebuilt && v.Phantoms == 0), mark(v.Rebuilt && v.Phantoms == 0)+", stock at every version, and money, from the topics alone")
	if v.Nodes > 1 {
		row("nodes", v.Nodes, fmt.Sprintf("%d killed, %d drained in mid-sale", v.Crashes, v.Drained))
	} else {
		row("server killed", v.Crashes, "")
	}
	row("longest answer", fmt.Sprintf("%.0f ms", s.LongestGapMs), "the longest that a shopper waited for one")
	row("decisions a second", fmt.Sprintf("%.0f", s.OrdersPerSecond), "orders placed and payments, accepted and refused")
	row("latency", fmt.Sprintf("p50 %.1f ms", s.P50Ms), fmt.Sprintf("p99 %.1f ms, p99.9 %.1f ms, tries and payments included", s.P99Ms, s.P999Ms))
	if err := t.Flush(); err != nil {
		return err
	}
	return v.writeEnd(w)
}

func (v *TradeVerdict) roomRows(row func(string, any, string)) {
	row("waiting room", v.Waited, mark(v.Positions)+", everybody has a place of their own, without gaps")
	if v.Shuffled {
		row("shuffle proved", yes(v.ShuffleProved), mark(v.ShuffleProved)+", the places follow from the secret that was committed to before anybody joined")
	}
	row("let in early", v.AdmittedEarly, mark(v.AdmittedEarly == 0))
	row("ordered without admission", v.Intruded, fmt.Sprintf("%s, %d tried: without a token, with a made-up one, with somebody else's", mark(v.Intruded == 0), v.Intruders))
	row("over the limit", v.LimitExceeded, fmt.Sprintf("%s, nobody ever had more than %d of a SKU, over all keys and spellings of an address", mark(v.LimitExceeded == 0), v.Limit))
	row("over the allocation", v.AllocationExceeded, mark(v.AllocationExceeded == 0))
	row("the sale", v.SaleState, fmt.Sprintf("%s, %d units remain", mark(v.SaleSettled), v.Remaining))
}

func (v *TradeVerdict) moneyRows(row func(string, any, string)) {
	row("confirmed", v.Confirmed, "orders that were paid")
	row("cancelled", v.Cancelled, "by shoppers, or refunded before they left")
	row("expired", v.Expired, "not paid in time")
	row("fulfilled", v.Fulfilled, fmt.Sprintf("%d units left the building, %d were refunded", v.UnitsFulfilled, v.UnitsRefunded))
	row("captured", decimal(v.CapturedMinor), fmt.Sprintf("%s %s, what the confirmed orders cost", mark(v.MoneyConserved), v.Currency))
	row("refunded", decimal(v.RefundedMinor), fmt.Sprintf("%s %s, what the staff gave back; the shop keeps %s", mark(v.MoneyConserved), v.Currency, decimal(v.CapturedMinor-v.RefundedMinor)))
	if v.BooksAsked {
		v.booksRow(row)
	}
}
