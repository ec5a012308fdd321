package sku

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stampede/proto/gen/skupb"
)

// A level that is read again has every field of the one that was decided, that
// of a sale included, and is of its own time.
func TestAgain(t *testing.T) {
	s := New("SHOE-42")
	before := proto.Message(&skupb.StockReply{Level: filled(&skupb.Level{}).(*skupb.Level)})
	want := proto.CloneOf(before.(*skupb.StockReply))
	want.Level.AsOfMs = t0.UnixMilli()
	if got := Again(before, &skupb.GetLevel{}, t0); !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	_, refused := Decide(s, &skupb.GetLevel{}, t0)
	if got := Again(refused, &skupb.GetLevel{}, t0.Add(time.Second)); got != nil {
		t.Errorf("a SKU that no product has: %v", got)
	}
	if !Reads(&skupb.GetLevel{}) || Reads(&skupb.Adjust{}) {
		t.Error("GetLevel reads, and nothing else")
	}
}

// filled sets every field of a message to something.
func filled(m proto.Message) proto.Message {
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		switch f := r.Descriptor().Fields().Get(i); {
		case f.Message() != nil:
			filled(r.Mutable(f).Message().Interface())
		default:
			r.Set(f, map[protoreflect.Kind]protoreflect.Value{
				protoreflect.StringKind: protoreflect.ValueOfString("text"),
				protoreflect.Int64Kind:  protoreflect.ValueOfInt64(int64(f.Number())),
				protoreflect.BoolKind:   protoreflect.ValueOfBool(true),
			}[f.Kind()])
		}
	}
	return m
}
