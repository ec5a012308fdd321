package entity

import (
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox refuses requests at the door: when too many wait already, and once
// the actor has ended. One that slipped in while the door was being shut is
// refused when its turn comes, for protoactor-go drops what lies behind a
// poison pill without a word. The actor's own messages (a finished write, an
// answer, a deadline) always enter.
type mailbox struct {
	actor.Mailbox
	actor.MessageInvoker // the actor's
	limit                int
	shut                 atomic.Bool
}

// RegisterHandlers puts the mailbox itself between its queue and the actor.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.MessageInvoker = invoker
	m.Mailbox.RegisterHandlers(m, dispatcher)
}

// InvokeUserMessage hands a message to the actor.
func (m *mailbox) InvokeUserMessage(message any) {
	if m.shut.Load() {
		if req, ok := unwrap(message).(*Request); ok {
			req.Answer.Answer(nil, ErrRetry)
			return
		}
	}
	m.MessageInvoker.InvokeUserMessage(message)
}

// PostUserMessage lets a request in, or answers it with why not.
func (m *mailbox) PostUserMessage(message any) {
	if req, ok := unwrap(message).(*Request); ok {
		if m.shut.Load() {
			req.Answer.Answer(nil, ErrRetry)
			return
		}
		if m.UserMessageCount() >= m.limit {
			req.Answer.Answer(nil, fmt.Errorf("%w: mailbox holds %d requests", ErrOverloaded, m.limit))
			return
		}
	}
	m.Mailbox.PostUserMessage(message)
}

func unwrap(message any) any {
	if env, ok := message.(*actor.MessageEnvelope); ok {
		return env.Message
	}
	return message
}
