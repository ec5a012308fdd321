package main

// The payment provider of a node, and the way that its news take.

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/gateway/money"
	"stampede/payments"
	"stampede/payments/stripe"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// paymentProvider is the provider that orders ask.
func (n *node) paymentProvider(caller cluster.Caller, desk *payments.Desk) payments.Provider {
	c := &n.config
	if c.Payments != "stripe" {
		simulator := payments.NewSimulator(payments.WithNotices(notices{caller}.deliver), payments.WithDesk(desk))
		n.admin.Handle("GET "+payments.BooksPath, simulator.BooksPage())
		return simulator
	}
	return stripe.New(stripe.Config{Key: string(c.stripeKey), ReturnURL: c.StripeReturnURL, APIURL: c.StripeAPIURL, Clock: time.Now, Logger: n.log})
}

// paymentKeySetting names the key that the simulator's pages are signed with.
const paymentKeySetting = "simulator-key"

// paymentDesk signs for the simulator, alike on all nodes of a store.
func (n *node) paymentDesk(ctx context.Context, store persistence.Store) (*payments.Desk, error) {
	key, err := sharedSecret(ctx, store, paymentKeySetting)
	if err != nil {
		return nil, err
	}
	return payments.NewDesk(key), nil
}

// paymentPages are where the simulator sends shoppers; nil without it.
func (n *node) paymentPages(caller cluster.Caller, desk *payments.Desk) http.Handler {
	if n.config.Payments == "stripe" {
		return nil
	}
	format := func(m *commonpb.Money) string { return string(money.Of(m).Amount()) + " " + m.GetCurrency() }
	return payments.NewPage(desk, notices{caller}.decided, format, n.log)
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

// decided takes what a shopper decided to the order, like any other news.
func (n notices) decided(ctx context.Context, orderID string, attempt int64, evidence string) (payments.Standing, error) {
	order, err := n.tell(ctx, orderID, &orderpb.PaymentNotice{Attempt: attempt, Evidence: evidence})
	if err != nil {
		return payments.Over, err
	}
	p := order.GetPayment()
	switch {
	case p.GetAttempt() != attempt:
		return payments.Over, nil
	case p.GetStatus() == orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION && order.GetStatus() == orderpb.Status_STATUS_PAYING:
		return payments.Waits, nil
	case p.GetStatus() == orderpb.PaymentStatus_PAYMENT_STATUS_DECLINED:
		return payments.Declined, nil
	case p.GetAuthorized() != nil && order.GetStatus() != orderpb.Status_STATUS_CANCELLED:
		return payments.Approved, nil
	}
	return payments.Over, nil
}

// deliver returns when the order has taken the news in, durably. News of an
// order that there is not are payments.ErrUnknownOrder.
func (n notices) deliver(ctx context.Context, orderID string, attempt int64) error {
	_, err := n.tell(ctx, orderID, &orderpb.PaymentNotice{Attempt: attempt})
	return err
}

func (n notices) tell(ctx context.Context, orderID string, notice *orderpb.PaymentNotice) (*orderpb.Order, error) {
	reply, err := n.caller.Call(ctx, entity.Address{Kind: "order", ID: orderID}, notice)
	if err != nil {
		return nil, err
	}
	answer, ok := reply.(*orderpb.OrderReply)
	switch {
	case !ok:
		return nil, fmt.Errorf("order %s answered a notice with %T", orderID, reply)
	case answer.GetRefusal().GetReason() == commonpb.Reason_REASON_NOT_FOUND:
		return nil, fmt.Errorf("order %s: %w", orderID, payments.ErrUnknownOrder)
	case answer.GetRefusal() != nil:
		return nil, fmt.Errorf("order %s refused a notice: %s", orderID, answer.GetRefusal().GetMessage())
	}
	return answer.GetOrder(), nil
}
