package cloudevents

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"time"
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

func (m *Mapper) headers(e event) []Header {
	typ := typeName(e.data)
	contentType := "application/json"
	if m.format == Protobuf {
		contentType = "application/protobuf"
	}
	version := strconv.FormatUint(e.version, 10)
	headers := make([]Header, 0, 12)
	headers = append(headers,
		Header{"content-type", contentType},
		Header{"ce_specversion", "1.0"},
		Header{"ce_id", e.stream + "/" + version},
		Header{"ce_source", m.sources[e.topic]},
		Header{"ce_type", typ},
		Header{"ce_subject", e.key},
		Header{"ce_time", time.UnixMilli(e.atMs).UTC().Format("2006-01-02T15:04:05.000Z")},
		Header{"ce_dataschema", DataSchema(m.format, typ)},
		Header{"ce_sequence", sequence(e.version)},
		Header{"ce_partitionkey", e.key},
	)
	if t := traceparent(e.trace); t != "" {
		headers = append(headers, Header{"traceparent", t})
	}
	return headers
}

// sequence is a version in 20 digits: strings sort as the numbers do.
func sequence(version uint64) string {
	var b [20]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = '0' + byte(version%10)
		version /= 10
	}
	return string(b[:])
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
