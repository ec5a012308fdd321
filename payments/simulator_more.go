package payments

import (
	"context"
	"fmt"
	"time"

	"stampede/proto/gen/paymentpb"
)

// Tokens of what goes wrong on the way, and comes right.
const (
	// TokenTimeout is approved, and the answer to the first question is lost.
	TokenTimeout = "tok_timeout"
	// TokenWebhookFirst is approved, and news of it come before the answer.
	TokenWebhookFirst = "tok_webhook_first" //nolint:gosec // a name, not a credential
	// TokenWebhookTwice is approved, and news of it come twice.
	TokenWebhookTwice = "tok_webhook_twice" //nolint:gosec // a name, not a credential
)

// Notify is told that there is news of an attempt. What the news is, it asks.
type Notify func(ctx context.Context, orderID string, attempt int64) error

// WithNotices sets who is told of news; by default nobody is.
func WithNotices(n Notify) SimulatorOption {
	return func(s *Simulator) { s.notify = n }
}

// noticesOf is how many notices come before the answer to a token.
func noticesOf(token string) int {
	switch token {
	case TokenWebhookFirst:
		return 1
	case TokenWebhookTwice:
		return 2
	default:
		return 0
	}
}

// sendNotices tells of news. What was not taken in is told again with the next
// question, since there is no answer to this one.
func (s *Simulator) sendNotices(ctx context.Context, id attemptID, times int) error {
	for range times {
		if s.notify == nil {
			return nil
		}
		if err := s.notify(ctx, id.order, id.number); err != nil {
			return fmt.Errorf("%w: a notice was not taken: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// loseAnswer waits like somebody whose answer does not come, once an attempt.
func (s *Simulator) loseAnswer(ctx context.Context, id attemptID) error {
	s.mu.Lock()
	a := s.remember(id)
	lost := a.lost
	a.lost = true
	s.mu.Unlock()
	if lost {
		return nil
	}
	if err := waitUntil(ctx, time.Now().Add(s.slow)); err != nil {
		return err
	}
	return fmt.Errorf("%w: the answer was lost", ErrUnavailable)
}

// Lookup says what has become of an attempt that was sent to the shopper. One
// that was forgotten waits for the shopper still, unless there is evidence of
// what the shopper decided: the first that is seen counts.
func (s *Simulator) Lookup(_ context.Context, cmd *paymentpb.Lookup) (*paymentpb.AuthorizeReply, error) {
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := checkReference(id, cmd.GetReference()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	a := s.remember(id)
	if a.token == "" {
		a.token, a.status = TokenRequiresAction, paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION
	}
	if s.desk != nil && a.status == paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION {
		if agreed, ok := s.desk.decision(id, cmd.GetEvidence()); ok {
			a.decide(agreed)
		}
	}
	token := a.token
	s.mu.Unlock()
	return s.outcome(id, token), nil
}

// Refund gives captured money back, each number once.
func (s *Simulator) Refund(_ context.Context, cmd *paymentpb.Refund) (*paymentpb.RefundReply, error) {
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := checkReference(id, cmd.GetReference()); err != nil {
		return nil, err
	}
	amount := cmd.GetAmount().GetMinorUnits()
	if cmd.GetNumber() < 1 || amount < 0 {
		return nil, fmt.Errorf("%w: refund %d of %d", ErrInvalid, cmd.GetNumber(), amount)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.remember(id)
	reply := &paymentpb.RefundReply{
		Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: fmt.Sprintf("%s_refund_%d", reference(id), cmd.GetNumber()),
	}
	if before, done := a.refunds[cmd.GetNumber()]; done {
		if before != amount {
			return nil, fmt.Errorf("%w: refund %d of order %q was of another amount", ErrInvalid, cmd.GetNumber(), id.order)
		}
		return reply, nil
	}
	total := amount
	for _, n := range a.refunds {
		total += n
	}
	// Of an attempt that was forgotten the reference is proof enough.
	switch {
	case a.token != "" && !a.captured, a.voided:
		return nil, fmt.Errorf("%w: payment %d of order %q is not captured", ErrState, id.number, id.order)
	case a.captured && total > a.taken:
		return nil, fmt.Errorf("%w: more than was captured of payment %d of order %q", ErrState, id.number, id.order)
	}
	if a.refunds == nil {
		a.refunds = map[int64]int64{}
	}
	a.refunds[cmd.GetNumber()] = amount
	return reply, nil
}

func checkReference(id attemptID, ref string) error {
	if err := checkAttempt(id); err != nil {
		return err
	}
	if ref != reference(id) {
		return fmt.Errorf("%w: payment %d of order %q has another reference", ErrInvalid, id.number, id.order)
	}
	return nil
}
