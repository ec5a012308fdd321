package cloudevents

import (
	"encoding/hex"
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

const (
	// maxHeaders is how many an event has at most.
	maxHeaders = 11
	// textBytes is what id, sequence, time and traceparent take beside the stream.
	textBytes = 1 + 2*sequenceDigits + len(timeLayout) + traceparentBytes
)

// headers are an event's. What is of this event alone is written into the
// room: id, sequence, time and traceparent.
func (m *Mapper) headers(r *room, e event) []Header {
	typ := m.types[e.data.ProtoReflect().Descriptor().FullName()]
	var own [256]byte
	b := append(append(own[:0], e.stream...), '/')
	b = strconv.AppendUint(b, e.version, 10)
	id := len(b)
	b = appendSequence(b, e.version)
	b = time.UnixMilli(e.atMs).UTC().AppendFormat(b, timeLayout)
	at := len(b)
	b = appendTraceparent(b, e.trace)
	start := r.text.Len()
	r.text.Write(b)
	text := r.text.String()[start:]
	from := len(r.headers)
	r.headers = append(r.headers,
		Header{"content-type", m.contentType},
		Header{"ce_specversion", "1.0"},
		Header{"ce_id", text[:id]},
		Header{"ce_source", m.sources[e.topic]},
		Header{"ce_type", typ.name},
		Header{"ce_subject", e.key},
		Header{"ce_time", text[id+sequenceDigits : at]},
		Header{"ce_dataschema", typ.schema},
		Header{"ce_sequence", text[id : id+sequenceDigits]},
		Header{"ce_partitionkey", e.key},
	)
	if len(b) > at {
		r.headers = append(r.headers, Header{"traceparent", text[at:]})
	}
	return r.headers[from:len(r.headers):len(r.headers)]
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

const (
	// traceparentBytes is the length of a W3C trace context as text, and
	// traceBytes as version, trace id, parent id and flags.
	traceparentBytes = 55
	traceBytes       = 26
)

// appendTraceparent writes the header form of a stored trace context, which is
// its bytes or its text. Anything else is none: the event goes out without one.
func appendTraceparent(b, trace []byte) []byte {
	switch {
	case len(trace) == traceBytes:
		b = append(hex.AppendEncode(b, trace[:1]), '-')
		b = append(hex.AppendEncode(b, trace[1:17]), '-')
		b = append(hex.AppendEncode(b, trace[17:25]), '-')
		return hex.AppendEncode(b, trace[25:])
	case len(trace) == traceparentBytes && isTraceparent(trace):
		return append(b, trace...)
	}
	return b
}

// isTraceparent reports lower-case hexadecimal digits in groups of 2, 32, 16 and 2.
func isTraceparent(text []byte) bool {
	for i, c := range text {
		dash := i == 2 || i == 35 || i == 52
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
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
