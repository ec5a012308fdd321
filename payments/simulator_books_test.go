package payments

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stampede/proto/gen/paymentpb"
)

// The page shows what the books have, and says when something is missing.
func TestBooksPage(t *testing.T) {
	s := NewSimulator()
	shown := func() (got Statement) {
		t.Helper()
		answer := httptest.NewRecorder()
		s.BooksPage().ServeHTTP(answer, httptest.NewRequest("GET", BooksPath, nil))
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := shown(); len(got.Orders) != 0 || got.Partial {
		t.Errorf("before any payment: %+v", got)
	}
	cmd := authorize("tok_visa")
	reply, err := s.Authorize(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	id := cmd.GetOrderId()
	if d := cmp.Diff(Statement{Orders: map[string]Book{id: {Open: 1}}}, shown()); d != "" {
		t.Errorf("authorized: %s", d)
	}
	if _, err := s.Capture(t.Context(), &paymentpb.Capture{OrderId: id, Attempt: cmd.GetAttempt(), Amount: cmd.GetAmount(), Reference: reply.GetReference()}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Statement{Orders: map[string]Book{id: {Captured: cmd.GetAmount().GetMinorUnits()}}}, shown()); d != "" {
		t.Errorf("captured: %s", d)
	}
	for n := range maxRemembered {
		if _, err := s.Void(t.Context(), &paymentpb.Void{OrderId: fmt.Sprint("ord_other_", n), Attempt: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := shown(); !got.Partial || len(got.Orders) != maxRemembered || got.Orders[id] != (Book{}) {
		t.Errorf("with one too many there are %d, partial %v", len(got.Orders), got.Partial)
	}
}
