package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"stampede/gateway/fault"
)

// GraphQL over WebSocket, the subprotocol graphql-transport-ws
// (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). This file
// is a socket's life; its messages are in socket_messages.go, its operations in
// socket_tasks.go.

const subprotocol = "graphql-transport-ws"

// The protocol's close codes.
const (
	closeBadMessage       = websocket.StatusCode(4400)
	closeUnauthorized     = websocket.StatusCode(4401) // before it said who it is
	closeForbidden        = websocket.StatusCode(4403) // it is not, or not any more, who it says
	closeSubprotocol      = websocket.StatusCode(4406)
	closeInitTimeout      = websocket.StatusCode(4408)
	closeSubscriberExists = websocket.StatusCode(4409)
	closeTooManyInits     = websocket.StatusCode(4429)
)

// socket is one connection. Its goroutine reads; nothing else runs for it but
// what has something to send at the moment, and one timer.
type socket struct {
	h       *Handler
	conn    *websocket.Conn
	id      string          // request id of the handshake
	address string          // whose budget is used by those who are not signed in
	who     *http.Request   // the headers that say who it is
	ctx     context.Context //nolint:containedctx // ends with the socket
	cancel  context.CancelFunc
	working sync.WaitGroup // tasks' goroutines
	writing sync.Mutex
	network net.Conn // below conn

	mu      sync.Mutex
	initing bool
	acked   bool
	ended   bool
	caller  string
	initBy  time.Time
	until   time.Time // when its token ends; zero: never
	heard   time.Time // when it last said anything
	busy    time.Time // when it last had an operation
	tasks   map[string]*task
	timer   *time.Timer
}

func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// Buffers of a socket: messages are small, and there are many sockets.
const (
	readBufferBytes   = 512
	writeBufferBytes  = 1 << 10
	kernelBufferBytes = 32 << 10
)

// smallBuffers gives a socket buffers of its own instead of the HTTP server's,
// and bounds what the kernel keeps for a client that does not read.
type smallBuffers struct {
	http.ResponseWriter
	s *socket
}

// Hijack implements http.Hijacker.
func (w smallBuffers) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, had, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.s.network = conn
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(kernelBufferBytes) // the system's own size is a bound too
	}
	// A quick client has sent something already.
	early, err := had.Reader.Peek(had.Reader.Buffered())
	if err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), conn), max(readBufferBytes, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, writeBufferBytes)), nil
}

// socket takes a WebSocket in and returns: the socket lives on by itself.
func (h *Handler) socket(w http.ResponseWriter, r *http.Request, id string) {
	if h.foreign(r) {
		h.fail(w, r, http.StatusForbidden, fault.New(fault.Forbidden, "this page's origin is not one of --allowed-origins"))
		return
	}
	now := time.Now()
	s := &socket{
		h: h, id: id, address: ClientAddress(r, h.TrustedProxies), tasks: map[string]*task{},
		who:    &http.Request{Header: credentials(nil, r.Header), RemoteAddr: r.RemoteAddr, Host: r.Host, URL: r.URL},
		initBy: now.Add(h.limits.Streams.InitFor), heard: now, busy: now,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if f := h.streams.enter(s, s.address); f != nil {
		s.cancel()
		h.later(w, r, http.StatusServiceUnavailable, f, time.Second)
		return
	}
	conn, err := websocket.Accept(smallBuffers{w, s}, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, InsecureSkipVerify: true}) // the origin was checked
	if err != nil {                                                                                                                               // the client was told what is wrong with its handshake
		s.cancel()
		h.streams.exit(s)
		return
	}
	conn.SetReadLimit(h.limits.Streams.MessageBytes)
	s.mu.Lock()
	s.conn = conn
	s.timer = time.AfterFunc(h.limits.Streams.InitFor, s.tick)
	s.mu.Unlock()
	go s.run() //nolint:gosec // it outlives its request
}

