package entity

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Request is a command on its way to an actor, with whoever waits for the
// answer. The actor calls Answer exactly once, unless it is killed with the
// request still in its mailbox: whoever waits must have a deadline of its own.
type Request struct {
	late
	Command proto.Message
	// Trace is the traceparent of the caller, or empty.
	Trace  string
	Answer Responder
}

// late is in every message to an actor: it may come when the actor has ended,
// which is ordinary, so protoactor need not count it. Its counter would start a
// goroutine.
type late struct{}

// IgnoreDeadLetterLogging implements actor.IgnoreDeadLetterLogging.
func (late) IgnoreDeadLetterLogging() {}

// Responder takes an answer. Answer must not block: it is called from the
// actor's own mailbox.
type Responder interface {
	Answer(reply proto.Message, err error)
}

// Passivate asks an actor to end if it has nothing to do.
type Passivate struct{ late }

// Drain asks an actor to finish what it has accepted, to refuse what comes, and
// to end.
type Drain struct {
	late
	// Hurry: it waits for what is being written and for nothing else, because its
	// successor waits for it. Whoever is left unanswered asks the successor.
	Hurry bool
}

// Inspect asks an actor how it is. It is answered from the actor's mailbox.
type Inspect struct {
	late
	Answer func(Condition)
}

// Condition is how an activation is.
type Condition struct {
	// Version is the newest event that is durable, SnapshotVersion that of the
	// newest snapshot which the activation knows of (0: none).
	Version, SnapshotVersion uint64
	// Mailbox is how many messages wait, Unanswered how many requests were taken
	// in and not answered yet.
	Mailbox, Unanswered int
}

type askKey struct{}

// withAsk marks the context of an actor's own question.
func withAsk(ctx context.Context) context.Context { return context.WithValue(ctx, askKey{}, true) }

// IsAsk reports whether a call is an actor's own question: part of something
// that was admitted already, so no bound on what is admitted may refuse it.
func IsAsk(ctx context.Context) bool { return ctx.Value(askKey{}) != nil }
