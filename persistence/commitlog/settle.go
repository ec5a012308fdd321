package commitlog

import (
	"context"
	"fmt"

	"stampede/actors/entity"
)

// Settle implements entity.Log: it waits while a record of the actor is queued,
// in flight or unresolved. In the ordinary case there is none. It gives up with
// ctx, or when the log ends without knowing, with entity.ErrUnavailable.
func (l *Log) Settle(ctx context.Context, addr entity.Address) error {
	key := stream{addr.Kind, addr.ID}
	for {
		over, err := l.awaited(key)
		if over == nil {
			return err
		}
		select {
		case <-over:
		case <-ctx.Done():
			return fmt.Errorf("%w: the outcome of an earlier write to %s is not known yet: %w", entity.ErrUnavailable, addr.Stream(), ctx.Err())
		}
	}
}

// awaited is what to wait for, or nil if there is nothing.
func (l *Log) awaited(key stream) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.underWay(key) {
		return nil, nil
	}
	if l.ended {
		return nil, fmt.Errorf("%w: commit log was closed with the outcome of a write to %s/%s unknown", entity.ErrUnavailable, key.kind, key.id)
	}
	over := l.settling[key]
	if over == nil {
		over = make(chan struct{})
		l.settling[key] = over
	}
	return over, nil
}

func (l *Log) underWay(key stream) bool {
	_, sent := l.streams[key]
	return sent || l.doubts[key] > 0
}

// doubt notes that the outcome of a record became unknown, or known again.
func (l *Log) doubt(key stream, change int) {
	if l.doubts[key] += change; l.doubts[key] == 0 {
		delete(l.doubts, key)
	}
}

// tellSettled tells who waits for the stream, if all of it is known or will never be.
func (l *Log) tellSettled(key stream) {
	if over := l.settling[key]; over != nil && (l.ended || !l.underWay(key)) {
		close(over)
		delete(l.settling, key)
	}
}
