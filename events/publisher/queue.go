package publisher

import (
	"slices"
	"time"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
)

// itemBytes is what an item takes in memory beyond its message's size in a
// batch (measured: slices, strings' headers, the item itself).
const itemBytes = 320

// item is one message on its way to its partition.
type item struct {
	msg cloudevents.Message
	// size is the message's in a batch.
	size int
	span *span
	// addr and seq are the record that it is of: a span can be of many.
	addr entity.Address
	seq  uint64
	// level is the one that it was read for; nil: it came from a log.
	level *level
	// counted: it is among the levels that came from a log.
	counted bool
	// due is when it may be sent at the earliest; zero: at once.
	due time.Time
	// omitted: the broker found it too large, so it goes out without its data.
	omitted bool
}

// queue is what waits for one partition. Guarded by the publisher's mutex.
type queue interface {
	// push adds an item, and returns the one that it makes superfluous.
	push(it *item, now time.Time) (replaced *item)
	// take removes what fits a batch, in order.
	take(records, bytes int, now time.Time) []*item
	// remove takes out everything of a key, in order.
	remove(key string) []*item
	// nextDue is when take will have something; false: it is empty.
	nextDue() (time.Time, bool)
}

// fifo keeps every message, in order.
type fifo struct {
	items []*item
	head  int
}

func (q *fifo) push(it *item, _ time.Time) *item {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
	return nil
}

func (q *fifo) take(records, bytes int, _ time.Time) []*item {
	n := 0
	for i := q.head; i < len(q.items) && n < records; i++ {
		if bytes -= q.items[i].size; bytes < 0 && n > 0 {
			break
		}
		n++
	}
	out := make([]*item, n)
	copy(out, q.items[q.head:])
	clear(q.items[q.head : q.head+n])
	if q.head += n; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return out
}

func (q *fifo) remove(key string) []*item {
	var out, kept []*item
	for _, it := range q.items[q.head:] {
		if it.msg.Key == key {
			out = append(out, it)
		} else {
			kept = append(kept, it)
		}
	}
	q.items, q.head = kept, 0
	return out
}

func (q *fifo) nextDue() (time.Time, bool) { return time.Time{}, q.head < len(q.items) }

// latest keeps the newest message of each key and sends a key at most once an
// interval: values that were never sent are skipped, the last one never is.
type latest struct {
	interval time.Duration
	waiting  map[string]*item
	// order is the keys of waiting, oldest first.
	order []string
	// sent is when a key was last taken, for as long as that delays its next.
	sent  map[string]time.Time
	swept time.Time
}

func newLatest(interval time.Duration) *latest {
	return &latest{interval: interval, waiting: make(map[string]*item), sent: make(map[string]time.Time)}
}

func (q *latest) push(it *item, now time.Time) *item {
	old := q.waiting[it.msg.Key]
	if old != nil && old.msg.Version > it.msg.Version {
		return it
	}
	q.waiting[it.msg.Key] = it
	if old != nil {
		it.due = old.due
		return old
	}
	q.order = append(q.order, it.msg.Key)
	if last, ok := q.sent[it.msg.Key]; ok && last.Add(q.interval).After(now) {
		it.due = last.Add(q.interval)
	}
	return nil
}

func (q *latest) take(records, bytes int, now time.Time) []*item {
	q.sweep(now)
	var out []*item
	kept := q.order[:0]
	full := false
	for _, key := range q.order {
		it := q.waiting[key]
		full = full || len(out) >= records || (len(out) > 0 && it.size > bytes)
		if full || it.due.After(now) {
			kept = append(kept, key)
			continue
		}
		bytes -= it.size
		out = append(out, it)
		delete(q.waiting, key)
		q.sent[key] = now
	}
	clear(q.order[len(kept):])
	q.order = kept
	return out
}

func (q *latest) remove(key string) []*item {
	it := q.waiting[key]
	if it == nil {
		return nil
	}
	delete(q.waiting, key)
	q.order = slices.DeleteFunc(q.order, func(k string) bool { return k == key })
	return []*item{it}
}

// sweep forgets when keys were sent that may be sent again anyway.
func (q *latest) sweep(now time.Time) {
	if now.Sub(q.swept) < q.interval {
		return
	}
	q.swept = now
	for key, at := range q.sent {
		if now.Sub(at) >= q.interval {
			delete(q.sent, key)
		}
	}
}

func (q *latest) nextDue() (time.Time, bool) {
	var due time.Time
	for i, key := range q.order {
		if it := q.waiting[key]; i == 0 || it.due.Before(due) {
			due = it.due
		}
		if due.IsZero() {
			break
		}
	}
	return due, len(q.order) > 0
}
