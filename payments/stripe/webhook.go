package stripe

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	sdk "github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"stampede/payments"
)

// maxNoticeBytes bounds a notice's body.
const maxNoticeBytes = 512 << 10

// Webhook takes Stripe's notices. A notice is answered with 200 when the order
// that it is about has taken it in durably, so that Stripe sends it again
// otherwise. No notice is believed further than that there is news: the order
// asks what it is. What is not about an order of this shop is answered with 200
// too, for sending it again would not help.
type Webhook struct {
	secret string
	notify payments.Notify
	log    *slog.Logger
}

// NewWebhook takes notices that are signed with the secret.
func NewWebhook(secret string, notify payments.Notify, log *slog.Logger) *Webhook {
	return &Webhook{secret: secret, notify: notify, log: log}
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNoticeBytes))
	if err != nil {
		http.Error(w, "the notice cannot be read", http.StatusBadRequest)
		return
	}
	event, err := webhook.ConstructEventWithOptions(body, r.Header.Get("Stripe-Signature"), h.secret, webhook.ConstructEventOptions{
		Tolerance: webhook.DefaultTolerance, IgnoreAPIVersionMismatch: true, // two fields of it are read, which every version has
	})
	if err != nil {
		h.log.WarnContext(r.Context(), "a payment notice without a good signature was refused", slog.Any("error", err))
		http.Error(w, "the signature is not good", http.StatusBadRequest)
		return
	}
	if err := h.take(r, &event); err != nil {
		h.log.ErrorContext(r.Context(), "a payment notice could not be taken in: it will come again", slog.String("event", event.ID), slog.Any("error", err))
		http.Error(w, "not taken in: send it again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (h *Webhook) take(r *http.Request, event *sdk.Event) error {
	if event.Type == "refund.failed" {
		h.log.ErrorContext(r.Context(), "a refund came back from the card: look at it in Stripe's dashboard", slog.String("event", event.ID))
		return nil
	}
	if !strings.HasPrefix(string(event.Type), "payment_intent.") || event.Data == nil {
		return nil
	}
	var intent struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(event.Data.Raw, &intent); err != nil {
		return err
	}
	order := intent.Metadata[metaOrder]
	number, err := strconv.ParseInt(intent.Metadata[metaAttempt], 10, 64)
	if order == "" || err != nil || number < 1 {
		h.log.InfoContext(r.Context(), "a payment notice is not about an order of this shop", slog.String("event", event.ID))
		return nil //nolint:nilerr // somebody else's payment, in the same account
	}
	err = h.notify(r.Context(), order, number)
	if errors.Is(err, payments.ErrUnknownOrder) {
		h.log.WarnContext(r.Context(), "a payment notice is about an unknown order", slog.String("event", event.ID), slog.String("order", order))
		return nil
	}
	return err
}
