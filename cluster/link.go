package cluster

// This file is one node's way to another: requests leave, replies to the
// other's requests leave, and what is open in either direction is bounded. What
// comes from it is in link_inbound.go, and how it breaks in link_break.go.

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/clusterpb"
)

const (
	// maxOpen bounds the requests to one peer that are not answered, and those
	// that it has here. Asks have as many again, for they belong to what was
	// admitted; and those that only wait have maxWatches.
	maxOpen = 16_384
	// maxQueuedBytes bounds the commands that wait for the connection to a peer.
	maxQueuedBytes = 16 << 20
	// maxFrameItems and maxFrameBytes bound one frame. A single message over it
	// makes a frame of its own.
	maxFrameItems = 512
	maxFrameBytes = 256 << 10
	// connectFor bounds one attempt to connect, and reconnectAfter is how long a
	// peer that could not be reached is not tried again.
	connectFor     = time.Second
	reconnectAfter = 100 * time.Millisecond
	// silentFor is how long a peer may leave a request unanswered without saying
	// anything else either, before the connection is given up.
	silentFor = 1500 * time.Millisecond
	// answerSlack is how much longer than its sender a request is kept.
	answerSlack = time.Second
)

// link is this node's way to one member. What is to leave waits in a queue;
// one goroutine, which lives as long as the link, takes as much as has
// gathered while the frame before was handed over, and sends it as one. So a
// single message leaves at once, and many leave together.
//
// When the connection breaks, everything that waits for an answer is told so.
type link struct {
	peers *peers
	id    string

	mu      sync.Mutex
	address string
	queue   []outgoing
	bytes   int // of the commands in queue
	calls   map[uint64]call
	open    [classes]int // of calls
	inbound map[uint64]*inbound
	taken   [classes]int // of inbound
	downTo  time.Time    // until then the peer is not tried
	conn    Connection
	sending time.Time // since when conn has been taking a frame; zero: it is not
	pinging bool

	handedOver atomic.Uint64 // newest that the peer has said
	lastHeard  atomic.Int64  // a moment of the peers; connecting counts
	spoke      atomic.Int64  // likewise; when the peer last sent anything
	wake       chan struct{}
	stop       context.CancelFunc
	stopped    context.Context //nolint:containedctx // ends with the link
}

// outgoing is one thing to be said: a request, or the answer to one.
type outgoing struct {
	request *clusterpb.Request
	id      uint64 // of the peer's request that is answered
	reply   proto.Message
	err     error
}

// call is a request under way.
type call struct {
	to    entity.Responder
	class class
}

// class is what a request is counted as.
type class uint8

const (
	plain class = iota
	ask
	waiting
	classes
)

func classOf(r *clusterpb.Request) class {
	switch {
	case r.GetWaits():
		return waiting
	case r.GetAsk():
		return ask
	}
	return plain
}

// most is how many of a class may be open.
func (c class) most() int {
	if c == waiting {
		return maxWatches
	}
	return maxOpen
}

func newLink(p *peers, id, address string) *link {
	l := &link{peers: p, id: id, address: address, calls: map[uint64]call{}, inbound: map[uint64]*inbound{}, wake: make(chan struct{}, 1)}
	l.stopped, l.stop = context.WithCancel(context.Background())
	l.lastHeard.Store(p.moment())
	l.spoke.Store(p.moment())
	p.running.Go(l.run)
	return l
}

// request puts a command on its way; to is answered once, unless forget comes first.
func (l *link) request(r *clusterpb.Request, to entity.Responder) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	class := classOf(r)
	switch {
	case l.stopped.Err() != nil || time.Now().Before(l.downTo):
		return errLost
	case l.open[class] >= class.most():
		return fmt.Errorf("%w: %d requests to %s are not answered", entity.ErrOverloaded, class.most(), l.id)
	case l.bytes >= maxQueuedBytes:
		return fmt.Errorf("%w: %d bytes wait for the connection to %s", entity.ErrOverloaded, l.bytes, l.id)
	}
	l.calls[r.GetId()] = call{to, class}
	l.open[class]++
	l.bytes += len(r.GetCommand())
	l.push(outgoing{request: r})
	return nil
}

// push is called with the lock held.
func (l *link) push(o outgoing) {
	l.queue = append(l.queue, o)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// forget drops the claim to an answer.
func (l *link) forget(id uint64) { l.take(id) }

func (l *link) take(id uint64) (entity.Responder, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.calls[id]
	if !ok {
		return nil, false
	}
	delete(l.calls, id)
	l.open[c.class]--
	return c.to, true
}

// say has an empty frame sent: it carries what the node has seen and done.
func (l *link) say() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped.Err() == nil && len(l.queue) == 0 {
		l.push(outgoing{})
	}
}

// run sends until the link is stopped.
func (l *link) run() {
	for {
		var broken <-chan struct{}
		if conn := l.connection(); conn != nil {
			broken = conn.Lost()
		}
		select {
		case <-l.stopped.Done():
			return
		case <-broken:
			l.drop(errLost)
		case <-l.wake:
			// Those who were answered together ask again together, if they get the
			// chance to; on an idle machine this returns at once.
			runtime.Gosched()
			if err := l.flush(); err != nil {
				l.drop(err)
			}
		}
	}
}

// flush sends until the queue is empty, as one frame what has gathered.
func (l *link) flush() error {
	for l.stopped.Err() == nil {
		f := l.frame()
		if f == nil {
			return nil
		}
		conn, err := l.connected()
		if err != nil {
			return err
		}
		l.taking(time.Now())
		err = conn.Send(f)
		l.taking(time.Time{})
		if err != nil {
			return err
		}
		l.peers.metrics.sent(f)
	}
	return nil
}

func (l *link) taking(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending = since
}

func (l *link) connection() Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// connected returns the connection, and makes one if there is none.
func (l *link) connected() (Connection, error) {
	l.mu.Lock()
	conn, address := l.conn, l.address
	l.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(l.stopped, connectFor)
	defer cancel()
	conn, err := l.peers.transport.Connect(ctx, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped.Err() != nil {
		conn.Close()
		return nil, errLost
	}
	l.conn = conn
	l.lastHeard.Store(l.peers.moment())
	return conn, nil
}

// frame takes from the queue what fits one; nil if there is nothing to say.
func (l *link) frame() *clusterpb.Frame {
	l.mu.Lock()
	n, size := 0, 0
	for n < len(l.queue) && n < maxFrameItems && size < maxFrameBytes {
		o := &l.queue[n]
		if o.request != nil {
			size += len(o.request.GetCommand())
		} else if o.reply != nil {
			size += proto.Size(o.reply)
		}
		n++
	}
	taken := l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	for i := range taken {
		l.bytes -= len(taken[i].request.GetCommand())
	}
	l.mu.Unlock()
	if n == 0 {
		return nil
	}
	f := l.peers.greeting(l.id)
	for i := range taken {
		switch o := &taken[i]; {
		case o.request != nil:
			f.Requests = append(f.Requests, o.request)
		case o.id != 0:
			f.Replies = append(f.Replies, replyOf(o.id, o.reply, o.err))
		}
	}
	return f
}

// queued is how many messages wait for the connection.
func (l *link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
