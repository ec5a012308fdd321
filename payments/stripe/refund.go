package stripe

import (
	"context"
	"fmt"
	"strconv"

	sdk "github.com/stripe/stripe-go/v85"

	"stampede/payments"
	"stampede/proto/gen/paymentpb"
)

// Refund gives money back. A refund that Stripe has accepted is made: "pending"
// is on its way to the card, and the rare one that comes back is in a notice.
func (p *Provider) Refund(ctx context.Context, cmd *paymentpb.Refund) (*paymentpb.RefundReply, error) {
	a := attempt{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := a.check(); err != nil {
		return nil, err
	}
	amount, _, err := amountOf(cmd.GetAmount())
	if err != nil {
		return nil, err
	}
	if cmd.GetReference() == free || *amount == 0 {
		return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: free}, nil
	}
	if cmd.GetReference() == "" || cmd.GetNumber() < 1 {
		return nil, fmt.Errorf("%w: refund %d of %q", payments.ErrInvalid, cmd.GetNumber(), cmd.GetReference())
	}
	if p.old(cmd.GetRequestedAtMs(), keysKeptFor) {
		if made, err := p.findRefund(ctx, cmd); made != nil || err != nil {
			return made, err
		}
	}
	number := strconv.FormatInt(cmd.GetNumber(), 10)
	params := &sdk.RefundCreateParams{Amount: amount, PaymentIntent: sdk.String(cmd.GetReference()), Metadata: a.metadata()}
	params.Metadata[metaRefund] = number
	params.IdempotencyKey = a.key("refund/" + number)
	made, err := p.client.V1Refunds.Create(ctx, params)
	if err != nil {
		return p.notRefunded(ctx, cmd, err)
	}
	return refundOf(made), nil
}

// notRefunded: whatever Stripe said, a refund that is in its books was made.
func (p *Provider) notRefunded(ctx context.Context, cmd *paymentpb.Refund, err error) (*paymentpb.RefundReply, error) {
	m, e := meaningOf(err)
	switch m {
	case unknown:
		return nil, unavailable(err)
	case failed, refused:
	case wrong:
		return nil, fmt.Errorf("%w: refund %d of order %q was asked for otherwise: %w", payments.ErrInvalid, cmd.GetNumber(), cmd.GetOrderId(), err)
	}
	made, again := p.findRefund(ctx, cmd)
	switch {
	case again != nil:
		return nil, again
	case made != nil:
		return made, nil
	case m == refused:
		return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUSED, RefuseReason: reason(e)}, nil
	default:
		return nil, unavailable(err)
	}
}

// findRefund is the refund by its number; nil when it was not made. Lists are
// never behind, as searches are.
func (p *Provider) findRefund(ctx context.Context, cmd *paymentpb.Refund) (*paymentpb.RefundReply, error) {
	params := &sdk.RefundListParams{PaymentIntent: sdk.String(cmd.GetReference())}
	for r, err := range p.client.V1Refunds.List(ctx, params).All(ctx) {
		if err != nil {
			return nil, unavailable(err)
		}
		if r.Metadata[metaRefund] == strconv.FormatInt(cmd.GetNumber(), 10) {
			return refundOf(r), nil
		}
	}
	return nil, nil //nolint:nilnil // there is none, which is an answer
}

func refundOf(r *sdk.Refund) *paymentpb.RefundReply {
	switch r.Status {
	case sdk.RefundStatusFailed, sdk.RefundStatusCanceled:
		return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUSED, RefuseReason: words(string(r.FailureReason))}
	default:
		return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: r.ID}
	}
}
