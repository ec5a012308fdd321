package cluster

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// trouble is what a call has met so far.
type trouble struct {
	// ownerless is when the first attempt failed because the owner was lost or
	// another one; zero: none did.
	ownerless time.Time
	// doubtful: an attempt may have been carried out, or may be yet.
	doubtful bool
}

const (
	// mostMoved and mostLost bound the wait before the next attempt when the actor
	// has moved, which takes as long as reading a view, and when its node was
	// lost, which takes as long as evicting it.
	mostMoved = 16 * time.Millisecond
	mostLost  = 100 * time.Millisecond
)

// troubled notes a failed attempt, and returns how long to wait before the next.
func (n *Node) troubled(t *trouble, try int, err error) time.Duration {
	wait := backoff(try)
	if n.peers == nil {
		return wait
	}
	switch {
	case errors.Is(err, errNotOwner), errors.Is(err, errStale):
		wait = min(wait, mostMoved/2+wait%(mostMoved/2))
	case errors.Is(err, errLost):
		wait = min(wait, mostLost/2+wait%(mostLost/2))
	case !errors.Is(err, entity.ErrTimeout):
		n.peers.metrics.retried(err)
		return wait
	}
	if t.ownerless.IsZero() {
		t.ownerless = time.Now()
	}
	n.peers.metrics.retried(err)
	return wait
}

// recovered notes the end of a call.
func (n *Node) recovered(t *trouble, err error) {
	if n.peers != nil && err == nil && !t.ownerless.IsZero() {
		n.peers.metrics.ownerFound(time.Since(t.ownerless))
	}
}

// doubt notes an attempt of which nobody knows what became of it. A command that
// only reads does nothing, whatever becomes of it.
func (n *Node) doubt(t *trouble, kind string, cmd proto.Message, err error) {
	if !errors.Is(err, entity.ErrUnknownOutcome) && !errors.Is(err, entity.ErrTimeout) {
		return
	}
	k := n.actors.kinds[kind]
	t.doubtful = t.doubtful || k == nil || k.Reads == nil || !k.Reads(cmd)
}

// said is what the caller is told. The last attempt may surely have done
// nothing, and an earlier one may have done it all the same.
func (t *trouble) said(err error) error {
	if !t.doubtful || !entity.Retryable(err) || errors.Is(err, entity.ErrUnknownOutcome) {
		return err
	}
	return fmt.Errorf("%w: an earlier attempt was not answered: %w", entity.ErrUnknownOutcome, err)
}
