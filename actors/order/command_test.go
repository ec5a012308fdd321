package order

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// TestCommands is state × command: the events, the reason ("waits" for no
// answer yet, "asks" for a question first), and the state after it. A minute
// after t0, or at the deadline for "due" and "expired".
func TestCommands(t *testing.T) {
	again, tooMuch := place(""), place("", "C")
	table := map[string]struct {
		cmd  proto.Message
		want map[string]string
	}{
		"place again": {again, map[string]string{
			"unknown":         "; asks; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; UNSPECIFIED; RESERVED NONE",
			"due":             "Expired; UNSPECIFIED; EXPIRED NONE",
			"rejected":        "; INSUFFICIENT_STOCK; REJECTED NONE",
			"paying":          "; UNSPECIFIED; PAYING PENDING",
			"unanswered":      "; UNSPECIFIED; PAYING PENDING",
			"acting":          "; UNSPECIFIED; PAYING REQUIRES_ACTION",
			"authorized":      "; UNSPECIFIED; PAYING AUTHORIZED",
			"capturing":       "; UNSPECIFIED; CONFIRMED AUTHORIZED",
			"declined":        "; UNSPECIFIED; RESERVED DECLINED",
			"confirmed":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"cancelling":      "; UNSPECIFIED; CANCELLED NONE",
			"cancelled":       "; UNSPECIFIED; CANCELLED NONE",
			"undelivered":     "; UNSPECIFIED; CANCELLED VOIDED",
			"expired":         "; UNSPECIFIED; EXPIRED NONE",
			"uncaptured":      "; UNSPECIFIED; CANCELLED VOIDED",
			"fulfilling":      "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; UNSPECIFIED; FULFILLED CAPTURED",
			"refunding":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"returning":       "; UNSPECIFIED; CANCELLED REFUNDED",
			"refunded":        "; UNSPECIFIED; CANCELLED REFUNDED",
			"partly refunded": "; UNSPECIFIED; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "; UNSPECIFIED; CONFIRMED CAPTURED",
		}},
		"place another": {tooMuch, map[string]string{
			"unknown":         "; asks; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; IDEMPOTENCY_MISMATCH; RESERVED NONE",
			"due":             "Expired; IDEMPOTENCY_MISMATCH; EXPIRED NONE",
			"rejected":        "; IDEMPOTENCY_MISMATCH; REJECTED NONE",
			"paying":          "; IDEMPOTENCY_MISMATCH; PAYING PENDING",
			"unanswered":      "; IDEMPOTENCY_MISMATCH; PAYING PENDING",
			"acting":          "; IDEMPOTENCY_MISMATCH; PAYING REQUIRES_ACTION",
			"authorized":      "; IDEMPOTENCY_MISMATCH; PAYING AUTHORIZED",
			"capturing":       "; IDEMPOTENCY_MISMATCH; CONFIRMED AUTHORIZED",
			"declined":        "; IDEMPOTENCY_MISMATCH; RESERVED DECLINED",
			"confirmed":       "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
			"cancelling":      "; IDEMPOTENCY_MISMATCH; CANCELLED NONE",
			"cancelled":       "; IDEMPOTENCY_MISMATCH; CANCELLED NONE",
			"undelivered":     "; IDEMPOTENCY_MISMATCH; CANCELLED VOIDED",
			"expired":         "; IDEMPOTENCY_MISMATCH; EXPIRED NONE",
			"uncaptured":      "; IDEMPOTENCY_MISMATCH; CANCELLED VOIDED",
			"fulfilling":      "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; IDEMPOTENCY_MISMATCH; FULFILLED CAPTURED",
			"refunding":       "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
			"returning":       "; IDEMPOTENCY_MISMATCH; CANCELLED REFUNDED",
			"refunded":        "; IDEMPOTENCY_MISMATCH; CANCELLED REFUNDED",
			"partly refunded": "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; IDEMPOTENCY_MISMATCH; FULFILLED REFUNDED",
			"settling":        "; IDEMPOTENCY_MISMATCH; FULFILLED REFUNDED",
			"unrefunded":      "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
		}},
		"pay": {pay("p9", "tok"), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "PaymentRequested; waits; PAYING PENDING",
			"due":             "Expired; HOLD_EXPIRED; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; IN_PROGRESS; PAYING PENDING",
			"unanswered":      "; IN_PROGRESS; PAYING PENDING",
			"acting":          "PaymentRequested; waits; PAYING PENDING",
			"authorized":      "; IN_PROGRESS; PAYING AUTHORIZED",
			"capturing":       "; ILLEGAL_TRANSITION; CONFIRMED AUTHORIZED",
			"declined":        "PaymentRequested; waits; PAYING PENDING",
			"confirmed":       "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"expired":         "; HOLD_EXPIRED; EXPIRED NONE",
			"uncaptured":      "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"fulfilling":      "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; ILLEGAL_TRANSITION; FULFILLED CAPTURED",
			"refunding":       "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
			"returning":       "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"refunded":        "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"partly refunded": "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"settling":        "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"unrefunded":      "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
		}},
		"pay again": {pay("p1", "tok"), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "PaymentRequested; waits; PAYING PENDING",
			"due":             "Expired; HOLD_EXPIRED; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; waits; PAYING PENDING",
			"unanswered":      "; PAYMENT_UNAVAILABLE; PAYING PENDING",
			"acting":          "; asks; PAYING REQUIRES_ACTION",
			"authorized":      "; waits; PAYING AUTHORIZED",
			"capturing":       "; UNSPECIFIED; CONFIRMED AUTHORIZED",
			"declined":        "; PAYMENT_DECLINED; RESERVED DECLINED",
			"confirmed":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; HOLD_EXPIRED; CANCELLED VOIDED",
			"expired":         "; HOLD_EXPIRED; EXPIRED NONE",
			"uncaptured":      "; PAYMENT_DECLINED; CANCELLED VOIDED",
			"fulfilling":      "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; UNSPECIFIED; FULFILLED CAPTURED",
			"refunding":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"returning":       "; UNSPECIFIED; CANCELLED REFUNDED",
			"refunded":        "; UNSPECIFIED; CANCELLED REFUNDED",
			"partly refunded": "; UNSPECIFIED; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "; UNSPECIFIED; CONFIRMED CAPTURED",
		}},
		"pay again otherwise": {pay("p1", "other"), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "PaymentRequested; waits; PAYING PENDING",
			"due":             "Expired; HOLD_EXPIRED; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; IDEMPOTENCY_MISMATCH; PAYING PENDING",
			"unanswered":      "; IDEMPOTENCY_MISMATCH; PAYING PENDING",
			"acting":          "; IDEMPOTENCY_MISMATCH; PAYING REQUIRES_ACTION",
			"authorized":      "; IDEMPOTENCY_MISMATCH; PAYING AUTHORIZED",
			"capturing":       "; IDEMPOTENCY_MISMATCH; CONFIRMED AUTHORIZED",
			"declined":        "; IDEMPOTENCY_MISMATCH; RESERVED DECLINED",
			"confirmed":       "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; IDEMPOTENCY_MISMATCH; CANCELLED VOIDED",
			"expired":         "; HOLD_EXPIRED; EXPIRED NONE",
			"uncaptured":      "; IDEMPOTENCY_MISMATCH; CANCELLED VOIDED",
			"fulfilling":      "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; IDEMPOTENCY_MISMATCH; FULFILLED CAPTURED",
			"refunding":       "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
			"returning":       "; IDEMPOTENCY_MISMATCH; CANCELLED REFUNDED",
			"refunded":        "; IDEMPOTENCY_MISMATCH; CANCELLED REFUNDED",
			"partly refunded": "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; IDEMPOTENCY_MISMATCH; FULFILLED REFUNDED",
			"settling":        "; IDEMPOTENCY_MISMATCH; FULFILLED REFUNDED",
			"unrefunded":      "; IDEMPOTENCY_MISMATCH; CONFIRMED CAPTURED",
		}},
		"cancel": {&orderpb.Cancel{Actor: owner, Reason: "changed my mind"}, map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "Cancelled; waits; CANCELLED NONE",
			"due":             "Expired; ILLEGAL_TRANSITION; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; IN_PROGRESS; PAYING PENDING",
			"unanswered":      "; IN_PROGRESS; PAYING PENDING",
			"acting":          "Cancelled; waits; CANCELLED REQUIRES_ACTION",
			"authorized":      "; IN_PROGRESS; PAYING AUTHORIZED",
			"capturing":       "; ILLEGAL_TRANSITION; CONFIRMED AUTHORIZED",
			"declined":        "Cancelled; waits; CANCELLED DECLINED",
			"confirmed":       "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
			"cancelling":      "; waits; CANCELLED NONE",
			"cancelled":       "; UNSPECIFIED; CANCELLED NONE",
			"undelivered":     "; UNSPECIFIED; CANCELLED VOIDED",
			"expired":         "; ILLEGAL_TRANSITION; EXPIRED NONE",
			"uncaptured":      "; UNSPECIFIED; CANCELLED VOIDED",
			"fulfilling":      "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; ILLEGAL_TRANSITION; FULFILLED CAPTURED",
			"refunding":       "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
			"returning":       "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"refunded":        "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"partly refunded": "; ILLEGAL_TRANSITION; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"settling":        "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"unrefunded":      "; ILLEGAL_TRANSITION; CONFIRMED CAPTURED",
		}},
		"get": {&orderpb.Get{Actor: owner}, map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; UNSPECIFIED; RESERVED NONE",
			"due":             "Expired; UNSPECIFIED; EXPIRED NONE",
			"rejected":        "; UNSPECIFIED; REJECTED NONE",
			"paying":          "; UNSPECIFIED; PAYING PENDING",
			"unanswered":      "; UNSPECIFIED; PAYING PENDING",
			"acting":          "; UNSPECIFIED; PAYING REQUIRES_ACTION",
			"authorized":      "; UNSPECIFIED; PAYING AUTHORIZED",
			"capturing":       "; UNSPECIFIED; CONFIRMED AUTHORIZED",
			"declined":        "; UNSPECIFIED; RESERVED DECLINED",
			"confirmed":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"cancelling":      "; UNSPECIFIED; CANCELLED NONE",
			"cancelled":       "; UNSPECIFIED; CANCELLED NONE",
			"undelivered":     "; UNSPECIFIED; CANCELLED VOIDED",
			"expired":         "; UNSPECIFIED; EXPIRED NONE",
			"uncaptured":      "; UNSPECIFIED; CANCELLED VOIDED",
			"fulfilling":      "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; UNSPECIFIED; FULFILLED CAPTURED",
			"refunding":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"returning":       "; UNSPECIFIED; CANCELLED REFUNDED",
			"refunded":        "; UNSPECIFIED; CANCELLED REFUNDED",
			"partly refunded": "; UNSPECIFIED; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "; UNSPECIFIED; CONFIRMED CAPTURED",
		}},
		"tick": {&commonpb.Tick{}, map[string]string{
			"unknown":         "; waits; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; waits; RESERVED NONE",
			"due":             "Expired; waits; EXPIRED NONE",
			"rejected":        "; waits; REJECTED NONE",
			"paying":          "; waits; PAYING PENDING",
			"unanswered":      "; waits; PAYING PENDING",
			"acting":          "; waits; PAYING REQUIRES_ACTION",
			"authorized":      "; waits; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; waits; RESERVED DECLINED",
			"confirmed":       "; waits; CONFIRMED CAPTURED",
			"cancelling":      "; waits; CANCELLED NONE",
			"cancelled":       "; waits; CANCELLED NONE",
			"undelivered":     "; waits; CANCELLED VOIDED",
			"expired":         "; waits; EXPIRED NONE",
			"uncaptured":      "; waits; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; waits; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; waits; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; waits; CANCELLED REFUNDED",
			"refunded":        "; waits; CANCELLED REFUNDED",
			"partly refunded": "; waits; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; waits; FULFILLED REFUNDED",
			"settling":        "; waits; FULFILLED REFUNDED",
			"unrefunded":      "; waits; CONFIRMED CAPTURED",
		}},
		"continue, nothing heard": {&commonpb.Continue{}, map[string]string{
			"unknown":         "; waits; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; waits; RESERVED NONE",
			"due":             "Expired; waits; EXPIRED NONE",
			"rejected":        "; waits; REJECTED NONE",
			"paying":          "; waits; PAYING PENDING",
			"unanswered":      "; waits; PAYING PENDING",
			"acting":          "; waits; PAYING REQUIRES_ACTION",
			"authorized":      "; waits; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; waits; RESERVED DECLINED",
			"confirmed":       "; waits; CONFIRMED CAPTURED",
			"cancelling":      "; waits; CANCELLED NONE",
			"cancelled":       "; waits; CANCELLED NONE",
			"undelivered":     "; waits; CANCELLED VOIDED",
			"expired":         "; waits; EXPIRED NONE",
			"uncaptured":      "; waits; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; waits; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; waits; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; waits; CANCELLED REFUNDED",
			"refunded":        "; waits; CANCELLED REFUNDED",
			"partly refunded": "; waits; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; waits; FULFILLED REFUNDED",
			"settling":        "; waits; FULFILLED REFUNDED",
			"unrefunded":      "; waits; CONFIRMED CAPTURED",
		}},
		"fulfil": {fulfil("f9"), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; ILLEGAL_TRANSITION; RESERVED NONE",
			"due":             "Expired; ILLEGAL_TRANSITION; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; ILLEGAL_TRANSITION; PAYING PENDING",
			"unanswered":      "; ILLEGAL_TRANSITION; PAYING PENDING",
			"acting":          "; ILLEGAL_TRANSITION; PAYING REQUIRES_ACTION",
			"authorized":      "; ILLEGAL_TRANSITION; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; ILLEGAL_TRANSITION; RESERVED DECLINED",
			"confirmed":       "Fulfilled; waits; FULFILLED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"expired":         "; ILLEGAL_TRANSITION; EXPIRED NONE",
			"uncaptured":      "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "Fulfilled; waits; FULFILLED CAPTURED",
			"fulfilled":       "; ILLEGAL_TRANSITION; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"refunded":        "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"partly refunded": "Fulfilled; waits; FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"settling":        "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"unrefunded":      "Fulfilled; waits; FULFILLED CAPTURED",
		}},
		"fulfil again": {fulfil("f1", "A", 1), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; ILLEGAL_TRANSITION; RESERVED NONE",
			"due":             "Expired; ILLEGAL_TRANSITION; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; ILLEGAL_TRANSITION; PAYING PENDING",
			"unanswered":      "; ILLEGAL_TRANSITION; PAYING PENDING",
			"acting":          "; ILLEGAL_TRANSITION; PAYING REQUIRES_ACTION",
			"authorized":      "; ILLEGAL_TRANSITION; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; ILLEGAL_TRANSITION; RESERVED DECLINED",
			"confirmed":       "Fulfilled; waits; PARTIALLY_FULFILLED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"expired":         "; ILLEGAL_TRANSITION; EXPIRED NONE",
			"uncaptured":      "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; UNSPECIFIED; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"refunded":        "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"partly refunded": "; UNSPECIFIED; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "Fulfilled; waits; PARTIALLY_FULFILLED CAPTURED",
		}},
		"refund": {refund("r9", false), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; ILLEGAL_TRANSITION; RESERVED NONE",
			"due":             "Expired; ILLEGAL_TRANSITION; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; ILLEGAL_TRANSITION; PAYING PENDING",
			"unanswered":      "; ILLEGAL_TRANSITION; PAYING PENDING",
			"acting":          "; ILLEGAL_TRANSITION; PAYING REQUIRES_ACTION",
			"authorized":      "; ILLEGAL_TRANSITION; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; ILLEGAL_TRANSITION; RESERVED DECLINED",
			"confirmed":       "RefundRequested; waits; CONFIRMED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"expired":         "; ILLEGAL_TRANSITION; EXPIRED NONE",
			"uncaptured":      "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "RefundRequested; waits; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "RefundRequested; waits; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; waits; CANCELLED REFUNDED",
			"refunded":        "; ILLEGAL_TRANSITION; CANCELLED REFUNDED",
			"partly refunded": "RefundRequested; waits; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; ILLEGAL_TRANSITION; FULFILLED REFUNDED",
			"settling":        "; waits; FULFILLED REFUNDED",
			"unrefunded":      "RefundRequested; waits; CONFIRMED CAPTURED",
		}},
		"refund again": {refund("r1", true), map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; ILLEGAL_TRANSITION; RESERVED NONE",
			"due":             "Expired; ILLEGAL_TRANSITION; EXPIRED NONE",
			"rejected":        "; ILLEGAL_TRANSITION; REJECTED NONE",
			"paying":          "; ILLEGAL_TRANSITION; PAYING PENDING",
			"unanswered":      "; ILLEGAL_TRANSITION; PAYING PENDING",
			"acting":          "; ILLEGAL_TRANSITION; PAYING REQUIRES_ACTION",
			"authorized":      "; ILLEGAL_TRANSITION; PAYING AUTHORIZED",
			"capturing":       "; waits; CONFIRMED AUTHORIZED",
			"declined":        "; ILLEGAL_TRANSITION; RESERVED DECLINED",
			"confirmed":       "RefundRequested; waits; CONFIRMED CAPTURED",
			"cancelling":      "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"cancelled":       "; ILLEGAL_TRANSITION; CANCELLED NONE",
			"undelivered":     "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"expired":         "; ILLEGAL_TRANSITION; EXPIRED NONE",
			"uncaptured":      "; ILLEGAL_TRANSITION; CANCELLED VOIDED",
			"fulfilling":      "; waits; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "RefundRequested; waits; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "RefundRequested; waits; FULFILLED CAPTURED",
			"refunding":       "; waits; CONFIRMED CAPTURED",
			"returning":       "; waits; CANCELLED REFUNDED",
			"refunded":        "; UNSPECIFIED; CANCELLED REFUNDED",
			"partly refunded": "; IDEMPOTENCY_MISMATCH; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "; PAYMENT_DECLINED; CONFIRMED CAPTURED",
		}},
		"notice": {&orderpb.PaymentNotice{Attempt: 1}, map[string]string{
			"unknown":         "; NOT_FOUND; UNSPECIFIED UNSPECIFIED",
			"reserved":        "; UNSPECIFIED; RESERVED NONE",
			"due":             "Expired; UNSPECIFIED; EXPIRED NONE",
			"rejected":        "; UNSPECIFIED; REJECTED NONE",
			"paying":          "; UNSPECIFIED; PAYING PENDING",
			"unanswered":      "; UNSPECIFIED; PAYING PENDING",
			"acting":          "; asks; PAYING REQUIRES_ACTION",
			"authorized":      "; UNSPECIFIED; PAYING AUTHORIZED",
			"capturing":       "; UNSPECIFIED; CONFIRMED AUTHORIZED",
			"declined":        "; UNSPECIFIED; RESERVED DECLINED",
			"confirmed":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"cancelling":      "; UNSPECIFIED; CANCELLED NONE",
			"cancelled":       "; UNSPECIFIED; CANCELLED NONE",
			"undelivered":     "; UNSPECIFIED; CANCELLED VOIDED",
			"expired":         "; UNSPECIFIED; EXPIRED NONE",
			"uncaptured":      "; UNSPECIFIED; CANCELLED VOIDED",
			"fulfilling":      "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"partly":          "; UNSPECIFIED; PARTIALLY_FULFILLED CAPTURED",
			"fulfilled":       "; UNSPECIFIED; FULFILLED CAPTURED",
			"refunding":       "; UNSPECIFIED; CONFIRMED CAPTURED",
			"returning":       "; UNSPECIFIED; CANCELLED REFUNDED",
			"refunded":        "; UNSPECIFIED; CANCELLED REFUNDED",
			"partly refunded": "; UNSPECIFIED; PARTIALLY_FULFILLED PARTIALLY_REFUNDED",
			"sent back":       "; UNSPECIFIED; FULFILLED REFUNDED",
			"settling":        "; UNSPECIFIED; FULFILLED REFUNDED",
			"unrefunded":      "; UNSPECIFIED; CONFIRMED CAPTURED",
		}},
	}
	for command, row := range table {
		for _, state := range stateNames {
			t.Run(command+" when "+state, func(t *testing.T) {
				now := t0.Add(time.Minute)
				if state == "due" || state == "expired" {
					now = t0.Add(hold)
				}
				s := inState(t, state)
				d := decide(t, s, row.cmd, now, nil)
				reason := reasonOf(d)
				if len(d.Asks) > 0 {
					reason = "asks"
				}
				got := fmt.Sprintf("%s; %s; %s", names(d.Events), reason, statusName(s))
				if got != row.want[state] {
					t.Errorf("%q, want %q (%s)", got, row.want[state], replyOf(d).GetRefusal().GetMessage())
				}
				if r := replyOf(d).GetRefusal(); reason == "IN_PROGRESS" && r.GetRetryAfterMs() <= 0 {
					t.Error("no retry time")
				}
			})
		}
	}
}

