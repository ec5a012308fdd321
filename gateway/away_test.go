package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stampede/internal/memstore"
	"stampede/payments"
	"stampede/payments/stripe"
	"stampede/proto/gen/paymentpb"
)

// comesBack asks one provider until it is back, and then the other.
type comesBack struct {
	payments.Provider
	away payments.Provider
	back atomic.Bool
}

func (c *comesBack) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	if c.back.Load() {
		return c.Provider.Authorize(ctx, cmd)
	}
	return c.away.Authorize(ctx, cmd)
}

// TestPaymentUnavailable: while the provider cannot be reached, whoever pays is
// told so, with a delay; the order waits for it, and the same key goes on where
// it was when the provider is back. Nothing is paid twice.
func TestPaymentUnavailable(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	unreachable := stripe.New(stripe.Config{Key: "sk_test_1", APIURL: "http://" + closed.Addr().String(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	provider := &comesBack{Provider: payments.NewSimulator(), away: unreachable}
	w, accounts := realShopWith(t, memstore.New(), provider, time.Now)
	s := &orderShop{world: w}
	s.asStaff = s.logIn(t, accounts)
	w.wantNoError(w.mutate(s.asStaff, "createProduct", "CreateProductInput",
		`{"idempotencyKey":"p","slug":"p","name":"P","variants":[{"sku":"A","price":{"amount":"10","currency":"EUR"},"initialStock":5}]}`, ``))
	const shown = `order { id state payment { state } } userErrors { __typename code message ... on RetryLater { retryAfterMs } }`
	place := func() any {
		return w.mutate(s.asStaff, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"k","lines":[{"sku":"A","quantity":2}],"paymentToken":"tok_ok"}`, shown)
	}
	for range 2 { // the second time at once: the order knows
		got := place()
		first := at(got, "userErrors", 0)
		if text(at(first, "__typename")) != "RetryLater" || text(at(first, "code")) != "PAYMENT_UNAVAILABLE" || !strings.Contains(text(at(first, "message")), "same key") {
			t.Fatalf("%v", got)
		}
		if text(at(got, "order", "state")) != "PAYING" || text(at(got, "order", "payment", "state")) != "PENDING" {
			t.Fatalf("%v", got)
		}
	}
	other := w.mutate(s.asStaff, "payOrder", "PayOrderInput", `{"idempotencyKey":"other","orderId":"`+text(at(place(), "order", "id"))+`","paymentToken":"tok_ok"}`, shown)
	if text(at(other, "userErrors", 0, "code")) != "IN_PROGRESS" {
		t.Errorf("with another key: %v", other)
	}
	provider.back.Store(true)
	var got any
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		got = place()
		if text(at(got, "order", "state")) == "CONFIRMED" {
			break
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the order asks the provider again by the real clock, through real actors
	}
	if text(at(got, "order", "state")) != "CONFIRMED" || at(got, "userErrors", 0) != nil {
		t.Errorf("when it is back: %v", got)
	}
}
