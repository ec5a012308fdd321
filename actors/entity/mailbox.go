package entity

import (
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox refuses requests at the door: when too many wait already, and once
// the actor has ended, so that nobody's request lies behind a poison pill. The
// actor's own messages (a finished write, an answer, a deadline) always enter.
type mailbox struct {
	actor.Mailbox
	limit int
	shut  atomic.Bool
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
