package order

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// FuzzDecide: no bytes for a snapshot, no commands and no answers make an order
// panic or break an invariant, and whatever it asks has a key of its own.
func FuzzDecide(f *testing.F) {
	commands := []proto.Message{&orderpb.Place{}, &orderpb.Pay{}, &orderpb.Cancel{}, &orderpb.Get{}, &commonpb.Tick{}, &commonpb.Continue{}}
	replies := []proto.Message{
		&skupb.ReserveReply{}, &skupb.ConfirmReply{}, &skupb.ReleaseReply{}, &paymentpb.AuthorizeReply{}, &paymentpb.CaptureReply{}, &paymentpb.VoidReply{}, nil,
	}
	for _, state := range stateNames {
		snapshot := marshal(f, Snapshot(inState(f, state)))
		for i, cmd := range []proto.Message{place("tok"), pay("p2", "tok"), &orderpb.Cancel{Actor: owner}, &orderpb.Get{Actor: owner}, &commonpb.Tick{}, &commonpb.Continue{}} {
			for j, reply := range []proto.Message{held(), unconfirmed(), &skupb.ReleaseReply{}, mustAct(), &paymentpb.CaptureReply{}} {
				f.Add(snapshot, uint8(i), marshal(f, cmd), uint8(j), marshal(f, reply), t0.UnixMilli())
			}
		}
	}
	f.Fuzz(func(t *testing.T, snapshot []byte, kind uint8, input []byte, answer uint8, reply []byte, nowMs int64) {
		id := ID("usr_1", "k1")
		s, err := Restore(id, snapshot)
		if err != nil {
			s = New(id)
		}
		cmd := proto.Clone(commands[int(kind)%len(commands)])
		if proto.Unmarshal(input, cmd) != nil {
			return
		}
		said := replies[int(answer)%len(replies)]
		if said != nil {
			said = proto.Clone(said)
			if proto.Unmarshal(reply, said) != nil {
				return
			}
		}
		now := time.UnixMilli(nowMs)
		for range 4 {
			d := Decide(s, cmd, now, nil)
			for range 2 {
				d = evolveAll(t, s, cmd, d, now, said)
			}
			if pending := Pending(s); len(pending) > 0 {
				evolveAll(t, s, &commonpb.Continue{}, Decision{Asks: pending}, now, said)
			}
			now = now.Add(time.Minute)
		}
	})
}

// evolveAll applies a decision, and answers what it asks with what was said.
func evolveAll(t *testing.T, s *State, cmd proto.Message, d Decision, now time.Time, said proto.Message) Decision {
	t.Helper()
	for _, e := range d.Events {
		Evolve(s, e)
	}
	if err := check(s); err != nil {
		t.Fatalf("%v after %s of %v", err, names(d.Events), cmd)
	}
	if len(d.Asks) == 0 {
		return Decision{}
	}
	heard := map[string]proto.Message{}
	for _, a := range d.Asks {
		if _, twice := heard[a.Key]; twice || a.Key == "" || a.Kind == "" || a.ID == "" || a.Command == nil {
			t.Fatalf("asks %v", fmt.Sprint(d.Asks))
		}
		heard[a.Key] = said
	}
	next := Decide(s, cmd, now, heard)
	for _, a := range next.Asks {
		if _, ok := heard[a.Key]; ok {
			t.Fatalf("asks again what it has heard: %s", a.Key)
		}
	}
	return next
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
