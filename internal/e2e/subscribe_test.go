package e2e

// Who listens when a node goes: told to come again by a drain, cut off by a
// crash, and in both cases going on where they were.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// listener is a socket with one subscription to an order.
type listener struct{ conn *websocket.Conn }

func listen(ctx context.Context, url, token, orderID string, after int64) (*listener, error) {
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}}) //nolint:bodyclose // an open socket's is nil
	if err != nil {
		return nil, err
	}
	l := &listener{conn}
	for _, text := range []string{
		fmt.Sprintf(`{"type":"connection_init","payload":{"authorization":"Bearer %s"}}`, token),
		fmt.Sprintf(`{"id":"1","type":"subscribe","payload":{"query":"subscription($id: ID!, $after: Int) { orderChanged(id: $id, afterVersion: $after) { state version } }","variables":{"id":%q,"after":%d}}}`, orderID, after),
	} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return nil, errors.Join(err, conn.CloseNow())
		}
	}
	return l, nil
}

type orderState struct {
	State   string
	Version int64
}

// next is the next state of the order.
func (l *listener) next(ctx context.Context) (orderState, error) {
	for {
		_, text, err := l.conn.Read(ctx)
		if err != nil {
			return orderState{}, err
		}
		var m struct {
			Type    string
			Payload json.RawMessage
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return orderState{}, err
		}
		switch m.Type {
		case "connection_ack", "ping":
			continue
		case "next":
			var payload struct {
				Data struct{ OrderChanged orderState }
			}
			err := json.Unmarshal(m.Payload, &payload)
			return payload.Data.OrderChanged, err
		}
		return orderState{}, fmt.Errorf("unexpected: %s", text)
	}
}

func TestListenersOutliveTheNode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, 1, variant{"ONE", "1.00", 10})
	alice := sh.customers[0]
	placed, err := alice.place(ctx, "key", "", want{"ONE", 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(ctx, s.url, alice.token, placed.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := l.next(ctx)
	if err != nil || seen.State != "RESERVED" {
		t.Fatalf("%+v, %v", seen, err)
	}
	stream := openStream(ctx, t, s.url)

	s.terminate()
	var closed websocket.CloseError
	if state, err := l.next(ctx); !errors.As(err, &closed) || closed.Code != websocket.StatusGoingAway {
		t.Errorf("%+v, %v: want it closed with 1001", state, err)
	}
	if text, err := io.ReadAll(stream); err != nil || !strings.Contains(string(text), `"sku":"ONE"`) || strings.Contains(string(text), "complete") {
		t.Errorf("the event stream ended with %v: %s", err, text)
	}
	s.ended()

	// The next process: nothing that was seen already, then the change, and then a crash.
	s = serve(t, dir)
	sh.at.set(s)
	if l, err = listen(ctx, s.url, alice.token, placed.ID, seen.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := settle(ctx, func() (*order, error) { return alice.pay(ctx, "pay", placed.ID, "tok_ok") }); err != nil {
		t.Fatal(err)
	}
	before := seen
	for seen.State != "CONFIRMED" {
		if seen, err = l.next(ctx); err != nil || seen.Version <= before.Version {
			t.Fatalf("%+v after %+v, %v", seen, before, err)
		}
	}
	s.kill()
	if state, err := l.next(ctx); err == nil {
		t.Errorf("a killed node says %+v", state)
	}

	// What a listener was told is what the next process knows.
	s = serve(t, dir)
	if l, err = listen(ctx, s.url, alice.token, placed.ID, 0); err != nil {
		t.Fatal(err)
	}
	if now, err := l.next(ctx); err != nil || now.Version < seen.Version || now.State != "CONFIRMED" {
		t.Errorf("%+v after %+v, %v", now, seen, err)
	}
	if err := l.conn.CloseNow(); err != nil {
		t.Error(err)
	}
	s.checkPublished()
	s.stop()
}

// openStream listens to a SKU over server-sent events.
func openStream(ctx context.Context, t *testing.T, url string) io.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/graphql", strings.NewReader(`{"query":"subscription { stockChanged(skus: [\"ONE\"]) { sku } }"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res.Body
}
