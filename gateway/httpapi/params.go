package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"stampede/gateway/fault"
	"stampede/gateway/operation"
)

// paramsOf reads the parts of a request. Each may be absent or null.
func paramsOf(parts map[string]any) (*operation.Params, *fault.Error) {
	p := &operation.Params{}
	var ok bool
	if p.Query, ok = as[string](parts["query"]); !ok {
		return nil, wrongShape("query", "a string")
	}
	if p.OperationName, ok = as[string](parts["operationName"]); !ok {
		return nil, wrongShape("operationName", "a string")
	}
	if p.Variables, ok = as[map[string]any](parts["variables"]); !ok {
		return nil, wrongShape("variables", "an object")
	}
	extensions, ok := as[map[string]any](parts["extensions"])
	if !ok {
		return nil, wrongShape("extensions", "an object")
	}
	persisted, ok := as[map[string]any](extensions["persistedQuery"])
	if ok {
		p.PersistedHash, ok = as[string](persisted["sha256Hash"])
	}
	if !ok {
		return nil, wrongShape("extensions", "an object, and persistedQuery in it an object with the string sha256Hash")
	}
	return p, nil
}

// as is the zero value for what is absent or null, and false for another type.
func as[T any](v any) (T, bool) {
	t, ok := v.(T)
	return t, ok || v == nil
}

func wrongShape(part, shape string) *fault.Error {
	return &fault.Error{Code: fault.BadRequest, Message: part + " must be " + shape, Field: []string{part}}
}

// postParams reads the body into buf, which the caller may use again afterwards.
func (h *Handler) postParams(w http.ResponseWriter, r *http.Request, buf *bytes.Buffer) (*operation.Params, *fault.Error) {
	if f := checkContentType(r.Header); f != nil {
		return nil, f
	}
	if r.ContentLength > h.limits.BodyBytes {
		return nil, tooLarge(h.limits.BodyBytes)
	}
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, h.limits.BodyBytes)); err != nil {
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return nil, tooLarge(h.limits.BodyBytes)
		}
		return nil, fault.New(fault.BadRequest, "the body could not be read to its end")
	}
	v, err := readJSON(buf.Bytes())
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the body must be one JSON object: "+err.Error())
	}
	parts, ok := v.(map[string]any)
	if !ok {
		return nil, fault.New(fault.BadRequest, "the body must be one JSON object with query, and optionally operationName, variables and extensions; lists of requests are not taken")
	}
	return paramsOf(parts)
}

func getParams(r *http.Request) (*operation.Params, *fault.Error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the URL's query must be url-encoded parameters")
	}
	parts := map[string]any{"query": values.Get("query"), "operationName": values.Get("operationName")}
	for _, part := range [...]string{"variables", "extensions"} {
		text := values.Get(part)
		if text == "" {
			continue
		}
		if parts[part], err = readJSON([]byte(text)); err != nil {
			return nil, wrongShape(part, "a JSON object: "+err.Error())
		}
	}
	return paramsOf(parts)
}

func tooLarge(limit int64) *fault.Error {
	return fault.New(fault.TooLarge, fmt.Sprintf("the body must be at most %d bytes", limit))
}

// errMediaType is told apart because it has a status of its own.
var errMediaType = fault.New(fault.BadRequest, "content-type must be application/json in UTF-8, without content-encoding")

func checkContentType(h http.Header) *fault.Error {
	sent := h["Content-Type"]
	if len(h["Content-Encoding"]) > 0 || len(sent) != 1 {
		return errMediaType
	}
	if sent[0] == mediaJSON {
		return nil
	}
	media, params, err := mime.ParseMediaType(sent[0])
	if err != nil || media != mediaJSON || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
		return errMediaType
	}
	return nil
}
