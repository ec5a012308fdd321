package resolve

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stampede/proto/gen/productpb"
)

// Whatever has changed since the index was made, a search finds by it what
// looking at every product finds, in pages from any place.
func TestIndexFindsWhatLookingFinds(t *testing.T) {
	vocabulary := []string{"mug", "mugs", "red", "reddish", "blue", "cup", "42", "421", "ёлка", "m"}
	indexed := 0
	rapid.Check(t, func(rt *rapid.T) {
		some := func(id int) *shelved {
			p := &productpb.Product{Id: fmt.Sprintf("prd_%03d", id), CreatedAtMs: int64(id % 7), Published: rapid.Bool().Draw(rt, "published")}
			for range rapid.IntRange(1, 3).Draw(rt, "words") {
				p.Name += " " + rapid.SampledFrom(vocabulary).Draw(rt, "word")
			}
			return shelve(p, 1)
		}
		s := &shelf{byID: map[string]*shelved{}}
		for id := range rapid.IntRange(0, 60).Draw(rt, "products") {
			s.has(some(id))
		}
		slices.SortFunc(s.items, func(a, b *shelved) int { return a.order(b.sortMs, b.product.ID) })
		s.index = &searchIndex{items: s.items}
		for range rapid.IntRange(0, 4).Draw(rt, "changes") {
			var newer []*shelved
			for range rapid.IntRange(0, 6).Draw(rt, "changed") {
				item := some(rapid.IntRange(0, 70).Draw(rt, "id"))
				if !slices.ContainsFunc(newer, func(other *shelved) bool { return other.product.ID == item.product.ID }) {
					newer = append(newer, item)
				}
			}
			before := s.version
			if next := s.with(newer); len(newer) > 0 && next.version == before {
				rt.Fatal("other products, the same version")
			} else {
				s = next
			}
			if s.with(slices.Clone(newer)) != s {
				rt.Fatal("the same products again are another shelf")
			}
		}
		for _, search := range []string{"mug", "mugs", "re", "m red", "4", "421 blue", "none", "ёл", "-"} {
			words, err := searchWords(&search)
			if err != nil {
				rt.Fatal(err)
			}
			if _, ok := s.candidates(words); ok {
				indexed++
			}
			without := *s
			without.index, without.unindexed = nil, nil
			p := place{first: rapid.IntRange(1, 5).Draw(rt, "first")}
			for all := range 2 {
				for p.afterID = ""; ; {
					got, more := s.find(p, words, all == 1)
					want, wantMore := without.find(p, words, all == 1)
					if !slices.Equal(got, want) || more != wantMore {
						rt.Fatalf("%q after %q: %d products, more %t; by looking %d, %t", search, p.afterID, len(got), more, len(want), wantMore)
					}
					if len(got) == 0 || !more {
						break
					}
					p.afterSortMs, p.afterID = got[len(got)-1].sortMs, got[len(got)-1].product.ID
				}
			}
		}
	})
	if indexed == 0 {
		t.Error("the index was never used")
	}
}

func BenchmarkSearch(b *testing.B) {
	s := &shelf{byID: map[string]*shelved{}}
	for id := range 10_000 {
		s.has(shelve(&productpb.Product{Id: fmt.Sprintf("prd_%05d", id), Name: fmt.Sprintf("Item %d", id), Slug: fmt.Sprintf("read-%d", id), Published: true}, 1))
	}
	b.Run("index made", func(b *testing.B) {
		for b.Loop() {
			newPostings(s.items)
		}
	})
	for _, name := range []string{"looked at", "indexed"} {
		b.Run(name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				search := fmt.Sprintf("item read-%d", n%10_000)
				words, err := searchWords(&search)
				if err != nil {
					b.Fatal(err)
				}
				s.find(place{first: 20}, words, false)
			}
		})
		s.index = &searchIndex{items: s.items}
	}
}
