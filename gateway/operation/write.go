package operation

import (
	"io"
	"reflect"
	"strconv"
)

// writer appends the JSON of a value. It is what a plan is made of; see plain.go.
type writer func(b []byte, v reflect.Value) []byte

// Appender is a scalar that writes itself, as its MarshalGQL does.
type Appender interface{ AppendGQL(b []byte) []byte }

// FieldAppender is a struct with fields that are computed. It reports false
// for a field that it does not have. It is implemented on the pointer.
type FieldAppender interface {
	AppendField(b []byte, field string) ([]byte, bool)
}

// written is an answer that has been written already. It is a graphql.Marshaler.
type written []byte

// MarshalGQL implements graphql.Marshaler.
func (w written) MarshalGQL(out io.Writer) { _, _ = out.Write(w) }

const null = "null"

func (o object) write(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	for i := range o.fields {
		b = append(b, o.fields[i].key...)
		b = o.fields[i].value(b, v)
	}
	return append(b, '}')
}

func fieldWriter(index int, w writer) writer {
	return func(b []byte, v reflect.Value) []byte { return w(b, v.Field(index)) }
}

func textWriter(text string) writer {
	quoted := string(appendString(nil, text))
	return func(b []byte, _ reflect.Value) []byte { return append(b, quoted...) }
}

func pointerWriter(w writer) writer {
	return func(b []byte, v reflect.Value) []byte {
		if v.IsNil() {
			return append(b, null...)
		}
		return w(b, v.Elem())
	}
}

// listWriter writes a nil list that cannot be null as an empty one, as gqlgen does.
func listWriter(w writer, nonNull bool) writer {
	return func(b []byte, v reflect.Value) []byte {
		if !nonNull && v.IsNil() {
			return append(b, null...)
		}
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = w(b, v.Index(i))
		}
		return append(b, ']')
	}
}

func memberWriter(plans map[reflect.Type]writer) writer {
	return func(b []byte, v reflect.Value) []byte {
		if v.IsNil() {
			return append(b, null...)
		}
		member := v.Elem()
		return plans[member.Type()](b, member)
	}
}

// scalarWriter is nil for a Go type that is written in a way only gqlgen knows.
func scalarWriter(t reflect.Type) writer {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[Appender]()) {
		return func(b []byte, v reflect.Value) []byte {
			if v.CanAddr() {
				return v.Addr().Interface().(Appender).AppendGQL(b)
			}
			return v.Interface().(Appender).AppendGQL(b)
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(b []byte, v reflect.Value) []byte { return appendString(b, v.String()) }
	case reflect.Int32:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendInt(b, v.Int(), 10) }
	case reflect.Bool:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendBool(b, v.Bool()) }
	default:
		return nil
	}
}

// appenderWriter writes a computed field; nil if the type has none of that name.
func appenderWriter(t reflect.Type, field string) writer {
	zero, ok := reflect.New(t).Interface().(FieldAppender)
	if !ok {
		return nil
	}
	if _, ok := zero.AppendField(nil, field); !ok {
		return nil
	}
	return func(b []byte, v reflect.Value) []byte {
		if !v.CanAddr() {
			copied := reflect.New(t).Elem()
			copied.Set(v)
			v = copied
		}
		b, _ = v.Addr().Interface().(FieldAppender).AppendField(b, field)
		return b
	}
}

const hexDigits = "0123456789ABCDEF"

// appendString quotes as gqlgen does: control characters, quotes and
// backslashes are escaped, everything else is as it is.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		case '\n':
			b = append(b, `\n`...)
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
