package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
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

const (
	levels  = `subscription { stockChanged(skus: ["A"], maxPerSecond: 50) { sku available version } }`
	changes = `subscription { orderChanged(id: "` + anOrder + `") { id state version } }`
)

func level(id string, available, version int) string {
	return fmt.Sprintf(`{"id":"%s","type":"next","payload":{"data":{"stockChanged":{"sku":"A","available":%d,"version":%d}}}}`, id, available, version)
}

func change(id, state string, version int) string {
	return fmt.Sprintf(`{"id":"%s","type":"next","payload":{"data":{"orderChanged":{"id":"%s","state":"%s","version":%d}}}}`, id, anOrder, state, version)
}

// The protocol's close codes, each for what the protocol says it is for.
func TestSocketCloseCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		sends  []string
		code   websocket.StatusCode
		reason string
	}{
		"no JSON":                  {[]string{`hello`}, 4400, "Invalid message"},
		"no object":                {[]string{`[]`}, 4400, "Invalid message"},
		"no type":                  {[]string{`{"id":"1"}`}, 4400, "Invalid message"},
		"a type of no kind":        {[]string{`{"type":"start"}`}, 4400, "Invalid message"},
		"a server's type":          {[]string{`{"type":"connection_ack"}`}, 4400, "Invalid message"},
		"a payload of no shape":    {[]string{`{"type":"connection_init","payload":"token"}`}, 4400, "payload"},
		"a ping's payload":         {[]string{`{"type":"ping","payload":7}`}, 4400, "payload"},
		"subscribe before init":    {[]string{`{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}`}, 4401, "Unauthorized"},
		"a bad token":              {[]string{`{"type":"connection_init","payload":{"Authorization":"Bearer nonsense"}}`}, 4403, "Forbidden"},
		"no init":                  {nil, 4408, "Connection initialisation timeout"},
		"two inits":                {[]string{`{"type":"connection_init"}`, `{"type":"connection_init"}`}, 4429, "Too many initialisation requests"},
		"the same id twice":        {[]string{`{"type":"connection_init"}`, subscribeTo("1"), subscribeTo("1")}, 4409, "Subscriber for 1 already exists"},
		"subscribe without id":     {[]string{`{"type":"connection_init"}`, `{"type":"subscribe","payload":{"query":"{ __typename }"}}`}, 4400, "id"},
		"subscribe to nothing":     {[]string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1"}`}, 4400, "payload"},
		"variables of no shape":    {[]string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":{"query":"{ __typename }","variables":[]}}`}, 4400, "variables"},
		"complete without id":      {[]string{`{"type":"connection_init"}`, `{"type":"complete"}`}, 4400, "id"},
		"a message that is a book": {[]string{`{"type":"connection_init"}`, `{"type":"ping","payload":{"a":"` + strings.Repeat("x", 70_000) + `"}}`}, websocket.StatusMessageTooBig, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
				h.room.stock("A", 1, 5)
				c := h.connect()
				c.t = t
				// The pipe holds nothing: what is sent and what is read wait for each other.
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for _, text := range tc.sends {
						if c.conn.Write(t.Context(), websocket.MessageText, []byte(text)) != nil {
							return // it was closed before
						}
					}
				}()
				for {
					_, err := c.read()
					if err == nil {
						continue
					}
					var closed websocket.CloseError
					if !errors.As(err, &closed) || closed.Code != tc.code || !strings.Contains(closed.Reason, tc.reason) {
						t.Errorf("%v, want it closed with %d %q", err, tc.code, tc.reason)
					}
					break
				}
				<-sent
			})
		})
	}
}

func subscribeTo(id string) string {
	return `{"id":"` + id + `","type":"subscribe","payload":{"query":"subscription { stockChanged(skus: [\"A\"]) { sku } }"}}`
}

// A socket whose client does not speak the protocol says which one it wants.
func TestSocketSubprotocol(t *testing.T) {
	for _, protocols := range [][]string{nil, {"graphql-ws"}} {
		inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
			conn, _, _ := h.dial(nil, protocols...)
			(&client{t, conn}).closes(4406, "graphql-transport-ws")
		})
	}
}

