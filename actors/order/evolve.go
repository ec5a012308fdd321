package order

import (
	"fmt"
	"slices"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// Evolve applies one event. It panics when the event cannot have been decided
// in this state: the journal is then corrupt.
func Evolve(s *State, e *orderpb.Event) {
	s.version++
	atMs := e.GetAtMs()
	switch v := e.GetEvent().(type) {
	case *orderpb.Event_Placed:
		s.evolvePlaced(v.Placed, atMs)
	case *orderpb.Event_Reserved:
		s.evolveReserved(v.Reserved, atMs)
	case *orderpb.Event_Rejected:
		s.evolveRejected(v.Rejected, atMs)
	case *orderpb.Event_PaymentRequested:
		s.evolvePaymentRequested(v.PaymentRequested, atMs)
	case *orderpb.Event_PaymentActionRequired:
		s.evolvePaymentActionRequired(v.PaymentActionRequired)
	case *orderpb.Event_PaymentUnanswered:
		s.evolvePaymentUnanswered(v.PaymentUnanswered, atMs)
	case *orderpb.Event_PaymentAuthorized:
		s.evolvePaymentAuthorized(v.PaymentAuthorized)
	case *orderpb.Event_PaymentDeclined:
		s.evolvePaymentDeclined(v.PaymentDeclined, atMs)
	case *orderpb.Event_Confirmed:
		s.evolveConfirmed(atMs)
	case *orderpb.Event_PaymentCaptured:
		s.evolvePaymentCaptured(v.PaymentCaptured)
	case *orderpb.Event_PaymentVoided:
		s.evolvePaymentVoided(v.PaymentVoided)
	case *orderpb.Event_Cancelled:
		s.rejection = v.Cancelled.GetRefusal()
		if s.status == orderpb.Status_STATUS_CONFIRMED {
			s.setLines(orderpb.LineStatus_LINE_STATUS_HELD) // to be taken back
		}
		s.end(orderpb.Status_STATUS_CANCELLED, v.Cancelled.GetReason(), atMs)
	case *orderpb.Event_Expired:
		s.end(orderpb.Status_STATUS_EXPIRED, "not paid in time", atMs)
		s.setLines(orderpb.LineStatus_LINE_STATUS_NONE)
	case *orderpb.Event_HoldsReleased:
		s.require(s.holding(), "released without holding")
		s.setLines(orderpb.LineStatus_LINE_STATUS_NONE)
	case *orderpb.Event_Fulfilled:
		s.evolveFulfilled(v.Fulfilled, atMs)
	case *orderpb.Event_RefundRequested:
		s.evolveRefundRequested(v.RefundRequested, atMs)
	case *orderpb.Event_Refunded:
		s.evolveRefunded(v.Refunded, atMs)
	case *orderpb.Event_RefundRefused:
		s.evolveRefundRefused(v.RefundRefused, atMs)
	case *orderpb.Event_UnitsMoved:
		s.evolveUnitsMoved(v.UnitsMoved)
	case *orderpb.Event_ReturnSettled:
		s.evolveReturnSettled(v.ReturnSettled)
	default:
		s.require(false, "unknown event")
	}
}

func (s *State) evolvePlaced(e *orderpb.Placed, atMs int64) {
	s.require(len(e.GetLines()) > 0, "an order without lines")
	s.customerID = e.GetCustomerId()
	s.idempotencyKey = e.GetIdempotencyKey()
	s.inputHash = e.GetInputHash()
	s.holdMs = e.GetHoldMs()
	s.saleID = e.GetSaleId()
	s.placedAtMs = atMs
	s.payment.status = orderpb.PaymentStatus_PAYMENT_STATUS_NONE
	s.lines = make([]line, len(e.GetLines()))
	for i, l := range e.GetLines() {
		s.lines[i] = line{sku: l.GetSku(), quantity: l.GetQuantity(), expectedPrice: l.GetExpectedPrice(), status: orderpb.LineStatus_LINE_STATUS_NONE}
	}
	s.enter(orderpb.Status_STATUS_RESERVING, "", atMs)
}

func (s *State) evolveReserved(e *orderpb.Reserved, atMs int64) {
	s.require(len(e.GetLines()) == len(s.lines), "another number of lines")
	s.require(e.GetTotal() != nil && e.GetExpiresAtMs() != 0, "reserved without total or deadline")
	s.total, s.expiresAtMs = e.GetTotal(), e.GetExpiresAtMs()
	for i, l := range e.GetLines() {
		s.lines[i].name, s.lines[i].unitPrice, s.lines[i].skuVersion = l.GetName(), l.GetUnitPrice(), l.GetSkuVersion()
	}
	s.setLines(orderpb.LineStatus_LINE_STATUS_HELD)
	s.enter(orderpb.Status_STATUS_RESERVED, "", atMs)
}

func (s *State) evolveRejected(e *orderpb.Rejected, atMs int64) {
	s.require(e.GetRefusal() != nil, "rejected without a reason")
	s.rejection = e.GetRefusal()
	for _, i := range e.GetHeldLines() {
		s.require(i >= 0 && int(i) < len(s.lines), "a line that is not there")
		s.lines[i].status = orderpb.LineStatus_LINE_STATUS_HELD
	}
	s.enter(orderpb.Status_STATUS_REJECTED, e.GetRefusal().GetMessage(), atMs)
}

func (s *State) evolvePaymentRequested(e *orderpb.PaymentRequested, atMs int64) {
	s.require(s.open(), "paid at the wrong moment")
	s.require(e.GetAttempt() == s.payment.attempt+1, "an attempt out of order")
	s.abandonPayment()
	s.keys = append(s.keys, paymentKey{key: e.GetIdempotencyKey(), inputHash: e.GetInputHash(), attempt: e.GetAttempt()})
	s.payment = payment{status: orderpb.PaymentStatus_PAYMENT_STATUS_PENDING, attempt: e.GetAttempt(), token: e.GetToken(), requestedAtMs: atMs}
	if s.status != orderpb.Status_STATUS_PAYING {
		s.enter(orderpb.Status_STATUS_PAYING, "", atMs)
	}
}

// abandonPayment gives up an attempt that waits for the shopper.
func (s *State) abandonPayment() {
	if s.payment.status != orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION {
		return
	}
	s.toVoid = append(s.toVoid, openAttempt{s.payment.attempt, s.payment.reference})
	s.keys[len(s.keys)-1].refusal = declined("another payment took its place")
}

func (s *State) evolvePaymentUnanswered(e *orderpb.PaymentUnanswered, atMs int64) {
	s.requirePaying(e.GetAttempt(), orderpb.PaymentStatus_PAYMENT_STATUS_PENDING)
	s.require(!s.payment.unanswered, "unanswered twice")
	s.payment.unanswered = true
	s.note("the payment provider does not answer", "", atMs)
}

func (s *State) evolvePaymentActionRequired(e *orderpb.PaymentActionRequired) {
	s.requirePaying(e.GetAttempt(), orderpb.PaymentStatus_PAYMENT_STATUS_PENDING)
	s.payment.status, s.payment.unanswered = orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION, false
	s.payment.provider, s.payment.reference, s.payment.nextActionURL = e.GetProvider(), e.GetReference(), e.GetNextActionUrl()
}

func (s *State) evolvePaymentAuthorized(e *orderpb.PaymentAuthorized) {
	s.requirePaying(e.GetAttempt(), orderpb.PaymentStatus_PAYMENT_STATUS_PENDING, orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION)
	s.payment = payment{
		status: orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED, attempt: e.GetAttempt(),
		provider: e.GetProvider(), reference: e.GetReference(), authorized: e.GetAmount(),
	}
}

func (s *State) evolvePaymentDeclined(e *orderpb.PaymentDeclined, atMs int64) {
	s.requirePaying(e.GetAttempt(), orderpb.PaymentStatus_PAYMENT_STATUS_PENDING, orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION)
	s.keys[len(s.keys)-1].refusal = declined(e.GetReason())
	s.payment = payment{
		status: orderpb.PaymentStatus_PAYMENT_STATUS_DECLINED, attempt: e.GetAttempt(), provider: e.GetProvider(), declineReason: e.GetReason(),
	}
	s.enter(orderpb.Status_STATUS_RESERVED, "payment declined", atMs)
}

func declined(why string) *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_PAYMENT_DECLINED, "the payment was declined ("+why+"): pay with another token and another key", "paymentToken")
}

