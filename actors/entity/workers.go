// This file is where activations run: on goroutines that are kept for a while,
// because a new one would first have to grow its stack to what deciding needs,
// again for every message.
package entity

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// workers runs functions at once, each on a goroutine of its own: one that
// waits for work, or a new one. So what blocks (a recovery that reads the
// journal) never keeps others waiting. Those that work are bounded where the
// work comes from; those that wait, by maxWaiting. None waits when no
// activation is in memory.
//
// It implements actor.Dispatcher. Its zero value is ready; its methods may be
// called from any goroutine.
type workers struct {
	mu sync.Mutex
	// waiting is in the order in which they came: the last has the warmest stack.
	waiting     []chan func()
	activations int
}

var _ actor.Dispatcher = (*workers)(nil)

const (
	// maxWaiting bounds the goroutines that wait for work.
	maxWaiting = 256
	// workerThroughput is after how many messages an actor lets others run.
	workerThroughput = 300
)

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(run func()) {
	w.mu.Lock()
	last := len(w.waiting) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.loop(run)
		return
	}
	next := w.waiting[last]
	w.waiting[last] = nil
	w.waiting = w.waiting[:last]
	w.mu.Unlock()
	next <- run
}

// Throughput implements actor.Dispatcher.
func (w *workers) Throughput() int { return workerThroughput }

func (w *workers) loop(run func()) {
	mine := make(chan func(), 1)
	for more := true; more; {
		run()
		if !w.wait(mine) {
			return
		}
		run, more = <-mine
	}
}

// wait puts a goroutine among those that wait, unless it is not needed.
func (w *workers) wait(mine chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.activations == 0 || len(w.waiting) == maxWaiting {
		return false
	}
	w.waiting = append(w.waiting, mine)
	return true
}

// activated notes that there is one activation more.
func (w *workers) activated() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.activations++
}

// deactivated notes that there is one less, and after the last one sends away
// those that wait.
func (w *workers) deactivated() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.activations--; w.activations > 0 {
		return
	}
	for _, each := range w.waiting {
		close(each)
	}
	w.waiting = nil
}