// Only pages of this site and of the allowed origins get a socket.
func TestSocketOrigins(t *testing.T) {
	for origin, allowed := range map[string]bool{
		"": true, "http://stampede.test": true, "https://shop.example": true, "https://SHOP.example": true,
		"https://evil.example": false, "https://shop.example.evil.example": false, "http://shop.example": false, "null": false,
	} {
		inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
			header := http.Header{}
			if origin != "" {
				header.Set("Origin", origin)
			}
			conn, status, _ := h.dial(header, "graphql-transport-ws")
			if (conn != nil) != allowed || !allowed && status != http.StatusForbidden {
				t.Errorf("origin %q: %d", origin, status)
			}
		})
	}
}

// Queries, mutations and what cannot be executed go over the socket too.
func TestSocketOperations(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(_ *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		c := h.signedIn(asAlice)
		c.subscribe("q", `{ stock(skus: ["A"]) { available } }`)
		c.wants(`{"id":"q","type":"next","payload":{"data":{"stock":[{"available":5}]}}}`)
		c.wants(`{"id":"q","type":"complete"}`)
		c.subscribe("m", `mutation { logOut(input: {refreshToken: "t"}) { userErrors { code } } }`)
		c.wants(`{"id":"m","type":"next","payload":{"data":{"logOut":{"userErrors":[]}}}}`)
		c.wants(`{"id":"m","type":"complete"}`)
		c.subscribe("v", `{ nothingOfTheKind }`)
		c.has(`{"id":"v","type":"error","payload":[{`, `GRAPHQL_VALIDATION_FAILED`)
		c.subscribe("f", `{ orders { edges { node { id } } } }`)
		c.has(`{"id":"f","type":"next","payload":{"errors":[{`, `FORBIDDEN`)
		c.wants(`{"id":"f","type":"complete"}`)
		c.subscribe("s", `subscription { stockChanged(skus: ["A"], maxPerSecond: 51) { sku } }`)
		c.has(`{"id":"s","type":"error","payload":[{`, `"field":["maxPerSecond"]`)
		c.subscribe("two", `subscription { stockChanged(skus: ["A"]) { sku } orderChanged(id: "x") { id } }`)
		c.has(`{"id":"two","type":"error","payload":[{`, `GRAPHQL_VALIDATION_FAILED`)
		c.subscribe("none", `subscription { stockChanged(skus: ["A"]) @skip(if: true) { sku } }`)
		c.has(`{"id":"none","type":"error","payload":[{`)
		c.subscribe("dear", `subscription($s: [String!]!) { stockChanged(skus: $s) { sku } }`)
		c.has(`{"id":"dear","type":"error","payload":[{`, `INVALID`)
		// An id that has ended can be used again.
		c.subscribe("q", `{ stock(skus: ["A"]) { available } }`)
		c.has(`"id":"q","type":"next"`)
		c.has(`"id":"q","type":"complete"`)
		c.send(`{"type":"ping","payload":{"a":[1,"b"]}}`)
		c.wants(`{"payload":{"a":[1,"b"]},"type":"pong"}`)
		c.send(`{"type":"ping"}`)
		c.wants(`{"type":"pong"}`)
	})
}

// The present state, changes, and no more after complete; with fields that are
// not plain, too; and the two kinds of subscription at once.
func TestSocketSubscriptions(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(_ *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		h.room.order(3, orderpb.Status_STATUS_RESERVED)
		h.accounts.user = &accountpb.User{Id: alice}
		c := h.signedIn(asAlice)
		c.subscribe("s", levels)
		c.wants(level("s", 5, 1))
		c.subscribe("o", changes)
		c.wants(change("o", "RESERVED", 3))
		time.Sleep(time.Second)
		h.room.stock("A", 2, 4)
		c.wants(level("s", 4, 2))
		h.room.order(4, orderpb.Status_STATUS_CONFIRMED)
		c.wants(change("o", "CONFIRMED", 4))
		c.send(`{"id":"s","type":"complete"}`)
		c.subscribe("r", `subscription { orderChanged(id: "`+anOrder+`", afterVersion: 4) { version customer { id } } }`)
		time.Sleep(time.Second)
		h.room.stock("A", 3, 3)
		time.Sleep(time.Second)
		h.room.order(5, orderpb.Status_STATUS_FULFILLED)
		first, _ := c.read()
		second, _ := c.read()
		both := first + second
		for _, want := range []string{change("o", "FULFILLED", 5), `{"id":"r","type":"next","payload":{"data":{"orderChanged":{"version":5,"customer":{"id":"` + alice + `"}}}}}`} {
			if !strings.Contains(both, want) {
				c.t.Errorf("read %s\nwant %s", both, want)
			}
		}
	})
}

