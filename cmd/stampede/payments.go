package main

// The payment provider of a node, and the way that its news take.

import (
	"context"
	"fmt"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/payments"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// paymentProvider is the provider that orders ask.
func paymentProvider(caller cluster.Caller) payments.Provider {
	return payments.NewSimulator(payments.WithNotices(notices{caller}.deliver))
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
