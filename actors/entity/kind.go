package entity

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Ask is a question that an actor puts to another one (or to a port such as
// "payment") before it can go on deciding. Asks are idempotent for whoever is
// asked: they are repeated until answered.
type Ask struct {
	// Key names the ask within the actor; two with the same key are one.
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Heard is the answers to asks, by Ask.Key.
type Heard map[string]proto.Message

// Decision is what a kind makes of a command. One of these holds:
//   - Reply is set: the answer, with the events that it rests on, if any.
//   - Asks is set: the command is decided again when all of them were heard.
//   - Neither: whoever waits goes on waiting, and the command is decided again
//     when the state has changed; Events, if any, are a change already. A
//     command that nobody waits for (Tick, Continue) is done with.
type Decision[E proto.Message] struct {
	Events []E
	Reply  proto.Message
	Asks   []Ask
}

// Kind is one kind of virtual actor as pure functions over its state *S and
// its event message E. None of them sees a context, a clock, a lock or a
// driver. S is touched by the actor's mailbox only.
type Kind[S any, E proto.Message] struct {
	Name string
	// New is the state of an actor without events.
	New func(id string) *S
	// Decide is total: every command in every state gets a decision. It does
	// not change the state. It gets commonpb.Tick when WakeAt has come and
	// commonpb.Continue when everything that Pending listed was heard.
	Decide func(s *S, cmd proto.Message, now time.Time, heard Heard) Decision[E]
	// Evolve applies one event. It panics only on an event that cannot have
	// been decided in this state: the journal is then corrupt.
	Evolve func(s *S, event E)
	// Pending lists the follow-ups that the state implies: what must be asked
	// of others because of what was decided. A restart asks them again. Nil
	// for kinds that ask nothing.
	Pending func(s *S) []Ask
	// WakeAt is the next moment at which Decide has something to do by itself;
	// zero: never. Nil for kinds without deadlines.
	WakeAt func(s *S) time.Time
	// Glimpse lets commands that only read be answered without a turn of the
	// actor. Nil: they all take one.
	Glimpse *Glimpse
	// NewEvent is an empty event to unmarshal into.
	NewEvent func() E
	// Snapshot is the state as a message; it may share memory with the state
	// only if it is never changed in place.
	Snapshot func(s *S) proto.Message
	// Restore rebuilds a state from a marshalled Snapshot.
	Restore func(id string, snapshot []byte) (*S, error)
}
