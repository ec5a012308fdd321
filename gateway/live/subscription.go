package live

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Source is what a subscriber wants to hear of.
type Source struct {
	Kind *Kind
	// IDs are the actors', each once.
	IDs []string
	// After is a version that the subscriber has: nothing comes that is not newer.
	After uint64
	// PerSecond bounds the states a second, after the first of each actor; 0: no
	// bound but the hub's own.
	PerSecond int
	// Allowed reports whether the subscriber may see the state. If not, nothing
	// more comes of that actor, unless Later says that it may be allowed to later.
	Allowed func(reply proto.Message) bool
	Later   bool
	// Value is what an answer's field resolves to. It does not depend on the
	// subscriber unless it is their Own.
	Value func(reply proto.Message) any
	Own   bool
	// Again, if set, is how long a state that was taken says the same: then it is
	// taken again though nothing has changed; 0: until it changes. Key, if set, is
	// comparable: a state with the key of the one before is passed over until then.
	Again func(reply proto.Message) time.Duration
	Key   func(reply proto.Message) any
}

// Subscription is one subscriber's. It holds no state: only which one it took
// last of each actor. What it takes next is whatever is newest then, so a
// subscriber that is slow misses what has been overtaken, and nothing is queued.
type Subscription struct {
	source Source
	notify func()

	mu     sync.Mutex
	feeds  []feed
	ready  []*feed // those that may have something newer, longest waiting first
	open   int     // feeds that have not ended
	err    error
	next   time.Time // no second state of an actor before
	closed bool
}

// feed is one actor of a subscription.
type feed struct {
	of    *Subscription
	topic *topic
	at    int // place among the topic's feeds
	sent  uint64
	begun bool      // something was sent
	key   any       // of what was sent
	again time.Time // when the state is to be sent once more; zero: never
	ready bool
	ended bool
}

// Subscribe begins to listen. notify is called, from any goroutine, when Take
// may have something; it must not block, nor call the subscription or the hub.
func (h *Hub) Subscribe(source Source, notify func()) (*Subscription, error) {
	s := &Subscription{source: source, notify: notify, feeds: make([]feed, len(source.IDs)), open: len(source.IDs)}
	for i := range s.feeds {
		s.feeds[i].of, s.feeds[i].sent = s, source.After
	}
	for i, id := range source.IDs {
		if err := h.join(source.Kind, id, &s.feeds[i]); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.ready = nil
	s.mu.Unlock()
	if again {
		return
	}
	for i := range s.feeds {
		if t := s.feeds[i].topic; t != nil {
			t.remove(&s.feeds[i])
		}
	}
}

// Taken is what Take came to. At most one of State, Wait, Again and Done is set;
// none: notify will be called.
type Taken struct {
	State *State
	// Wait is how long it is until there may be something to take, and nothing is before.
	Wait time.Duration
	// Again is how long it is until there is something to take, unless notify is
	// called before.
	Again time.Duration
	// Done: nothing more will come, because of Err if it is set.
	Done bool
	Err  error
}

// Take takes the newest state of the actor that has waited longest.
func (s *Subscription) Take(now time.Time) Taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repeat(now)
	early := now.Before(s.next)
	waits := false
	for i := 0; i < len(s.ready); {
		f := s.ready[i]
		if f.begun && early {
			waits = true
			i++
			continue
		}
		s.ready = append(s.ready[:i], s.ready[i+1:]...)
		f.ready = false
		if state := s.take(f, now); state != nil {
			return Taken{State: state}
		}
	}
	switch {
	case s.closed || s.open == 0:
		return Taken{Done: true, Err: s.err}
	case waits:
		return Taken{Wait: s.next.Sub(now)}
	}
	return Taken{Again: s.untilAgain(now)}
}

// repeat makes those feeds ready whose state is to be taken again.
func (s *Subscription) repeat(now time.Time) {
	if s.source.Again == nil {
		return
	}
	for i := range s.feeds {
		if f := &s.feeds[i]; !f.again.IsZero() && !now.Before(f.again) && !f.ready && !f.ended && !s.closed {
			f.ready = true
			s.ready = append(s.ready, f)
		}
	}
}

func (s *Subscription) untilAgain(now time.Time) time.Duration {
	least := time.Duration(0)
	if s.source.Again == nil {
		return least
	}
	for i := range s.feeds {
		if f := &s.feeds[i]; !f.again.IsZero() && !f.ended {
			if d := max(f.again.Sub(now), time.Millisecond); least == 0 || d < least {
				least = d
			}
		}
	}
	return least
}

// take is the feed's newest state if it is news and may be seen.
func (s *Subscription) take(f *feed, now time.Time) *State {
	state := f.topic.state.Load()
	if state == nil || f.ended {
		return nil
	}
	if !s.source.Allowed(state.Reply) {
		f.again = time.Time{}
		if !s.source.Later {
			s.over(f, nil)
		}
		return nil
	}
	due := !f.again.IsZero() && !now.Before(f.again)
	if state.Version <= f.sent && !due {
		return nil
	}
	if s.source.PerSecond > 0 {
		s.next = now.Add(time.Second / time.Duration(s.source.PerSecond))
	}
	same := f.begun && !due && s.source.Key != nil && s.source.Key(state.Reply) == f.key
	f.sent, f.begun = max(f.sent, state.Version), true
	if same {
		return nil
	}
	if s.source.Key != nil {
		f.key = s.source.Key(state.Reply)
	}
	if s.source.Again != nil {
		f.again = time.Time{}
		if d := s.source.Again(state.Reply); d > 0 {
			f.again = now.Add(d)
		}
	}
	return state
}

// mark notes that the feed's actor has a newer state.
func (s *Subscription) mark(f *feed) {
	s.mu.Lock()
	told := f.ready || f.ended || s.closed
	if !told {
		f.ready = true
		s.ready = append(s.ready, f)
	}
	s.mu.Unlock()
	if !told {
		s.notify()
	}
}

// finish notes that nothing more comes of the feed's actor.
func (s *Subscription) finish(f *feed, err error) {
	s.mu.Lock()
	s.over(f, err)
	s.mu.Unlock()
	s.notify()
}

func (s *Subscription) over(f *feed, err error) {
	if f.ended {
		return
	}
	f.ended = true
	s.open--
	if s.err == nil {
		s.err = err
	}
}
