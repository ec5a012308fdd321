// Package balancer is a small load balancer for a cluster on one machine, in the
// place of the one in front of a real cluster: it asks each node whether it is
// ready, and sends each request to the next one that is. WebSockets and event
// streams pass through.
package balancer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Node is where one node is.
type Node struct {
	// URL is its public address, Admin that of its /readyz.
	URL, Admin string
}

// How often nodes are asked, and how long they may take.
const (
	checkEvery = 500 * time.Millisecond
	checkFor   = 2 * time.Second
	// maxIdlePerNode keeps connections for the next requests.
	maxIdlePerNode = 256
)

// Balancer sends requests to nodes. Watch must run for it to notice who is
// ready; until then all are taken to be.
type Balancer struct {
	nodes   []*node
	next    atomic.Uint64
	proxy   *httputil.ReverseProxy
	through *http.Transport
	checks  *http.Client
}

type node struct {
	url   *url.URL
	admin string
	down  atomic.Bool
}

// New balances between the nodes.
func New(nodes []Node, log *slog.Logger) (*Balancer, error) {
	b := &Balancer{
		through: &http.Transport{MaxIdleConnsPerHost: maxIdlePerNode, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext},
		checks:  &http.Client{Timeout: checkFor, Transport: &http.Transport{}},
	}
	for _, n := range nodes {
		u, err := url.Parse(n.URL)
		if err != nil {
			return nil, err
		}
		b.nodes = append(b.nodes, &node{url: u, admin: n.Admin})
	}
	b.proxy = &httputil.ReverseProxy{
		Transport: b,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() }, // in place of what the caller says of itself
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			if errors.Is(err, errNobody) {
				status = http.StatusServiceUnavailable
				w.Header().Set("Retry-After", "1")
			}
			w.WriteHeader(status)
		},
	}
	return b, nil
}

// ServeHTTP implements http.Handler.
func (b *Balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.proxy.ServeHTTP(w, r) }

var errNobody = errors.New("no node is ready")

// RoundTrip implements http.RoundTripper: it sends a request to a node that is
// ready. A connection that could not be made has asked nothing, so the next node
// is tried. What a node may have seen is not sent again: that is the client's to
// decide, who has the idempotency key.
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	err := errNobody
	for range b.nodes {
		n := b.ready()
		if n == nil {
			break
		}
		tried := r.Clone(r.Context())
		tried.URL.Scheme, tried.URL.Host = n.url.Scheme, n.url.Host
		if body != nil {
			tried.Body = io.NopCloser(body) // a refused connection must not end it
		}
		var answer *http.Response
		if answer, err = b.through.RoundTrip(tried); err == nil {
			return answer, nil
		}
		if !notSent(err) {
			return nil, err
		}
		n.down.Store(true)
	}
	return nil, err
}

func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ready is the next node that is; nil: none is.
func (b *Balancer) ready() *node {
	for range b.nodes {
		n := b.nodes[b.next.Add(1)%uint64(len(b.nodes))]
		if !n.down.Load() {
			return n
		}
	}
	return nil
}

// Watch asks the nodes whether they are ready until ctx ends.
func (b *Balancer) Watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	defer b.checks.CloseIdleConnections()
	defer b.through.CloseIdleConnections()
	for {
		var asking sync.WaitGroup
		for _, n := range b.nodes {
			asking.Go(func() { n.down.Store(!b.isReady(ctx, n)) })
		}
		asking.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Balancer) isReady(ctx context.Context, n *node) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.admin+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := b.checks.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}