func (s *State) evolveConfirmed(atMs int64) {
	s.requirePaying(s.payment.attempt, orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED)
	s.expiresAtMs = 0
	s.setLines(orderpb.LineStatus_LINE_STATUS_COMMITTED)
	s.enter(orderpb.Status_STATUS_CONFIRMED, "", atMs)
}

func (s *State) evolvePaymentCaptured(e *orderpb.PaymentCaptured) {
	s.require(s.status == orderpb.Status_STATUS_CONFIRMED && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED, "captured what was not authorized")
	s.payment.status, s.payment.captured = orderpb.PaymentStatus_PAYMENT_STATUS_CAPTURED, e.GetAmount()
}

func (s *State) evolvePaymentVoided(e *orderpb.PaymentVoided) {
	i := slices.IndexFunc(s.toVoid, func(o openAttempt) bool { return o.attempt == e.GetAttempt() })
	s.require(i >= 0, "voided what was not open")
	s.toVoid = slices.Delete(s.toVoid, i, i+1)
	if e.GetAttempt() == s.payment.attempt {
		s.payment.status = orderpb.PaymentStatus_PAYMENT_STATUS_VOIDED
	}
}

// end closes an order that is not confirmed. What its payment may have
// reserved is to be voided; its lines stay as they are.
func (s *State) end(status orderpb.Status, reason string, atMs int64) {
	s.require(s.open() && s.rejection == nil || s.undeliverable(), "ended at the wrong moment")
	if s.status == orderpb.Status_STATUS_PAYING || s.status == orderpb.Status_STATUS_CONFIRMED {
		s.toVoid = append(s.toVoid, openAttempt{s.payment.attempt, s.payment.reference})
	}
	s.payment.token, s.payment.nextActionURL = "", ""
	s.expiresAtMs = 0
	s.enter(status, reason, atMs)
}

