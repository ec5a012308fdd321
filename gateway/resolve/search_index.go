package resolve

// Which products have a word that begins so: the words of the catalogue in
// order, each with its products. It is made when somebody searches, and stays as it
// is while products change: what has changed since is looked at one by one.

import (
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxIndexedWords bounds the index: a catalogue with more words is looked
	// through product by product.
	maxIndexedWords = 4_000_000
	// maxUnindexed is how many products may have changed until the index is made anew.
	maxUnindexed = 512
	// scanShare is the part of all products from which on a word does not rule
	// out enough to be looked up.
	scanShare = 4
)

// searchIndex is shared by the shelves that come from one another. The search
// that finds it missing makes it; those at the same time do without.
type searchIndex struct {
	// items are newest first; postings are places in it.
	items  []*shelved
	making sync.Mutex
	made   atomic.Pointer[postings]
}

// postings are never changed. The products of words[i] are at[starts[i]:starts[i+1]].
type postings struct {
	words  []string
	starts []uint32
	at     []uint32
}

// get is nil while another search makes it, and for a catalogue that is too large.
func (x *searchIndex) get() *postings {
	if made := x.made.Load(); made != nil {
		return made
	}
	if !x.making.TryLock() {
		return nil
	}
	defer x.making.Unlock()
	if made := x.made.Load(); made != nil {
		return made
	}
	made := newPostings(x.items)
	x.made.Store(made)
	return made
}

func newPostings(items []*shelved) *postings {
	places := make(map[string][]uint32)
	total := 0
	for i, item := range items {
		for word := range strings.SplitSeq(item.text, wordMark) {
			if word == "" { // before the first mark
				continue
			}
			if total++; total > maxIndexedWords {
				return &postings{}
			}
			places[word] = append(places[word], uint32(i)) //nolint:gosec // at most maxShelf
		}
	}
	p := &postings{words: make([]string, 0, len(places)), starts: make([]uint32, 1, len(places)+1), at: make([]uint32, 0, total)}
	for word := range places {
		p.words = append(p.words, word)
	}
	slices.Sort(p.words)
	for _, word := range p.words {
		p.at = append(p.at, places[word]...)
		p.starts = append(p.starts, uint32(len(p.at))) //nolint:gosec // at most maxIndexedWords
	}
	return p
}

// begins are the products with a word that begins so: how many at most, and
// where they are in at.
func (p *postings) begins(with string) (from, to uint32) {
	first := sort.SearchStrings(p.words, with)
	n := sort.Search(len(p.words)-first, func(i int) bool { return !strings.HasPrefix(p.words[first+i], with) })
	return p.starts[first], p.starts[first+n]
}

// candidates are products in order among which all are that have the words; false:
// they are as good as all.
func (s *shelf) candidates(words []string) (iter.Seq[*shelved], bool) {
	if len(words) == 0 || s.index == nil {
		return nil, false
	}
	p := s.index.get()
	if p == nil || p.words == nil {
		return nil, false
	}
	from, to := uint32(0), uint32(len(p.at)) //nolint:gosec // at most maxIndexedWords
	for _, w := range words {
		if f, t := p.begins(w[len(wordMark):]); t-f < to-from {
			from, to = f, t
		}
	}
	if int(to-from)*scanShare > len(s.index.items) {
		return nil, false
	}
	at := slices.Clone(p.at[from:to])
	slices.Sort(at)
	return s.merged(slices.Compact(at)), true
}

// merged are indexed products as far as they are still there, and those that have come since.
func (s *shelf) merged(at []uint32) iter.Seq[*shelved] {
	return func(yield func(*shelved) bool) {
		since := s.unindexed
		for _, i := range at {
			item := s.index.items[i]
			if s.byID[item.product.ID] != item {
				continue
			}
			for len(since) > 0 && since[0].order(item.sortMs, item.product.ID) < 0 {
				if !yield(since[0]) {
					return
				}
				since = since[1:]
			}
			if !yield(item) {
				return
			}
		}
		for _, item := range since {
			if !yield(item) {
				return
			}
		}
	}
}

// reindexed says what a shelf that has changed has in its index, and what besides.
func (s *shelf) reindexed(newer []*shelved) {
	if len(s.unindexed)+len(newer) > maxUnindexed {
		s.index, s.unindexed = &searchIndex{items: s.items}, nil
		return
	}
	since := make([]*shelved, 0, len(s.unindexed)+len(newer))
	for _, list := range [][]*shelved{s.unindexed, newer} {
		for _, item := range list {
			if s.byID[item.product.ID] == item { // it has not been replaced, or pushed out
				since = append(since, item)
			}
		}
	}
	slices.SortFunc(since, func(a, b *shelved) int { return a.order(b.sortMs, b.product.ID) })
	s.unindexed = slices.Compact(since)
}
