package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"stampede/gateway/fault"
)

// What sockets (socket.go) and event streams (events.go) share: how many there
// are, who may open one, and how all of them end.

// StreamLimits bound what stays open. Zero fields take the default.
type StreamLimits struct {
	// Open is how many sockets and event streams there are at once, OpenPerAddress
	// how many of them from one address.
	Open           int
	OpenPerAddress int
	// Operations is how many a socket has under way.
	Operations int
	// MessageBytes bounds one message of a client.
	MessageBytes int64
	// InitFor is how long a socket may take to say who it is.
	InitFor time.Duration
	// PingEvery is how often a client is asked whether it is still there: it has
	// until the next time to say anything at all.
	PingEvery time.Duration
	// IdleFor is how long a socket may have no operation.
	IdleFor time.Duration
	// WriteFor is how long a client may take nothing at all: then it is cut off.
	WriteFor time.Duration
}

// DefaultStreamLimits fit one node of a few cores.
func DefaultStreamLimits() StreamLimits {
	return StreamLimits{
		Open: 20_000, OpenPerAddress: 500, Operations: 50, MessageBytes: 64 << 10,
		InitFor: 10 * time.Second, PingEvery: 25 * time.Second, IdleFor: 10 * time.Minute, WriteFor: 5 * time.Second,
	}
}

func (l StreamLimits) orDefault() StreamLimits {
	d := DefaultStreamLimits()
	l.Open = positive(l.Open, d.Open)
	l.OpenPerAddress = positive(l.OpenPerAddress, d.OpenPerAddress)
	l.Operations = positive(l.Operations, d.Operations)
	l.MessageBytes = positive(l.MessageBytes, d.MessageBytes)
	l.InitFor = positive(l.InitFor, d.InitFor)
	l.PingEvery = positive(l.PingEvery, d.PingEvery)
	l.IdleFor = positive(l.IdleFor, d.IdleFor)
	l.WriteFor = positive(l.WriteFor, d.WriteFor)
	return l
}

// streams are all that are open. Its zero value has none.
type streams struct {
	limits    StreamLimits
	mu        sync.Mutex
	open      map[ender]string // and from which address
	addresses map[string]int
	closed    bool
	ended     sync.WaitGroup
}

// ender is one socket or event stream.
type ender interface {
	// leave tells the client to connect again elsewhere, and ends; cut ends at once.
	leave()
	cut()
}

// enter notes a new one, or says why there can be none.
func (s *streams) enter(e ender, address string) *fault.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &fault.Error{Code: fault.Unavailable, Message: "this node is leaving: connect again", RetryAfterMs: 1}
	case len(s.open) >= s.limits.Open:
		return &fault.Error{Code: fault.Throttled, Message: "too many are listening to this node"}
	case address != "" && s.addresses[address] >= s.limits.OpenPerAddress:
		return &fault.Error{Code: fault.Throttled, Message: "too many connections that stay open from your address"}
	}
	if s.open == nil {
		s.open, s.addresses = map[ender]string{}, map[string]int{}
	}
	s.open[e] = address
	if address != "" {
		s.addresses[address]++
	}
	s.ended.Add(1)
	return nil
}

// exit forgets it, once.
func (s *streams) exit(e ender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, ok := s.open[e]
	if !ok {
		return
	}
	delete(s.open, e)
	if address != "" {
		if s.addresses[address]--; s.addresses[address] == 0 {
			delete(s.addresses, address)
		}
	}
	s.ended.Done()
}

// all are those that are open; closing takes in no more.
func (s *streams) all(closing bool) []ender {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.closed || closing
	all := make([]ender, 0, len(s.open))
	for e := range s.open {
		all = append(all, e)
	}
	return all
}

// leaving reports that none are taken in any more.
func (s *streams) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Streams is how many sockets and event streams are open.
func (h *Handler) Streams() int {
	h.streams.mu.Lock()
	defer h.streams.mu.Unlock()
	return len(h.streams.open)
}

// Drain tells all who listen to connect again elsewhere, and returns when they
// have gone; those who have not when ctx ends are cut off.
func (h *Handler) Drain(ctx context.Context) error {
	for _, e := range h.streams.all(true) {
		go e.leave()
	}
	gone := make(chan struct{})
	go func() {
		h.streams.ended.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for _, e := range h.streams.all(true) {
		e.cut()
	}
	<-gone
	return nil
}

// foreign reports a page of an origin that is neither ours nor allowed. Whoever
// is no page has no origin.
func (h *Handler) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || h.origins.any || h.origins.each[strings.ToLower(origin)] {
		return false
	}
	from, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(from.Host, r.Host)
}
