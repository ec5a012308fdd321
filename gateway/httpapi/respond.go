package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
	"stampede/gateway/operation"
)

// write sends a response. Cost is told when something was executed.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, status int, res *operation.Response, cost int) {
	buf := h.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	buf.WriteByte('{')
	if len(res.Errors) > 0 {
		buf.WriteString(`"errors":`)
		writeErrors(buf, res.Errors)
	}
	if res.Data != nil {
		if len(res.Errors) > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString(`"data":`)
		buf.Write(res.Data)
		buf.WriteString(`,"extensions":{"cost":{"requested":`)
		buf.Write(strconv.AppendInt(buf.AvailableBuffer(), int64(cost), 10))
		buf.WriteString(`,"limit":`)
		buf.Write(strconv.AppendInt(buf.AvailableBuffer(), int64(h.MaxCost), 10))
		buf.WriteString(`}}`)
	}
	buf.WriteByte('}')
	header := w.Header()
	header["Content-Type"] = []string{accepted(r.Header["Accept"]) + charset}
	header["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	header["Cache-Control"] = []string{"no-store"}
	header["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // a client that has gone is told nothing
	if buf.Cap() <= maxPooledBytes {
		h.buffers.Put(buf)
	}
}

func writeErrors(buf *bytes.Buffer, errs gqlerror.List) {
	text, err := json.Marshal(errs)
	if err != nil { // extensions are strings and numbers only
		text = []byte(`[{"message":"something went wrong on our side","extensions":{"code":"INTERNAL"}}]`)
	}
	buf.Write(text)
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, status int, f *fault.Error) {
	h.write(w, r, status, operation.Fail(f), 0)
}

// overloaded is the quick answer when there is no place: HTTP 503 with a delay.
func (h *Handler) overloaded(w http.ResponseWriter, r *http.Request) {
	h.later(w, r, http.StatusServiceUnavailable, &fault.Error{Code: fault.Throttled, Message: "too many requests are being worked on; nothing was done"}, time.Second)
}

func (h *Handler) throttled(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	h.later(w, r, http.StatusTooManyRequests, &fault.Error{Code: fault.Throttled, Message: "your budget is used up for the moment; nothing was done"}, wait)
}

func (h *Handler) later(w http.ResponseWriter, r *http.Request, status int, f *fault.Error, wait time.Duration) {
	f.RetryAfterMs = max(wait.Milliseconds(), 1)
	seconds := max(int64((wait+time.Second-1)/time.Second), 1)
	w.Header()["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
	h.fail(w, r, status, f)
}

// badRequestStatus is the status of a request that is not well-formed.
func badRequestStatus(f *fault.Error) int {
	switch {
	case f.Code == fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case f == errMediaType:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// requestErrorStatus follows GraphQL over HTTP: a document or variables that
// cannot be executed are 400 to those who accept the newer media type, and 200
// to those who only know JSON; a request without a document is 400 to both.
func requestErrorStatus(r *http.Request, errs gqlerror.List) int {
	if errs[0].Extensions["code"] == string(fault.BadRequest) || accepted(r.Header["Accept"]) == mediaGraphQL {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// wantsPage reports a browser.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