// TestPaths are whole lives of an order, from a placed one on.
func TestPaths(t *testing.T) {
	tests := []struct {
		name    string
		token   string
		answers answers
		events  string
		end     string
		reason  string // of the same Place again, at the end
		lines   orderpb.LineStatus
	}{
		{
			"paid", "tok", grant,
			"PaymentAuthorized, Confirmed, PaymentCaptured", "CONFIRMED CAPTURED", "UNSPECIFIED", orderpb.LineStatus_LINE_STATUS_COMMITTED,
		},
		{
			"declined", "tok", grant.but("authorize", cardDeclined()),
			"PaymentDeclined", "RESERVED DECLINED", "PAYMENT_DECLINED", orderpb.LineStatus_LINE_STATUS_HELD,
		},
		{
			"to be acted on", "tok", grant.but("authorize", mustAct(), "lookup", mustAct()),
			"PaymentActionRequired", "PAYING REQUIRES_ACTION", "UNSPECIFIED", orderpb.LineStatus_LINE_STATUS_HELD,
		},
		{
			"paid, but gone", "tok", grant.but("confirm A", unconfirmed()),
			"PaymentAuthorized, Cancelled, HoldsReleased, PaymentVoided", "CANCELLED VOIDED", "HOLD_EXPIRED", orderpb.LineStatus_LINE_STATUS_NONE,
		},
		{"not paid", "", grant, "", "RESERVED NONE", "UNSPECIFIED", orderpb.LineStatus_LINE_STATUS_HELD},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(ID("usr_1", "k1"))
			ask(t, s, place(tt.token), t0, tt.answers)
			if got := settle(t, s, t0, tt.answers); got != tt.events || statusName(s) != tt.end {
				t.Fatalf("%s, %s\nwant %s, %s", got, statusName(s), tt.events, tt.end)
			}
			for i := range s.lines {
				if s.lines[i].status != tt.lines {
					t.Errorf("line %d is %v", i, s.lines[i].status)
				}
			}
			d := ask(t, s, place(tt.token), t0, tt.answers)
			if reasonOf(d) != tt.reason {
				t.Errorf("the same again: %v", d.Reply)
			}
		})
	}
}

