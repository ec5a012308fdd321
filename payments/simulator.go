package payments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/paymentpb"
)

// The payment tokens with a meaning of their own. Any other printable token of
// 1 to 255 bytes is approved, like TokenOK.
const (
	TokenOK = "tok_ok"
	// TokenDecline is declined by the card's bank.
	TokenDecline = "tok_decline"
	// TokenInsufficientFunds is declined for want of money.
	TokenInsufficientFunds = "tok_insufficient_funds"
	// TokenRequiresAction sends the shopper to the provider; what the shopper
	// does there is Act.
	TokenRequiresAction = "tok_requires_action"
	// TokenSlow is approved some time after it was first asked for.
	TokenSlow = "tok_slow"
	// TokenUnavailable never gets an answer: ErrUnavailable, every time.
	TokenUnavailable = "tok_unavailable"
)

const (
	simulatorName = "simulator"
	// maxRemembered bounds the attempts that a Simulator remembers. Which one
	// it forgets changes little: what a token does, it does again.
	maxRemembered = 65_536
	maxTokenBytes = 255
	defaultSlow   = 2 * time.Second
)

// Simulator is a payment provider without money: what becomes of a payment is
// decided by its token alone, so that the same payment comes out the same in
// every process and after every restart. It is safe for concurrent use.
//
// It remembers the newest 65,536 attempts, and of each what has been done to
// it, so that it notices an order that does things in a wrong order: captures
// what was declined, voids what was captured, asks under one attempt for
// another amount.
type Simulator struct {
	slow   time.Duration
	notify Notify
	desk   *Desk // nil: shoppers are sent nowhere

	mu       sync.Mutex
	attempts map[attemptID]*attempt
	order    []attemptID // as they came
	forgot   int         // how many of order are forgotten
	partial  bool        // something was forgotten
}

type attemptID struct {
	order  string
	number int64
}

type attempt struct {
	// token and amount are empty while only a Void or a Capture was heard of.
	token    string
	amount   string
	asked    *commonpb.Money // what amount is of; nil: not known here
	readyAt  time.Time       // of TokenSlow
	status   paymentpb.AuthorizeReply_Status
	captured bool
	taken    int64 // captured
	voided   bool
	lost     bool            // an answer, of TokenTimeout
	refunds  map[int64]int64 // by number
}

// SimulatorOption changes a Simulator from what it is by default.
type SimulatorOption func(*Simulator)

// NewSimulator is a provider that has seen no payment.
func NewSimulator(options ...SimulatorOption) *Simulator {
	s := &Simulator{slow: defaultSlow, attempts: map[attemptID]*attempt{}}
	for _, o := range options {
		o(s)
	}
	return s
}

