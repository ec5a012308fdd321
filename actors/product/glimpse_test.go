package product

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/productpb"
)

// A product that is read again is the one that was decided.
func TestAgain(t *testing.T) {
	h := newShop(t)
	if got := Again(h.decide(&productpb.Get{}, nil).Reply, &productpb.Get{}, h.now); got != nil {
		t.Errorf("no product is read again as %v", got)
	}
	h.do(creation())
	first := h.decide(&productpb.Get{}, nil).Reply
	if got, want := Again(first, &productpb.Get{}, h.now), h.decide(&productpb.Get{}, nil).Reply; !proto.Equal(got, want) || want == nil {
		t.Errorf("%v, want %v", got, want)
	}
	if !Reads(&productpb.Get{}) || Reads(&productpb.Update{}) {
		t.Error("Get reads, and nothing else")
	}
}
