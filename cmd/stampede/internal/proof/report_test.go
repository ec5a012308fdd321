package proof

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"stampede/cmd/stampede/internal/shop"
)

func TestJSONHasThePromisedKeys(t *testing.T) {
	h := honest(1, 3, 5)
	h.Crashes = 1
	var out bytes.Buffer
	if err := Prove(h).WriteJSON(&out, Speed{OrdersPerSecond: 1234.567, P50Ms: 1, P99Ms: 2.25, P999Ms: 3}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines, want one", lines)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"units": 3.0, "shoppers": 5.0, "accepted": 3.0, "refused": 2.0, "oversold": 0.0, "lost": 0.0, "duplicates": 0.0, "eventsMissing": 0.0,
		"conserved": true, "ordersPerSecond": 1234.57, "p50Ms": 1.0, "p99Ms": 2.25, "p999Ms": 3.0, "crashes": 1.0, "holds": true,
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
}

func TestTableSaysWhetherTheProofHolds(t *testing.T) {
	h := honest(1, 3, 5)
	var good, bad bytes.Buffer
	if err := Prove(h).WriteTable(&good, Speed{}); err != nil {
		t.Fatal(err)
	}
	h.ReadBack = map[string]shop.Order{}
	if err := Prove(h).WriteTable(&bad, Speed{}); err != nil {
		t.Fatal(err)
	}
	if text := good.String(); !strings.Contains(text, "The proof holds.") || strings.Contains(text, "WRONG") {
		t.Errorf("a good sale prints\n%s", text)
	}
	if text := bad.String(); !strings.Contains(text, "does NOT hold") || !strings.Contains(text, "WRONG") || !strings.Contains(text, "order-1 was acknowledged and is not there") {
		t.Errorf("a bad sale prints\n%s", text)
	}
}
