package httpapi

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

const (
	mediaJSON    = "application/json"
	mediaGraphQL = "application/graphql-response+json"
	charset      = "; charset=utf-8"
)

// requestID is the client's own, where it is one that a log can hold, or a new one.
func requestID(r *http.Request) string {
	if own := r.Header["X-Request-Id"]; len(own) == 1 && len(own[0]) <= 64 && own[0] != "" && strings.Trim(own[0], idCharacters) == "" {
		return own[0]
	}
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], rand.Uint64())
	return hex.EncodeToString(raw[:])
}

const idCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// traceparent is the W3C trace context for what the request causes: the
// client's trace with a span of ours, or a new trace.
func traceparent(r *http.Request) string {
	var raw [24]byte
	binary.LittleEndian.PutUint64(raw[0:], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[16:], rand.Uint64()|1) // never zero
	var out [55]byte
	copy(out[:], "00-")
	hex.Encode(out[3:], raw[:16])
	out[35] = '-'
	hex.Encode(out[36:], raw[16:])
	copy(out[52:], "-00")
	if sent := r.Header["Traceparent"]; len(sent) == 1 && validTraceparent(sent[0]) {
		copy(out[3:35], sent[0][3:35])
		copy(out[53:], sent[0][53:55])
	}
	return string(out[:])
}

func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	return lowerHex(s[3:35]) && lowerHex(s[36:52]) && lowerHex(s[53:]) &&
		strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// accepted is the media type of the answer: the newer one where the client
// prefers it, else JSON, also for those that name neither.
func accepted(header []string) string {
	if len(header) == 1 {
		switch header[0] {
		case "", "*/*", mediaJSON:
			return mediaJSON
		case mediaGraphQL:
			return mediaGraphQL
		}
	}
	best, bestWeight := mediaJSON, 0.0
	for part := range strings.SplitSeq(strings.Join(header, ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil || (media != mediaJSON && media != mediaGraphQL) {
			continue
		}
		weight := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			weight = q
		}
		if weight > bestWeight {
			best, bestWeight = media, weight
		}
	}
	return best
}

// origins are the web origins whose pages may call the API.
type origins struct {
	any  bool
	each map[string]bool
}

func newOrigins(allowed []string) origins {
	o := origins{each: make(map[string]bool, len(allowed))}
	for _, origin := range allowed {
		o.any = o.any || origin == "*"
		o.each[strings.TrimSuffix(strings.ToLower(origin), "/")] = true
	}
	return o
}

// allow sets the CORS headers. There are no cookies, so no credentials are allowed.
func (o origins) allow(h http.Header, r *http.Request) {
	if len(o.each) == 0 {
		return
	}
	h["Vary"] = []string{"Origin"}
	origin := r.Header.Get("Origin")
	if origin == "" || (!o.any && !o.each[strings.ToLower(origin)]) {
		return
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = []string{"x-request-id, retry-after"}
	if r.Method == http.MethodOptions {
		h["Access-Control-Allow-Methods"] = []string{"GET, POST, OPTIONS"}
		h["Access-Control-Allow-Headers"] = []string{"authorization, content-type, traceparent, x-api-key, x-request-id"}
		h["Access-Control-Max-Age"] = []string{"7200"}
	}
}

// ClientAddress is who is calling: the peer, or behind proxies that are
// trusted the last address before them. Empty on this machine itself: that is
// an operator, or a proxy that nobody said to trust, and all of its callers
// must not share one budget.
func ClientAddress(r *http.Request, trusted []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	client := peer.Addr().Unmap()
	forwarded := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0 && within(client, trusted); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		client = before.Unmap()
	}
	if client.IsLoopback() {
		return ""
	}
	if client.Is6() { // one host has a whole /64
		if prefix, err := client.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return client.String()
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
