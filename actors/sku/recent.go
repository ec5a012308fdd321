package sku

import "time"

// recent remembers values by key in the order in which they came. What is
// older than KeepFor may be forgotten, oldest first, a few at a time. What
// forget is not called for stays until it is removed.
type recent[T any] struct {
	byKey       map[string]*memory[T]
	first, last *memory[T]
}

type memory[T any] struct {
	key        string
	atMs       int64
	value      T
	prev, next *memory[T]
}

func (r *recent[T]) len() int { return len(r.byKey) }

func (r *recent[T]) get(key string) *memory[T] { return r.byKey[key] }

// put remembers the value as the newest, in place of one with the same key.
func (r *recent[T]) put(key string, atMs int64, value T) {
	r.remove(key)
	if r.byKey == nil {
		r.byKey = map[string]*memory[T]{}
	}
	m := &memory[T]{key: key, atMs: atMs, value: value, prev: r.last}
	if r.last == nil {
		r.first = m
	} else {
		r.last.next = m
	}
	r.last = m
	r.byKey[key] = m
}

// remove forgets a key, known or not.
func (r *recent[T]) remove(key string) {
	m := r.byKey[key]
	if m == nil {
		return
	}
	delete(r.byKey, key)
	if m.prev == nil {
		r.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		r.last = m.prev
	} else {
		m.next.prev = m.prev
	}
}

// forgettable is how many memories the next event lets go of.
func (r *recent[T]) forgettable(nowMs int64) int {
	n := 0
	for m := r.first; m != nil && n < maxForgotten && old(m.atMs, nowMs); m = m.next {
		n++
	}
	return n
}

// forget lets go of the memories that forgettable counts.
func (r *recent[T]) forget(nowMs int64) {
	for n := r.forgettable(nowMs); n > 0; n-- {
		r.remove(r.first.key)
	}
}

func old(atMs, nowMs int64) bool { return nowMs-atMs > KeepFor.Milliseconds() }

// retryAfterMs is how long from now the oldest memory is kept, within bounds
// that make sense to a caller.
func (r *recent[T]) retryAfterMs(nowMs int64) int64 {
	const least, most = int64(time.Second / time.Millisecond), int64(time.Minute / time.Millisecond)
	if r.first == nil {
		return most
	}
	return min(max(r.first.atMs+KeepFor.Milliseconds()-nowMs, least), most)
}
