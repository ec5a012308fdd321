package publisher

import "stampede/actors/entity"

// span is a journal record whose messages have not all been acknowledged.
type span struct {
	epoch    entity.Epoch
	position uint64
	atMs     int64
	// open counts the messages that have not been acknowledged.
	open int
}

// tracker knows how far one incarnation's log is published: everything at or
// below mark. Guarded by the publisher's mutex.
type tracker struct {
	// spans are in order of position; acknowledged ones at the front are gone.
	spans []*span
	// taken is how far the log was handed over.
	taken uint64
}

// add registers a record that was handed over. Positions only grow.
func (t *tracker) add(s *span) {
	if s.open > 0 {
		t.spans = append(t.spans, s)
	}
	t.taken = max(t.taken, s.position)
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
