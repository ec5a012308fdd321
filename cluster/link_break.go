package cluster

// This file is how a link finds out that its connection is broken, and what
// becomes of those who wait for the peer then.

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
)

// drop gives the connection up: everyone who waits for the peer is told, now.
func (l *link) drop(why error) {
	// That it still cannot be reached is the membership's to say.
	if connected := l.connection() != nil; connected && l.stopped.Err() == nil {
		l.peers.logger.Info("connection to a member lost", "member", l.id, "error", why)
	}
	l.fail(time.Now().Add(reconnectAfter))
	if l.stopped.Err() == nil {
		l.peers.metrics.lost()
		l.peers.membership.Suspect(l.id, members.Unreachable)
	}
}

// fail closes the connection, answers all open requests with errLost, and
// forgets the peer's.
func (l *link) fail(downTo time.Time) {
	l.mu.Lock()
	calls, conn := l.calls, l.conn
	l.calls, l.open, l.queue, l.bytes = map[uint64]call{}, [classes]int{}, nil, 0
	l.inbound, l.taken = map[uint64]*inbound{}, [classes]int{}
	l.conn, l.downTo, l.pinging = nil, downTo, false
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	for _, c := range calls {
		c.to.Answer(nil, errLost)
	}
}

// check is called now and then. It asks a peer that has been silent for a sign
// of life, gives up a connection that takes nothing or over which no sign has
// come, and connects again what was lost. It forgets requests of the peer that
// were never answered.
func (l *link) check(now time.Time) {
	l.mu.Lock()
	for id, in := range l.inbound {
		if now.After(in.until) {
			delete(l.inbound, id)
			l.taken[in.class]--
		}
	}
	silent := time.Duration(l.peers.moment() - l.lastHeard.Load())
	stuck := !l.sending.IsZero() && now.Sub(l.sending) > silentFor
	give := l.conn != nil && (stuck || l.pinging && silent > silentFor)
	again := l.conn == nil && now.After(l.downTo)
	ping := l.conn != nil && !give && !l.pinging && silent > silentFor/3
	l.pinging = l.pinging || ping
	conn := l.conn
	l.mu.Unlock()
	switch {
	case give:
		conn.Close()
	case again:
		l.say()
	case ping:
		// Refused, it is asked again when the next silence is noticed.
		if err := l.request(l.peers.control(&clusterpb.Ping{}, entity.Address{}, silentFor), pinged{l}); err != nil {
			pinged{l}.Answer(nil, err)
		}
	}
}

// pinged takes a sign of life.
type pinged struct{ link *link }

// Answer implements entity.Responder.
func (p pinged) Answer(proto.Message, error) {
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	p.link.pinging = false
}

// end stops the link; run returns soon.
func (l *link) end() {
	l.stop()
	l.fail(time.Time{})
}
