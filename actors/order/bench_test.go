package order

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

// BenchmarkPlace is all that an order of one line decides until it is reserved.
func BenchmarkPlace(b *testing.B) {
	cmd := place("", "A")
	id := ID(cmd.GetCustomerId(), cmd.GetIdempotencyKey())
	reply := held()
	b.ReportAllocs()
	for b.Loop() {
		s := New(id)
		d := Decide(s, cmd, t0, nil)
		d = Decide(s, cmd, t0, map[string]proto.Message{d.Asks[0].Key: reply})
		for _, e := range d.Events {
			Evolve(s, e)
		}
		if d.Reply == nil {
			b.Fatal("no reply")
		}
	}
}

// BenchmarkGet is a read of a reserved order.
func BenchmarkGet(b *testing.B) {
	s := inState(b, "reserved")
	b.ReportAllocs()
	for b.Loop() {
		Decide(s, place(""), t0, nil)
	}
}
