package cluster

// This file is what comes over a link: answers to what was asked of the peer,
// and what the peer asks.

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/clusterpb"
)

// hear takes in what the peer has said.
func (l *link) hear(f *clusterpb.Frame) {
	l.lastHeard.Store(l.peers.moment())
	for _, r := range f.GetReplies() {
		if to, ok := l.take(r.GetId()); ok {
			to.Answer(answerOf(l.id, r))
		}
	}
	for _, r := range f.GetRequests() {
		l.accept(r)
	}
}

// inbound is a request of the peer. It is entity.Responder.
type inbound struct {
	link  *link
	id    uint64
	class class
	until time.Time
}

// accept takes in a request, or refuses it.
func (l *link) accept(r *clusterpb.Request) {
	in := &inbound{l, r.GetId(), classOf(r), time.Now().Add(time.Duration(r.GetTimeoutMs())*time.Millisecond + answerSlack)}
	l.mu.Lock()
	full := l.taken[in.class] >= in.class.most()
	if !full {
		l.inbound[in.id] = in
		l.taken[in.class]++
	} else {
		l.push(outgoing{id: in.id, err: fmt.Errorf("%w: the node has %d requests of this one", entity.ErrOverloaded, in.class.most())})
	}
	l.mu.Unlock()
	if full {
		return
	}
	l.peers.metrics.received()
	cmd, err := decode(r.GetType(), r.GetCommand())
	if err != nil {
		in.Answer(nil, err)
		return
	}
	l.peers.serve(r, cmd, in)
}

// Answer implements entity.Responder: the reply is said by the link's own
// goroutine, not by the actor's. What the peer does not wait for any more is not.
func (in *inbound) Answer(reply proto.Message, err error) {
	l := in.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inbound[in.id] != in {
		return
	}
	delete(l.inbound, in.id)
	l.taken[in.class]--
	l.push(outgoing{id: in.id, reply: reply, err: err})
}
