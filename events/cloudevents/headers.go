package cloudevents

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// HeaderDataOmitted is set, in place of the data, on an event that the broker
// would not take for its size.
const HeaderDataOmitted = "ce_dataomitted"

// schemaPrefix and the event's type make ce_dataschema.
const schemaPrefix = "urn:stampede:events:v1:"

// DataSchema is the ce_dataschema of a type. In JSON it is the $id of
// docs/events/schemas/TYPE.schema.json; in protobuf it names the message
// stampede.events.v1.TYPE of docs/events/protobuf.
func DataSchema(format Format, typ string) string {
	if format == Protobuf {
		return schemaPrefix + "protobuf:" + typ
	}
	return schemaPrefix + typ
}

// typeHeaders are what the headers say of a type: made once.
type typeHeaders struct{ name, schema string }

// typesOf lists the types of all published events.
func typesOf(format Format, messages protoreflect.MessageDescriptors) map[protoreflect.FullName]typeHeaders {
	out := make(map[protoreflect.FullName]typeHeaders, messages.Len())
	for i := range messages.Len() {
		d := messages.Get(i)
		out[d.FullName()] = typeHeaders{name: string(d.Name()), schema: DataSchema(format, string(d.Name()))}
	}
	return out
}

const (
	sequenceDigits = 20
	timeLayout     = "2006-01-02T15:04:05.000Z"
)

// headers are an event's. What is of this event alone is written into one
// piece of memory: id, sequence and time.
func (m *Mapper) headers(e event) []Header {
	typ := m.types[e.data.ProtoReflect().Descriptor().FullName()]
	b := make([]byte, 0, len(e.stream)+1+2*sequenceDigits+len(timeLayout))
	b = append(append(b, e.stream...), '/')
	b = strconv.AppendUint(b, e.version, 10)
	id := len(b)
	b = appendSequence(b, e.version)
	b = time.UnixMilli(e.atMs).UTC().AppendFormat(b, timeLayout)
	text := string(b)
	headers := make([]Header, 0, 11)
	headers = append(headers,
		Header{"content-type", m.contentType},
		Header{"ce_specversion", "1.0"},
		Header{"ce_id", text[:id]},
		Header{"ce_source", m.sources[e.topic]},
		Header{"ce_type", typ.name},
		Header{"ce_subject", e.key},
		Header{"ce_time", text[id+sequenceDigits:]},
		Header{"ce_dataschema", typ.schema},
		Header{"ce_sequence", text[id : id+sequenceDigits]},
		Header{"ce_partitionkey", e.key},
	)
	if t := traceparent(e.trace); t != "" {
		headers = append(headers, Header{"traceparent", t})
	}
	return headers
}

// appendSequence writes a version in 20 digits: strings sort as the numbers do.
func appendSequence(b []byte, version uint64) []byte {
	var digits [sequenceDigits]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(version%10)
		version /= 10
	}
	return append(b, digits[:]...)
}

var traceparentText = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent is the header form of a stored W3C trace context: 26 bytes
// (version, trace id, parent id, flags) or already the text of 55 characters.
// Anything else is no trace context: the event goes out without one.
func traceparent(b []byte) string {
	switch {
	case len(b) == 26:
		return hex.EncodeToString(b[:1]) + "-" + hex.EncodeToString(b[1:17]) + "-" + hex.EncodeToString(b[17:25]) + "-" + hex.EncodeToString(b[25:])
	case len(b) == 55 && traceparentText.Match(b):
		return string(b)
	}
	return ""
}

// WithoutData is the message as it is published when the broker finds it too
// large: every header, HeaderDataOmitted, and an empty value.
func (m Message) WithoutData() Message {
	headers := make([]Header, 0, len(m.Headers)+1)
	headers = append(headers, m.Headers...)
	headers = append(headers, Header{HeaderDataOmitted, "too-large"})
	m.Headers = headers
	m.Value = []byte{}
	return m
}
