package membership

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stampede/cluster/members"
)

// Service is this process's membership, from Start to Leave, Close or Lost. One
// goroutine reads and changes the table, one renews the lease, one calls the
// watchers, and there is at most one probe under way for each member.
type Service struct {
	config Config
	now    func() moment
	counts counts

	view atomic.Pointer[members.View]
	// fitUntil is the moment at which the lease runs out; 0: it has for good.
	fitUntil atomic.Int64
	// acted is the newest version of the view that all watchers have been told.
	acted atomic.Uint64

	refresh, renew, tell kick

	mu sync.Mutex
	// what follows is guarded by mu
	observer *observer
	// wanted is the state that this member should get to.
	wanted members.State
	// drains are the members that are to be asked to drain, and how many wait for it.
	drains map[string]int
	// renewed is when the last renewal that was confirmed had been sent.
	renewed  moment
	probing  map[string]bool
	watchers []*watcher
	// learned is closed and replaced when the table was read anew.
	learned chan struct{}
	err     error

	lost, drained, ended chan struct{}
	stop                 context.CancelFunc
	ctx                  context.Context //nolint:containedctx // the service's own life, for its probes
	running              sync.WaitGroup
}

// kick wakes a loop, once however often it is called.
type kick chan struct{}

func (k kick) now() {
	select {
	case k <- struct{}{}:
	default:
	}
}

// NewID makes an ID for Config.Self.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, since Go 1.24
	return "mem_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]))
}

// Start joins the cluster, trying until ctx ends: when it returns, the member is
// Joining and knows the others. Ready makes it Up.
func Start(ctx context.Context, config Config) (*Service, error) {
	began := time.Now()
	return start(ctx, config, func() moment { return time.Since(began) })
}

func start(ctx context.Context, config Config, now func() moment) (*Service, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	config.Self.Since = config.Now()
	s := &Service{
		config: config, now: now,
		refresh: make(kick, 1), renew: make(kick, 1), tell: make(kick, 1),
		observer: newObserver(config.Self.ID, config.Lease), wanted: members.Joining,
		drains: map[string]int{}, probing: map[string]bool{}, learned: make(chan struct{}),
		lost: make(chan struct{}), drained: make(chan struct{}), ended: make(chan struct{}),
	}
	s.view.Store(&members.View{})
	if err := s.join(ctx); err != nil {
		return nil, fmt.Errorf("membership: joining the cluster: %w", err)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.running.Go(s.keepTable)
	s.running.Go(s.keepLease)
	s.running.Go(s.tellWatchers)
	return s, nil
}

// join writes this member's row until it is there, and renews its lease once.
func (s *Service) join(ctx context.Context) error {
	var last error
	for failures := 0; ; failures++ {
		done, err := s.tryJoin(ctx)
		if done || errors.Is(err, ErrFull) || errors.Is(err, ErrLost) {
			return err
		}
		if err != nil && !errors.Is(err, members.ErrConflict) {
			last = err
		}
		if !pause(ctx, s.backoff(failures)) {
			return errors.Join(ctx.Err(), last)
		}
	}
}

func (s *Service) tryJoin(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.attemptFor())
	defer cancel()
	c, err := s.config.Table.Read(ctx)
	if err != nil {
		return false, err
	}
	self := s.config.Self.ID
	row, lease := c.Row(self), c.Lease(self)
	switch {
	case row == nil && len(c.Leases) >= members.MaxAlive:
		return false, ErrFull
	case row == nil:
		// Also after an unknown outcome: what was written then, the next read shows.
		return false, s.config.Table.Change(ctx, c.Join(s.config.Self))
	case lease == nil:
		return true, fmt.Errorf("%w: %s", ErrLost, row.Ended)
	}
	return s.renewOnce(ctx, *lease)
}

// Fit returns nil as long as this node may act as a member: its lease holds, by
// its own clock. The error wraps entity.ErrRetry. An answer is current if Fit
// was nil after the request had come and the state it shows was read.
func (s *Service) Fit() error {
	if int64(s.now()) < s.fitUntil.Load() {
		return nil
	}
	return errLapsed
}

// View is the newest view. It is never nil.
func (s *Service) View() *members.View { return s.view.Load() }

// Self is this member as the table has it, or as it will join.
func (s *Service) Self() members.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.observer.contents.Row(s.config.Self.ID); r != nil {
		return r.Member
	}
	return s.config.Self
}

