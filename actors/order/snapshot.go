package order

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// Snapshot is the state as a whole orderpb.Order. It shares nothing with it.
func Snapshot(s *State) proto.Message {
	o := s.shown()
	o.IdempotencyKey, o.HoldMs = s.idempotencyKey, s.holdMs
	o.InputHash = slices.Clone(s.inputHash)
	o.Payment.Token = s.payment.token
	o.Payment.RequestedAtMs, o.Payment.Unanswered = s.payment.requestedAtMs, s.payment.unanswered
	for _, k := range s.moves {
		o.Moves = append(o.Moves, &orderpb.MoveKey{
			IdempotencyKey: k.key, InputHash: slices.Clone(k.inputHash), Number: k.number, Refusal: proto.CloneOf(k.refusal),
		})
	}
	o.OpenMove = s.move.message()
	for _, k := range s.keys {
		o.PaymentKeys = append(o.PaymentKeys, &orderpb.PaymentKey{
			IdempotencyKey: k.key, InputHash: slices.Clone(k.inputHash), Attempt: k.attempt, Refusal: proto.CloneOf(k.refusal),
		})
	}
	for _, v := range s.toVoid {
		o.ToVoid = append(o.ToVoid, &orderpb.OpenAttempt{Attempt: v.attempt, Reference: v.reference})
	}
	return o
}

// message is a copy; nil of none.
func (m *openMove) message() *orderpb.OpenMove {
	if m == nil {
		return nil
	}
	out := &orderpb.OpenMove{Number: m.number, Refund: proto.CloneOf(m.refund), Refunded: m.refunded, Moved: m.moved, RequestedAtMs: m.requestedAtMs}
	for _, l := range m.lines {
		out.Lines = append(out.Lines, proto.CloneOf(l))
	}
	return out
}

// shown is the order for people: without keys, hashes and payment tokens.
func (s *State) shown() *orderpb.Order {
	// One piece of memory for what every order has: it is made twice an order,
	// for the answer and for the view.
	all := &struct {
		order   orderpb.Order
		payment orderpb.Payment
	}{}
	o, p := &all.order, &all.payment
	o.Id, o.Number, o.CustomerId, o.SaleId = s.id, Number(s.id), s.customerID, s.saleID
	o.Status, o.Version, o.PlacedAtMs, o.ExpiresAtMs = s.status, s.version, s.placedAtMs, s.expiresAtMs
	o.Total, o.Rejection, o.Payment = money(s.total), proto.CloneOf(s.rejection), p
	p.Status, p.Attempt, p.Provider, p.Reference = s.payment.status, s.payment.attempt, s.payment.provider, s.payment.reference
	p.Authorized, p.Captured, p.Refunded = money(s.payment.authorized), money(s.payment.captured), money(s.payment.refunded)
	p.NextActionUrl, p.DeclineReason = s.payment.nextActionURL, s.payment.declineReason
	o.Lines, o.History = s.shownLines(), s.shownHistory()
	return o
}

// shownLines is nil of none, as reading it back would be.
func (s *State) shownLines() []*orderpb.Line {
	if len(s.lines) == 0 {
		return nil
	}
	lines, out := make([]orderpb.Line, len(s.lines)), make([]*orderpb.Line, len(s.lines))
	for i := range s.lines {
		l, to := &s.lines[i], &lines[i]
		to.Sku, to.Name, to.SkuVersion, to.Status = l.sku, l.name, l.skuVersion, l.status
		to.UnitPrice, to.ExpectedPrice = money(l.unitPrice), money(l.expectedPrice)
		to.Quantity, to.Fulfilled, to.Refunded, to.Withdrawn = l.quantity, l.fulfilled, l.refunded, l.withdrawn
		out[i] = to
	}
	return out
}

// shownHistory is nil of none.
func (s *State) shownHistory() []*orderpb.Change {
	if len(s.history) == 0 {
		return nil
	}
	changes, out := make([]orderpb.Change, len(s.history)), make([]*orderpb.Change, len(s.history))
	for i, h := range s.history {
		to := &changes[i]
		to.Version, to.Status, to.Reason, to.AtMs, to.Tracking = h.version, h.status, h.reason, h.atMs, h.tracking
		out[i] = to
	}
	return out
}

// money is a copy.
func money(m *commonpb.Money) *commonpb.Money {
	if m == nil {
		return nil
	}
	return &commonpb.Money{MinorUnits: m.GetMinorUnits(), Currency: m.GetCurrency()}
}

