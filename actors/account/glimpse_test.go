package account

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
)

// A user that is read again is the one that was decided.
func TestAgain(t *testing.T) {
	h := newOne(t)
	if got := Again(h.do(&accountpb.Get{}), &accountpb.Get{}, h.now); got != nil {
		t.Errorf("nobody is read again as %v", got)
	}
	h.user(&accountpb.Register{Email: email, Name: "Ada", PasswordHash: hash1, Session: sessionOf("a", 1)})
	first := h.do(&accountpb.Get{})
	if got, want := Again(first, &accountpb.Get{}, h.now), h.do(&accountpb.Get{}); !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for cmd, reads := range map[proto.Message]bool{&accountpb.Get{}: true, &accountpb.GetCredentials{}: false, &accountpb.Rotate{}: false} {
		if Reads(cmd) != reads {
			t.Errorf("%T reads: %v", cmd, !reads)
		}
	}
}
