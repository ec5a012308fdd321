package events

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"stampede/actors/entity"
)

// Progress is how far a reader has come, an incarnation. Its methods may be
// called from any goroutine.
type Progress struct {
	mu    sync.Mutex
	marks map[entity.Epoch]uint64
	moved chan struct{}
}

// NewProgress returns the progress of a reader that has done nothing.
func NewProgress() *Progress {
	return &Progress{marks: make(map[entity.Epoch]uint64), moved: make(chan struct{})}
}

// Advance notes that everything at or below position is done.
func (p *Progress) Advance(epoch entity.Epoch, position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if position <= p.marks[epoch] {
		return
	}
	p.marks[epoch] = position
	close(p.moved)
	p.moved = make(chan struct{})
}

// Mark is how far the log of an incarnation is done.
func (p *Progress) Mark(epoch entity.Epoch) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.marks[epoch]
}

// Marks is how far each log is done.
func (p *Progress) Marks() map[entity.Epoch]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.marks)
}

// WaitFor waits until the log of an incarnation is done up to and including
// position.
func (p *Progress) WaitFor(ctx context.Context, epoch entity.Epoch, position uint64) error {
	for {
		p.mu.Lock()
		mark, moved := p.marks[epoch], p.moved
		p.mu.Unlock()
		if mark >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("log is done up to %d of %d: %w", mark, position, ctx.Err())
		}
	}
}
