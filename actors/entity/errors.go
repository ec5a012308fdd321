package entity

import (
	"errors"
	"fmt"
)

// What can go wrong between a caller and an actor, or between an actor and its
// journal. A refusal by the kind (no stock, wrong price) is not here: that is a
// reply.
var (
	// ErrFenced: another activation of the same actor wrote first. Nothing of
	// this one was written.
	ErrFenced = errors.New("another activation wrote first")
	// ErrUnavailable: the store did not take the write. Nothing was written.
	ErrUnavailable = errors.New("store unavailable")
	// ErrFull: it did not take it because there is no room, which does not pass soon.
	ErrFull = fmt.Errorf("%w: no room", ErrUnavailable)
	// ErrUnknownOutcome: the write may or may not have happened.
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
	// ErrTooLarge: the record is over the store's limit and was not sent.
	ErrTooLarge = errors.New("record too large")
	// ErrOverloaded: a bound named in the message was reached. Nothing was done.
	ErrOverloaded = errors.New("overloaded")
	// ErrRetry: this activation is ending; the next one will answer.
	ErrRetry = errors.New("actor is restarting")
	// ErrTimeout: no answer in time. What was asked may or may not have happened.
	ErrTimeout = errors.New("no answer in time")
	// ErrCorrupt: the actor's journal cannot be trusted, so it refuses everything.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrUnknownKind: no such kind is registered.
	ErrUnknownKind = errors.New("unknown kind")
)

// Retryable reports whether the same command with the same key may be sent
// again and can be expected to succeed later.
func Retryable(err error) bool {
	for _, e := range []error{ErrFenced, ErrUnavailable, ErrUnknownOutcome, ErrOverloaded, ErrRetry, ErrTimeout} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// CorruptError names the record that cannot be trusted.
type CorruptError struct {
	Stream string
	Seq    uint64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s record %d: %s", e.Stream, e.Seq, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
