package payments

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/paymentpb"
)

func amountText(m *commonpb.Money) string { return amountOf(m) }

// at is a simulator as one node has it: all have the same secret.
func atNode(secret string) *Simulator { return NewSimulator(WithDesk(NewDesk([]byte(secret)))) }

// TestPage: the page is at the address that the simulator gives out and at no
// other, asks, and takes the decision to the order as news. The answer to the
// order's question decides, on whichever node it is asked.
func TestPage(t *testing.T) {
	for decision, want := range map[string]struct {
		status paymentpb.AuthorizeReply_Status
		title  string
	}{
		"approve": {paymentpb.AuthorizeReply_STATUS_AUTHORIZED, "Thank you"},
		"decline": {paymentpb.AuthorizeReply_STATUS_DECLINED, "Declined"},
	} {
		first, second := atNode("secret"), atNode("secret")
		asked, err := first.Authorize(t.Context(), authorize(TokenRequiresAction))
		if err != nil || !strings.HasPrefix(asked.GetNextActionUrl(), PagePath) {
			t.Fatal(asked, err)
		}
		told := 0
		page := NewPage(NewDesk([]byte("secret")), func(ctx context.Context, order string, attempt int64, evidence string) (Standing, error) {
			told++
			cmd := lookup()
			cmd.Evidence = evidence
			reply, err := second.Lookup(ctx, cmd)
			if err != nil || order != "ord_1" || attempt != 1 || reply.GetStatus() != want.status {
				t.Errorf("%s: %v, %v of payment %d of %s", decision, reply, err, attempt, order)
			}
			if reply.GetStatus() == paymentpb.AuthorizeReply_STATUS_AUTHORIZED {
				return Approved, nil
			}
			return Declined, nil
		}, amountText, slog.New(slog.DiscardHandler))
		get := visit(page, http.MethodGet, asked.GetNextActionUrl(), "")
		if body := get.Body.String(); get.Code != 200 || !strings.Contains(body, "1990 EUR") || !strings.Contains(body, `value="approve"`) || !strings.Contains(body, "ord_1") || told != 0 {
			t.Errorf("%d: %s", get.Code, body)
		}
		for _, must := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'"} {
			if policy := get.Header().Get("Content-Security-Policy"); !strings.Contains(policy, must) || strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q", policy)
			}
		}
		post := visit(page, http.MethodPost, asked.GetNextActionUrl(), decision)
		if post.Code != 200 || !strings.Contains(post.Body.String(), "<h1>"+want.title) || strings.Contains(post.Body.String(), "<form") || told != 1 {
			t.Errorf("%s: %d, told %d times: %s", decision, post.Code, told, post.Body)
		}
		if decision == "approve" { // the node that was asked first has heard nothing of it
			if _, err := first.Capture(t.Context(), capture()); err != nil {
				t.Error(err)
			}
		}
	}
}

func visit(page *Page, method, address, decision string) *httptest.ResponseRecorder {
	body := url.Values{"decision": {decision}}.Encode()
	r := httptest.NewRequest(method, address, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	return w
}

func TestPageRefuses(t *testing.T) {
	desk := NewDesk([]byte("secret"))
	good := desk.url(attemptID{"ord_1", 1}, eur(1990))
	var answer Standing
	var fault error
	told := false
	page := NewPage(desk, func(context.Context, string, int64, string) (Standing, error) {
		told = true
		return answer, fault
	}, amountText, slog.New(slog.DiscardHandler))
	changed := []byte(good)
	changed[len(changed)-3] ^= 1
	tests := []struct {
		name, method, address, decision string
		answer                          Standing
		fault                           error
		status                          int
		title                           string
		told                            bool
	}{
		{"nobody's", http.MethodGet, PagePath + "x", "", Over, nil, 404, "No such payment", false},
		{"no claim", http.MethodPost, PagePath, "approve", Over, nil, 404, "No such payment", false},
		{"changed", http.MethodPost, string(changed), "approve", Over, nil, 404, "No such payment", false},
		{"another shop's", http.MethodPost, NewDesk([]byte("other")).url(attemptID{"ord_1", 1}, eur(1990)), "approve", Over, nil, 404, "No such payment", false},
		{"evidence", http.MethodPost, PagePath + desk.evidence(attemptID{"ord_1", 1}, true), "approve", Over, nil, 404, "No such payment", false},
		{"much too long", http.MethodGet, PagePath + strings.Repeat("a", 1000), "", Over, nil, 404, "No such payment", false},
		{"neither", http.MethodPost, good, "perhaps", Over, nil, 400, "Confirm your payment", false},
		{"another method", http.MethodPut, good, "", Over, nil, 405, "", false},
		{"too late", http.MethodPost, good, "approve", Over, nil, 200, "Too late", true},
		{"not taken in", http.MethodPost, good, "approve", Waits, nil, 409, "Not yet", true},
		{"no answer", http.MethodPost, good, "approve", Over, errors.New("away"), 503, "Not yet", true},
		{"decided otherwise before", http.MethodPost, good, "approve", Declined, nil, 200, "Declined", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, fault, told = tt.answer, tt.fault, false
			w := visit(page, tt.method, tt.address, tt.decision)
			if w.Code != tt.status || tt.title != "" && !strings.Contains(w.Body.String(), "<h1>"+tt.title) || told != tt.told {
				t.Errorf("%d, told %v: %s", w.Code, told, w.Body)
			}
		})
	}
}

// TestEvidence: only the desk's own word about this very payment counts.
func TestEvidence(t *testing.T) {
	desk := NewDesk([]byte("secret"))
	for name, evidence := range map[string]string{
		"none": "", "garbage": "AAAA", "another payment's": desk.evidence(attemptID{"ord_1", 2}, true),
		"another order's": desk.evidence(attemptID{"ord_2", 1}, true), "another desk's": NewDesk([]byte("x")).evidence(attemptID{"ord_1", 1}, true),
		"an address": strings.TrimPrefix(desk.url(attemptID{"ord_1", 1}, eur(1)), PagePath),
	} {
		cmd := lookup()
		cmd.Evidence = evidence
		if reply, err := atNode("secret").Lookup(t.Context(), cmd); err != nil || reply.GetStatus() != paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
	}
}
