package membership

// Who is told of each new view, and when a renewal may say that they were.

import (
	"context"
	"fmt"
	"math"
	"slices"

	"stampede/cluster/members"
)

// watcher is one function that is told of views.
type watcher struct {
	tell func(*members.View)

	// calling holds one value during a call.
	calling chan struct{}
	// told is the version of the newest view, or beyond all when it was stopped.
	told uint64
}

// hear tells of the view, and returns when the watcher knows it or a later one.
func (w *watcher) hear(ctx context.Context, v *members.View) error {
	select {
	case w.calling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.calling }()
	if v.Version > w.told {
		w.told = v.Version
		w.tell(v)
	}
	return nil
}

// Watch calls f with the newest view before it returns, and then with each newer
// one as it comes, in order and never two at once; of several that come together
// only with the newest. A renewal counts only when all watchers have returned
// from what it showed: so who acts on what f was told acts on nothing older
// than a lease while Fit is nil, and f must return soon. When stop has returned
// there are no more calls; f must not call it.
func (s *Service) Watch(f func(*members.View)) (stop func()) {
	w := &watcher{tell: f, calling: make(chan struct{}, 1)}
	s.mu.Lock()
	s.watchers = append(s.watchers, w)
	s.mu.Unlock()
	_ = w.hear(s.ctx, s.View()) // fails only if the service has ended
	return func() {
		s.mu.Lock()
		s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher) bool { return other == w })
		s.mu.Unlock()
		w.calling <- struct{}{}
		w.told = math.MaxUint64
		<-w.calling
	}
}

// tellWatchers is the loop that tells the watchers of what was read.
func (s *Service) tellWatchers() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.tell:
			_ = s.tellAll(s.ctx) // fails only at the end
		}
	}
}

// tellAll returns when all watchers have been told of the newest view, or of
// a later one. If that is news, the others soon hear of it by a renewal.
func (s *Service) tellAll(ctx context.Context) error {
	s.mu.Lock()
	v, watchers := s.view.Load(), slices.Clone(s.watchers)
	s.mu.Unlock()
	for _, w := range watchers {
		if err := w.hear(ctx, v); err != nil {
			return fmt.Errorf("a watcher has not returned from an older view: %w", err)
		}
	}
	for {
		acted := s.acted.Load()
		if acted >= v.Version {
			return nil
		}
		if s.acted.CompareAndSwap(acted, v.Version) {
			s.renew.now()
			return nil
		}
	}
}
