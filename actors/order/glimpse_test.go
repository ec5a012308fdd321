package order

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// An order that is read again is the one that was decided, to those who may see
// it; whoever else asks is left to Decide.
func TestAgain(t *testing.T) {
	s := inState(t, "reserved")
	mine := &orderpb.Get{Actor: &commonpb.Actor{UserId: s.customerID}}
	first := decide(t, s, mine, t0, nil).Reply
	for name, c := range map[string]struct {
		who  *commonpb.Actor
		sees bool
	}{
		"the customer": {mine.Actor, true},
		"staff":        {&commonpb.Actor{UserId: "usr_staff", Staff: true}, true},
		"another":      {&commonpb.Actor{UserId: "usr_other"}, false},
		"nobody":       {nil, false},
	} {
		get := &orderpb.Get{Actor: c.who}
		got, want := Again(first, get, t0), decide(t, s, get, t0, nil).Reply
		if c.sees && !proto.Equal(got, want) || !c.sees && got != nil || c.sees != (replyOf(Decision{Reply: want}).GetOrder() != nil) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	refused := decide(t, s, &orderpb.Get{}, t0, nil).Reply
	if got := Again(refused, mine, t0); got != nil {
		t.Errorf("a refusal answers somebody else: %v", got)
	}
	if !Reads(mine) || Reads(&orderpb.Cancel{}) {
		t.Error("Get reads, and nothing else")
	}
}
