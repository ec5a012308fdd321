package journal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
)

// shown is a record as Show writes it.
type shown struct {
	Stream       string       `json:"stream"`
	Seq          uint64       `json:"seq"`
	FirstVersion uint64       `json:"firstVersion"`
	LastVersion  uint64       `json:"lastVersion"`
	Epoch        entity.Epoch `json:"epoch"`
	Position     uint64       `json:"position"`
	// Node is whose incarnation wrote it, and since when that ran.
	Node      string     `json:"node,omitempty"`
	NodeSince *time.Time `json:"nodeSince,omitempty"`
	WakeAt    *time.Time `json:"wakeAt,omitempty"`
	Bytes     int        `json:"bytes"`
	Checksum  string     `json:"checksum"`
	Events    []event    `json:"events"`
	// Problem says what is wrong with it.
	Problem string `json:"problem,omitempty"`
}

type event struct {
	Version     uint64          `json:"version"`
	Type        string          `json:"type,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	Event       json.RawMessage `json:"event,omitempty"`
	// Raw is an event that cannot be read.
	Raw []byte `json:"raw,omitempty"`
}

// Show writes a stream's records, one JSON object a line, and reports how many
// do not fit.
func Show(ctx context.Context, store Store, stream string, to io.Writer) (problems int, err error) {
	epochs, err := store.Epochs(ctx)
	if err != nil {
		return 0, fmt.Errorf("incarnations: %w", err)
	}
	kind, id, _ := strings.Cut(stream, "/")
	s := shower{replayer: actors.Replayer(entity.Address{Kind: kind, ID: id}), out: json.NewEncoder(to)}
	records := 0
	for rec, err := range store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return problems, fmt.Errorf("read %s: %w", stream, err)
		}
		records++
		line := s.line(rec)
		for _, e := range epochs {
			if e.Epoch == rec.Epoch {
				since := e.StartedAt.UTC()
				line.Node, line.NodeSince = e.Node, &since
			}
		}
		if line.Problem != "" {
			problems++
		}
		if err := s.out.Encode(line); err != nil {
			return problems, err
		}
	}
	if records == 0 {
		return 0, fmt.Errorf("%w: %s", ErrNoStream, stream)
	}
	return problems, nil
}

type shower struct {
	replayer entity.Replayer // nil: of an unknown kind
	broken   bool
	out      *json.Encoder
}

func (s *shower) line(rec *entity.Record) shown {
	line := shown{
		Stream: rec.Stream(), Seq: rec.Seq, FirstVersion: rec.FirstVersion, LastVersion: rec.LastVersion, Epoch: rec.Epoch, Position: rec.Position,
		Bytes: len(rec.Events), Checksum: fmt.Sprintf("%08x", rec.Checksum), Events: []event{},
	}
	if rec.WakeAtMs != 0 {
		at := time.UnixMilli(rec.WakeAtMs).UTC()
		line.WakeAt = &at
	}
	if err := s.fits(rec); err != nil {
		line.Problem = err.Error()
	}
	err := entity.EachEvent(rec.Events, func(content, trace []byte) error {
		line.Events = append(line.Events, s.event(rec.FirstVersion+uint64(len(line.Events)), content, trace))
		return nil
	})
	if err != nil && line.Problem == "" {
		line.Problem = err.Error()
	}
	return line
}

// fits replays a record; after one that does not fit, each is judged by itself.
func (s *shower) fits(rec *entity.Record) error {
	switch {
	case s.replayer == nil:
		return fmt.Errorf("this program knows no %q", rec.Kind)
	case s.broken:
		return rec.Verify()
	}
	err := s.replayer.Replay(rec)
	s.broken = err != nil
	return err
}

func (s *shower) event(version uint64, content, trace []byte) event {
	e := event{Version: version, Traceparent: traceparent(trace)}
	if s.replayer == nil {
		e.Raw = content
		return e
	}
	m, err := s.replayer.Event(content)
	if err != nil {
		e.Raw = content
		return e
	}
	e.Type = typeOf(m)
	if e.Event, err = protojson.Marshal(m); err != nil {
		e.Event, e.Raw = nil, content
	}
	return e
}

// traceparent is a stored trace context as text; it is kept as text or as bytes.
func traceparent(b []byte) string {
	const asText = 55
	if len(b) == asText {
		return string(b)
	}
	return hex.EncodeToString(b)
}

// typeOf is the name of the one field that an event has: what happened.
func typeOf(m proto.Message) string {
	oneofs := m.ProtoReflect().Descriptor().Oneofs()
	for i := range oneofs.Len() {
		if field := m.ProtoReflect().WhichOneof(oneofs.Get(i)); field != nil {
			return string(field.Message().Name())
		}
	}
	return ""
}
