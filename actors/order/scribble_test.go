package order

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scribble changes every field of a message in place, all the way down.
func scribble(m proto.Message) { scribbleOn(m.ProtoReflect()) }

func scribbleOn(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				scribbleOn(v.List().Get(i).Message())
			}
		case f.IsList():
		case f.Message() != nil:
			scribbleOn(v.Message())
		case f.Kind() == protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(v.Int()+1))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(v.String()+"!"))
		case f.Kind() == protoreflect.BytesKind:
			b := v.Bytes()
			for i := range b {
				b[i]++
			}
		}
		return true
	})
}
