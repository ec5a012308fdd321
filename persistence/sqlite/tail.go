package sqlite

// What the journal has and index.db may not: where each stream's newest records
// are. It is the memory half of the fence.

import (
	"cmp"
	"slices"
	"sync"

	"stampede/actors/entity"
)

// positionBits is how many bits of a record's id are its position.
const positionBits = 40

// recordID is the key of a record in the journal.
func recordID(epoch entity.Epoch, position uint64) int64 {
	return int64(epoch)<<positionBits | int64(position) //nolint:gosec // bounded by persistence.CheckRecord
}

// streamHash is FNV-1a of kind/id. Streams that share a hash are told apart by
// their records, so a collision costs a look-up and nothing else.
func streamHash(kind, id string) int64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(kind) {
		h = (h ^ uint64(kind[i])) * prime
	}
	h = (h ^ '/') * prime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	return int64(h) //nolint:gosec // a hash has no sign
}

// place says where a record is.
type place struct {
	hash, seq, id int64
}

// tail holds the places of the records that were committed since index.db was
// last brought up to date, in at most two generations: the one that grows and
// the one that is being merged. Records enter after their commit, and a merged
// generation leaves after its merge is durable, so tail and index.db together
// always have every record.
//
// The growing generation is changed by the writer of the journal only; mu is
// for its readers.
type tail struct {
	// every is how many records make a generation worth merging; the growing
	// one never gets maxGenerations times as large.
	every int

	mu      sync.RWMutex
	active  *generation
	merging *generation
	// spare is an emptied generation, kept for its memory.
	spare *generation
}

// maxGenerations bounds the tail when merging is slower than committing.
const maxGenerations = 8

// generation chains the places of one hash, newest first, without an
// allocation for each.
type generation struct {
	heads  map[int64]head
	places []place
	// older[i] is the index of the place before places[i] with the same hash, or -1.
	older []int32
	// upto is the newest row of appends that it includes.
	upto int64
}

// head is what a generation knows of a hash: the highest seq that was ever
// committed with it (in this generation or before), and its newest place.
type head struct {
	highest int64
	newest  int32
}

func newTail(every int) *tail {
	return &tail{every: every, active: newGeneration()}
}

func newGeneration() *generation {
	return &generation{heads: make(map[int64]head)}
}

// highest returns the highest seq of a hash; known is false when only index.db
// can tell.
func (t *tail) highest(hash int64) (seq int64, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h, ok := t.active.heads[hash]; ok {
		return h.highest, true
	}
	if t.merging != nil {
		if h, ok := t.merging.heads[hash]; ok {
			return h.highest, true
		}
	}
	return 0, false
}

// add takes the places of one committed transaction in. before is the highest
// seq of each hash as of that transaction's beginning.
func (t *tail) add(places []place, before map[int64]int64, upto int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.active
	for _, p := range places {
		h, ok := g.heads[p.hash]
		if !ok {
			h = head{highest: before[p.hash], newest: -1}
		}
		g.older = append(g.older, h.newest)
		g.places = append(g.places, p)
		h.newest = int32(len(g.places) - 1) //nolint:gosec // a generation is far smaller
		h.highest = max(h.highest, p.seq)
		g.heads[p.hash] = h
	}
	g.upto = upto
}

// find returns the places of a hash with seq > after, ascending.
func (t *tail) find(hash, after int64) []place {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found []place
	for _, g := range [...]*generation{t.active, t.merging} {
		if g == nil {
			continue
		}
		h, ok := g.heads[hash]
		if !ok {
			continue
		}
		for i := h.newest; i >= 0; i = g.older[i] {
			if g.places[i].seq > after {
				found = append(found, g.places[i])
			}
		}
	}
	slices.SortFunc(found, comparePlaces)
	return found
}

// freeze hands the growing generation over to be merged, if it is due (or when
// forced, if it has anything) and the one before it is done.
func (t *tail) freeze(force bool) *generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.merging != nil || len(t.active.places) == 0 || (!force && len(t.active.places) < t.every) {
		return nil
	}
	t.merging, t.active = t.active, t.spare
	t.spare = nil
	if t.active == nil {
		t.active = newGeneration()
	}
	return t.merging
}

// merged lets go of the generation that index.db now has.
func (t *tail) merged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.merging
	clear(g.heads)
	g.places, g.older = g.places[:0], g.older[:0]
	t.merging, t.spare = nil, g
}

// full reports that no more records may enter before a merge.
func (t *tail) full() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.active.places) >= maxGenerations*t.every
}

func comparePlaces(a, b place) int {
	switch {
	case a.hash != b.hash:
		return cmp.Compare(a.hash, b.hash)
	case a.seq != b.seq:
		return cmp.Compare(a.seq, b.seq)
	default:
		return cmp.Compare(a.id, b.id)
	}
}
