package sale

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

// Steps come in order and once each, whoever says how far the sale is.
func TestStepsComeInOrderAndOnce(t *testing.T) {
	var called []int
	all := make([]func() error, 5)
	for i := range all {
		all[i] = func() error {
			called = append(called, i)
			return nil
		}
	}
	s := startSteps(all)
	var saying sync.WaitGroup
	for range 8 {
		saying.Go(func() {
			for part := range s.parts() + 3 {
				s.reached(part)
			}
		})
	}
	saying.Wait()
	if err := s.end(); err != nil || !slices.Equal(called, []int{0, 1, 2, 3, 4}) {
		t.Errorf("called %v, %v", called, err)
	}
}

func TestAFailedStepIsTheLast(t *testing.T) {
	failure := errors.New("failure")
	s := startSteps([]func() error{func() error { return failure }, func() error { t.Error("called after a failure"); return nil }})
	s.reached(2)
	if err := s.end(); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestAStepThatWasNotReachedIsNotCalled(t *testing.T) {
	s := startSteps([]func() error{func() error { t.Error("called"); return nil }})
	s.reached(0)
	if err := s.end(); err != nil {
		t.Error(err)
	}
}
