package membership

// The loops: what is done to the table, and when.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"stampede/cluster/members"
)

// retired, in place of when the lease was renewed, says that it must not matter
// any more.
const retired moment = math.MaxInt64

// urgently is how much more often the table is read while a member is being put out.
const urgently = 8

// maxChanges bounds the changes between two waits, however much there is to do.
const maxChanges = 8

// keepTable reads the table, and changes it as the rules say.
func (s *Service) keepTable() {
	for failures := 0; ; {
		err := s.tend()
		if s.ctx.Err() != nil {
			return
		}
		wait := s.untilPoll()
		if err != nil {
			s.counts.tableErrors.Add(1)
			if failures == 0 {
				s.config.Logger.Warn("the membership table cannot be read or changed", slog.Any("error", err))
			}
			wait = max(wait, s.backoff(failures))
			failures++
		} else if failures > 0 {
			s.config.Logger.Info("the membership table can be read again")
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-s.refresh:
			timer.Stop()
			if failures > 0 && !pause(s.ctx, s.backoff(failures)) {
				return
			}
		case <-timer.C:
		}
	}
}

// untilPoll is how long to wait before the table is read without being told to.
func (s *Service) untilPoll() time.Duration {
	s.mu.Lock()
	urgent := s.observer.urgent(s.now())
	s.mu.Unlock()
	every := s.config.PollEvery
	if urgent {
		every /= urgently
	}
	return every*9/10 + rand.N(every/5+1)
}

// tend reads the table, and makes the changes that are due, each from a table
// that was read after the one before.
func (s *Service) tend() error {
	for range maxChanges {
		if err := s.read(); err != nil {
			return err
		}
		ch, what := s.due()
		if ch == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.attemptFor())
		err := s.config.Table.Change(ctx, ch)
		cancel()
		switch {
		case errors.Is(err, members.ErrConflict):
			if !pause(s.ctx, rand.N(s.backoff(0))) {
				return nil
			}
		case err != nil:
			return err
		default:
			s.counts.changed(what)
		}
	}
	s.refresh.now()
	return nil
}

func (s *Service) read() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.attemptFor())
	defer cancel()
	c, err := s.config.Table.Read(ctx)
	if err != nil {
		return err
	}
	s.learn(c)
	return nil
}

// due is the change that is to be made now, or nil. It also sends the probes
// that are due.
func (s *Service) due() (*members.Change, action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, ""
	}
	c := &s.observer.contents
	if ch := s.ownChange(c); ch != nil {
		return ch, "own"
	}
	if s.Fit() != nil {
		return nil, "" // who is no member in good standing judges nobody
	}
	for id := range s.drains {
		if ch := c.AskToDrain(id); ch != nil {
			return ch, "ask to drain"
		}
	}
	now := s.now()
	for _, id := range s.observer.toProbe(now) {
		s.probe(id)
	}
	ch, what := s.observer.next(now)
	if ch != nil && what != suspect {
		s.config.Logger.Warn("member to be put out of the cluster", slog.String("how", string(what)), slog.Any("members", ended(c, ch)))
	}
	return ch, what
}

// ended lists whose lease or membership the change ends, with the reason.
func ended(c *members.Contents, ch *members.Change) []string {
	var all []string
	for i := range ch.Rows {
		r := &ch.Rows[i]
		old := c.Row(r.Member.ID)
		if old != nil && (old.Ended != r.Ended || old.Member.State != r.Member.State) {
			all = append(all, r.Member.ID+" ("+r.Member.Name+"): "+r.Ended)
		}
	}
	return all
}

// ownChange takes this member to the state that it wants. A state is never left
// out, so that the others see all.
func (s *Service) ownChange(c *members.Contents) *members.Change {
	own := c.Row(s.config.Self.ID)
	if own == nil || own.Member.State >= s.wanted {
		return nil
	}
	if s.wanted == members.Down {
		return c.End(s.config.Self.ID, "it has left", members.Down)
	}
	return c.Move(s.config.Self.ID, s.wanted)
}

