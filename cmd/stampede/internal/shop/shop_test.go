package shop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJudgePlaceOrder(t *testing.T) {
	order := &Order{ID: "o", State: "RESERVED", Total: Money{"1.00", "EUR"}, Lines: []Line{{SKU: "S", Quantity: 1, SKUVersion: 4}}}
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	with := func(state, errors string) string {
		return `{"data":{"placeOrder":{"order":` + strings.Replace(string(text), "RESERVED", state, 1) + `,"userErrors":[` + errors + `]}}}`
	}
	for _, c := range []struct {
		name   string
		status int
		after  time.Duration
		body   string
		want   Answer
	}{
		{"accepted", 200, 0, with("RESERVED", ""), Answer{Kind: Accepted, Order: order}},
		{"still reserving", 200, 0, with("RESERVING", ""), Answer{Kind: Retry, Reason: "IN_PROGRESS"}},
		{"refused", 200, 0, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"INSUFFICIENT_STOCK"}]}}}`, Answer{Kind: Refused, Reason: "INSUFFICIENT_STOCK"}},
		{
			"rejected order", 200, 0, `{"data":{"placeOrder":{"order":{"id":"o","state":"REJECTED","rejection":{"code":"CUSTOMER_LIMIT"}},"userErrors":[]}}}`,
			Answer{Kind: Refused, Reason: "CUSTOMER_LIMIT", Order: &Order{ID: "o", State: "REJECTED", Rejection: &UserError{Code: "CUSTOMER_LIMIT"}}},
		},
		{"throttled", 200, 0, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"THROTTLED","retryAfterMs":70}]}}}`, Answer{Kind: Retry, Reason: "THROTTLED", After: 70 * time.Millisecond}},
		{"in progress", 200, 0, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"IN_PROGRESS","retryAfterMs":9}]}}}`, Answer{Kind: Retry, Reason: "IN_PROGRESS", After: 9 * time.Millisecond}},
		{"throttled at the top", 429, 0, `{"errors":[]}`, Answer{Kind: Retry, Reason: "HTTP_429"}},
		{"throttled with a delay", 429, time.Second, `{"errors":[{"message":"m","extensions":{"code":"THROTTLED","retryAfterMs":40}}]}`, Answer{Kind: Retry, Reason: "HTTP_429", After: 40 * time.Millisecond}},
		{"overloaded", 503, 2 * time.Second, `busy`, Answer{Kind: Retry, Reason: "HTTP_503", After: 2 * time.Second}},
		{"fault", 200, 0, `{"errors":[{"message":"m","extensions":{"code":"INTERNAL"}}]}`, Answer{Kind: Retry, Reason: "INTERNAL"}},
		{"who are you", 401, 0, `{"errors":[{"message":"m","extensions":{"code":"UNAUTHENTICATED"}}]}`, Answer{Kind: Failed, Reason: "UNAUTHENTICATED: m"}},
		{"no JSON", 404, 0, `<html>`, Answer{Kind: Failed, Reason: "HTTP_404 without JSON"}},
		{"no payload", 200, 0, `{"data":null}`, Answer{Kind: Failed, Reason: "answer without a payload"}},
		{"nothing", 200, 0, `{"data":{"placeOrder":{"order":null,"userErrors":[]}}}`, Answer{Kind: Failed, Reason: "neither an order nor an error"}},
	} {
		if diff := cmp.Diff(c.want, JudgePlaceOrder(c.status, c.after, []byte(c.body))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		want := c.want
		if want.Kind == Accepted {
			want.Order = nil
		}
		if diff := cmp.Diff(want, JudgePlaced(c.status, c.after, []byte(c.body))); diff != "" {
			t.Errorf("%s, not looked at: %s", c.name, diff)
		}
	}
}

func TestJudgeOthers(t *testing.T) {
	for _, c := range []struct {
		got  Answer
		want Kind
	}{
		{JudgeOrder(200, 0, []byte(`{"data":{"order":{"id":"o"}}}`)), Accepted},
		{JudgeOrder(200, 0, []byte(`{"data":{"order":null}}`)), Refused},
		{JudgeOrder(503, 0, nil), Retry},
		{JudgeCatalogue(200, 0, []byte(`{"data":{"products":{"edges":[{"node":{}}]}}}`)), Accepted},
		{JudgeCatalogue(200, 0, []byte(`{"errors":[{"message":"m","extensions":{"code":"THROTTLED"}}]}`)), Retry},
		{JudgeCatalogue(200, 0, []byte(`{"data":null}`)), Failed},
	} {
		if c.got.Kind != c.want {
			t.Errorf("%+v, want kind %d", c.got, c.want)
		}
	}
}

// The requests are JSON whatever is in them.
func TestRequestsAreJSON(t *testing.T) {
	for _, text := range []string{"plain", `quo"te`, "back\\slash", "new\nline", "ünï", "\x00"} {
		var got struct {
			Query     string
			Variables struct {
				ID    string
				Input struct {
					IdempotencyKey string
					Lines          []Line
				}
			}
		}
		if err := json.Unmarshal(AppendPlaceOrder(nil, text, text, 3), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if in := got.Variables.Input; in.IdempotencyKey != text || len(in.Lines) != 1 || in.Lines[0].SKU != text || in.Lines[0].Quantity != 3 {
			t.Errorf("%q became %+v", text, in)
		}
		if err := json.Unmarshal(AppendOrder(nil, text), &got); err != nil || got.Variables.ID != text {
			t.Errorf("%q became %+v: %v", text, got.Variables, err)
		}
	}
	if !json.Valid(AppendCatalogue(nil)) {
		t.Error("the catalogue's request is no JSON")
	}
}