// run reads until the socket ends.
func (s *socket) run() {
	defer s.end()
	if s.h.streams.leaving() { // since its handshake began
		s.leave()
		return
	}
	if s.conn.Subprotocol() == "" {
		s.close(closeSubprotocol, "the subprotocol must be "+subprotocol)
		return
	}
	for {
		kind, text, err := s.conn.Read(context.Background())
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			s.close(closeBadMessage, "messages are JSON texts")
			return
		}
		if code, reason := s.message(text); code != 0 {
			s.close(code, reason)
			return
		}
	}
}

// end gives back all that the socket has.
func (s *socket) end() {
	s.cancel()
	s.mu.Lock()
	s.ended = true
	s.timer.Stop()
	tasks := s.tasks
	s.tasks = nil
	s.mu.Unlock()
	_ = s.conn.CloseNow() // whatever is being written fails
	for _, t := range tasks {
		t.stop()
	}
	s.working.Wait()
	s.h.streams.exit(s)
}

// close says why, and ends the socket.
func (s *socket) close(code websocket.StatusCode, reason string) {
	const maxReasonBytes = 120
	_ = s.conn.Close(code, reason[:min(len(reason), maxReasonBytes)]) // a client that has gone is told nothing
}

// leave implements ender.
func (s *socket) leave() {
	if s.connected() {
		s.close(websocket.StatusGoingAway, "this node is leaving: connect again")
	}
}

// cut implements ender.
func (s *socket) cut() {
	if s.connected() {
		_ = s.conn.CloseNow() // the reader notices
	}
}

// connected is false as long as the handshake is under way.
func (s *socket) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// write sends a message; a client that does not take it in time is cut off. The
// deadline is the connection's, which costs a tenth of a context's; it is lifted
// again, for control frames have their own.
func (s *socket) write(message []byte) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.network.SetWriteDeadline(time.Now().Add(s.h.limits.Streams.WriteFor)) // of a closed one: the write says so
	err := s.conn.Write(context.Background(), websocket.MessageText, message)
	_ = s.network.SetWriteDeadline(time.Time{})
	if err != nil {
		s.cut()
	}
	return err == nil
}

// tick is the socket's timer: it looks whether the client said who it is, is
// still who it said, is still there, and still wants something.
func (s *socket) tick() {
	limits := &s.h.limits.Streams
	now := time.Now()
	s.mu.Lock()
	acked, ended, until, heard, idle := s.acked, s.ended, s.until, s.heard, len(s.tasks) == 0 && now.Sub(s.busy) >= limits.IdleFor
	s.mu.Unlock()
	switch {
	case ended:
		return
	case !acked:
		s.close(closeInitTimeout, "Connection initialisation timeout")
		return
	case !until.IsZero() && !now.Before(until):
		s.close(closeForbidden, "Forbidden: the access token has expired")
		return
	case now.Sub(heard) >= 2*limits.PingEvery:
		s.cut()
		return
	case idle:
		s.close(websocket.StatusNormalClosure, "no operation for a long time")
		return
	}
	// A key may have been revoked meanwhile.
	if _, _, wrong := s.identify(); wrong != "" {
		s.close(closeForbidden, "Forbidden: "+wrong)
		return
	}
	if s.write([]byte(`{"type":"ping"}`)) {
		s.rearm()
	}
}

// rearm sets the timer to the next thing that may be.
func (s *socket) rearm() {
	next := s.h.limits.Streams.PingEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() {
		next = max(0, min(next, time.Until(s.until)))
	}
	if !s.ended {
		s.timer.Reset(next)
	}
}

// identify finds out who it is, as of now.
func (s *socket) identify() (ctx context.Context, caller, wrong string) {
	ctx, caller = s.h.Identify(s.ctx, s.who, s.id)
	if caller == "" && s.h.rates != nil {
		caller = s.address
	}
	_, wrong = s.h.Credentials(ctx)
	return ctx, caller, wrong
}
