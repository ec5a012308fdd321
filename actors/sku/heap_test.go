package sku

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHeap: whatever is added and removed, a walk yields what is left in order,
// and every item knows its place. A failure names its seed.
func TestHeap(t *testing.T) {
	type item struct{ value, place int }
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		h := heap[*item]{
			less:  func(a, b *item) bool { return a.value < b.value },
			moved: func(it *item, i int) { it.place = i },
		}
		var all []*item
		for _, v := range rng.Perm(100) {
			it := &item{value: v}
			h.push(it)
			all = append(all, it)
			if len(all) > 1 && rng.IntN(3) == 0 {
				i := rng.IntN(len(all))
				if got := h.remove(all[i].place); got != all[i] || got.place != -1 {
					t.Fatalf("seed %d: removed %v, want %v", seed, got, all[i])
				}
				all = slices.Delete(all, i, i+1)
			}
			for i, it := range h.items {
				if it.place != i || i > 0 && it.value < h.items[(i-1)/2].value {
					t.Fatalf("seed %d: %v at %d", seed, it, i)
				}
			}
		}
		slices.SortFunc(all, func(a, b *item) int { return a.value - b.value })
		w := walkOf(&h)
		for _, want := range all {
			if got, ok := w.peek(); !ok || got != want {
				t.Fatalf("seed %d: %v comes, want %v", seed, got, want)
			}
			w.skip()
		}
		if got, ok := w.peek(); ok {
			t.Fatalf("seed %d: %v comes after the last", seed, got)
		}
	}
}
