package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"stampede/actors/entity"
)

// message acts on one message of the client; with a code the socket is closed.
func (s *socket) message(text []byte) (websocket.StatusCode, string) {
	v, err := readJSON(text)
	if err != nil {
		return closeBadMessage, "Invalid message: " + err.Error()
	}
	m, _ := v.(map[string]any)
	kind, ok := m["type"].(string)
	if !ok {
		return closeBadMessage, "Invalid message: an object with a type is wanted"
	}
	s.mu.Lock()
	s.heard = time.Now()
	acked := s.acked
	s.mu.Unlock()
	switch kind {
	case "connection_init":
		return s.init(m)
	case "ping":
		return s.ping(m)
	case "pong":
		return 0, ""
	case "subscribe":
		if !acked {
			return closeUnauthorized, "Unauthorized: connection_init comes first"
		}
		return s.subscribe(m)
	case "complete":
		id, ok := m["id"].(string)
		if !ok {
			return closeBadMessage, "Invalid message: complete has an id"
		}
		s.complete(id)
		return 0, ""
	}
	return closeBadMessage, "Invalid message: its type is not one of the protocol's"
}

// init takes in who the client says it is.
func (s *socket) init(m map[string]any) (websocket.StatusCode, string) {
	payload, ok := as[map[string]any](m["payload"])
	if !ok {
		return closeBadMessage, "Invalid message: the payload must be an object"
	}
	s.mu.Lock()
	again := s.initing
	s.initing = true
	s.mu.Unlock()
	if again {
		return closeTooManyInits, "Too many initialisation requests"
	}
	s.who.Header = credentials(payload, s.who.Header)
	ctx, caller, wrong := s.identify()
	if wrong != "" {
		return closeForbidden, "Forbidden: " + wrong
	}
	until, _ := s.h.Credentials(ctx)
	s.mu.Lock()
	s.acked, s.caller = true, caller
	if !until.IsZero() {
		s.until = time.Now().Add(until.Sub(s.h.Clock()))
	}
	s.mu.Unlock()
	s.rearm()
	s.write([]byte(`{"type":"connection_ack"}`))
	return 0, ""
}

// credentials are the headers that say who it is: those of connection_init's
// payload, by any case of their names, and of the handshake where the payload
// has none, for browsers cannot set those.
func credentials(payload map[string]any, handshake http.Header) http.Header {
	known := [...]string{"Authorization", "X-Api-Key"}
	h := http.Header{}
	defer func() { h["X-Forwarded-For"] = handshake["X-Forwarded-For"] }() // from where it is said
	for name, value := range payload {
		for _, k := range known {
			if text, ok := value.(string); ok && strings.EqualFold(name, k) {
				h[k] = []string{text}
			}
		}
	}
	if len(h) > 0 {
		return h
	}
	for _, k := range known {
		if sent := handshake[k]; len(sent) > 0 {
			h[k] = sent
		}
	}
	return h
}

func (s *socket) ping(m map[string]any) (websocket.StatusCode, string) {
	payload, ok := as[map[string]any](m["payload"])
	if !ok {
		return closeBadMessage, "Invalid message: the payload must be an object"
	}
	pong := []byte(`{"type":"pong"}`)
	if payload != nil {
		text, err := json.Marshal(map[string]any{"type": "pong", "payload": payload})
		if err != nil {
			return closeBadMessage, "Invalid message: the payload cannot be sent back"
		}
		pong = text
	}
	s.write(pong)
	return 0, ""
}

// maxIDBytes bounds an operation's id: it goes before every answer.
const maxIDBytes = 128

// subscribe begins an operation of any kind.
func (s *socket) subscribe(m map[string]any) (websocket.StatusCode, string) {
	id, _ := m["id"].(string)
	if id == "" || len(id) > maxIDBytes {
		return closeBadMessage, "Invalid message: subscribe has an id of 1 to 128 bytes"
	}
	payload, ok := m["payload"].(map[string]any)
	if !ok {
		return closeBadMessage, "Invalid message: subscribe has a payload, an object"
	}
	params, f := paramsOf(payload)
	if f != nil {
		return closeBadMessage, "Invalid message: " + f.Message
	}
	t := newTask(s, id)
	s.mu.Lock()
	_, exists := s.tasks[id]
	full := len(s.tasks) >= s.h.limits.Streams.Operations
	if !exists && !full {
		s.tasks[id] = t
	}
	s.mu.Unlock()
	switch {
	case exists:
		return closeSubscriberExists, "Subscriber for " + id + " already exists"
	case full:
		t.refuse(later("too many operations on one socket; nothing was done", time.Second))
		return 0, ""
	}
	s.working.Go(func() { t.start(entity.WithTrace(s.ctx, traceparent(s.who)), params) })
	return 0, ""
}

// complete ends an operation that the client wants no more of.
func (s *socket) complete(id string) {
	if t := s.forget(id); t != nil {
		t.stop()
	}
}

// forget takes a task out; nil if it is not there any more.
func (s *socket) forget(id string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t != nil {
		delete(s.tasks, id)
		s.busy = time.Now()
	}
	return t
}