// What is not there, and what is somebody else's, is complete at once, alike.
func TestSocketNothing(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(_ *testing.T, h *hall) {
		h.room.order(3, orderpb.Status_STATUS_RESERVED)
		c := h.signedIn(asBob)
		c.subscribe("theirs", changes)
		c.wants(`{"id":"theirs","type":"complete"}`)
		c.subscribe("none", strings.ReplaceAll(changes, anOrder, "ord_zzzzzzzzzzzzzzzzzzzzzzzzzz"))
		c.wants(`{"id":"none","type":"complete"}`)
		c.subscribe("sku", levels)
		c.wants(`{"id":"sku","type":"complete"}`)
		anyone := h.signedIn("")
		anyone.subscribe("o", changes)
		anyone.has(`{"id":"o","type":"error"`, `UNAUTHENTICATED`)
	})
}

// A socket ends with its token, and not before.
func TestSocketTokenExpires(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		start := time.Now()
		c := h.signedIn(asAlice + "@15m")
		c.subscribe("s", levels)
		c.wants(level("s", 5, 1))
		c.closes(4403, "expired")
		if after := time.Since(start); after != 15*time.Minute {
			t.Errorf("closed after %s", after)
		}
	})
}

// Who says nothing for two pings is taken for gone; who answers stays.
func TestSocketHeartbeat(t *testing.T) {
	inHall(t, httpapi.StreamLimits{PingEvery: 10 * time.Second, IdleFor: 5 * time.Minute}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		start := time.Now()
		dead := h.signedIn("")
		dead.wants(`{"type":"ping"}`)
		for {
			if _, err := dead.read(); err != nil {
				break
			}
		}
		if after := time.Since(start); after != 20*time.Second {
			t.Errorf("cut off after %s", after)
		}
		start = time.Now()
		idle := h.signedIn("")
		idle.closes(websocket.StatusNormalClosure, "no operation")
		if after := time.Since(start); after < 5*time.Minute || after > 6*time.Minute {
			t.Errorf("closed after %s", after)
		}
	})
}

// A client that does not read is cut off, and meanwhile holds up nobody.
func TestSocketSlowReader(t *testing.T) {
	inHall(t, httpapi.StreamLimits{WriteFor: 5 * time.Second}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		slow, other := h.signedIn(""), h.signedIn("")
		slow.subscribe("s", levels)
		other.subscribe("o", levels)
		other.wants(level("o", 5, 1))
		for i := range 40 {
			time.Sleep(100 * time.Millisecond)
			h.room.stock("A", int64(2+i), 4)
			other.wants(level("o", 4, 2+i))
		}
		if streams, _ := h.gateway.Listening(); streams != 2 {
			t.Errorf("%d sockets while the slow one may still read", streams)
		}
		time.Sleep(2 * time.Second)
		if streams, _ := h.gateway.Listening(); streams != 1 {
			t.Errorf("%d sockets after the slow one's time", streams)
		}
	})
}

// One that reads again in time finds what is newest, not what it has missed.
func TestSocketConflates(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(_ *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		c := h.signedIn("")
		c.subscribe("s", levels)
		for i := range 30 {
			time.Sleep(100 * time.Millisecond)
			h.room.stock("A", int64(2+i), 4)
		}
		time.Sleep(100 * time.Millisecond)
		c.wants(level("s", 5, 1)) // was on its way
		c.wants(level("s", 4, 31))
	})
}

// The bounds: sockets, operations on one, and the address that has too many.
func TestSocketBounds(t *testing.T) {
	inHall(t, httpapi.StreamLimits{Open: 3, OpenPerAddress: 2, Operations: 2}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		c := h.signedIn("")
		for _, id := range []string{"1", "2"} {
			c.subscribe(id, levels)
			c.wants(level(id, 5, 1))
		}
		c.subscribe("3", levels)
		c.has(`{"id":"3","type":"error"`, `THROTTLED`, `retryAfterMs`)
		c.send(`{"id":"1","type":"complete"}`)
		c.subscribe("3", levels)
		c.wants(level("3", 5, 1))
		h.signedIn("")
		if conn, status, after := h.dial(nil, "graphql-transport-ws"); conn != nil || status != http.StatusServiceUnavailable || after == "" {
			t.Errorf("a third socket of one address: %d", status)
		}
	})
}

