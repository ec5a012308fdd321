package sale

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// queue hands out journeys as they fall due: one that waits for its turn takes
// none of those who serve. dispatch owns the heap.
type queue struct {
	due  chan *journey
	back chan handedBack
	done chan struct{}
	once sync.Once
	all  byTime
}

type handedBack struct {
	journey *journey
	more    bool
}

// newQueue has everybody due who does not come later, in the order given.
func newQueue(journeys []*journey) *queue {
	q := &queue{due: make(chan *journey), back: make(chan handedBack), done: make(chan struct{})}
	now := time.Now()
	for i, j := range journeys {
		if !j.at.After(now) {
			j.at = now.Add(time.Duration(i)) // a nanosecond apart: the order given
		}
	}
	q.all = append(q.all, journeys...)
	heap.Init(&q.all)
	return q
}

// stop ends dispatch early.
func (q *queue) stop() { q.once.Do(func() { close(q.done) }) }

// giveBack returns a journey after a step. It is false when all is over.
func (q *queue) giveBack(ctx context.Context, j *journey, wait time.Duration, more bool) bool {
	j.at = time.Now().Add(wait)
	select {
	case q.back <- handedBack{j, more}:
		return true
	case <-ctx.Done():
	case <-q.done:
	}
	return false
}

// dispatch runs until every journey has ended, or the context has. It closes due.
func (q *queue) dispatch(ctx context.Context) {
	defer close(q.due)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for open := len(q.all); open > 0; {
		var next *journey
		var due chan<- *journey
		if len(q.all) > 0 {
			if wait := time.Until(q.all[0].at); wait > 0 {
				timer.Reset(wait)
			} else {
				next, due = q.all[0], q.due
			}
		}
		select {
		case due <- next:
			heap.Pop(&q.all)
		case got := <-q.back:
			if got.more {
				heap.Push(&q.all, got.journey)
			} else {
				open--
			}
		case <-timer.C:
		case <-ctx.Done():
			return
		case <-q.done:
			return
		}
	}
}

// byTime is a heap of journeys, the next one first.
type byTime []*journey

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *byTime) Push(x any) { *h = append(*h, x.(*journey)) } //nolint:forcetypeassert // heap's own use

// Pop is heap.Interface's.
func (h *byTime) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
