package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/cmd/stampede/internal/shop"
)

type placeRequest struct {
	Variables struct {
		Input struct {
			IdempotencyKey string
			Lines          []struct {
				SKU      string
				Quantity int
			}
		}
	}
}

// numbered hands out n orders, one a key.
func numbered(n int64) func(*Task) bool {
	var next atomic.Int64
	return func(t *Task) bool {
		i := next.Add(1)
		if i > n {
			return false
		}
		t.Index, t.Token = int(i), "token"
		t.Body = shop.AppendPlaceOrder(t.Body[:0], fmt.Sprintf("key-%d", i), "SKU", 1)
		return true
	}
}

const acceptedBody = `{"data":{"placeOrder":{"order":{"id":"o","state":"RESERVED","total":{"amount":"1.00","currency":"EUR"},"lines":[{"sku":"SKU","quantity":1,"skuVersion":7}]},"userErrors":[]}}}`

// Every kind of answer that says "later" is repeated with the same key, and
// what is then decided is counted once.
func TestRunRepeatsWithTheSameKey(t *testing.T) {
	const orders = 60
	var mu sync.Mutex
	tries := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request placeRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		if r.Header.Get("authorization") != "Bearer token" || r.URL.Path != "/graphql" || r.Host != r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() {
			t.Errorf("request to %s%s with %v", r.Host, r.URL.Path, r.Header)
		}
		key := request.Variables.Input.IdempotencyKey
		mu.Lock()
		tries[key]++
		try := tries[key]
		mu.Unlock()
		var index int
		if _, err := fmt.Sscanf(key, "key-%d", &index); err != nil {
			t.Error(err)
		}
		if try == 1 {
			switch index % 5 {
			case 0:
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			case 1:
				io.WriteString(w, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"THROTTLED","message":"busy","retryAfterMs":5}]}}}`)
				return
			case 2:
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
				return
			case 3:
				io.WriteString(w, `{"errors":[{"message":"busy","extensions":{"code":"THROTTLED","retryAfterMs":3}}],"data":null}`)
				return
			}
		}
		if index%2 == 0 {
			io.WriteString(w, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"INSUFFICIENT_STOCK","message":"sold out"}]}}}`)
			return
		}
		w.(http.Flusher).Flush() // makes the answer chunked
		io.WriteString(w, acceptedBody)
	}))
	defer server.Close()
	var observed atomic.Int64
	report, err := Run(t.Context(), Options{
		URL: server.URL, Concurrency: 8, Judge: shop.JudgePlaceOrder, Next: numbered(orders),
		Observe: func(task *Task, r Result) {
			observed.Add(1)
			if want := 1 + min(1, (task.Index%5+1)%5); r.Tries != want {
				t.Errorf("order %d took %d tries, want %d", task.Index, r.Tries, want)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tries) != orders {
		t.Errorf("%d keys were sent, want %d", len(tries), orders)
	}
	want := map[string]int64{"HTTP_503": 12, "THROTTLED": 24, connectionLost: 12}
	if diff := cmp.Diff(want, report.Retries); diff != "" {
		t.Errorf("retries: %s", diff)
	}
	if report.Accepted != 30 || report.Refused["INSUFFICIENT_STOCK"] != 30 || report.Unanswered != 0 || len(report.Failed) != 0 {
		t.Errorf("report: %+v", report)
	}
	if n := report.Latency.TotalCount(); n != orders || observed.Load() != orders || report.Answered() != orders {
		t.Errorf("%d timed, %d observed, %d answered, want %d each", n, observed.Load(), report.Answered(), orders)
	}
}

// A wrong request is not repeated.
func TestRunDoesNotRepeatFailures(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"errors":[{"message":"who are you","extensions":{"code":"UNAUTHENTICATED"}}]}`)
	}))
	defer server.Close()
	report, err := Run(t.Context(), Options{URL: server.URL, Concurrency: 2, Judge: shop.JudgePlaceOrder, Next: numbered(10)})
	if err != nil {
		t.Fatal(err)
	}
	if report.Failed["UNAUTHENTICATED: who are you"] != 10 || requests.Load() != 10 {
		t.Errorf("%d requests, %+v", requests.Load(), report)
	}
}

// Nobody answers: tasks are given up, and the end of the context ends the run
// even with requests under way.
func TestRunGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for range 4 { // then all are under way
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				return
			}
		}
		cancel()
		<-t.Context().Done() // nobody is answered
	}()
	report, err := Run(ctx, Options{URL: "http://" + silent.Addr().String(), Concurrency: 4, Judge: shop.JudgePlaceOrder, Next: numbered(100)})
	if err != nil {
		t.Fatal(err)
	}
	if report.Unanswered != 4 || report.Answered() != 0 {
		t.Errorf("report: %+v", report)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("it did not ask four times: %v", ctx.Err())
	}
}

func TestWireRefusesMalformedAnswers(t *testing.T) {
	for _, c := range []struct{ name, answer, body, fault string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", "abcd", ""},
		{"lower case", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", ""},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", ""},
		{"until the end", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nwhat?", "what?", ""},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", "", "malformed"},
		{"no status", "HTTP/1.1 abc OK\r\n\r\n", "", "malformed"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "", "malformed"},
		{"huge", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "", "malformed"},
		{"huge chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n", "", "malformed"},
		{"neither", "HTTP/1.1 200 OK\r\n\r\n", "", "malformed"},
		{"endless header", "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", maxHeaderLines+1), "", "malformed"},
		{"long line", "HTTP/1.1 200 OK\r\na: " + strings.Repeat("b", readBufferBytes) + "\r\n\r\n", "", "buffer full"},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := wire{reader: bufio.NewReaderSize(strings.NewReader(c.answer), readBufferBytes)}
			got, _, err := w.read()
			switch {
			case c.fault == "" && (err != nil || string(got.body) != c.body):
				t.Errorf("%q, %v, want %q", got.body, err, c.body)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("error %v, want %s", err, c.fault)
			}
		})
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ base, address, path string }{
		{"http://127.0.0.1:8080", "127.0.0.1:8080", "/graphql"},
		{"http://shop.example/", "shop.example:80", "/graphql"},
		{"https://shop.example/api/", "shop.example:443", "/api/graphql"},
		{"http://[::1]", "[::1]:80", "/graphql"},
	} {
		got, err := parseTarget(c.base)
		if err != nil || got.address != c.address || got.path != c.path || (got.tls != nil) != strings.HasPrefix(c.base, "https") {
			t.Errorf("%s: %+v, %v", c.base, got, err)
		}
	}
	for _, bad := range []string{"", "shop.example", "ftp://shop.example", "http://", "http://a b"} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("%q was taken for a URL", bad)
		}
	}
}

// The generator's cost of one order, beside a handler that does nothing: what
// it takes away from the server on the same machine.
func BenchmarkPlaceOrder(b *testing.B) {
	body := []byte(acceptedBody)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(body)
	}))
	defer server.Close()
	b.ReportAllocs()
	report, err := Run(b.Context(), Options{URL: server.URL, Concurrency: 64, Judge: shop.JudgePlaceOrder, Next: numbered(int64(b.N))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(report.PerSecond(), "orders/s")
}
