package gateway_test

// A gateway whose sockets are pipes, in virtual time, and a client of it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/gateway/live"
)

// hall is a gateway on an HTTP server whose network is memory, in a bubble.
type hall struct {
	*world
	room   *room
	server *http.Server
	pipes  *pipes
	conns  []*websocket.Conn
}

// pipes is a network of one listener.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "192.0.2.1:1" }

// pipeConn says who is at its other end.
type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accept <- pipeConn{there}:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// expiring are tokens with an end: "id/roles@seconds".
type expiring struct {
	fakeTokens
	start time.Time
}

func (e expiring) Verify(token string, now time.Time) (auth.Claims, error) {
	token, ends, has := strings.Cut(token, "@")
	c, err := e.fakeTokens.Verify(token, now)
	if has && err == nil {
		d, parseErr := time.ParseDuration(ends)
		if c.ExpiresAt = e.start.Add(d); parseErr != nil || !now.Before(c.ExpiresAt) {
			return auth.Claims{}, auth.ErrToken
		}
	}
	return c, err
}

// inHall runs a test; at its end nothing may be left of what it opened. The
// bubble panics if a goroutine is.
func inHall(t *testing.T, streams httpapi.StreamLimits, do func(t *testing.T, h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hall{room: newRoom(), pipes: &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}}
		h.world = newWorld(t, func(c *gateway.Config) {
			c.Caller, c.Clock, c.Tokens = h.room, time.Now, expiring{start: time.Now()}
			c.AllowedOrigins = []string{"https://shop.example"}
			c.Limits.HTTP.Streams = streams
		})
		h.server = &http.Server{Handler: h.handler, ReadHeaderTimeout: time.Minute}
		served := make(chan error, 1)
		go func() { served <- h.server.Serve(h.pipes) }()
		do(t, h)
		for _, c := range h.conns {
			_ = c.CloseNow()
		}
		time.Sleep(live.DefaultLimits().WatchFor + time.Second) // a watch under way ends by itself
		if streams, topics := h.gateway.Listening(); streams != 0 || topics != 0 || h.room.watched() != 0 {
			t.Errorf("all have gone, and %d streams, %d topics, %d watches are left", streams, topics, h.room.watched())
		}
		if err := h.gateway.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		_ = h.server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// client is the other end of a socket.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial opens a socket, or returns with which status and delay it was refused.
func (h *hall) dial(header http.Header, protocols ...string) (conn *websocket.Conn, status int, retryAfter string) {
	h.t.Helper()
	transport := &http.Transport{DialContext: h.pipes.dial, DisableKeepAlives: true}
	conn, res, err := websocket.Dial(h.t.Context(), "ws://stampede.test/graphql", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: protocols,
	})
	if err == nil {
		h.conns = append(h.conns, conn)
	} else if res == nil {
		h.t.Fatal(err)
	}
	if res.Body != nil { // there is none when the socket is open
		defer res.Body.Close()
	}
	return conn, res.StatusCode, res.Header.Get("Retry-After")
}

func (h *hall) connect() *client {
	h.t.Helper()
	conn, status, _ := h.dial(nil, "graphql-transport-ws")
	if conn == nil {
		h.t.Fatalf("refused with %d", status)
	}
	return &client{h.t, conn}
}

// signedIn is a client that has been acknowledged.
func (h *hall) signedIn(token string) *client {
	h.t.Helper()
	c := h.connect()
	if token == "" {
		c.send(`{"type":"connection_init"}`)
	} else {
		c.send(`{"type":"connection_init","payload":{"authorization":"Bearer ` + token + `"}}`)
	}
	c.wants(`{"type":"connection_ack"}`)
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("send %s: %v", text, err)
	}
}

func (c *client) read() (string, error) {
	_, text, err := c.conn.Read(c.t.Context())
	return string(text), err
}

func (c *client) wants(text string) {
	c.t.Helper()
	if got, err := c.read(); got != text || err != nil {
		c.t.Fatalf("read %s %v\nwant %s", got, err, text)
	}
}

// has fails unless the next message contains all the texts.
func (c *client) has(texts ...string) {
	c.t.Helper()
	got, err := c.read()
	for _, text := range texts {
		if err != nil || !strings.Contains(got, text) {
			c.t.Fatalf("read %s %v\nwant something with %s", got, err, text)
		}
	}
}

// closes fails unless the socket is closed with the code; it answers pings.
func (c *client) closes(code websocket.StatusCode, reason string) {
	c.t.Helper()
	for {
		got, err := c.read()
		if got == `{"type":"ping"}` {
			c.send(`{"type":"pong"}`)
			continue
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code || !strings.Contains(closed.Reason, reason) {
			c.t.Fatalf("read %q, %v; want it closed with %d %q", got, err, code, reason)
		}
		return
	}
}

func (c *client) subscribe(id, document string) {
	c.t.Helper()
	text, err := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": document}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(text))
}

func level(id string, available, version int) string {
	return fmt.Sprintf(`{"id":"%s","type":"next","payload":{"data":{"stockChanged":{"sku":"A","available":%d,"version":%d}}}}`, id, available, version)
}

func change(id, state string, version int) string {
	return fmt.Sprintf(`{"id":"%s","type":"next","payload":{"data":{"orderChanged":{"id":"%s","state":"%s","version":%d}}}}`, id, anOrder, state, version)
}
