package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// lane is what the sender knows of one broker. Owned by the sender, but for
// busy, which is guarded by the publisher's mutex.
type lane struct {
	busy    bool
	next    time.Time // Linger after the last request began
	encoder *encoder
}

const (
	leadersEvery      = time.Second
	leadersTimeout    = 5 * time.Second
	noLeaderRetry     = 250 * time.Millisecond
	topicsAfter       = 8 // attempts without a leader before the topics are looked at
	topicsEvery       = 5 * time.Second
	topicsTimeout     = 30 * time.Second
	batchBytesGrowing = 16
)

// errNoLeader: no broker leads the partition now.
var errNoLeader = errors.New("partition has no leader")

// sender gives what is ready to the brokers that lead it: one request at a
// time a broker, with the batches of all its partitions.
type sender struct {
	p         *Publisher
	lanes     map[int]*lane
	leaders   map[string][]int
	leadersAt time.Time
	topicsAt  time.Time
	requests  sync.WaitGroup

	sessionMu sync.Mutex
	shared    session
	hasShared bool
}

func (p *Publisher) send(ctx context.Context) {
	s := &sender{p: p, lanes: make(map[int]*lane), topicsAt: time.Now()}
	defer s.requests.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := s.dispatch(ctx)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// dispatch starts the requests that can be started and returns how long to
// wait unless something happens.
func (s *sender) dispatch(ctx context.Context) (wait time.Duration) {
	wait = time.Minute
	now := time.Now()
	s.p.mu.Lock()
	ready, wait := s.p.ready(now, wait)
	s.p.mu.Unlock()
	if len(ready) == 0 {
		return wait
	}
	if err := s.refreshLeaders(ctx, now); err != nil {
		s.p.mu.Lock()
		s.p.failAll(ready, err, time.Now())
		s.p.mu.Unlock()
		return s.p.cfg.Limits.FirstBackoff
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for leader, parts := range s.byLeader(ready, now) {
		l := s.lane(leader)
		if l.busy {
			continue // its end wakes the sender
		}
		if until := l.next.Sub(now); until > 0 {
			wait = min(wait, until)
			continue
		}
		l.busy, l.next = true, now.Add(s.p.cfg.Limits.Linger)
		for _, part := range parts {
			part.sending = true
		}
		s.requests.Go(func() { s.deliver(ctx, leader, l, parts) })
	}
	s.lookAtTopics(ctx, ready, now)
	return wait
}

// ready lists the partitions that have something to send, and shortens wait to
// when the next will have.
func (p *Publisher) ready(now time.Time, wait time.Duration) ([]*partition, time.Duration) {
	var ready []*partition
	for _, part := range p.parts {
		if part.sending {
			continue
		}
		due, waiting := part.queue.nextDue()
		if part.batch != nil || len(part.again) > 0 {
			due, waiting = time.Time{}, true
		}
		if part.retryAt.After(due) {
			due = part.retryAt
		}
		switch until := due.Sub(now); {
		case !waiting:
		case until <= 0:
			ready = append(ready, part)
		default:
			wait = min(wait, until)
		}
	}
	return ready, wait
}

func (s *sender) lane(leader int) *lane {
	l := s.lanes[leader]
	if l == nil {
		l = &lane{encoder: newEncoder(s.p.compression)}
		s.lanes[leader] = l
	}
	return l
}

// byLeader groups partitions by the broker that leads them. Those that have no
// leader wait.
func (s *sender) byLeader(parts []*partition, now time.Time) map[int][]*partition {
	out := make(map[int][]*partition)
	for _, part := range parts {
		leader := -1
		if ids := s.leaders[part.topic]; part.id < len(ids) {
			leader = ids[part.id]
		}
		if leader >= 0 {
			out[leader] = append(out[leader], part)
			continue
		}
		s.leadersAt = time.Time{}
		s.p.fail(part, errNoLeader, now)
		part.retryAt = now.Add(noLeaderRetry)
	}
	return out
}

func (s *sender) refreshLeaders(ctx context.Context, now time.Time) error {
	if s.leaders != nil && now.Sub(s.leadersAt) < leadersEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leadersTimeout)
	defer cancel()
	leaders, err := s.p.link.leaders(ctx)
	if err != nil {
		return fmt.Errorf("ask for partition leaders: %w", err)
	}
	s.leaders, s.leadersAt = leaders, now
	return nil
}

// lookAtTopics makes topics that have gone again.
func (s *sender) lookAtTopics(ctx context.Context, ready []*partition, now time.Time) {
	gone := false
	for _, part := range ready {
		gone = gone || part.attempts >= topicsAfter
	}
	if !gone || now.Sub(s.topicsAt) < topicsEvery {
		return
	}
	s.topicsAt = now
	s.requests.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, topicsTimeout)
		defer cancel()
		s.p.remakeTopics(ctx)
	})
}

