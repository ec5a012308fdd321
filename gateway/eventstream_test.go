package gateway_test

// Subscriptions as server-sent events.

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stampede/gateway/httpapi"
)

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