// Whoever listens when the node drains is told to come again, elsewhere.
func TestSocketsDrain(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 5)
		c, deaf := h.signedIn(""), h.signedIn("")
		c.subscribe("s", levels)
		c.wants(level("s", 5, 1))
		_ = deaf
		drained := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			drained <- h.gateway.Drain(ctx)
		}()
		c.closes(websocket.StatusGoingAway, "connect again")
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if conn, status, _ := h.dial(nil, "graphql-transport-ws"); conn != nil || status != http.StatusServiceUnavailable {
			t.Errorf("a socket on a node that is leaving: %d", status)
		}
		if a := h.ask("", `{ stock(skus: ["A"]) { available } }`, nil); a.status != http.StatusOK {
			t.Errorf("a query meanwhile: %s", a.text)
		}
	})
}

// listen opens an event stream.
func (h *hall) listen(ctx context.Context, method, target, token, body string) (stream io.ReadCloser, contentType string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://stampede.test"+target, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := (&http.Client{Transport: &http.Transport{DialContext: h.pipes.dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.Body, res.Header.Get("Content-Type")
}

// Server-sent events: the present state, changes, heartbeats; a stream ends
// without complete when its token does, or the node.
func TestEventStreams(t *testing.T) {
	posted := `{"query":"subscription { stockChanged(skus: [\"A\"]) { available } }"}`
	for name, c := range map[string]struct {
		method, target, token, body string
		end                         func(*hall)
		want                        string
	}{
		"until its token ends":  {"POST", "/graphql", asAlice + "@1m", posted, nil, ":\n\nevent: next\ndata: {\"data\":{\"stockChanged\":{\"available\":5}}}\n\nevent: next\ndata: {\"data\":{\"stockChanged\":{\"available\":4}}}\n\n:\n\n:\n\n"},
		"until the node drains": {"POST", "/graphql", "", posted, func(h *hall) { _ = h.gateway.Drain(h.t.Context()) }, ":\n\nevent: next\ndata: {\"data\":{\"stockChanged\":{\"available\":5}}}\n\nevent: next\ndata: {\"data\":{\"stockChanged\":{\"available\":4}}}\n\n"},
		"by GET":                {"GET", "/graphql?query=subscription+%7B+stockChanged%28skus%3A+%5B%22B%22%5D%29+%7B+available+%7D+%7D", "", "", nil, ":\n\nevent: complete\ndata: \n\n"},
		"a query":               {"POST", "/graphql", "", `{"query":"{ stock(skus: [\"A\"]) { available } }"}`, nil, "event: next\ndata: {\"data\":{\"stock\":[{\"available\":5}]}}\n\nevent: complete\ndata: \n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
				h.room.stock("A", 1, 5)
				stream, contentType := h.listen(t.Context(), c.method, c.target, c.token, c.body)
				defer stream.Close()
				go func() {
					time.Sleep(10 * time.Second)
					h.room.stock("A", 2, 4)
					time.Sleep(time.Second)
					if c.end != nil {
						c.end(h)
					}
				}()
				text, err := io.ReadAll(stream)
				if got := string(text); got != c.want || err != nil || contentType != "text/event-stream; charset=utf-8" {
					t.Errorf("%v %s\n%q\nwant\n%q", err, contentType, got, c.want)
				}
				time.Sleep(time.Minute)
			})
		})
	}
	inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
		stream, _ := h.listen(t.Context(), "GET", "/graphql?query=mutation+%7B+logOut%28input%3A+%7BrefreshToken%3A+%22t%22%7D%29+%7B+userErrors+%7B+code+%7D+%7D+%7D", "", "")
		text, _ := io.ReadAll(stream)
		_ = stream.Close()
		if !strings.Contains(string(text), "BAD_REQUEST") || len(h.accounts.called) > 0 {
			t.Errorf("a mutation by GET: %s", text)
		}
		// A client that goes frees what it had.
		h.room.stock("A", 1, 5)
		ctx, cancel := context.WithCancel(t.Context())
		stream, _ = h.listen(ctx, "POST", "/graphql", "", posted)
		defer stream.Close()
		if _, topics := h.gateway.Listening(); topics != 1 {
			t.Errorf("%d topics", topics)
		}
		cancel()
		_, _ = io.Copy(io.Discard, stream)
	})
}

// A subscription has nothing to do in an answer of one piece.
func TestSubscriptionWithoutAStream(t *testing.T) {
	w := newWorld(t)
	if a := w.ask("", levels, nil); a.status != http.StatusBadRequest || a.code() != "BAD_REQUEST" || len(w.caller.sent()) != 0 {
		t.Errorf("%d %s", a.status, a.text)
	}
}
