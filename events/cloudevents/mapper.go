// Package cloudevents turns journal records into the messages that are
// published: CloudEvents 1.0 in Kafka's binary mode. It is pure: no broker, no
// clock; the same record gives the same bytes, whoever maps it and however
// often, so a repeat is recognised by its id alone.
package cloudevents

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stampede/actors/entity"
	"stampede/proto/gen/eventspb"
)

// Format is how the data of an event is written.
type Format int

const (
	JSON Format = iota
	Protobuf
)

// ParseFormat reads the value of --events-format.
func ParseFormat(s string) (Format, error) {
	switch s {
	case "json":
		return JSON, nil
	case "protobuf":
		return Protobuf, nil
	}
	return 0, fmt.Errorf("events format %q: want json or protobuf", s)
}

// MaxDataBytes bounds the data of an event. The texts that could take an event
// over it (the names of lines and variants) are left out of it then.
const MaxDataBytes = 64 << 10

// DefaultSource is what ce_source begins with.
const DefaultSource = "/stampede"

// ErrUnmapped: the record holds an event that this program does not know how
// to publish, because it was written by a newer one.
var ErrUnmapped = errors.New("event has no published form")

// Message is one message as it goes to the broker.
type Message struct {
	Topic string
	// Key is the aggregate's id: the order of its messages is kept.
	Key string
	// Value is the event's data; nil is a tombstone.
	Value   []byte
	Headers []Header
	// AtMs is when the event happened (Unix milliseconds).
	AtMs int64
	// Version is the aggregate's event version.
	Version uint64
}

// Header is a header of a message.
type Header struct{ Key, Value string }

// Mapper maps records. It holds no state between calls and may be used by
// several goroutines.
type Mapper struct {
	format  Format
	json    *jsonEncoder
	sources map[string]string
	types   map[protoreflect.FullName]typeHeaders
	// contentType is the header's.
	contentType string
}

// NewMapper returns a mapper. source is what ce_source begins with: empty for
// DefaultSource.
func NewMapper(format Format, source string) *Mapper {
	if source == "" {
		source = DefaultSource
	}
	m := &Mapper{format: format, json: newJSONEncoder(), sources: make(map[string]string), contentType: "application/json"}
	m.types = typesOf(format, eventspb.File_stampede_events_v1_events_proto.Messages())
	if format == Protobuf {
		m.contentType = "application/protobuf"
	}
	for _, t := range Topics() {
		m.sources[t.Name] = source + t.source
	}
	return m
}

// Map appends the messages that a record is published as, in order of version,
// and returns the extended slice. Private events have none. On an error (the
// record is corrupt, or wraps ErrUnmapped) nothing is appended.
func (m *Mapper) Map(dst []Message, rec *entity.Record) ([]Message, error) {
	var few [16]entry
	entries := few[:0]
	err := entity.EachEvent(rec.Events, func(event, trace []byte) error {
		entries = append(entries, entry{event: event, trace: trace})
		return nil
	})
	if err != nil {
		return dst, &entity.CorruptError{Stream: rec.Stream(), Seq: rec.Seq, Reason: err.Error()}
	}
	if n := uint64(len(entries)); n == 0 || n != rec.LastVersion-rec.FirstVersion+1 {
		return dst, &entity.CorruptError{
			Stream: rec.Stream(), Seq: rec.Seq,
			Reason: fmt.Sprintf("%d events for versions %d to %d", n, rec.FirstVersion, rec.LastVersion),
		}
	}
	before := len(dst)
	switch rec.Kind {
	case "order":
		dst, err = m.mapOrder(dst, rec, entries)
	case "sku":
		dst, err = m.mapSKU(dst, rec, entries)
	case "product":
		dst, err = m.mapProduct(dst, rec, entries)
	case "sale":
		dst, err = m.mapSale(dst, rec, entries)
	case "account":
		dst, err = m.mapAccount(dst, rec, entries)
	case "apikey", "roster":
		// What operators do with keys, and that they are counted, concerns nobody outside.
	default:
		err = fmt.Errorf("kind %q: %w", rec.Kind, ErrUnmapped)
	}
	if err != nil {
		return dst[:before], fmt.Errorf("publish %s record %d: %w", rec.Stream(), rec.Seq, err)
	}
	return dst, nil
}

// entry is one journal event as it is stored: parts of the record, not copies.
type entry struct{ event, trace []byte }

// event is one journal event on its way to becoming a message.
type event struct {
	topic   string
	stream  string
	key     string
	version uint64
	atMs    int64
	trace   []byte
	data    proto.Message
}

// room is what the messages of one record are written into: a few pieces of
// memory for all of them. What outgrows its piece gets another.
type room struct {
	headers []Header
	text    strings.Builder
	values  []byte
}

// room is for n messages of a stream, of about so many bytes of data each.
func (m *Mapper) room(stream string, n, dataBytes int) *room {
	r := &room{headers: make([]Header, 0, n*maxHeaders), values: make([]byte, 0, n*dataBytes)}
	r.text.Grow(n * (len(stream) + textBytes))
	return r
}

// What the data of most events take; a SKU's have its level in them.
const (
	usualDataBytes = 256
	stockDataBytes = 384
)

func (m *Mapper) message(r *room, e event) (Message, error) {
	value, err := m.marshal(r, e.data)
	if err != nil {
		return Message{}, err
	}
	if len(value) > MaxDataBytes && leaveOutNames(e.data) {
		if value, err = m.marshal(r, e.data); err != nil {
			return Message{}, err
		}
	}
	return Message{
		Topic: e.topic, Key: e.key, Value: value, Headers: m.headers(r, e), AtMs: e.atMs, Version: e.version,
	}, nil
}

func (m *Mapper) marshal(r *room, data proto.Message) ([]byte, error) {
	from := len(r.values)
	if m.format == Protobuf {
		all, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(r.values, data)
		if err != nil {
			return nil, err
		}
		r.values = all
	} else {
		r.values = m.json.append(r.values, data)
	}
	return r.values[from:len(r.values):len(r.values)], nil
}
