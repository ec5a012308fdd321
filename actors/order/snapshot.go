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
	o := &orderpb.Order{
		Id:          s.id,
		Number:      Number(s.id),
		CustomerId:  s.customerID,
		Status:      s.status,
		Total:       money(s.total),
		PlacedAtMs:  s.placedAtMs,
		ExpiresAtMs: s.expiresAtMs,
		Rejection:   proto.CloneOf(s.rejection),
		Version:     s.version,
		SaleId:      s.saleID,
		Payment: &orderpb.Payment{
			Status:        s.payment.status,
			Attempt:       s.payment.attempt,
			Provider:      s.payment.provider,
			Reference:     s.payment.reference,
			Authorized:    money(s.payment.authorized),
			Captured:      money(s.payment.captured),
			Refunded:      money(s.payment.refunded),
			NextActionUrl: s.payment.nextActionURL,
			DeclineReason: s.payment.declineReason,
		},
	}
	for i := range s.lines {
		l := &s.lines[i]
		o.Lines = append(o.Lines, &orderpb.Line{
			Sku: l.sku, Name: l.name, Quantity: l.quantity, UnitPrice: money(l.unitPrice), ExpectedPrice: money(l.expectedPrice),
			SkuVersion: l.skuVersion, Status: l.status, Fulfilled: l.fulfilled, Refunded: l.refunded, Withdrawn: l.withdrawn,
		})
	}
	for _, h := range s.history {
		o.History = append(o.History, &orderpb.Change{Version: h.version, Status: h.status, Reason: h.reason, AtMs: h.atMs, Tracking: h.tracking})
	}
	return o
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
