package entity

import "google.golang.org/protobuf/proto"

// Request is a command on its way to an actor, with whoever waits for the
// answer. The actor calls Answer exactly once, unless it is killed with the
// request still in its mailbox: whoever waits must have a deadline of its own.
type Request struct {
	Command proto.Message
	// Trace is the traceparent of the caller, or empty.
	Trace  string
	Answer Responder
}

// Responder takes an answer. Answer must not block: it is called from the
// actor's own mailbox.
type Responder interface {
	Answer(reply proto.Message, err error)
}

// Passivate asks an actor to end if it has nothing to do.
type Passivate struct{}

// Drain asks an actor to finish what it has begun, to refuse what comes, and to end.
type Drain struct{}