// Calls are repeated, with the same input, while the server says later, and not
// otherwise.
func TestClientRepeatsWhileToldTo(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string // the last one stays
		calls   int64
		fault   string
	}{
		{"at once", []string{`{"data":{"payload":{"userErrors":[]}}}`}, 1, ""},
		{"throttled by payload", []string{`{"data":{"payload":{"userErrors":[{"code":"THROTTLED","retryAfterMs":1}]}}}`, `{"data":{"payload":{"userErrors":[]}}}`}, 2, ""},
		{"throttled by error", []string{`{"errors":[{"message":"m","extensions":{"code":"THROTTLED","retryAfterMs":1}}]}`, `{"data":{"payload":{"userErrors":[]}}}`}, 2, ""},
		{"conflict", []string{`{"data":{"payload":{"userErrors":[{"code":"CONFLICT","message":"taken","field":["slug"]}]}}}`}, 1, "CONFLICT: [slug]: taken"},
		{"forbidden", []string{`{"errors":[{"message":"not you","extensions":{"code":"FORBIDDEN"}}]}`}, 1, "FORBIDDEN: not you"},
		{"no GraphQL", []string{`<html>`}, 1, "without GraphQL"},
	} {
		var calls atomic.Int64
		var first string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			n := calls.Add(1)
			if n == 1 {
				first = string(body)
			} else if first != string(body) {
				t.Errorf("%s: the input changed from\n%s to\n%s", c.name, first, body)
			}
			io.WriteString(w, c.answers[min(int(n), len(c.answers))-1])
		}))
		err := NewClient(server.URL, "t").CreateProduct(t.Context(), "key", Product{Slug: "s", Name: "n", Variants: []Variant{{SKU: "S"}}})
		server.Close()
		if calls.Load() != c.calls || (err == nil) != (c.fault == "") || (err != nil && !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %d calls, %v", c.name, calls.Load(), err)
		}
	}
}

func TestPlacedAtAGlance(t *testing.T) {
	const begins = `{"data":{"placeOrder":{"order":{"id":"ord_a","number":"N","state":"`
	const goesOn = `","total":{"amount":"19.90"},"lines":[],"rejection":null},"userErrors":[]}}`
	const cost = `,"extensions":{"cost":{"requested":10,"limit":1000}}}`
	for body, want := range map[string]bool{
		begins + "RESERVED" + goesOn + cost:  true,
		begins + "RESERVED" + goesOn + "}":   true,
		begins + "RESERVED" + goesOn:         false,
		begins + "RESERVING" + goesOn + cost: false,
		begins + "REJECTED" + goesOn + cost:  false,
		`{"errors":[{"message":"m"}],"data":{"placeOrder":{"order":{"id":"ord_a","number":"N","state":"RESERVED` + goesOn + cost:      false,
		begins + "RESERVED" + strings.Replace(goesOn, `"userErrors":[]`, `"userErrors":[{"code":"IN_PROGRESS"}]`, 1) + cost:           false,
		begins + "REJECTED" + goesOn + `,"extensions":{"cost":{"x":"\",\"state\":\"RESERVED\",\"total\":{\"amount\":\"1\"}","y":0}}}`: false,
		"": false,
	} {
		if got := PlacedAtAGlance([]byte(body)); got != want {
			t.Errorf("%s: %t, want %t", body, got, want)
		}
	}
}
