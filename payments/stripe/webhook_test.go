package stripe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"stampede/payments"
)

const notice = `{"id":"evt_1","object":"event","api_version":"2020-08-27","type":"payment_intent.amount_capturable_updated","data":{"object":{"id":"pi_1","object":"payment_intent","metadata":{"stampede_order":"ord_1","stampede_attempt":"2"}}}}`

func TestWebhook(t *testing.T) {
	with := func(before, after string) string { return strings.Replace(notice, before, after, 1) }
	tests := []struct {
		name   string
		body   string
		secret string
		age    time.Duration
		notify error
		status int
		told   string
	}{
		{"good", notice, "whsec_1", 0, nil, 200, "ord_1 2"},
		{"another secret", notice, "whsec_2", 0, nil, 400, ""},
		{"old", notice, "whsec_1", 6 * time.Minute, nil, 400, ""},
		{"not taken in", notice, "whsec_1", 0, errors.New("not now"), 503, "ord_1 2"},
		{"an unknown order", notice, "whsec_1", 0, fmt.Errorf("x: %w", payments.ErrUnknownOrder), 200, "ord_1 2"},
		{"another shop's", with("stampede_order", "order"), "whsec_1", 0, nil, 200, ""},
		{"no attempt", with(`"2"`, `"-2"`), "whsec_1", 0, nil, 200, ""},
		{"another kind", with("payment_intent.amount_capturable_updated", "customer.created"), "whsec_1", 0, nil, 200, ""},
		{"a refund that came back", with("payment_intent.amount_capturable_updated", "refund.failed"), "whsec_1", 0, nil, 200, ""},
		{"not JSON", "{", "whsec_1", 0, nil, 400, ""},
		{"much too long", `{"x":"` + strings.Repeat("x", maxNoticeBytes) + `"}`, "whsec_1", 0, nil, 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			told := ""
			h := NewWebhook("whsec_1", func(_ context.Context, order string, attempt int64) error {
				told += fmt.Sprint(order, " ", attempt)
				return tt.notify
			}, slog.New(slog.DiscardHandler))
			signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(tt.body), Secret: tt.secret, Timestamp: time.Now().Add(-tt.age)})
			r := httptest.NewRequest(http.MethodPost, "/webhooks/stripe", strings.NewReader(tt.body))
			r.Header.Set("Stripe-Signature", signed.Header)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || told != tt.told {
				t.Errorf("%d, told %q", w.Code, told)
			}
		})
	}
	w := httptest.NewRecorder()
	NewWebhook("x", nil, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}
