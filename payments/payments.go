// Package payments is how orders reach a payment provider: the interface that a
// provider has, the port that orders ask, and a simulator. It keeps nothing and
// decides nothing: whether a payment is asked for, taken or let go of is the
// order's decision, and the order asks until it is answered.
package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/paymentpb"
)

// Provider takes money. Every method is idempotent by order id and attempt: the
// same again gets the same answer, whatever has happened to the first one. An
// error means that the outcome is not known and the same will be asked again;
// that a payment is declined is an answer, not an error.
//
// A Void may overtake the Authorize that it is about: that Authorize is then
// declined.
type Provider interface {
	// Authorize reserves the amount. The answer is decided (authorized or
	// declined), or sends the shopper to the provider first; in that case it
	// may be asked again, and then says what has become of it.
	Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error)
	// Lookup says what has become of an attempt that was sent to the shopper.
	Lookup(ctx context.Context, cmd *paymentpb.Lookup) (*paymentpb.AuthorizeReply, error)
	// Capture takes what was authorized. That it never will is an answer.
	Capture(ctx context.Context, cmd *paymentpb.Capture) (*paymentpb.CaptureReply, error)
	// Void lets go of what was, or may have been, authorized.
	Void(ctx context.Context, cmd *paymentpb.Void) (*paymentpb.VoidReply, error)
	// Refund gives some of what was captured back. It is idempotent by its number
	// as well. That it is refused is an answer.
	Refund(ctx context.Context, cmd *paymentpb.Refund) (*paymentpb.RefundReply, error)
}

var (
	// ErrUnavailable: the provider gave no answer. Whoever asked for something
	// that needs one may ask again.
	ErrUnavailable = fmt.Errorf("payment provider unavailable: %w", entity.ErrTimeout)
	// ErrInvalid: the command cannot be one of an order's.
	ErrInvalid = errors.New("payment command is invalid")
	// ErrUnknownOrder: there is no such order.
	ErrUnknownOrder = errors.New("payment is of an unknown order")
	// ErrState: the attempt is not in a state in which this can be done.
	ErrState = errors.New("payment is in another state")
)

// patience is for how long an authorization is asked for again before the order
// is told that there is no answer: a provider that hiccups is none that is away.
const patience = 3 * time.Second

// Port is a provider as actors ask it: kind "payment", id the order's.
type Port struct {
	Provider Provider
}

// Call hands a command to the provider. An answer that says nothing is an
// error, so that no order rests on it.
func (p Port) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	switch c := cmd.(type) {
	case *paymentpb.Authorize:
		return answered(to, c, func() (*paymentpb.AuthorizeReply, error) {
			reply, err := p.Provider.Authorize(ctx, c)
			if errors.Is(err, ErrUnavailable) && tellsOf(c) {
				return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_UNANSWERED}, nil
			}
			if err == nil && !decided(reply) {
				return nil, fmt.Errorf("%w: it answered with status %v", ErrUnavailable, reply.GetStatus())
			}
			return reply, err
		})
	case *paymentpb.Lookup:
		return answered(to, c, func() (*paymentpb.AuthorizeReply, error) {
			reply, err := p.Provider.Lookup(ctx, c)
			if err == nil && !decided(reply) {
				return nil, fmt.Errorf("%w: it answered with status %v", ErrUnavailable, reply.GetStatus())
			}
			return reply, err
		})
	case *paymentpb.Refund:
		return answered(to, c, func() (*paymentpb.RefundReply, error) {
			reply, err := p.Provider.Refund(ctx, c)
			if err == nil && reply.GetStatus() == paymentpb.RefundReply_STATUS_UNSPECIFIED {
				return nil, fmt.Errorf("%w: it answered a refund with nothing", ErrUnavailable)
			}
			return reply, err
		})
	case *paymentpb.Capture:
		return answered(to, c, func() (*paymentpb.CaptureReply, error) { return p.Provider.Capture(ctx, c) })
	case *paymentpb.Void:
		return answered(to, c, func() (*paymentpb.VoidReply, error) { return p.Provider.Void(ctx, c) })
	default:
		return nil, fmt.Errorf("%w: %T is none", ErrInvalid, cmd)
	}
}

// tellsOf reports whether the order is to hear that there is no answer: once,
// when it has been waiting for long enough.
func tellsOf(c *paymentpb.Authorize) bool {
	return !c.GetAwaited() && c.GetRequestedAtMs() > 0 && time.Since(time.UnixMilli(c.GetRequestedAtMs())) >= patience
}

// answered calls and names the order and the command in what goes wrong.
func answered[R interface {
	comparable
	proto.Message
}](to entity.Address, cmd interface{ GetOrderId() string }, call func() (R, error),
) (proto.Message, error) {
	if cmd.GetOrderId() == "" || cmd.GetOrderId() != to.ID {
		return nil, fmt.Errorf("%w: a %T of order %q came to %q", ErrInvalid, cmd, cmd.GetOrderId(), to.ID)
	}
	reply, err := call()
	if err != nil {
		return nil, fmt.Errorf("%T of order %q: %w", cmd, to.ID, err)
	}
	var none R
	if reply == none {
		return nil, fmt.Errorf("%T of order %q: %w: it answered with nothing", cmd, to.ID, ErrUnavailable)
	}
	return reply, nil
}

func decided(r *paymentpb.AuthorizeReply) bool {
	switch r.GetStatus() {
	case paymentpb.AuthorizeReply_STATUS_AUTHORIZED, paymentpb.AuthorizeReply_STATUS_DECLINED, paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION:
		return true
	default:
		return false
	}
}
