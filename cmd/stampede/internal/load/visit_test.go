package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"stampede/cmd/stampede/internal/shop"
)

// A visitor does what it likes, retries included, on connections of its own.
func TestVisit(t *testing.T) {
	var requests atomic.Int64
	var mu sync.Mutex
	from := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from[r.RemoteAddr] = true
		mu.Unlock()
		if requests.Add(1)%5 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, acceptedBody)
	}))
	defer server.Close()
	var done atomic.Int64
	report, err := Visit(t.Context(), Options{URL: server.URL, Concurrency: 3}, func(ctx context.Context, v *Visitor) {
		for range 10 {
			second := v.Second()
			var both sync.WaitGroup
			both.Go(func() {
				if r := v.Do(ctx, "token", []byte("{}"), shop.JudgePlaceOrder); r.Kind == shop.Accepted {
					done.Add(1)
				}
			})
			both.Go(func() {
				if r := second.Ask(ctx, "token", []byte("{}"), shop.JudgePlaceOrder); r.Kind == shop.Accepted {
					done.Add(1)
				}
			})
			both.Wait()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if done.Load() != 60 || report.Accepted != 30 || report.Latency.TotalCount() != 30 || report.Retries["HTTP_503"] == 0 || report.LongestGap <= 0 {
		t.Errorf("%d were accepted, %+v", done.Load(), report)
	}
	if len(from) != 6 {
		t.Errorf("%d connections, want 2 for each of 3", len(from))
	}
}

func TestVisitNeedsAURL(t *testing.T) {
	if _, err := Visit(t.Context(), Options{URL: "shop.example", Concurrency: 1}, nil); err == nil {
		t.Error("went somewhere")
	}
}
