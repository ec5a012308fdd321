package testshop

// Subscriptions, as far as the first thing that comes.

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// listenFor is how long Listen waits for what may never come.
const listenFor = 500 * time.Millisecond

// Listen subscribes on this node, and returns the first thing that it is sent; ""
// if nothing comes for a while.
func (n *Node) Listen(ctx context.Context, token, body string) string {
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	r := request(ctx, token, body)
	r.Header.Set("Accept", "text/event-stream")
	heard := &firstHeard{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	n.handler.ServeHTTP(heard, r)
	for lines := bufio.NewScanner(bytes.NewReader(heard.Body.Bytes())); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && data != "" {
			return data
		}
	}
	return ""
}

// firstHeard ends a stream when something was sent on it.
type firstHeard struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

var _ http.Flusher = (*firstHeard)(nil)

func (f *firstHeard) Write(p []byte) (int, error) {
	n, err := f.ResponseRecorder.Write(p)
	if bytes.Contains(f.Body.Bytes(), []byte("data: {")) && bytes.HasSuffix(f.Body.Bytes(), []byte("\n\n")) {
		f.cancel()
	}
	return n, err
}
