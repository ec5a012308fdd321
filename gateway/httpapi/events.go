package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/actors/entity"
	"stampede/gateway/operation"
)

// GraphQL over server-sent events, "distinct connections mode"
// (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md): each
// operation is a request whose answer is a stream of `next` and one `complete`.
// A stream that ends without `complete` was cut short: the client asks again.

const mediaEvents = "text/event-stream"

// WantsEvents reports a client that takes a stream of events before anything else.
func WantsEvents(h http.Header) bool {
	for _, value := range h["Accept"] {
		first, _, _ := strings.Cut(value, ",")
		media, _, _ := strings.Cut(first, ";")
		if strings.EqualFold(strings.TrimSpace(media), mediaEvents) {
			return true
		}
	}
	return false
}

// eventStream is one such answer. It is its request's goroutine.
type eventStream struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	ctrl *http.ResponseController
	news chan struct{} // holds one: there may be something to take
	over chan struct{} // closed: end now
	once sync.Once
}

// leave implements ender: the stream ends, and its client connects again.
func (e *eventStream) leave() { e.once.Do(func() { close(e.over) }) }

// cut implements ender.
func (e *eventStream) cut() {
	e.leave()
	_ = e.ctrl.SetWriteDeadline(time.Unix(1, 0)) // a writer that hangs notices; without deadlines none hangs
}

// notify never blocks.
func (e *eventStream) notify() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// events answers a request with a stream.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, id string, params *operation.Params) {
	e := &eventStream{h: h, w: w, r: r, ctrl: http.NewResponseController(w), news: make(chan struct{}, 1), over: make(chan struct{})}
	address := ClientAddress(r, h.TrustedProxies)
	if f := h.streams.enter(e, address); f != nil {
		h.later(w, r, http.StatusServiceUnavailable, f, time.Second)
		return
	}
	defer h.streams.exit(e)
	defer e.writable() // for the end of the answer
	ctx, caller := h.Identify(entity.WithTrace(r.Context(), traceparent(r)), r, id)
	if caller == "" && h.rates != nil {
		caller = address
	}
	_ = e.ctrl.SetReadDeadline(time.Time{}) // the request was read; a server without deadlines needs none lifted
	begun, errs := h.start(ctx, caller, params, r.Method == http.MethodGet)
	header := w.Header()
	header["Content-Type"] = []string{mediaEvents + charset}
	header["Cache-Control"] = []string{"no-store"}
	header["X-Accel-Buffering"] = []string{"no"} // proxies pass each event on at once
	header["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(http.StatusOK)
	switch {
	case errs != nil:
		e.errors(errs)
	case begun.source == nil:
		_ = e.send("next", appendResponse(nil, begun.res)) && e.send("complete", nil)
	default:
		e.stream(ctx, begun)
	}
}

// stream sends a subscription's events until there are no more.
func (e *eventStream) stream(ctx context.Context, begun *started) {
	sub, err := e.h.Hub.Subscribe(*begun.source, e.notify)
	if err != nil {
		e.errors(failed(err))
		return
	}
	defer sub.Close()
	if !e.comment() { // so that the client knows that it listens
		return
	}
	expired := make(<-chan time.Time)
	if until, _ := e.h.Credentials(ctx); !until.IsZero() {
		timer := time.NewTimer(until.Sub(e.h.Clock()))
		defer timer.Stop()
		expired = timer.C
	}
	beat := time.NewTicker(e.h.limits.Streams.PingEvery)
	defer beat.Stop()
	for {
		taken := sub.Take(time.Now())
		switch {
		case taken.State != nil:
			if !e.send("next", e.h.event(e.fresh(ctx, begun), nil, begun, taken.State)) {
				return
			}
			continue
		case taken.Err != nil:
			e.errors(failed(taken.Err))
			return
		case taken.Done:
			e.send("complete", nil)
			return
		}
		if !e.wait(taken.Wait, taken.Again, beat.C, expired) {
			return
		}
	}
}

// wait waits for something to take; false: the stream is over.
func (e *eventStream) wait(pace, again time.Duration, beat, expired <-chan time.Time) bool {
	later := make(<-chan time.Time)
	if d := max(pace, again); d > 0 { // at most one of the two is set
		timer := time.NewTimer(d)
		defer timer.Stop()
		later = timer.C
	}
	news := e.news
	if pace > 0 {
		news = nil // nothing is taken before, and what there is then is found then
	}
	select {
	case <-news:
		return true
	case <-later:
		return true
	case <-beat:
		// A key may have been revoked meanwhile.
		ctx, _ := e.h.Identify(e.r.Context(), e.r, "")
		_, wrong := e.h.Credentials(ctx)
		return wrong == "" && e.comment()
	case <-expired: // the client comes again with another token
	case <-e.over:
	case <-e.r.Context().Done():
	}
	return false
}

// fresh is a context to execute one event in: what one has loaded is not the
// next one's.
func (e *eventStream) fresh(ctx context.Context, begun *started) context.Context {
	if begun.op.Way() == nil {
		ctx, _ = e.h.Identify(ctx, e.r, requestID(e.r))
	}
	return ctx
}

func (e *eventStream) errors(errs gqlerror.List) {
	_ = e.send("next", appendResponse(nil, &operation.Response{Errors: errs})) && e.send("complete", nil)
}

// comment is what keeps a quiet connection from being taken for dead.
func (e *eventStream) comment() bool { return e.write([]byte(":\n\n")) }

func (e *eventStream) send(event string, data []byte) bool {
	b := make([]byte, 0, len(data)+len("event: complete\ndata: \n\n"))
	b = append(b, "event: "...)
	b = append(b, event...)
	b = append(b, "\ndata: "...)
	b = append(b, bytes.ReplaceAll(data, []byte("\n"), []byte(" "))...) // in JSON only space
	return e.write(append(b, "\n\n"...))
}

// write sends at once, and is false for a client that has gone or does not read.
func (e *eventStream) write(b []byte) bool {
	e.writable()
	if _, err := e.w.Write(b); err != nil {
		return false
	}
	return e.ctrl.Flush() == nil
}

// writable gives the client its time for what is written next.
func (e *eventStream) writable() {
	_ = e.ctrl.SetWriteDeadline(time.Now().Add(e.h.limits.Streams.WriteFor)) // where there are no deadlines, nothing blocks
}