// undeliverable: the money is authorized, and a refusal says why the units
// cannot be had, or why the money cannot after all.
func (s *State) undeliverable() bool {
	paid := s.status == orderpb.Status_STATUS_PAYING || s.status == orderpb.Status_STATUS_CONFIRMED
	return s.rejection != nil && paid && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED
}

// enter changes the status and notes it in the history.
func (s *State) enter(status orderpb.Status, reason string, atMs int64) {
	s.enterTracked(status, reason, "", atMs)
}

func (s *State) enterTracked(status orderpb.Status, reason, tracking string, atMs int64) {
	s.require(slices.Contains(AllowedTransitions(s.status), status), "there is no way to this status")
	s.status = status
	s.note(reason, tracking, atMs)
}

// usualHistory is what most orders come to at once: placed and reserved.
const usualHistory = 2

// note is a line of history in the status that the order has.
func (s *State) note(reason, tracking string, atMs int64) {
	if s.history == nil {
		s.history = make([]change, 0, usualHistory)
	}
	s.history = append(s.history, change{version: s.version, status: s.status, reason: reason, tracking: tracking, atMs: atMs})
}

func (s *State) setLines(status orderpb.LineStatus) {
	for i := range s.lines {
		s.lines[i].status = status
	}
}

func (s *State) requirePaying(attempt int64, statuses ...orderpb.PaymentStatus) {
	s.require(s.status == orderpb.Status_STATUS_PAYING && slices.Contains(statuses, s.payment.status), "a payment at the wrong moment")
	s.require(attempt == s.payment.attempt, "another attempt")
}

// require panics when the journal cannot be right.
func (s *State) require(ok bool, what string) {
	if !ok {
		panic(fmt.Sprintf("order %s version %d is corrupt: %s", s.id, s.version, what))
	}
}
