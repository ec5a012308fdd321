// Package stripe is Stripe as a payment provider: PaymentIntents that are
// captured by hand, refunds, and Stripe's signed notices. It keeps nothing: what
// it needs to know of an attempt is in the PaymentIntent's metadata, so every
// unknown outcome is resolved by asking Stripe.
package stripe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/stripe/stripe-go/v85"

	"stampede/payments"
	"stampede/proto/gen/commonpb"
)

const (
	name = "stripe"
	// free is the reference of an order that costs nothing: Stripe has no
	// payments of nothing, and is not asked.
	free = "free"
	// The metadata that says which attempt of which order a PaymentIntent is.
	metaOrder, metaAttempt, metaRefund = "stampede_order", "stampede_attempt", "stampede_refund"

	// keysKeptFor is how long Stripe is relied upon to remember an idempotency
	// key: it says 24 hours. After that a question is not repeated, but what
	// came of it is looked for.
	keysKeptFor = 23 * time.Hour
	// searchLag is how long a new PaymentIntent may not be found by searching:
	// seconds, and up to an hour while Stripe has an outage.
	searchLag = time.Hour

	requestTimeout = 20 * time.Second
)

// Config is what a Provider is made of.
type Config struct {
	// Key is the secret API key.
	Key string
	// ReturnURL is where shoppers come back to after they acted at Stripe.
	ReturnURL string
	// APIURL is where the API is; empty for Stripe's.
	APIURL string
	// Transport is for tests; nil for the default.
	Transport http.RoundTripper
	// Clock says how old a question is.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Provider implements payments.Provider. It is safe for concurrent use.
type Provider struct {
	client *sdk.Client
	config Config
}

var _ payments.Provider = (*Provider)(nil)

// New is a provider. It does not call Stripe.
func New(c Config) *Provider {
	backend := &sdk.BackendConfig{
		HTTPClient:        &http.Client{Timeout: requestTimeout, Transport: c.Transport},
		LeveledLogger:     sdkLogger{c.Logger},
		MaxNetworkRetries: sdk.Int64(0), // the order asks again itself
		EnableTelemetry:   sdk.Bool(false),
	}
	if c.APIURL != "" {
		backend.URL = sdk.String(c.APIURL)
	}
	return &Provider{client: sdk.NewClient(c.Key, sdk.WithBackends(sdk.NewBackendsWithConfig(backend))), config: c}
}

// old reports whether a question may have been forgotten by Stripe.
func (p *Provider) old(requestedAtMs int64, limit time.Duration) bool {
	return requestedAtMs > 0 && p.config.Clock().Sub(time.UnixMilli(requestedAtMs)) > limit
}

// attempt names one attempt of an order in Stripe's books.
type attempt struct {
	order  string
	number int64
}

func (a attempt) check() error {
	if a.order == "" || a.number < 1 || strings.ContainsAny(a.order, `'"\`) {
		return fmt.Errorf("%w: payment %d of order %q", payments.ErrInvalid, a.number, a.order)
	}
	return nil
}

func (a attempt) metadata() map[string]string {
	return map[string]string{metaOrder: a.order, metaAttempt: strconv.FormatInt(a.number, 10)}
}

// key is an idempotency key: the same question has the same one, always.
func (a attempt) key(what string) *string {
	return sdk.String("stampede/" + a.order + "/" + strconv.FormatInt(a.number, 10) + "/" + what)
}

// amountOf is an amount as Stripe counts it: in minor units, but the two
// currencies that lost theirs as if they still had two digits.
func amountOf(m *commonpb.Money) (*int64, *string, error) {
	n := m.GetMinorUnits()
	if n < 0 || len(m.GetCurrency()) != 3 {
		return nil, nil, fmt.Errorf("%w: an amount is at least 0, in an ISO 4217 currency", payments.ErrInvalid)
	}
	if c := m.GetCurrency(); c == "ISK" || c == "UGX" {
		n *= 100
	}
	return sdk.Int64(n), sdk.String(strings.ToLower(m.GetCurrency())), nil
}

// Stripe's errors, by what they mean for a question.
type meaning int

const (
	// unknown: no answer, or one that says nothing of what was done.
	unknown meaning = iota
	// failed: Stripe failed, and repeats that failure for the same key.
	failed
	// refused: it was not done, and will not be.
	refused
	// wrong: the question is not the one that was asked under its key before.
	wrong
)

func meaningOf(err error) (meaning, *sdk.Error) {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return unknown, nil
	}
	switch {
	case e.Type == sdk.ErrorTypeIdempotency:
		return wrong, e
	case e.HTTPStatusCode >= http.StatusInternalServerError:
		return failed, e
	case e.Type == sdk.ErrorTypeCard:
		return refused, e
	case e.HTTPStatusCode == http.StatusBadRequest, e.HTTPStatusCode == http.StatusPaymentRequired, e.HTTPStatusCode == http.StatusNotFound:
		return refused, e
	default: // the key is bad, too many questions, another one with the same key is under way
		return unknown, e
	}
}

// reason is a refusal in a word or two, without anything secret.
func reason(e *sdk.Error) string {
	switch {
	case e.DeclineCode != "":
		return words(string(e.DeclineCode))
	case e.Code != "":
		return words(string(e.Code))
	default:
		return words(string(e.Type))
	}
}

func words(code string) string { return strings.ReplaceAll(code, "_", " ") }

func unavailable(err error) error { return fmt.Errorf("%w: stripe: %w", payments.ErrUnavailable, err) }

// sdkLogger is the SDK's log: it is about every failed request, which the caller
// is told of anyway, so it is for debugging.
type sdkLogger struct{ log *slog.Logger }

func (l sdkLogger) Debugf(string, ...any) {}
func (l sdkLogger) Infof(string, ...any)  {}
func (l sdkLogger) Warnf(format string, v ...any) {
	l.debug(format, v...)
}
func (l sdkLogger) Errorf(format string, v ...any) { l.debug(format, v...) }

func (l sdkLogger) debug(format string, v ...any) {
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "the payment provider's SDK", slog.String("message", fmt.Sprintf(format, v...)))
}