// remakeTopics makes topics again that were deleted, and says so.
func (p *Publisher) remakeTopics(ctx context.Context) {
	made, err := p.link.topics(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.logger.Error("topics cannot be looked at", slog.Any("error", err))
		}
		return
	}
	for _, name := range made.made {
		p.metrics.remade.Inc()
		p.logger.Error("a topic was deleted and was made again: what it held is gone; \"stampede events replay\" publishes it again", slog.String("topic", name))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, t := range p.topics {
		if n := made.partitions[name]; n < len(t.parts) {
			p.logger.Error("a topic has fewer partitions than when this node started: the keys of those that are gone wait until it is mended", slog.String("topic", name), slog.Int("partitions", n))
		}
	}
}

// deliver makes the batches of one request, sends it, and settles what became
// of each.
func (s *sender) deliver(ctx context.Context, leader int, l *lane, parts []*partition) {
	p := s.p
	parts, batches, err := s.prepare(ctx, l, parts)
	var results []error
	more := err == nil && crowded(parts, p.cfg.Limits.BatchRecords)
	if err == nil && len(batches) > 0 {
		request, cancel := context.WithTimeout(ctx, p.cfg.Limits.RequestTimeout)
		results, err = p.link.produce(request, leader, batches)
		cancel()
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, part := range parts {
		part.sending = false
		switch {
		case err != nil:
			p.settle(part, err, now)
		case i < len(results):
			p.settle(part, results[i], now)
		}
	}
	p.progressed()
	if more {
		l.next = time.Time{}
	}
	l.busy = false
	p.wakeSender()
}

// crowded reports that a partition had enough for a batch: whoever is behind
// gains nothing by lingering.
func crowded(parts []*partition, batchRecords int) bool {
	for _, part := range parts {
		if part.batch == nil {
			continue
		}
		bytes := 0
		for _, it := range part.batch.items {
			bytes += it.size
		}
		if 2*len(part.batch.items) >= batchRecords || 2*bytes >= part.batchBytes {
			return true
		}
	}
	return false
}

// prepare encodes the batches of the partitions, up to the size of a request,
// and returns the partitions that are part of it.
func (s *sender) prepare(ctx context.Context, l *lane, parts []*partition) ([]*partition, []outgoing, error) {
	room := s.p.cfg.Limits.RequestBytes
	batches := make([]outgoing, 0, len(parts))
	for i, part := range parts {
		if room <= 0 {
			s.p.mu.Lock()
			for _, later := range parts[i:] {
				later.sending = false
			}
			// So that they are not always the ones left over.
			s.p.rotate()
			s.p.mu.Unlock()
			return parts[:i], batches, nil
		}
		if err := s.fill(ctx, l, part); err != nil {
			return parts, nil, err
		}
		room -= len(part.batch.raw)
		batches = append(batches, outgoing{topic: part.topic, partition: int32(part.id), raw: part.batch.raw}) //nolint:gosec // it came from the broker as one
	}
	return parts, batches, nil
}

// rotate moves the order in which partitions are looked at.
func (p *Publisher) rotate() {
	p.parts = append(p.parts[1:], p.parts[0])
}

// fill makes sure that the partition has an encoded batch.
func (s *sender) fill(ctx context.Context, l *lane, part *partition) error {
	now := time.Now()
	if part.batch == nil {
		s.p.mu.Lock()
		part.batch = &batch{items: part.take(s.p.cfg.Limits.BatchRecords, now)}
		s.p.mu.Unlock()
	}
	if part.batch.raw != nil {
		return nil
	}
	if !part.hasSession {
		session, err := s.session(ctx, part)
		if err != nil {
			return err
		}
		part.session, part.hasSession, part.sequence = session, true, 0
	}
	raw, err := l.encoder.encode(part.batch.items, part.session, part.sequence, now)
	if err != nil {
		return err
	}
	part.batch.raw = raw
	return nil
}

// session is the producer id for a partition: one for all, until a partition
// has to begin anew and gets one for itself.
func (s *sender) session(ctx context.Context, part *partition) (session, error) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.hasShared && !part.ownSession {
		return s.shared, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.p.cfg.Limits.RequestTimeout)
	defer cancel()
	fresh, err := s.p.link.newSession(ctx)
	if err != nil {
		return session{}, fmt.Errorf("ask for a producer id: %w", err)
	}
	if !part.ownSession {
		s.shared, s.hasShared = fresh, true
	}
	return fresh, nil
}
