package walk

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"stampede/internal/testshop"
	"stampede/payments"
)

// shop is one of this process, as a walk sees it.
type shop struct {
	*testshop.Shop
	do func(ctx context.Context, token, body string) (*httptest.ResponseRecorder, error)
}

func openShop(t testing.TB, place testshop.Place, c testshop.Config) shop {
	t.Helper()
	s := place.Shop(t, c)
	return shop{s, s.Do}
}

// hasty is the same shop, whose orders hold their units for so long.
func (s shop) hasty(hold time.Duration) shop { return shop{s.Shop, s.Hasty(hold).Do} }

func (s shop) Ask(ctx context.Context, token, document string, variables map[string]any) (*Answer, error) {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return nil, err
	}
	rec, err := s.do(ctx, token, string(body))
	if err != nil {
		return nil, err
	}
	a := &Answer{}
	return a, json.Unmarshal(rec.Body.Bytes(), a)
}

// restarting is a shop that walks may restart. In others they may not.
type restarting struct{ shop }

func (r restarting) Restart() { r.Again() }

// Books implements Banker. They outlive restarts, and all nodes have one bank.
func (s shop) Books() map[string]payments.Book {
	bank, ok := s.Bank().(*payments.Simulator)
	if !ok {
		panic("a walk goes through a shop with the simulator")
	}
	return bank.Books()
}
