package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"stampede/gateway/httpapi"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
)

const (
	levels  = `subscription { stockChanged(skus: ["A"], maxPerSecond: 50) { sku available version } }`
	changes = `subscription { orderChanged(id: "` + anOrder + `") { id state version } }`
)

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
