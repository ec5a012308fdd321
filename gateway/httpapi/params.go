package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"stampede/gateway/fault"
	"stampede/gateway/operation"
)

// wireParams is the body of a request.
type wireParams struct {
	Query         string          `json:"query"`
	OperationName string          `json:"operationName"`
	Variables     map[string]any  `json:"variables"`
	Extensions    *wireExtensions `json:"extensions"`
}

type wireExtensions struct {
	PersistedQuery *struct {
		Version    int    `json:"version"`
		SHA256Hash string `json:"sha256Hash"`
	} `json:"persistedQuery"`
}

func (p *wireParams) params() *operation.Params {
	out := &operation.Params{Query: p.Query, OperationName: p.OperationName, Variables: p.Variables}
	if p.Extensions != nil && p.Extensions.PersistedQuery != nil {
		out.PersistedHash = p.Extensions.PersistedQuery.SHA256Hash
	}
	return out
}

// shapes are what the parts of a request must be.
var shapes = map[string]string{"query": "a string", "operationName": "a string", "variables": "an object", "extensions": "an object"}

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
	var p wireParams
	if f := decode(buf.Bytes(), &p, ""); f != nil {
		return nil, f
	}
	return p.params(), nil
}

func getParams(r *http.Request) (*operation.Params, *fault.Error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the URL's query must be url-encoded parameters")
	}
	p := wireParams{Query: values.Get("query"), OperationName: values.Get("operationName")}
	if v := values.Get("variables"); v != "" {
		if f := decode([]byte(v), &p.Variables, "variables"); f != nil {
			return nil, f
		}
	}
	if v := values.Get("extensions"); v != "" {
		if f := decode([]byte(v), &p.Extensions, "extensions"); f != nil {
			return nil, f
		}
	}
	return p.params(), nil
}

// decode reads exactly one JSON value; part names which one of the request it is.
func decode(text []byte, into any, part string) *fault.Error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return badJSON(part, fmt.Sprintf("there is more after its end, at byte %d", dec.InputOffset()))
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongShape(part, wrong.Field)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return badJSON(part, fmt.Sprintf("it is malformed at byte %d", syntax.Offset))
	}
	return badJSON(part, "it ends too early")
}

func wrongShape(part, field string) *fault.Error {
	path := strings.Split(strings.TrimPrefix(part+"."+field, "."), ".")
	if shape, ok := shapes[path[0]]; ok {
		return &fault.Error{Code: fault.BadRequest, Message: path[0] + " must be " + shape, Field: path[:1]}
	}
	return fault.New(fault.BadRequest, "the body must be one JSON object with query, and optionally operationName, variables and extensions; lists of requests are not taken")
}

func badJSON(part, what string) *fault.Error {
	if part != "" {
		return &fault.Error{Code: fault.BadRequest, Message: part + " must be a JSON object: " + what, Field: []string{part}}
	}
	return fault.New(fault.BadRequest, "the body must be one JSON object: "+what)
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
