package order

import (
	"strings"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

func refuse(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func notFound() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_NOT_FOUND, "there is no such order, or it is not yours")
}

func mismatch() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH, "this key was used with another input: another input needs another key", "idempotencyKey")
}

func inProgress(message string) *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_IN_PROGRESS, message)
	r.RetryAfterMs = 500
	return r
}

// paymentUnavailable: nobody knows what became of the payment. The order goes on
// asking, so the same key is answered with what it hears.
func paymentUnavailable() *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_PAYMENT_UNAVAILABLE, "the payment provider does not answer, and the order goes on asking it: send the same again with the same key")
	r.RetryAfterMs = 2000
	return r
}

// illegal says which way there is instead of the one that was asked for.
func illegal(from, to orderpb.Status) *commonpb.Refusal {
	var allowed []string
	for _, s := range AllowedTransitions(from) {
		allowed = append(allowed, nameOf(s))
	}
	message := nameOf(from) + " orders do not become " + nameOf(to) + ": they stay as they are"
	if len(allowed) > 0 {
		message = nameOf(from) + " orders do not become " + nameOf(to) + ", only " + strings.Join(allowed, ", ")
	}
	return refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, message)
}

func nameOf(s orderpb.Status) string { return strings.TrimPrefix(s.String(), "STATUS_") }
