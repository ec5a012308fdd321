package main

// The payment provider of a node, and the way that its news take.

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/payments"
	"stampede/payments/stripe"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// paymentProvider is the provider that orders ask.
func (n *node) paymentProvider(caller cluster.Caller) payments.Provider {
	c := &n.config
	if c.Payments != "stripe" {
		return payments.NewSimulator(payments.WithNotices(notices{caller}.deliver))
	}
	return stripe.New(stripe.Config{Key: string(c.stripeKey), ReturnURL: c.StripeReturnURL, APIURL: c.StripeAPIURL, Clock: time.Now, Logger: n.log})
}

// stripeWebhook takes Stripe's notices; nil where Stripe is not used.
func (n *node) stripeWebhook(caller cluster.Caller) http.Handler {
	if n.config.Payments != "stripe" {
		return nil
	}
	return stripe.NewWebhook(string(n.config.stripeWebhookSecret), notices{caller}.deliver, n.log)
}

// notices take a provider's news to the orders that they are about.
type notices struct{ caller cluster.Caller }

// deliver returns when the order has taken the news in, durably. News of an
// order that there is not are payments.ErrUnknownOrder.
func (n notices) deliver(ctx context.Context, orderID string, attempt int64) error {
	reply, err := n.caller.Call(ctx, entity.Address{Kind: "order", ID: orderID}, &orderpb.PaymentNotice{Attempt: attempt})
	if err != nil {
		return err
	}
	answer, ok := reply.(*orderpb.OrderReply)
	switch {
	case !ok:
		return fmt.Errorf("order %s answered a notice with %T", orderID, reply)
	case answer.GetRefusal().GetReason() == commonpb.Reason_REASON_NOT_FOUND:
		return fmt.Errorf("order %s: %w", orderID, payments.ErrUnknownOrder)
	case answer.GetRefusal() != nil:
		return fmt.Errorf("order %s refused a notice: %s", orderID, answer.GetRefusal().GetMessage())
	}
	return nil
}
