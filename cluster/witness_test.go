package cluster_test

// The witness of simulated and real nodes: which has which actor, and what must not be.

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"stampede/actors/entity"
)

// witness notes which nodes have which actor, and what must not be.
type witness struct {
	mu       sync.Mutex
	active   map[entity.Address]map[string]int // by node
	dead     map[string]bool                   // killed, or without a lease
	problems []string
	starts   int
	moves    int
	glimpses atomic.Int64 // answers without a turn of the actor
	last     map[entity.Address]string
}

func newWitness() *witness {
	return &witness{active: map[entity.Address]map[string]int{}, dead: map[string]bool{}, last: map[entity.Address]string{}}
}

func (w *witness) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *witness) die(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[node] = true
}

// over wraps a kind of a node so that its activations are noted: from before
// the first request is taken until after the last.
func (w *witness) over(node string, s entity.Spawner) entity.Spawner {
	props := s.Props
	s.Props = func(id string, ended func(), window *entity.Window) *actor.Props {
		addr := entity.Address{Kind: s.Kind, ID: id}
		w.started(node, addr)
		return props(id, func() {
			w.ended(node, addr)
			ended()
		}, window)
	}
	return s
}

func (w *witness) started(node string, addr entity.Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	if w.last[addr] != node {
		w.moves++
		w.last[addr] = node
	}
	here := w.active[addr]
	if here == nil {
		here = map[string]int{}
		w.active[addr] = here
	}
	for other, n := range here {
		if n > 0 && other != node && !w.dead[other] && !w.dead[node] {
			w.problems = append(w.problems, fmt.Sprintf("%s starts %s while %s has it", node, addr.Stream(), other))
		}
	}
	here[node]++
}

func (w *witness) ended(node string, addr entity.Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active[addr][node]--
}
