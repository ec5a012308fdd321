package stripe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sdk "github.com/stripe/stripe-go/v85"

	"stampede/payments"
	"stampede/proto/gen/paymentpb"
)

// Authorize makes a PaymentIntent and confirms it, under a key of its own, so
// that the same again is the same PaymentIntent. When Stripe has failed, or may
// have forgotten the key, it is searched for instead.
func (p *Provider) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	a := attempt{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := a.check(); err != nil {
		return nil, err
	}
	amount, currency, err := amountOf(cmd.GetAmount())
	if err != nil {
		return nil, err
	}
	if *amount == 0 {
		return authorized(free), nil
	}
	if p.old(cmd.GetRequestedAtMs(), keysKeptFor) {
		return p.search(ctx, a, true)
	}
	params := &sdk.PaymentIntentCreateParams{
		Amount: amount, Currency: currency, Metadata: a.metadata(),
		CaptureMethod:      sdk.String("manual"),
		Confirm:            sdk.Bool(true),
		PaymentMethodTypes: []*string{sdk.String("card")},
		ReturnURL:          sdk.String(p.config.ReturnURL),
	}
	params.IdempotencyKey = a.key("authorize")
	if strings.HasPrefix(cmd.GetToken(), "ctoken_") { // a ConfirmationToken; else a PaymentMethod
		params.ConfirmationToken = sdk.String(cmd.GetToken())
	} else {
		params.PaymentMethod = sdk.String(cmd.GetToken())
	}
	intent, err := p.client.V1PaymentIntents.Create(ctx, params)
	if err != nil {
		return p.notCreated(ctx, a, cmd.GetRequestedAtMs(), err)
	}
	if reply := read(intent); reply.GetStatus() == paymentpb.AuthorizeReply_STATUS_AUTHORIZED {
		return reply, nil
	}
	// A repeated question gets the first answer: what has become of it since is
	// another question.
	return p.retrieve(ctx, intent.ID)
}

func (p *Provider) notCreated(ctx context.Context, a attempt, requestedAtMs int64, err error) (*paymentpb.AuthorizeReply, error) {
	switch m, e := meaningOf(err); m {
	case refused:
		return declined(reason(e)), nil
	case failed:
		return p.search(ctx, a, p.old(requestedAtMs, searchLag))
	case wrong:
		return nil, fmt.Errorf("%w: payment %d of order %q was asked for otherwise: %w", payments.ErrInvalid, a.number, a.order, err)
	default:
		return nil, unavailable(err)
	}
}

// search looks for the attempt's PaymentIntent. If there is none it is declined,
// once it would have been found.
func (p *Provider) search(ctx context.Context, a attempt, sure bool) (*paymentpb.AuthorizeReply, error) {
	params := &sdk.PaymentIntentSearchParams{}
	params.Query = fmt.Sprintf("metadata['%s']:'%s' AND metadata['%s']:'%d'", metaOrder, a.order, metaAttempt, a.number)
	for intent, err := range p.client.V1PaymentIntents.Search(ctx, params).All(ctx) {
		if err != nil {
			return nil, unavailable(err)
		}
		if intent.Metadata[metaOrder] == a.order {
			return p.retrieve(ctx, intent.ID) // what is found by searching may be of yesterday
		}
	}
	if !sure {
		return nil, fmt.Errorf("%w: stripe does not know yet what became of payment %d of order %q", payments.ErrUnavailable, a.number, a.order)
	}
	return declined("the provider has no such payment"), nil
}

// Lookup asks what has become of a PaymentIntent.
func (p *Provider) Lookup(ctx context.Context, cmd *paymentpb.Lookup) (*paymentpb.AuthorizeReply, error) {
	switch cmd.GetReference() {
	case free:
		return authorized(free), nil
	case "":
		return nil, fmt.Errorf("%w: payment %d of order %q has no reference", payments.ErrInvalid, cmd.GetAttempt(), cmd.GetOrderId())
	}
	return p.retrieve(ctx, cmd.GetReference())
}

func (p *Provider) retrieve(ctx context.Context, id string) (*paymentpb.AuthorizeReply, error) {
	intent, err := p.client.V1PaymentIntents.Retrieve(ctx, id, nil)
	if err != nil {
		return nil, unavailable(err)
	}
	if reply := read(intent); reply != nil {
		return reply, nil
	}
	return nil, fmt.Errorf("%w: stripe has the payment as %s", payments.ErrUnavailable, intent.Status)
}

