// Package admin is a node's private HTTP: is it alive, is it ready, its
// metrics, its profiles. It is never public: profiles show memory, and whoever
// can reach it learns how the node is.
package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTimeout bounds one look at a part. It is shorter than the timeouts that
// orchestrators use for their probes, so that they get an answer.
const checkTimeout = 2 * time.Second

// Phase is where a node is in its life.
type Phase int32

// The phases, in order. Only Serving is ready.
const (
	Starting Phase = iota
	Serving
	Draining
)

// String is the phase as /readyz shows it.
func (p Phase) String() string {
	switch p {
	case Starting:
		return "starting"
	case Serving:
		return "serving"
	case Draining:
		return "draining"
	}
	return "unknown"
}

// Part is something that the node cannot do its work without.
type Part struct {
	Name string
	// Check returns nil when the part works now.
	Check func(context.Context) error
}

// Admin answers the private endpoints. Its methods may be called from any
// goroutine.
type Admin struct {
	phase atomic.Int32
	mux   *http.ServeMux

	mu    sync.Mutex
	parts []Part
}

// New builds the endpoints over the metrics that are gathered.
func New(metrics prometheus.Gatherer) *Admin {
	a := &Admin{mux: http.NewServeMux()}
	a.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	a.mux.HandleFunc("/debug/pprof/", pprof.Index)
	a.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	a.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	a.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return a
}

// Handler is the endpoints.
func (a *Admin) Handler() http.Handler { return a.mux }

// Handle adds an endpoint.
func (a *Admin) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// SetPhase says where the node is in its life.
func (a *Admin) SetPhase(p Phase) { a.phase.Store(int32(p)) }

// Require adds a part that readiness depends on.
func (a *Admin) Require(p Part) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, p)
}

// readiness is what /readyz shows: each part is "ok" or what is wrong with it.
type readiness struct {
	Ready bool              `json:"ready"`
	Phase string            `json:"phase"`
	Parts map[string]string `json:"parts"`
}

func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	answer := a.readiness(r.Context())
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
}

// readiness looks at all parts at the same time: one that hangs does not hide
// the others.
func (a *Admin) readiness(ctx context.Context) readiness {
	a.mu.Lock()
	parts := append([]Part(nil), a.parts...)
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	found := make([]string, len(parts))
	var checks sync.WaitGroup
	for i, part := range parts {
		checks.Go(func() { found[i] = check(ctx, part) })
	}
	checks.Wait()

	phase := Phase(a.phase.Load())
	answer := readiness{Ready: phase == Serving, Phase: phase.String(), Parts: map[string]string{}}
	for i, part := range parts {
		answer.Parts[part.Name] = found[i]
		answer.Ready = answer.Ready && found[i] == partOK
	}
	return answer
}

const partOK = "ok"

func check(ctx context.Context, part Part) string {
	if err := part.Check(ctx); err != nil {
		return err.Error()
	}
	return partOK
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("content-type", "application/json")
	w.Header().Set("cache-control", "no-store")
	w.WriteHeader(status)
	// The client that went away is the only error there is.
	_ = json.NewEncoder(w).Encode(body)
}
