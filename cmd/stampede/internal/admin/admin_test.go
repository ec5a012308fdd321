package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"stampede/cmd/stampede/internal/admin"
)

type readiness struct {
	Ready bool
	Phase string
	Parts map[string]string
}

func get(t *testing.T, a *admin.Admin, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func ready(t *testing.T, a *admin.Admin) (int, readiness) {
	t.Helper()
	status, body := get(t, a, "/readyz")
	var r readiness
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("readyz is no JSON: %v: %s", err, body)
	}
	return status, r
}

func TestReadyzSaysWhichPartIsMissing(t *testing.T) {
	var store error
	a := admin.New(prometheus.NewRegistry())
	a.Require(admin.Part{Name: "store", Check: func(context.Context) error { return store }})
	a.Require(admin.Part{Name: "broker", Check: func(context.Context) error { return nil }})
	ok := map[string]string{"store": "ok", "broker": "ok"}
	steps := []struct {
		name   string
		change func()
		status int
		want   readiness
	}{
		{"starting", func() {}, 503, readiness{false, "starting", ok}},
		{"serving", func() { a.SetPhase(admin.Serving) }, 200, readiness{true, "serving", ok}},
		{
			"without its store", func() { store = errors.New("disk is full") }, 503,
			readiness{false, "serving", map[string]string{"store": "disk is full", "broker": "ok"}},
		},
		{"store is back", func() { store = nil }, 200, readiness{true, "serving", ok}},
		{"draining", func() { a.SetPhase(admin.Draining) }, 503, readiness{false, "draining", ok}},
	}
	for _, step := range steps {
		step.change()
		status, got := ready(t, a)
		if status != step.status {
			t.Errorf("%s: status %d, want %d", step.name, status, step.status)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

// A part that hangs is reported within the probe's time, and does not hide the
// others.
func TestReadyzDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := admin.New(prometheus.NewRegistry())
		a.SetPhase(admin.Serving)
		a.Require(admin.Part{Name: "store", Check: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		a.Require(admin.Part{Name: "broker", Check: func(context.Context) error { return nil }})
		status, got := ready(t, a)
		want := readiness{false, "serving", map[string]string{"store": "context deadline exceeded", "broker": "ok"}}
		if diff := cmp.Diff(want, got); diff != "" || status != 503 {
			t.Errorf("status %d: %s", status, diff)
		}
	})
}

func TestOtherEndpoints(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Add(3)
	a := admin.New(registry)
	for _, c := range []struct {
		path   string
		status int
		holds  string
	}{
		{"/livez", 200, `"alive":true`},
		{"/metrics", 200, "stampede_test_total 3"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/elsewhere", 404, ""},
	} {
		status, body := get(t, a, c.path)
		if status != c.status || !strings.Contains(body, c.holds) {
			t.Errorf("%s: %d %q, want %d with %q", c.path, status, body, c.status, c.holds)
		}
	}
}