// Restore rebuilds a state from a marshalled Snapshot. It refuses a snapshot
// that is not of this order or that breaks an invariant.
func Restore(id string, snapshot []byte) (*State, error) {
	o := &orderpb.Order{}
	if err := proto.Unmarshal(snapshot, o); err != nil {
		return nil, fmt.Errorf("restore order %q: %w", id, err)
	}
	if o.GetId() != id {
		return nil, fmt.Errorf("restore order %q: the snapshot is of %q", id, o.GetId())
	}
	p := o.GetPayment()
	s := &State{
		id: id, version: o.GetVersion(), customerID: o.GetCustomerId(), status: o.GetStatus(),
		idempotencyKey: o.GetIdempotencyKey(), inputHash: o.GetInputHash(), holdMs: o.GetHoldMs(), saleID: o.GetSaleId(),
		placedAtMs: o.GetPlacedAtMs(), expiresAtMs: o.GetExpiresAtMs(), total: o.GetTotal(), rejection: o.GetRejection(),
		payment: payment{
			status: p.GetStatus(), attempt: p.GetAttempt(), token: p.GetToken(), provider: p.GetProvider(), reference: p.GetReference(),
			authorized: p.GetAuthorized(), captured: p.GetCaptured(), refunded: p.GetRefunded(), requestedAtMs: p.GetRequestedAtMs(), unanswered: p.GetUnanswered(), nextActionURL: p.GetNextActionUrl(), declineReason: p.GetDeclineReason(),
		},
	}
	for _, l := range o.GetLines() {
		s.lines = append(s.lines, line{
			sku: l.GetSku(), quantity: l.GetQuantity(), expectedPrice: l.GetExpectedPrice(), name: l.GetName(), unitPrice: l.GetUnitPrice(),
			skuVersion: l.GetSkuVersion(), status: l.GetStatus(), fulfilled: l.GetFulfilled(), refunded: l.GetRefunded(), withdrawn: l.GetWithdrawn(),
		})
	}
	for _, k := range o.GetPaymentKeys() {
		s.keys = append(s.keys, paymentKey{key: k.GetIdempotencyKey(), inputHash: k.GetInputHash(), attempt: k.GetAttempt(), refusal: k.GetRefusal()})
	}
	for _, v := range o.GetToVoid() {
		s.toVoid = append(s.toVoid, openAttempt{v.GetAttempt(), v.GetReference()})
	}
	for _, h := range o.GetHistory() {
		s.history = append(s.history, change{h.GetVersion(), h.GetStatus(), h.GetReason(), h.GetAtMs(), h.GetTracking()})
	}
	for _, k := range o.GetMoves() {
		s.moves = append(s.moves, moveKey{key: k.GetIdempotencyKey(), inputHash: k.GetInputHash(), number: k.GetNumber(), refusal: k.GetRefusal()})
	}
	if m := o.GetOpenMove(); m != nil {
		s.move = &openMove{number: m.GetNumber(), lines: m.GetLines(), refund: m.GetRefund(), refunded: m.GetRefunded(), moved: m.GetMoved(), requestedAtMs: m.GetRequestedAtMs()}
	}
	if err := check(s); err != nil {
		return nil, fmt.Errorf("restore order %q: %w", id, err)
	}
	return s, nil
}

// check verifies the invariants of State.
func check(s *State) error {
	if !s.placed() {
		if s.version != 0 || len(s.lines)+len(s.keys)+len(s.toVoid)+len(s.history) != 0 || s.expiresAtMs != 0 {
			return errors.New("not placed, and not empty")
		}
		return nil
	}
	reserved := s.status == orderpb.Status_STATUS_RESERVED
	paying := s.status == orderpb.Status_STATUS_PAYING
	confirmed := s.sold()
	ended := s.status == orderpb.Status_STATUS_CANCELLED || s.status == orderpb.Status_STATUS_EXPIRED
	rejected := s.status == orderpb.Status_STATUS_REJECTED
	switch {
	case !reserved && !paying && !confirmed && !ended && !rejected:
		return fmt.Errorf("an order does not stay %s", nameOf(s.status))
	case s.version < 2 || s.version > maxVersion:
		return fmt.Errorf("version %d cannot be", s.version)
	case s.customerID == "":
		return errors.New("it is nobody's")
	case len(s.lines) < 1 || len(s.lines) > MaxLines:
		return fmt.Errorf("%d lines", len(s.lines))
	case (s.expiresAtMs != 0) != (reserved || paying):
		return fmt.Errorf("%s with the deadline %d", nameOf(s.status), s.expiresAtMs)
	case (s.total == nil) != rejected:
		return fmt.Errorf("%s with the total %v", nameOf(s.status), s.total)
	case rejected && s.rejection == nil:
		return errors.New("rejected without a reason")
	case (s.rejection != nil) && !rejected && s.status != orderpb.Status_STATUS_CANCELLED:
		return errors.New("a reason without a rejection")
	}
	if err := s.checkPayments(paying, confirmed); err != nil {
		return err
	}
	return s.checkMoves()
}

// maxVersion leaves room for more events than any order can have.
const maxVersion = 1 << 62

func (s *State) checkPayments(paying, confirmed bool) error {
	asked := s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_PENDING
	acting := s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION
	granted := s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED
	taken := s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_CAPTURED ||
		s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_PARTIALLY_REFUNDED || s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_REFUNDED
	switch {
	case len(s.keys) > MaxAttempts || s.payment.attempt != int64(len(s.keys)):
		return fmt.Errorf("%d keys for %d payments", len(s.keys), s.payment.attempt)
	case (paying || confirmed) && len(s.keys) == 0:
		return errors.New("paid without a payment")
	case paying && !asked && !acting && !granted, asked && !paying:
		return fmt.Errorf("%s with a payment that is %s", nameOf(s.status), s.payment.status)
	case s.status != orderpb.Status_STATUS_CONFIRMED && confirmed && !taken:
		return fmt.Errorf("%s with a payment that is %s", nameOf(s.status), s.payment.status)
	case confirmed != (taken || granted && !paying && !s.toBeVoided(s.payment.attempt)):
		return fmt.Errorf("%s with a payment that is %s", nameOf(s.status), s.payment.status)
	}
	seen := map[int64]bool{}
	for _, v := range s.toVoid {
		if v.attempt < 1 || v.attempt > s.payment.attempt || seen[v.attempt] || v.attempt == s.payment.attempt && (paying || confirmed) {
			return fmt.Errorf("payment %d is to be voided", v.attempt)
		}
		seen[v.attempt] = true
	}
	for i, k := range s.keys {
		if k.attempt != int64(i+1) {
			return fmt.Errorf("key %d is of payment %d", i, k.attempt)
		}
	}
	return nil
}

func (s *State) toBeVoided(attempt int64) bool {
	return slices.ContainsFunc(s.toVoid, func(o openAttempt) bool { return o.attempt == attempt })
}
