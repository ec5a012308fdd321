package sale

import "sync/atomic"

// steps calls what happens during a sale when its time has come. Any goroutine
// may say how far the sale is; one goroutine calls the steps, in order.
type steps struct {
	all     []func() error
	due     chan struct{} // a step's time has come; has room for all
	begun   atomic.Int64
	outcome chan error
}

func startSteps(all []func() error) *steps {
	s := &steps{all: all, due: make(chan struct{}, len(all)), outcome: make(chan error, 1)}
	go func() { s.outcome <- s.run() }()
	return s
}

// run calls the steps until the sale has ended; after a failure no more.
func (s *steps) run() error {
	var failed error
	next := 0
	for range s.due {
		if failed == nil {
			failed = s.all[next]()
		}
		next++
	}
	return failed
}

// parts is how many parts the steps cut the sale into.
func (s *steps) parts() int64 { return int64(len(s.all)) + 1 }

// reached says that so many parts of the sale are over.
func (s *steps) reached(parts int64) {
	for parts = min(parts, int64(len(s.all))); ; {
		begun := s.begun.Load()
		if begun >= parts {
			return
		}
		if s.begun.CompareAndSwap(begun, begun+1) {
			s.due <- struct{}{}
		}
	}
}

// end waits for the steps that have begun. Nothing is reached any more.
func (s *steps) end() error {
	close(s.due)
	return <-s.outcome
}
