package publisher

import "stampede/actors/entity"

// span is a journal record whose messages have not all been acknowledged, or a
// piece of work that others wait for. Guarded by the publisher's mutex.
type span struct {
	group    *group
	tracker  *tracker // nil: none of a log
	addr     entity.Address
	seq      uint64
	epoch    entity.Epoch
	position uint64
	atMs     int64
	// open counts what has not been acknowledged.
	open int
	// then is settled once nothing is open.
	then []*span
}

// settle notes that one of what was open is done.
func (s *span) settle() {
	if s.open--; s.open > 0 {
		return
	}
	if s.tracker != nil {
		s.tracker.open--
	}
	for _, next := range s.then {
		next.settle()
	}
	s.then = nil
}

// tracker knows how far one incarnation's log is published: everything at or
// below mark. Guarded by the publisher's mutex.
type tracker struct {
	// spans are in order of position; of those that are settled the ones at the
	// front are gone, and the others before they are more than the open ones.
	spans []*span
	open  int
	// taken is how far the log was handed over.
	taken uint64
}

// fewSpans are kept without looking for settled ones among them.
const fewSpans = 256

// add registers a record that was handed over. Positions only grow.
func (t *tracker) add(s *span) {
	t.taken = max(t.taken, s.position)
	if s.open == 0 {
		return
	}
	s.tracker = t
	t.open++
	t.spans = append(t.spans, s)
	if len(t.spans) < fewSpans || len(t.spans) < 2*t.open {
		return
	}
	// One record that cannot be published must not keep all after it in memory.
	kept := t.spans[:0]
	for _, s := range t.spans {
		if s.open > 0 {
			kept = append(kept, s)
		}
	}
	clear(t.spans[len(kept):])
	t.spans = kept
}

// upTo notes that everything at or below position was handed over.
func (t *tracker) upTo(position uint64) { t.taken = max(t.taken, position) }

// mark is the watermark. It never goes back: a span that is added lies above
// everything that was taken before.
func (t *tracker) mark() uint64 {
	n := 0
	for n < len(t.spans) && t.spans[n].open == 0 {
		t.spans[n] = nil
		n++
	}
	t.spans = t.spans[n:]
	if len(t.spans) == 0 {
		t.spans = nil
		return t.taken
	}
	return t.spans[0].position - 1
}
