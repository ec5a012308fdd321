package cloudevents

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stampede/proto/gen/eventspb"
)

// jsonEncoder writes the published messages as JSON: fields in order of their
// declaration under their lowerCamelCase names, 64-bit integers as numbers,
// every field present except unset messages and unset optional ones. protojson
// is not used because it writes 64-bit integers as strings and its output is
// deliberately unstable.
//
// It knows the kinds of fields that events.proto uses and refuses others when
// it is built.
type jsonEncoder struct {
	plans map[protoreflect.FullName]*jsonPlan
}

type jsonPlan struct{ fields []jsonField }

type jsonField struct {
	field protoreflect.FieldDescriptor
	// name is the quoted name and the colon.
	name    string
	message *jsonPlan
	// optional fields are left out when they are not set.
	optional bool
}

func newJSONEncoder() *jsonEncoder {
	e := &jsonEncoder{plans: make(map[protoreflect.FullName]*jsonPlan)}
	messages := eventspb.File_stampede_events_v1_events_proto.Messages()
	for i := range messages.Len() {
		e.plan(messages.Get(i))
	}
	return e
}

func (e *jsonEncoder) plan(d protoreflect.MessageDescriptor) *jsonPlan {
	if p := e.plans[d.FullName()]; p != nil {
		return p
	}
	p := &jsonPlan{}
	e.plans[d.FullName()] = p
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		f := jsonField{field: fd, name: strconv.Quote(fd.JSONName()) + ":", optional: fd.HasPresence()}
		switch fd.Kind() {
		case protoreflect.MessageKind:
			f.message = e.plan(fd.Message())
		case protoreflect.StringKind, protoreflect.BoolKind, protoreflect.Int64Kind:
		default:
			panic(fmt.Sprintf("%s: no JSON form for a %s", fd.FullName(), fd.Kind()))
		}
		p.fields = append(p.fields, f)
	}
	return p
}

func (e *jsonEncoder) append(b []byte, m proto.Message) []byte {
	if b, hot := appendHot(b, m); hot {
		return b
	}
	return e.reflected(b, m)
}

// reflected writes any event.
func (e *jsonEncoder) reflected(b []byte, m proto.Message) []byte {
	r := m.ProtoReflect()
	return e.plans[r.Descriptor().FullName()].append(b, r)
}

func (p *jsonPlan) append(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		if f.optional && !m.Has(f.field) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.name...)
		b = f.appendField(b, m.Get(f.field))
	}
	return append(b, '}')
}

func (f *jsonField) appendField(b []byte, v protoreflect.Value) []byte {
	if !f.field.IsList() {
		return f.appendValue(b, v)
	}
	list := v.List()
	b = append(b, '[')
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.appendValue(b, list.Get(i))
	}
	return append(b, ']')
}

func (f *jsonField) appendValue(b []byte, v protoreflect.Value) []byte {
	switch f.field.Kind() {
	case protoreflect.MessageKind:
		return f.message.append(b, v.Message())
	case protoreflect.StringKind:
		return appendString(b, v.String())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	default:
		return strconv.AppendInt(b, v.Int(), 10)
	}
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string (RFC 8259): the two characters that must
// be escaped, control characters, and the replacement character for bytes that
// are not UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscape(b, c)
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, '\\', 'n')
	case c == '\r':
		return append(b, '\\', 'r')
	case c == '\t':
		return append(b, '\\', 't')
	case c < 0x20:
		return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
	return append(b, `\ufffd`...)
}
