package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stampede/gateway/web"
)

func TestPages(t *testing.T) {
	store, err := web.Storefront()
	if err != nil {
		t.Fatal(err)
	}
	console, err := web.Console()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, path string
		h                  http.Handler
		status             int
		contentType, holds string
	}{
		{"storefront", "GET", "/", store, 200, "text/html", "storefront.js"},
		{"console", "GET", "/console", console, 200, "text/html", "console.js"},
		{"script", "GET", "/assets/api.js", store, 200, "text/javascript", "export async function call"},
		{"live levels", "GET", "/assets/live.js", store, 200, "text/javascript", "graphql-transport-ws"},
		{"style", "GET", "/assets/style.css", store, 200, "text/css", ":root"},
		{"unknown asset", "GET", "/assets/nothing.js", store, 404, "text/plain", "not found"},
		{"not a way to the other page", "GET", "/assets/console.html", store, 404, "text/plain", "not found"},
		{"climbing out", "GET", "/assets/../web.go", store, 404, "text/plain", ""},
		{"no such page", "GET", "/nothing", store, 404, "text/plain", "not found"},
		{"a health check at the wrong port", "GET", "/readyz", store, 404, "text/plain", "not found"},
		{"nothing below the console", "GET", "/console/nothing", console, 404, "text/plain", "not found"},
		{"console with a slash", "GET", "/console/", console, 200, "text/html", "console.js"},
		{"post", "POST", "/", store, 405, "text/plain", "POST /graphql"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || !strings.HasPrefix(w.Header().Get("Content-Type"), c.contentType) || !strings.Contains(w.Body.String(), c.holds) {
				t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Header().Get("Content-Type"))
			}
			if w.Code == 200 && !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
				t.Error("a page without its content security policy")
			}
		})
	}
}

func TestUnchangedPagesAreNotSentAgain(t *testing.T) {
	h, err := web.Storefront()
	if err != nil {
		t.Fatal(err)
	}
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest("GET", "/", nil))
	again := httptest.NewRequest("GET", "/", nil)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	second := httptest.NewRecorder()
	h.ServeHTTP(second, again)
	if second.Code != http.StatusNotModified {
		t.Errorf("got %d, want 304", second.Code)
	}
}
