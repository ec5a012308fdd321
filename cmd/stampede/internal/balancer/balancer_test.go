package balancer_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"stampede/cmd/stampede/internal/balancer"
)

// fakeNode answers with its name and the request's body.
type fakeNode struct {
	*httptest.Server
	ready atomic.Bool
	asked atomic.Int64
}

func newNode(t *testing.T, name string) *fakeNode {
	t.Helper()
	n := &fakeNode{}
	n.ready.Store(true)
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !n.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }() // it may be closed already
		kind, message, err := c.Read(r.Context())
		if err == nil {
			err = c.Write(r.Context(), kind, message)
		}
		if err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", name, body, r.Header.Get("X-Forwarded-For"))
	})
	n.Server = httptest.NewServer(mux)
	t.Cleanup(n.Close)
	return n
}

func balance(t *testing.T, nodes ...*fakeNode) (url string, watch func()) {
	t.Helper()
	var all []balancer.Node
	for _, n := range nodes {
		all = append(all, balancer.Node{URL: n.URL, Admin: n.URL})
	}
	b, err := balancer.New(all, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return server.URL, func() {
		ctx, cancel := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() { b.Watch(ctx) })
		t.Cleanup(func() { cancel(); watching.Wait() })
	}
}

func post(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Forwarded-For", "8.8.8.8")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// All nodes are asked, and told who asks, not what who asks says of itself.
func TestSpreads(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	url, _ := balance(t, a, b)
	for range 10 {
		if status, body := post(t, url); status != http.StatusOK || !strings.HasSuffix(body, " order 127.0.0.1") {
			t.Fatalf("%d %q", status, body)
		}
	}
	if a.asked.Load() != 5 || b.asked.Load() != 5 {
		t.Errorf("asked %d and %d times", a.asked.Load(), b.asked.Load())
	}
}

// A request that found nobody listening goes to another node, body and all.
func TestGoesOnAtAnotherNode(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	url, _ := balance(t, a, b)
	a.Close()
	for range 4 {
		if status, body := post(t, url); status != http.StatusOK || body != "b order 127.0.0.1" {
			t.Fatalf("%d %q", status, body)
		}
	}
	b.Close()
	if status, _ := post(t, url); status != http.StatusBadGateway {
		t.Errorf("nobody listens: %d", status)
	}
	if status, _ := post(t, url); status != http.StatusServiceUnavailable {
		t.Errorf("nobody is ready: %d", status)
	}
}

// A node that says that it is not ready gets no more requests.
func TestLeavesOutWhoIsNotReady(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	a.ready.Store(false)
	url, watch := balance(t, a, b)
	watch()
	within(t, func() bool {
		before := a.asked.Load()
		for range 4 {
			post(t, url)
		}
		return a.asked.Load() == before
	})
	a.ready.Store(true)
	within(t, func() bool {
		before := a.asked.Load()
		post(t, url)
		post(t, url)
		return a.asked.Load() > before
	})
}

func within(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !what(); {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestWebSocket(t *testing.T) {
	url, _ := balance(t, newNode(t, "a"))
	c, _, err := websocket.Dial(t.Context(), url+"/socket", nil) //nolint:bodyclose // the socket has taken it over
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }() // it may be closed already
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := c.Read(t.Context()); err != nil || string(message) != "hello" {
		t.Errorf("%q %v", message, err)
	}
}
