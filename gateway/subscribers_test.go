package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"stampede/gateway"
	"stampede/proto/gen/skupb"
)

// How long a change takes to reach everyone who listens to one SKU, and what
// one who listens costs. The gateway is in this process and the clients in
// another (each has a limit on its open files), with real sockets on loopback
// between them; the SKU is a fake one, so that nothing is measured but the hub and the
// sockets. Latency is from the change to the client's having read it, in
// milliseconds, for 20 changes half a second apart, both processes sharing the machine.
func BenchmarkSubscribers(b *testing.B) {
	for _, n := range []int{1, 1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for range b.N {
				measureSubscribers(b, n)
			}
		})
	}
}

const (
	listenersEnv = "STAMPEDE_TEST_LISTENERS" // how many and where: n@url
	rounds       = 20
)

func measureSubscribers(b *testing.B, n int) {
	b.Helper()
	r := newRoom()
	w := newWorldB(b, r)
	change := func(version int64) {
		r.put("A", &skupb.StockReply{Level: &skupb.Level{Sku: "A", Active: true, Version: version, AsOfMs: time.Now().UnixMilli(), Stock: &skupb.Stock{Available: version}}})
	}
	change(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	before := inUse()

	child := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestListeners$", "-test.v", "-test.timeout=3m")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d@ws://%s/graphql", listenersEnv, n, listener.Addr()))
	child.Stderr = os.Stderr
	said, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	find := func(prefix string) string {
		for lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), prefix); ok {
				return rest
			}
		}
		b.Fatalf("the clients ended without saying %q", prefix)
		return ""
	}
	find("listening")
	b.ReportMetric(float64(inUse()-before)/float64(n), "B/subscriber")
	for i := range rounds {
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // a benchmark: the pace of the changes
		change(int64(2 + i))
	}
	var p50, p99, most, got float64
	if _, err := fmt.Sscan(find("latency "), &p50, &p99, &most, &got); err != nil {
		b.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		b.Error(err)
	}
	b.ReportMetric(p50, "p50-ms")
	b.ReportMetric(p99, "p99-ms")
	b.ReportMetric(most, "max-ms")
	b.ReportMetric(got/float64(n*rounds), "delivered")
	b.ReportMetric(0, "ns/op")
	if err := w.Drain(b.Context()); err != nil {
		b.Error(err)
	}
}

// inUse is what the process holds, heap and stacks.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func newWorldB(b *testing.B, r *room) *gateway.Gateway {
	b.Helper()
	t := &testing.T{}
	var made *gateway.Gateway
	newWorld(t, func(c *gateway.Config) {
		c.Caller, c.Clock = r, time.Now
		c.Limits.HTTP.Streams.InitFor = time.Minute
		g, err := gateway.New(*c)
		if err != nil {
			b.Fatal(err)
		}
		made = g
	})
	return made
}

// TestListeners is the other process of BenchmarkSubscribers.
func TestListeners(t *testing.T) {
	count, url, ok := strings.Cut(os.Getenv(listenersEnv), "@")
	if !ok {
		return // it is the other process of BenchmarkSubscribers, and nothing by itself
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	var (
		byMs    [60_000]atomic.Int64
		ready   sync.WaitGroup
		done    sync.WaitGroup
		dialing = make(chan struct{}, 64)
	)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range n {
		ready.Add(1)
		done.Go(func() {
			dialing <- struct{}{}
			conn, err := listenTo(ctx, url)
			<-dialing
			ready.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.CloseNow() }()
			for {
				_, text, err := conn.Read(ctx)
				if err != nil {
					return
				}
				now := time.Now()
				_, rest, level := bytes.Cut(text, []byte(`"asOf":"`))
				if !level {
					_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"pong"}`))
					continue
				}
				changed, err := time.Parse(time.RFC3339Nano, string(rest[:bytes.IndexByte(rest, '"')]))
				if err != nil {
					t.Error(err)
					return
				}
				byMs[min(max(0, now.Sub(changed).Milliseconds()), int64(len(byMs)-1))].Add(1)
				if bytes.Contains(rest, []byte(fmt.Sprintf(`"version":%d}`, rounds+1))) {
					return
				}
			}
		})
	}
	ready.Wait()
	fmt.Println("listening")
	late := time.AfterFunc(rounds*500*time.Millisecond+30*time.Second, cancel)
	defer late.Stop()
	done.Wait()
	total := int64(0)
	for i := range byMs {
		total += byMs[i].Load()
	}
	quantile := func(q float64) int {
		seen := int64(0)
		for i := range byMs {
			if seen += byMs[i].Load(); float64(seen) >= q*float64(total) {
				return i
			}
		}
		return len(byMs)
	}
	fmt.Println("latency", quantile(.5), quantile(.99), quantile(1), total)
}

// listenTo subscribes and reads the present state.
func listenTo(ctx context.Context, url string) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}}) //nolint:bodyclose // an open socket's is nil
	if err != nil {
		return nil, err
	}
	for _, text := range []string{
		`{"type":"connection_init"}`,
		`{"id":"1","type":"subscribe","payload":{"query":"subscription { stockChanged(skus: [\"A\"], maxPerSecond: 50) { sku available asOf version } }"}}`,
	} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return nil, err
		}
		if _, _, err := conn.Read(ctx); err != nil {
			return nil, err
		}
	}
	return conn, nil
}
