package order

import (
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
)

// pay requests a payment, and is answered when its outcome is decided.
func (d *draft) pay(c *orderpb.Pay, heard map[string]proto.Message) Decision {
	s := d.s
	if !s.visibleTo(c.GetActor()) {
		return d.refuse(notFound())
	}
	if r := checkPay(c); r != nil {
		return d.refuse(r)
	}
	if k := s.key(c.GetIdempotencyKey()); k != nil {
		if string(k.inputHash) != string(payHash(c.GetPaymentToken())) {
			return d.refuse(mismatch())
		}
		return d.paidBefore(k, heard)
	}
	switch {
	case s.status == orderpb.Status_STATUS_EXPIRED:
		return d.answer(holdExpired())
	case s.status == orderpb.Status_STATUS_PAYING && !s.open():
		return d.answer(inProgress("another payment is under way: pay when it has been answered"))
	case !s.open():
		return d.answer(illegal(s.status, orderpb.Status_STATUS_PAYING))
	case len(s.keys) >= MaxAttempts:
		return d.answer(refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "an order has at most "+strconv.Itoa(MaxAttempts)+" payments: cancel it, or let it expire"))
	}
	d.addPaymentRequested(c.GetIdempotencyKey(), c.GetPaymentToken())
	return d.wait()
}

// paidBefore is the answer to the key of a payment, when there is one. A payment
// that waits for the shopper is asked about once more: this is how an order
// hears that the shopper has acted.
func (d *draft) paidBefore(k *paymentKey, heard map[string]proto.Message) Decision {
	s := d.s
	newest := k.attempt == s.payment.attempt
	switch {
	case k.refusal != nil:
		return d.answer(k.refusal)
	case s.status == orderpb.Status_STATUS_PAYING && newest && s.open():
		return d.askedAgain(heard)
	case s.status == orderpb.Status_STATUS_PAYING && newest && s.payment.unanswered:
		return d.answer(paymentUnavailable())
	case s.status == orderpb.Status_STATUS_PAYING:
		return d.wait()
	case s.status == orderpb.Status_STATUS_EXPIRED:
		return d.answer(holdExpired())
	case s.sold():
		return d.answer(nil)
	case s.status == orderpb.Status_STATUS_CANCELLED && s.rejection != nil:
		return d.answer(s.rejection)
	case s.status == orderpb.Status_STATUS_CANCELLED:
		return d.answer(illegal(s.status, orderpb.Status_STATUS_PAYING))
	}
	return d.answer(nil)
}

func (d *draft) askedAgain(heard map[string]proto.Message) Decision {
	ask := d.s.lookupAsk("")
	reply, ok := heard[ask.Key]
	if !ok {
		return Decision{Events: d.events, Asks: []Ask{ask}}
	}
	if d.authorized(reply) {
		return d.wait()
	}
	return d.answer(nil)
}

// noticed is that the provider has news of an attempt. Of one that waits for the
// shopper the provider is asked; one that the provider is being asked about
// already, or that is decided, needs nothing.
func (d *draft) noticed(c *orderpb.PaymentNotice, heard map[string]proto.Message) Decision {
	s := d.s
	if !s.placed() {
		return d.refuse(notFound())
	}
	if len(c.GetEvidence()) > maxEvidenceBytes || !utf8.ValidString(c.GetEvidence()) {
		return d.refuse(refuse(commonpb.Reason_REASON_INVALID, "evidence has at most "+strconv.Itoa(maxEvidenceBytes)+" bytes of text", "evidence"))
	}
	if c.GetAttempt() != s.payment.attempt || s.status != orderpb.Status_STATUS_PAYING || !s.open() {
		return d.answer(nil)
	}
	ask := s.lookupAsk(c.GetEvidence())
	reply, ok := heard[ask.Key]
	if !ok {
		return Decision{Events: d.events, Asks: []Ask{ask}}
	}
	d.authorized(reply)
	return d.answer(nil)
}

// authorized takes in the provider's answer and reports whether it decided
// anything. An answer that says nothing decides nothing: it is asked again.
func (d *draft) authorized(heard proto.Message) bool {
	reply, _ := heard.(*paymentpb.AuthorizeReply)
	attempt := d.s.payment.attempt
	switch reply.GetStatus() {
	case paymentpb.AuthorizeReply_STATUS_AUTHORIZED:
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentAuthorized{PaymentAuthorized: &orderpb.PaymentAuthorized{
			Attempt: attempt, Provider: reply.GetProvider(), Reference: reply.GetReference(), Amount: d.s.total,
		}}})
	case paymentpb.AuthorizeReply_STATUS_DECLINED:
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentDeclined{PaymentDeclined: &orderpb.PaymentDeclined{
			Attempt: attempt, Provider: reply.GetProvider(), Reason: reply.GetDeclineReason(),
		}}})
	case paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION:
		if d.s.payment.status != orderpb.PaymentStatus_PAYMENT_STATUS_PENDING {
			return false
		}
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentActionRequired{PaymentActionRequired: &orderpb.PaymentActionRequired{
			Attempt: attempt, Provider: reply.GetProvider(), Reference: reply.GetReference(), NextActionUrl: reply.GetNextActionUrl(),
		}}})
	case paymentpb.AuthorizeReply_STATUS_UNANSWERED:
		if d.s.payment.status != orderpb.PaymentStatus_PAYMENT_STATUS_PENDING || d.s.payment.unanswered {
			return false
		}
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentUnanswered{PaymentUnanswered: &orderpb.PaymentUnanswered{Attempt: attempt}}})
	default:
		return false
	}
	return true
}

func (d *draft) addPaymentRequested(key, token string) {
	d.add(&orderpb.Event{Event: &orderpb.Event_PaymentRequested{PaymentRequested: &orderpb.PaymentRequested{
		Attempt: d.s.payment.attempt + 1, IdempotencyKey: key, InputHash: payHash(token), Token: token, Amount: d.s.total,
	}}})
}

func holdExpired() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_HOLD_EXPIRED, "the order was not paid in time and its units are not held any more: place a new order")
}
