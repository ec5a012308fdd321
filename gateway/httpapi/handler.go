// Package httpapi is GraphQL over HTTP: what a request must look like, how many
// are worked on at once, and with which status and headers they are answered.
// It knows no schema and no shop; it hands operations to an engine.
package httpapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/gateway/fault"
	"stampede/gateway/live"
	"stampede/gateway/operation"
)

// Config of a Handler.
type Config struct {
	Engine *operation.Engine
	Limits Limits
	// MaxCost is the most that the engine lets one operation cost.
	MaxCost int
	// Identify finds out who asks and puts it into the context; caller names
	// whose budget the request is charged to, empty: the address's.
	Identify func(ctx context.Context, r *http.Request, requestID string) (with context.Context, caller string)
	// Trusted, if set, tells who pays a hundredth of what an operation costs.
	Trusted func(ctx context.Context) bool
	// Credentials says of a context that Identify made until when who asks is who
	// they are (zero: for ever), and what is wrong with what they sent, if anything is.
	Credentials func(ctx context.Context) (until time.Time, wrong string)
	// Hub is what subscriptions hear of.
	Hub *live.Hub
	// AllowedOrigins are the web origins whose pages may call; "*": any.
	AllowedOrigins []string
	// TrustedProxies may say in X-Forwarded-For whom they speak for.
	TrustedProxies []netip.Prefix
	// Playground answers a browser's GET /graphql; nil: there is none.
	Playground http.Handler
	// Other answers every other path.
	Other  http.Handler
	Logger *slog.Logger
	Clock  func() time.Time
}

// Handler serves /graphql itself and hands other paths on.
type Handler struct {
	Config
	limits  Limits
	gate    *gate
	rates   *rates
	origins origins
	buffers sync.Pool
	streams streams
}

// New checks the limits and makes a handler.
func New(c Config) (*Handler, error) {
	limits := c.Limits.orDefault()
	if err := limits.validate(c.MaxCost); err != nil {
		return nil, err
	}
	rates, err := newRates(limits)
	if err != nil {
		return nil, err
	}
	h := &Handler{Config: c, limits: limits, gate: newGate(limits), rates: rates, origins: newOrigins(c.AllowedOrigins)}
	h.streams.limits = limits.Streams
	h.buffers.New = func() any { return new(bytes.Buffer) }
	return h, nil
}

// maxPooledBytes keeps a rare large buffer from staying for ever.
const maxPooledBytes = 64 << 10

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID(r)
	header := w.Header()
	header["X-Request-Id"] = []string{id}
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			h.Logger.Error("request panicked", "request_id", id, "panic", p, "stack", string(debug.Stack()))
			h.fail(w, r, http.StatusInternalServerError, fault.New(fault.Internal, "something went wrong on our side"))
		}
	}()
	if r.URL.Path != "/graphql" {
		h.Other.ServeHTTP(w, r)
		return
	}
	h.origins.allow(header, r)
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, id)
	case http.MethodGet:
		h.get(w, r, id)
	case http.MethodOptions:
		header["Allow"] = []string{"GET, POST, OPTIONS"}
		w.WriteHeader(http.StatusNoContent)
	default:
		header["Allow"] = []string{"GET, POST, OPTIONS"}
		h.fail(w, r, http.StatusMethodNotAllowed, fault.New(fault.BadRequest, "the method must be POST, or GET for queries"))
	}
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request, id string) {
	buf := h.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	params, f := h.postParams(w, r, buf)
	if buf.Cap() <= maxPooledBytes {
		h.buffers.Put(buf)
	}
	if f != nil {
		h.fail(w, r, badRequestStatus(f), f)
		return
	}
	h.run(w, r, id, params)
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request, id string) {
	if isUpgrade(r) {
		h.socket(w, r, id)
		return
	}
	if h.Playground != nil && r.URL.RawQuery == "" && wantsPage(r) {
		h.Playground.ServeHTTP(w, r)
		return
	}
	params, f := getParams(r)
	if f != nil {
		h.fail(w, r, badRequestStatus(f), f)
		return
	}
	h.run(w, r, id, params)
}

// run answers a request whose parts are well-formed.
func (h *Handler) run(w http.ResponseWriter, r *http.Request, id string, params *operation.Params) {
	if WantsEvents(r.Header) {
		h.events(w, r, id, params)
		return
	}
	if !h.gate.enter(r.Context()) {
		h.overloaded(w, r)
		return
	}
	out := h.work(w.Header(), r, id, params)
	if out.wait > 0 {
		h.throttled(w, r, out.wait)
		return
	}
	h.write(w, r, out.status, out.res, out.cost)
}

// outcome is what a request comes to.
type outcome struct {
	status int
	res    *operation.Response
	cost   int
	// wait is how long the caller's budget takes until the request can be paid for; nothing was done.
	wait time.Duration
}

// work does what takes one of the gate's places, and gives the place back: a
// client that is slow to read its answer keeps only its own connection busy.
func (h *Handler) work(header http.Header, r *http.Request, id string, params *operation.Params) outcome {
	defer h.gate.leave()
	ctx, cancel := context.WithTimeout(entity.WithTrace(r.Context(), traceparent(r)), h.limits.Timeout)
	defer cancel()
	ctx, caller := h.Identify(ctx, r, id)
	if caller == "" && h.rates != nil {
		caller = ClientAddress(r, h.TrustedProxies)
	}
	now := h.Clock()
	if wait := h.rates.take(caller, arrivalPoints, now); wait > 0 {
		return outcome{wait: wait}
	}
	op, errs := h.Engine.Prepare(params)
	if errs != nil {
		h.rates.take(caller, refusedPoints, now)
		return outcome{status: requestErrorStatus(r, errs), res: &operation.Response{Errors: errs}}
	}
	if op.IsSubscription() {
		h.rates.take(caller, refusedPoints, now)
		errs := operation.Fail(fault.New(fault.BadRequest, "a subscription needs a WebSocket with the subprotocol "+subprotocol+", or accept: "+mediaEvents))
		return outcome{status: http.StatusBadRequest, res: errs}
	}
	if r.Method == http.MethodGet && !op.IsQuery() {
		header["Allow"] = []string{"POST"}
		return outcome{status: http.StatusMethodNotAllowed, res: operation.Fail(fault.New(fault.BadRequest, "GET is for queries only: send a mutation by POST"))}
	}
	if wait := h.rates.take(caller, h.price(ctx, op), now); wait > 0 {
		return outcome{wait: wait}
	}
	res := h.Engine.Execute(ctx, op)
	status := http.StatusOK
	if res.Data == nil { // it panicked outside all fields
		status = http.StatusInternalServerError
	}
	return outcome{status: status, res: res, cost: op.Cost}
}

// price is what an operation costs its caller, on top of its arrival.
func (h *Handler) price(ctx context.Context, op *operation.Operation) int {
	price := op.Cost - arrivalPoints
	if h.Trusted != nil && h.Trusted(ctx) {
		price = (price + trustedShare - 1) / trustedShare
	}
	return price
}

const (
	// arrivalPoints are charged before anything is parsed.
	arrivalPoints = 1
	// refusedPoints are charged for a document that could not be executed: parsing was work too.
	refusedPoints = 10
	// trustedShare is what part of a price trusted callers pay: an operator's
	// import is a hundred thousand products within a minute.
	trustedShare = 100
)
