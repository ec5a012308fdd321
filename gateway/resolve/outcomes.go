package resolve

import (
	"math"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/proto/gen/commonpb"
)

// The one table from a refusal's reason to the API's user errors. A reason
// without a row cannot be: a test goes through all of them.
func codeOf(r commonpb.Reason) (graph.ErrorCode, bool) {
	switch r {
	case commonpb.Reason_REASON_INVALID:
		return graph.ErrorCodeInvalid, true
	case commonpb.Reason_REASON_NOT_FOUND:
		return graph.ErrorCodeNotFound, true
	case commonpb.Reason_REASON_FORBIDDEN:
		return graph.ErrorCodeForbidden, true
	case commonpb.Reason_REASON_CONFLICT, commonpb.Reason_REASON_VERSION_CONFLICT:
		return graph.ErrorCodeConflict, true
	case commonpb.Reason_REASON_IN_PROGRESS:
		return graph.ErrorCodeInProgress, true
	case commonpb.Reason_REASON_THROTTLED:
		return graph.ErrorCodeThrottled, true
	case commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH:
		return graph.ErrorCodeIdempotencyMismatch, true
	case commonpb.Reason_REASON_INSUFFICIENT_STOCK:
		return graph.ErrorCodeInsufficientStock, true
	case commonpb.Reason_REASON_CUSTOMER_LIMIT:
		return graph.ErrorCodeCustomerLimit, true
	case commonpb.Reason_REASON_SALE_NOT_OPEN:
		return graph.ErrorCodeSaleNotOpen, true
	case commonpb.Reason_REASON_SALE_PAUSED:
		return graph.ErrorCodeSalePaused, true
	case commonpb.Reason_REASON_SALE_ENDED:
		return graph.ErrorCodeSaleEnded, true
	case commonpb.Reason_REASON_ADMISSION_REQUIRED:
		return graph.ErrorCodeAdmissionRequired, true
	case commonpb.Reason_REASON_PRICE_CHANGED:
		return graph.ErrorCodePriceChanged, true
	case commonpb.Reason_REASON_HOLD_EXPIRED:
		return graph.ErrorCodeHoldExpired, true
	case commonpb.Reason_REASON_PAYMENT_DECLINED:
		return graph.ErrorCodePaymentDeclined, true
	case commonpb.Reason_REASON_PAYMENT_UNAVAILABLE:
		return graph.ErrorCodePaymentUnavailable, true
	case commonpb.Reason_REASON_ILLEGAL_TRANSITION:
		return graph.ErrorCodeIllegalTransition, true
	case commonpb.Reason_REASON_EMAIL_TAKEN:
		return graph.ErrorCodeEmailTaken, true
	case commonpb.Reason_REASON_BAD_CREDENTIALS:
		return graph.ErrorCodeBadCredentials, true
	case commonpb.Reason_REASON_WEAK_PASSWORD:
		return graph.ErrorCodeWeakPassword, true
	case commonpb.Reason_REASON_UNSPECIFIED:
	}
	return graph.ErrorCodeInvalid, false
}

// userError is a refusal as the API shows it: the member of UserError that has
// room for what the refusal carries.
func userError(r *commonpb.Refusal) graph.UserError {
	code, _ := codeOf(r.Reason)
	switch {
	case r.Reason == commonpb.Reason_REASON_INSUFFICIENT_STOCK:
		return graph.InsufficientStock{Code: code, Message: r.Message, Field: r.Field, Sku: r.Sku, Requested: int32of(r.Requested), Available: int32of(r.Available)}
	case r.Reason == commonpb.Reason_REASON_CUSTOMER_LIMIT:
		return graph.CustomerLimit{Code: code, Message: r.Message, Field: r.Field, Sku: r.Sku, Limit: int32of(r.Limit), Used: int32of(r.Used)}
	case r.Reason == commonpb.Reason_REASON_VERSION_CONFLICT:
		return graph.VersionConflict{Code: code, Message: r.Message, Field: r.Field, CurrentVersion: int32of(r.CurrentVersion)}
	case r.RetryAfterMs > 0, r.Reason == commonpb.Reason_REASON_THROTTLED, r.Reason == commonpb.Reason_REASON_IN_PROGRESS:
		return graph.RetryLater{Code: code, Message: r.Message, Field: r.Field, RetryAfterMs: int32of(max(r.RetryAfterMs, 1))}
	}
	return graph.GenericError{Code: code, Message: r.Message, Field: r.Field}
}

// refused is the list of user errors of a mutation: empty, never null, without a refusal.
func refused(r *commonpb.Refusal) []graph.UserError {
	if r == nil {
		return []graph.UserError{}
	}
	return []graph.UserError{userError(r)}
}

// later turns an error after which the same input may be sent again into a
// user error; any other error stays one.
func later(err error) ([]graph.UserError, error) {
	shown, _ := fault.Of(err)
	if shown.RetryAfterMs == 0 {
		return nil, err
	}
	code := graph.ErrorCodeThrottled
	if shown.Unknown {
		code = graph.ErrorCodeInProgress
	}
	return []graph.UserError{graph.RetryLater{Code: code, Message: shown.Message, RetryAfterMs: int32of(shown.RetryAfterMs)}}, nil
}

// int32of fits a number into GraphQL's Int. What the kinds bound is far below
// the limit; a version beyond two thousand million stays at it.
func int32of(n int64) int32 {
	return int32(min(max(n, math.MinInt32), math.MaxInt32)) //nolint:gosec // clamped on this line
}
