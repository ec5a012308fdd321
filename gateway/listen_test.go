package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble is t.Run with a clock of its own.
func inBubble(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, do)
	})
}

// askOrListen asks, and listens to a subscription for a second: its first event
// is the answer, or that there was none.
func (w *world) askOrListen(document, header, credentials string) *answer {
	w.t.Helper()
	body := `{"query":` + quote(document) + `}`
	if !strings.HasPrefix(document, "subscription") {
		return w.post("", body, header, credentials)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set(header, credentials)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	a := &answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	for lines := bufio.NewScanner(strings.NewReader(a.text)); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: {"); ok {
			if err := json.Unmarshal([]byte("{"+data), a); err != nil {
				w.t.Fatalf("%v in %s", err, a.text)
			}
			break
		}
	}
	return a
}