// read is what a PaymentIntent says; nil when it says nothing yet.
func read(intent *sdk.PaymentIntent) *paymentpb.AuthorizeReply {
	switch intent.Status {
	case sdk.PaymentIntentStatusRequiresCapture, sdk.PaymentIntentStatusSucceeded:
		return authorized(intent.ID)
	case sdk.PaymentIntentStatusRequiresAction:
		if intent.NextAction == nil || intent.NextAction.RedirectToURL == nil || intent.NextAction.RedirectToURL.URL == "" {
			return declined("it needs a confirmation that this shop cannot show")
		}
		return &paymentpb.AuthorizeReply{
			Status: paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION, Provider: name, Reference: intent.ID, NextActionUrl: intent.NextAction.RedirectToURL.URL,
		}
	case sdk.PaymentIntentStatusRequiresPaymentMethod:
		if intent.LastPaymentError != nil {
			return declined(reason(intent.LastPaymentError))
		}
		return declined("not confirmed")
	case sdk.PaymentIntentStatusCanceled:
		return declined("canceled")
	default:
		return nil
	}
}

func authorized(reference string) *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_AUTHORIZED, Provider: name, Reference: reference}
}

func declined(why string) *paymentpb.AuthorizeReply {
	return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_DECLINED, Provider: name, DeclineReason: why}
}

// Capture takes what was authorized. The PaymentIntent's own state makes it
// idempotent, so it needs no key; whatever goes wrong, that state is the answer.
func (p *Provider) Capture(ctx context.Context, cmd *paymentpb.Capture) (*paymentpb.CaptureReply, error) {
	if cmd.GetReference() == free {
		return &paymentpb.CaptureReply{}, nil
	}
	amount, _, err := amountOf(cmd.GetAmount())
	if err != nil || cmd.GetReference() == "" {
		return nil, errors.Join(err, fmt.Errorf("%w: capture of %q", payments.ErrInvalid, cmd.GetReference()))
	}
	intent, err := p.client.V1PaymentIntents.Capture(ctx, cmd.GetReference(), &sdk.PaymentIntentCaptureParams{AmountToCapture: amount})
	if err != nil {
		if m, _ := meaningOf(err); m == unknown {
			return nil, unavailable(err)
		}
		var again error
		if intent, again = p.client.V1PaymentIntents.Retrieve(ctx, cmd.GetReference(), nil); again != nil {
			return nil, unavailable(errors.Join(err, again))
		}
	}
	switch intent.Status {
	case sdk.PaymentIntentStatusSucceeded:
		return &paymentpb.CaptureReply{}, nil
	case sdk.PaymentIntentStatusCanceled, sdk.PaymentIntentStatusRequiresPaymentMethod:
		return &paymentpb.CaptureReply{Refused: read(intent).GetDeclineReason()}, nil
	default:
		return nil, fmt.Errorf("%w: stripe has the payment as %s: %w", payments.ErrUnavailable, intent.Status, errors.Join(err))
	}
}

// Void cancels a PaymentIntent. Its state makes that idempotent as well. An
// order voids only what has a reference.
func (p *Provider) Void(ctx context.Context, cmd *paymentpb.Void) (*paymentpb.VoidReply, error) {
	switch cmd.GetReference() {
	case free:
		return &paymentpb.VoidReply{}, nil
	case "":
		return nil, fmt.Errorf("%w: payment %d of order %q has no reference", payments.ErrInvalid, cmd.GetAttempt(), cmd.GetOrderId())
	}
	_, err := p.client.V1PaymentIntents.Cancel(ctx, cmd.GetReference(), nil)
	if err == nil {
		return &paymentpb.VoidReply{}, nil
	}
	intent, again := p.client.V1PaymentIntents.Retrieve(ctx, cmd.GetReference(), nil)
	switch {
	case again != nil:
		return nil, unavailable(errors.Join(err, again))
	case intent.Status == sdk.PaymentIntentStatusCanceled:
		return &paymentpb.VoidReply{}, nil
	case intent.Status == sdk.PaymentIntentStatusSucceeded:
		return nil, fmt.Errorf("%w: payment %d of order %q is captured", payments.ErrState, cmd.GetAttempt(), cmd.GetOrderId())
	default:
		return nil, unavailable(err)
	}
}