// Authorize answers as the token says.
func (s *Simulator) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	if err := checkAuthorize(cmd); err != nil {
		return nil, err
	}
	if cmd.GetToken() == TokenUnavailable {
		return nil, ErrUnavailable
	}
	readyAt, err := s.begin(cmd)
	if err != nil {
		return nil, err
	}
	if err := waitUntil(ctx, readyAt); err != nil {
		return nil, err
	}
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	if cmd.GetToken() == TokenTimeout {
		if err := s.loseAnswer(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := s.sendNotices(ctx, id, noticesOf(cmd.GetToken())); err != nil {
		return nil, err
	}
	return s.outcome(id, cmd.GetToken()), nil
}

// Act is what the shopper does at the provider's page of an attempt with
// TokenRequiresAction: agree, or not. There is a notice of it.
func (s *Simulator) Act(ctx context.Context, orderID string, number int64, agree bool) error {
	if err := s.act(orderID, number, agree); err != nil {
		return err
	}
	return s.sendNotices(ctx, attemptID{orderID, number}, 1)
}

func (s *Simulator) act(orderID string, number int64, agree bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.attempts[attemptID{orderID, number}]
	if a == nil || a.voided || a.status != paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION {
		return fmt.Errorf("%w: payment %d of order %q does not wait for the shopper", ErrState, number, orderID)
	}
	a.decide(agree)
	return nil
}

func (a *attempt) decide(agreed bool) {
	a.status = paymentpb.AuthorizeReply_STATUS_DECLINED
	if agreed {
		a.status = paymentpb.AuthorizeReply_STATUS_AUTHORIZED
	}
}

// Capture takes what was authorized.
func (s *Simulator) Capture(_ context.Context, cmd *paymentpb.Capture) (*paymentpb.CaptureReply, error) {
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := checkAttempt(id); err != nil {
		return nil, err
	}
	if cmd.GetReference() != reference(id) {
		return nil, fmt.Errorf("%w: payment %d of order %q has another reference", ErrInvalid, id.number, id.order)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.remember(id)
	// Of an attempt that was forgotten the reference is proof enough.
	known := a.token != ""
	switch {
	case a.voided:
		return nil, fmt.Errorf("%w: payment %d of order %q is voided", ErrState, id.number, id.order)
	// What waits here may have been agreed to where another process was asked:
	// without a desk there is none.
	case known && a.status != paymentpb.AuthorizeReply_STATUS_AUTHORIZED && (s.desk == nil || a.status != paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION):
		return nil, fmt.Errorf("%w: payment %d of order %q is not authorized", ErrState, id.number, id.order)
	case known && a.asked != nil && a.amount != amountOf(cmd.GetAmount()):
		return nil, fmt.Errorf("%w: payment %d of order %q is authorized for another amount", ErrInvalid, id.number, id.order)
	}
	a.captured, a.taken = true, cmd.GetAmount().GetMinorUnits()
	return &paymentpb.CaptureReply{}, nil
}

// Void lets go of an attempt, also of one that was not heard of yet.
func (s *Simulator) Void(_ context.Context, cmd *paymentpb.Void) (*paymentpb.VoidReply, error) {
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	if err := checkAttempt(id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.remember(id)
	if a.captured {
		return nil, fmt.Errorf("%w: payment %d of order %q is captured", ErrState, id.number, id.order)
	}
	a.voided = true
	return &paymentpb.VoidReply{}, nil
}

// begin notes an attempt and says when it has an answer.
func (s *Simulator) begin(cmd *paymentpb.Authorize) (readyAt time.Time, err error) {
	id := attemptID{cmd.GetOrderId(), cmd.GetAttempt()}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.remember(id)
	if a.token == "" {
		a.token, a.amount, a.status = cmd.GetToken(), amountOf(cmd.GetAmount()), statusOf(cmd.GetToken())
		a.asked = proto.CloneOf(cmd.GetAmount())
		if a.token == TokenSlow {
			a.readyAt = time.Now().Add(s.slow)
		}
	}
	if a.token != cmd.GetToken() || a.amount != amountOf(cmd.GetAmount()) {
		return time.Time{}, fmt.Errorf("%w: payment %d of order %q was asked for with another token or amount", ErrInvalid, id.number, id.order)
	}
	return a.readyAt, nil
}

func (s *Simulator) outcome(id attemptID, token string) *paymentpb.AuthorizeReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	status, why := statusOf(token), declineReason(token)
	var amount *commonpb.Money
	if a := s.attempts[id]; a != nil {
		status, amount = a.status, a.asked
		if a.voided {
			status, why = paymentpb.AuthorizeReply_STATUS_DECLINED, "voided"
		}
	}
	reply := &paymentpb.AuthorizeReply{Status: status, Provider: simulatorName}
	switch status {
	case paymentpb.AuthorizeReply_STATUS_DECLINED:
		reply.DeclineReason = why
	case paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION:
		reply.Reference = reference(id)
		reply.NextActionUrl = "https://simulator.invalid/payments/" + reply.Reference
		if s.desk != nil {
			reply.NextActionUrl = s.desk.url(id, amount)
		}
	default:
		reply.Reference = reference(id)
	}
	return reply
}

// remember is the attempt, new or known; the oldest one is forgotten for it
// where that is one too many. The caller holds the lock.
func (s *Simulator) remember(id attemptID) *attempt {
	if a := s.attempts[id]; a != nil {
		return a
	}
	if len(s.attempts) >= maxRemembered {
		delete(s.attempts, s.order[s.forgot])
		s.partial = true
		s.forgot++
		if s.forgot >= maxRemembered {
			s.order = append([]attemptID(nil), s.order[s.forgot:]...)
			s.forgot = 0
		}
	}
	a := &attempt{}
	s.attempts[id] = a
	s.order = append(s.order, id)
	return a
}

func statusOf(token string) paymentpb.AuthorizeReply_Status {
	switch token {
	case TokenDecline, TokenInsufficientFunds:
		return paymentpb.AuthorizeReply_STATUS_DECLINED
	case TokenRequiresAction:
		return paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION
	default:
		return paymentpb.AuthorizeReply_STATUS_AUTHORIZED
	}
}

func declineReason(token string) string {
	switch token {
	case TokenInsufficientFunds:
		return "insufficient funds"
	case TokenRequiresAction:
		return "not agreed to by the shopper"
	default:
		return "declined by the bank"
	}
}

// waitUntil waits for the moment, but not longer than the caller does.
func waitUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if at.IsZero() || d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func checkAuthorize(cmd *paymentpb.Authorize) error {
	token, amount := cmd.GetToken(), cmd.GetAmount()
	switch {
	case token == "" || len(token) > maxTokenBytes || !utf8.ValidString(token) || strings.IndexFunc(token, unicode.IsControl) >= 0:
		return fmt.Errorf("%w: a token has 1 to %d printable bytes", ErrInvalid, maxTokenBytes)
	case amount.GetMinorUnits() < 0 || len(amount.GetCurrency()) != 3:
		return fmt.Errorf("%w: an amount is at least 0, in an ISO 4217 currency", ErrInvalid)
	}
	return checkAttempt(attemptID{cmd.GetOrderId(), cmd.GetAttempt()})
}

func checkAttempt(id attemptID) error {
	if id.order == "" || id.number < 1 {
		return fmt.Errorf("%w: payment %d of order %q", ErrInvalid, id.number, id.order)
	}
	return nil
}

func amountOf(m *commonpb.Money) string {
	return strconv.FormatInt(m.GetMinorUnits(), 10) + " " + m.GetCurrency()
}

// reference is the provider's name for an attempt.
func reference(id attemptID) string {
	sum := sha256.Sum256([]byte(id.order + "\x00" + strconv.FormatInt(id.number, 10)))
	return "sim_" + hex.EncodeToString(sum[:12])
}