// TestTakenBack: where one line cannot be committed, every line is released,
// those that were committed too; only there.
func TestTakenBack(t *testing.T) {
	s := inState(t, "authorized")
	follow(t, s, t0, grant.but("confirm A", unconfirmed()))
	if r := s.rejection; r.GetReason() != commonpb.Reason_REASON_HOLD_EXPIRED || r.GetSku() != "A" || len(r.GetField()) != 0 {
		t.Errorf("rejection %v", r)
	}
	asks := Pending(s)
	if len(asks) != 2 {
		t.Fatalf("%v", asks)
	}
	for _, a := range asks {
		if !a.Command.(*skupb.Release).GetIncludeCommitted() {
			t.Errorf("%v", a)
		}
	}
	for _, a := range Pending(inState(t, "cancelling")) {
		if a.Command.(*skupb.Release).GetIncludeCommitted() {
			t.Errorf("cancelled: %v", a)
		}
	}
	follow(t, s, t0, grant)
	void := Pending(s)
	if len(void) != 1 || void[0].Command.(*paymentpb.Void).GetReference() != "ref" || void[0].Kind != "payment" {
		t.Errorf("%v", void)
	}
}

// TestHeardNothing: answers that are missing or say nothing decide nothing.
func TestHeardNothing(t *testing.T) {
	for _, state := range []string{"paying", "authorized", "cancelling"} {
		s := inState(t, state)
		heard := grant.to(t, Pending(s))
		for key := range heard {
			delete(heard, key)
			if d := decide(t, s, &commonpb.Continue{}, t0, heard); len(d.Events) != 0 {
				t.Errorf("%s without %s: %s", state, key, names(d.Events))
			}
			break
		}
	}
	nothing := grant.but("authorize", &paymentpb.AuthorizeReply{}, "confirm", &skupb.StockReply{}, "capture", &skupb.StockReply{}, "void", &skupb.StockReply{})
	for _, state := range []string{"paying", "authorized"} {
		s := inState(t, state)
		if d := follow(t, s, t0, nothing); len(d) != 0 {
			t.Errorf("%s: %s", state, names(d))
		}
	}
	s := inState(t, "authorized")
	follow(t, s, t0, grant)
	if d := follow(t, s, t0, nothing); len(d) != 0 || statusName(s) != "CONFIRMED AUTHORIZED" {
		t.Errorf("capture: %s", names(d))
	}
	s = inState(t, "authorized")
	follow(t, s, t0, grant.but("confirm", unconfirmed()))
	follow(t, s, t0, grant)
	if d := follow(t, s, t0, nothing); len(d) != 0 || statusName(s) != "CANCELLED AUTHORIZED" {
		t.Errorf("void: %s", names(d))
	}
}