// Members are all that the table has, also the last members.MaxDown that are
// Down, in the order in which they joined.
func (s *Service) Members() []members.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]members.Member, 0, len(s.observer.contents.Rows))
	for i := range s.observer.contents.Rows {
		all = append(all, s.observer.contents.Rows[i].Member)
	}
	return all
}

// Settled is a version of the view such that every member of the newest one acts
// on that version or a later one: all its watchers have returned from it.
func (s *Service) Settled() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observer.settled()
}

// Refresh has the table read at once: somebody says that it has changed.
func (s *Service) Refresh() { s.refresh.now() }

// Suspect says that a connection to the member failed. It is looked into at once,
// by a probe, and only what that finds counts.
func (s *Service) Suspect(id string, how members.Finding) {
	if how == members.Answers || id == s.config.Self.ID {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probe(id)
}

// Lost is closed when this process is no member any more, without having asked
// for it: it must end. Err says why.
func (s *Service) Lost() <-chan struct{} { return s.lost }

// Err says why the membership was lost; before, it is nil.
func (s *Service) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Drained is closed when somebody has asked this member to drain.
func (s *Service) Drained() <-chan struct{} { return s.drained }

// Ready makes the member Up, and returns when it is.
func (s *Service) Ready(ctx context.Context) error { return s.become(ctx, members.Up) }

// Drain makes the member Draining, and returns when it is.
func (s *Service) Drain(ctx context.Context) error { return s.become(ctx, members.Draining) }

// Leave makes the member Down, and ends the service. The node must have stopped
// acting as a member: Fit fails from now on. If it returns an error the others
// are left to find out by themselves.
func (s *Service) Leave(ctx context.Context) error {
	s.retire()
	err := s.become(ctx, members.Down)
	s.Close()
	return err
}

// Close ends the service without telling the others.
func (s *Service) Close() {
	s.retire()
	s.mu.Lock()
	select {
	case <-s.ended:
	default:
		close(s.ended)
	}
	s.stop() // under mu, as what starts a probe looks at it there
	s.mu.Unlock()
	s.running.Wait()
}

// retire has Fit fail for good.
func (s *Service) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fitUntil.Store(0)
	s.renewed = retired
}

// become has the table's loop take this member to a state, and waits for it.
func (s *Service) become(ctx context.Context, to members.State) error {
	s.mu.Lock()
	s.wanted = max(s.wanted, to)
	s.mu.Unlock()
	return s.await(ctx, fmt.Sprintf("becoming %s", to), func(c *members.Contents) (bool, error) {
		own := c.Row(s.config.Self.ID)
		return own == nil || own.Member.State >= to, nil
	})
}

// RequestDrain asks another member, or this one, to drain, and returns when the
// request is in the table.
func (s *Service) RequestDrain(ctx context.Context, id string) error {
	s.mu.Lock()
	s.drains[id]++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.drains[id]--; s.drains[id] == 0 {
			delete(s.drains, id)
		}
	}()
	return s.await(ctx, "asking "+id+" to drain", func(c *members.Contents) (bool, error) {
		r := c.Row(id)
		if r == nil || !r.Member.Alive() {
			return true, ErrNoMember
		}
		return r.DrainAsked, nil
	})
}

// await waits until the table, as it is read from now on, is as wanted.
func (s *Service) await(ctx context.Context, what string, done func(*members.Contents) (bool, error)) error {
	for {
		s.mu.Lock()
		ok, err := done(&s.observer.contents)
		learned, lost := s.learned, s.err
		s.mu.Unlock()
		switch {
		case lost != nil:
			return lost
		case err != nil:
			return fmt.Errorf("membership: %s: %w", what, err)
		case ok:
			return nil
		}
		s.refresh.now()
		select {
		case <-learned:
		case <-s.lost:
		case <-s.ended:
			return fmt.Errorf("membership: %s: %w", what, ErrEnded)
		case <-ctx.Done():
			return fmt.Errorf("membership: %s: %w", what, ctx.Err())
		}
	}
}

// backoff is how long to wait after so many failures in a row.
func (s *Service) backoff(failures int) time.Duration {
	d := min(10*time.Millisecond<<min(failures, 6), s.config.Lease/6)
	return d/2 + mathrand.N(d/2+1)
}

// attemptFor bounds one use of the table: a lease has time for two.
func (s *Service) attemptFor() time.Duration { return s.config.Lease / 2 }

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
