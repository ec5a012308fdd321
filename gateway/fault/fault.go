// Package fault is how what went wrong looks from outside: a code, a message
// that says what would be right, and, where trying again helps, a delay. It
// holds the one table from errors to codes; business outcomes are not here but
// in the payloads' userErrors.
package fault

import (
	"context"
	"errors"

	"stampede/actors/entity"
)

// Code is the `extensions.code` of a top-level error.
type Code string

// The codes. Parse and validation codes are those that GraphQL tools know.
const (
	ParseFailed       Code = "GRAPHQL_PARSE_FAILED"
	ValidationFailed  Code = "GRAPHQL_VALIDATION_FAILED"
	PersistedNotFound Code = "PERSISTED_QUERY_NOT_FOUND"
	BadRequest        Code = "BAD_REQUEST"
	TooLarge          Code = "TOO_LARGE"
	TooComplex        Code = "TOO_COMPLEX"
	Invalid           Code = "INVALID"
	Unauthenticated   Code = "UNAUTHENTICATED"
	Forbidden         Code = "FORBIDDEN"
	Throttled         Code = "THROTTLED"
	Unavailable       Code = "UNAVAILABLE"
	Internal          Code = "INTERNAL"
)

// Error is a fault that may be shown as it is.
type Error struct {
	Code    Code
	Message string
	// Field is the path into the input, if one field is at fault.
	Field []string
	// RetryAfterMs is when the same request may succeed; 0: trying again does not help.
	RetryAfterMs int64
	// Unknown is true when what was asked may have happened all the same.
	Unknown bool
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// New is an error with a code and a message.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// InvalidField says which field is wrong and what would be right.
func InvalidField(message string, field ...string) *Error {
	return &Error{Code: Invalid, Message: message, Field: field}
}

const (
	overloadedAfterMs  = 250
	unavailableAfterMs = 500
	unknownAfterMs     = 1_000
)

// internal is what everything unknown looks like.
func internal() *Error {
	return New(Internal, "something went wrong on our side; the request id finds it in the log")
}

// Of is how err looks outside: the one table from errors to codes. known is
// false for an error that must be logged, because outside it is only called internal.
func Of(err error) (shown *Error, known bool) {
	if f, ok := errors.AsType[*Error](err); ok {
		return f, true
	}
	switch {
	case errors.Is(err, entity.ErrUnknownOutcome):
		return unknown("it is not known yet whether this was done"), true
	case errors.Is(err, entity.ErrOverloaded):
		return retry(Throttled, "too much is going on right now; nothing was done", overloadedAfterMs), true
	case errors.Is(err, entity.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return unknown("no answer in time; it is not known yet whether this was done"), true
	case errors.Is(err, context.Canceled):
		return unknown("the request was given up before it was answered"), true
	case errors.Is(err, entity.ErrUnavailable):
		return retry(Unavailable, "the store does not take writes right now; nothing was done", unavailableAfterMs), true
	case errors.Is(err, entity.ErrFenced):
		return retry(Unavailable, "this is moving to another node; nothing was done", overloadedAfterMs), true
	case errors.Is(err, entity.ErrRetry):
		return retry(Unavailable, "this is restarting; nothing was done", overloadedAfterMs), true
	}
	return internal(), false
}

func retry(code Code, message string, afterMs int64) *Error {
	return &Error{Code: code, Message: message, RetryAfterMs: afterMs}
}

func unknown(message string) *Error {
	return &Error{Code: Unavailable, Message: message, RetryAfterMs: unknownAfterMs, Unknown: true}
}
