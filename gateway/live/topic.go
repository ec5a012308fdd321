package live

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
)

// State is an actor's state as Get shows it. It is not changed any more.
type State struct {
	Reply   proto.Message
	Version uint64

	mu    sync.Mutex
	texts map[any][]byte
}

// maxTexts bounds how many ways of showing one state are remembered.
const maxTexts = 16

// Text is what write makes of the state, made once for all who show it in the
// same way. It must not be changed.
func (s *State) Text(way any, write func() []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.texts[way]; ok {
		return text
	}
	text := write()
	if len(s.texts) < maxTexts {
		if s.texts == nil {
			s.texts = make(map[any][]byte, 1)
		}
		s.texts[way] = text
	}
	return text
}

// topic is one watched actor. Its goroutine asks; when nobody listens any more
// it ends with the question that is under way, which it does not give up: so
// there is never more than one of this node's at the actor, however often
// subscribers come and go.
type topic struct {
	hub   *Hub
	kind  *Kind
	addr  entity.Address
	watch *anypb.Any

	state atomic.Pointer[State]

	mu    sync.Mutex
	feeds []*feed
	ended bool
	err   error
}

// run asks until nobody listens, the actor shows that there is no such thing,
// or something is wrong for good.
func (t *topic) run() {
	known := uint64(0)
	for try := 0; ; {
		reply, err := t.ask(known)
		switch {
		case t.hub.ctx.Err() != nil:
			return
		case err != nil && !entity.Retryable(err):
			t.hub.logger.Error("an actor cannot be watched", "kind", t.addr.Kind, "id", t.addr.ID, "error", err)
			t.hub.drop(t, err)
			return
		case err != nil:
			try++
		default:
			try = 0
			version := t.kind.Version(reply)
			if version == 0 {
				t.hub.drop(t, nil)
				return
			}
			if version > known { // an older one is of an activation that is out of date
				known = version
				t.publish(&State{Reply: reply, Version: version})
			}
		}
		if t.hub.leave(t) || !t.pause(try) {
			return
		}
	}
}

// ask waits for a state that is newer; the first one is not waited for.
func (t *topic) ask(known uint64) (proto.Message, error) {
	if known == 0 {
		return t.hub.caller.Call(t.hub.ctx, t.addr, t.kind.Get)
	}
	wait := t.hub.limits.WatchFor
	cmd := &commonpb.Watch{AfterVersion: known, WaitMs: wait.Milliseconds(), Get: t.watch}
	return t.hub.caller.Call(entity.WithWait(t.hub.ctx, wait), t.addr, cmd)
}

const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
)

// pause waits before the next question: the gap, or after failures longer and
// longer. It reports false when the hub ends.
func (t *topic) pause(failures int) bool {
	d := t.hub.limits.Gap
	if failures > 0 {
		d = min(firstBackoff<<min(failures-1, 8), mostBackoff)
		d = d/2 + rand.N(d/2+1)
	}
	return sleep(t.hub.ctx, d)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// publish shows the state to all who listen.
func (t *topic) publish(s *State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Store(s)
	for _, f := range t.feeds {
		f.of.mark(f)
	}
}

// end tells all who listen that nothing more comes.
func (t *topic) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended, t.err = true, err
	for _, f := range t.feeds {
		f.of.finish(f, err)
	}
}

func (t *topic) add(f *feed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.topic, f.at = t, len(t.feeds)
	t.feeds = append(t.feeds, f)
	if t.ended {
		f.of.finish(f, t.err)
		return
	}
	if t.state.Load() != nil {
		f.of.mark(f)
	}
}

// remove takes a feed out; the last one takes its place.
func (t *topic) remove(f *feed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.feeds) - 1
	t.feeds[f.at] = t.feeds[last]
	t.feeds[f.at].at = f.at
	t.feeds[last] = nil
	t.feeds = t.feeds[:last]
	if cap(t.feeds) > 64 && last < cap(t.feeds)/4 {
		t.feeds = append(make([]*feed, 0, 2*last), t.feeds...)
	}
}