// learn takes in what has been read of the table.
func (s *Service) learn(c members.Contents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	changed := s.observer.learn(c, now)
	c = s.observer.contents
	if changed {
		close(s.learned)
		s.learned = make(chan struct{})
	}
	own, lease := c.Row(s.config.Self.ID), c.Lease(s.config.Self.ID)
	switch {
	case s.wanted == members.Down:
		return
	case own == nil:
		s.lose("it is not in the membership table any more")
		return
	case lease == nil:
		s.lose("the others ended its membership: " + own.Ended)
		return
	}
	if own.DrainAsked {
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
	if c.View > s.view.Load().Version {
		s.view.Store(c.AsView())
		s.tell.now()
	}
}

// lose ends the membership. The caller holds mu.
func (s *Service) lose(why string) {
	if s.err != nil || s.wanted == members.Down {
		return
	}
	s.fitUntil.Store(0)
	s.renewed = retired
	s.err = fmt.Errorf("%w: %s", ErrLost, why)
	close(s.lost)
}

// keepLease renews the lease every third of it, and at once when the others
// should hear what this member acts on.
func (s *Service) keepLease() {
	for failures := 0; ; {
		wait := s.untilRenewal()
		if failures > 0 {
			wait = s.backoff(failures)
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-s.renew:
			timer.Stop()
			if failures > 0 && !pause(s.ctx, s.backoff(failures)) {
				return
			}
		case <-timer.C:
		}
		err := s.keep()
		if errors.Is(err, errRetired) {
			return
		}
		if err != nil {
			if failures == 0 && s.ctx.Err() == nil {
				s.config.Logger.Warn("the lease was not renewed", slog.Any("error", err))
			}
			failures++
			s.giveUp(err)
			continue
		}
		failures = 0
	}
}

// untilRenewal is how long there is to the next renewal.
func (s *Service) untilRenewal() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewed == retired {
		return 0
	}
	return max(s.renewed+s.config.Lease/3-s.now(), 0)
}

var errRetired = errors.New("the lease is not renewed any more")

// keep renews the lease once. It finds out first where it stands if the last
// attempt left that open.
func (s *Service) keep() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.attemptFor())
	defer cancel()
	s.mu.Lock()
	held, over := s.observer.contents.Lease(s.config.Self.ID), s.renewed == retired
	s.mu.Unlock()
	if over || held == nil {
		return errRetired
	}
	_, err := s.renewOnce(ctx, *held)
	if errors.Is(err, members.ErrConflict) {
		var c members.Contents
		if c, err = s.config.Table.Read(ctx); err == nil {
			s.learn(c)
			err = members.ErrConflict
		}
	}
	if err != nil {
		s.counts.renewalsFailed.Add(1)
	}
	return err
}

// renewOnce renews the lease. It counts from when that was sent, and only after
// the table that came with the answer has been learned, by the watchers too.
func (s *Service) renewOnce(ctx context.Context, l members.Lease) (done bool, err error) {
	sent := s.now()
	l.Seen = s.acted.Load()
	c, err := s.config.Table.Renew(ctx, l)
	if err != nil {
		return false, err
	}
	s.learn(c)
	if err := s.tellAll(ctx); err != nil {
		return false, err
	}
	s.counts.renewals.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewed == retired {
		return true, nil
	}
	if now := s.now(); now-s.renewed > s.config.Lease*2/3 {
		s.observer.resume(now)
	}
	s.renewed = sent
	s.fitUntil.Store(int64(sent + s.config.Lease))
	return true, nil
}

// giveUp ends the membership when the lease has not been renewed for too long.
func (s *Service) giveUp(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewed == retired {
		return
	}
	if since := s.now() - s.renewed; since >= s.config.GiveUpAfter {
		s.lose(fmt.Sprintf("its lease of %s lapsed: the database has not confirmed a renewal since %s ago: %v",
			s.config.Lease, since.Round(time.Millisecond), cause))
	}
}

// probe looks at a member, unless that is under way. The caller holds mu.
func (s *Service) probe(id string) {
	m := s.view.Load().Find(id)
	if m == nil || s.probing[id] || s.ctx.Err() != nil || s.err != nil {
		return
	}
	s.probing[id] = true
	beat := s.observer.sightings[id].beat
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.config.Lease/6)
		defer cancel()
		finding := s.config.Probe(ctx, *m)
		s.counts.probed(finding)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.probing, id)
		if s.ctx.Err() != nil {
			return
		}
		suspected := s.observer.evidence[id].finding != members.Answers
		s.observer.found(id, finding, beat, s.now())
		if suspected || finding != members.Answers {
			s.refresh.now()
		}
	})
}
