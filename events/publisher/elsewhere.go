package publisher

// What other nodes, alive or gone, have left to publish. Nobody is asked: their
// logs and watermarks are in the store.

import (
	"context"
	"fmt"
	"time"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
)

const (
	// maxElsewhere bounds the records that are counted for one answer.
	maxElsewhere = 20_000
	// elsewhereFor is how long a count is given out again.
	elsewhereFor = time.Second
)

// elsewhere is the last count. Guarded by a mutex of its own, so that one count
// is under way at a time.
type elsewhere struct {
	at     time.Time
	topics map[string]TopicStatus
}

// ClusterOutbox is Outbox with what the logs of all other incarnations have
// left: events beyond the watermarks that their nodes have saved (up to a
// quarter of a second ago), stock levels not counted. Of more than maxElsewhere
// records the others are left out: then Pending is less than there is.
func (p *Publisher) ClusterOutbox(ctx context.Context) ([]TopicStatus, error) {
	others, err := p.elsewhereNow(ctx)
	if err != nil {
		return nil, fmt.Errorf("publisher: what other nodes have left: %w", err)
	}
	out := p.Outbox()
	for i := range out {
		other := others[out[i].Topic]
		out[i].Pending += other.Pending
		out[i].Oldest = max(out[i].Oldest, other.Oldest)
	}
	return out, nil
}

func (p *Publisher) elsewhereNow(ctx context.Context) (map[string]TopicStatus, error) {
	p.elsewhereMu.Lock()
	defer p.elsewhereMu.Unlock()
	if p.elsewhere.topics != nil && time.Since(p.elsewhere.at) < elsewhereFor {
		return p.elsewhere.topics, nil
	}
	epochs, err := p.cfg.Log.Journal.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	done, err := p.handedOver(ctx)
	if err != nil {
		return nil, err
	}
	topics, left := make(map[string]TopicStatus), maxElsewhere
	for _, e := range epochs {
		if e.Epoch == p.cfg.Log.Epoch {
			continue
		}
		if left, err = p.count(ctx, e.Epoch, done, topics, left); err != nil {
			return nil, fmt.Errorf("epoch %d: %w", e.Epoch, err)
		}
	}
	p.elsewhere = elsewhere{at: time.Now(), topics: topics}
	return topics, nil
}

// handedOver is, by group, up to where each log is published or counted here
// because this node has read it.
func (p *Publisher) handedOver(ctx context.Context) (map[string]map[entity.Epoch]uint64, error) {
	done := make(map[string]map[entity.Epoch]uint64, len(p.groups))
	for _, g := range p.groups {
		marks, err := inherited{p.cfg.Log.Watermarks}.Watermarks(ctx, ReaderName+"."+g.name)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		for epoch, t := range g.trackers {
			marks[epoch] = max(marks[epoch], t.taken)
		}
		p.mu.Unlock()
		done[g.name] = marks
	}
	return done, nil
}

// count adds what a log has left to topics, and returns how many records may
// still be read.
func (p *Publisher) count(ctx context.Context, epoch entity.Epoch, done map[string]map[entity.Epoch]uint64, topics map[string]TopicStatus, left int) (int, error) {
	after := events.Finished
	for _, marks := range done {
		after = min(after, marks[epoch])
	}
	if after >= events.Finished || left == 0 {
		return left, nil
	}
	var messages []cloudevents.Message
	for rec, err := range p.cfg.Log.Journal.ReadEpoch(ctx, epoch, after) {
		if err != nil {
			return left, err
		}
		if left--; left == 0 {
			return left, nil
		}
		if rec.Position <= done[groupOf(rec.Kind)][epoch] || rec.Verify() != nil {
			continue
		}
		if messages, err = p.mapper.Map(messages[:0], rec); err != nil {
			continue // whoever publishes the log says so
		}
		for i := range messages {
			p.addPending(topics, &messages[i])
		}
	}
	return left, ctx.Err()
}

func (p *Publisher) addPending(topics map[string]TopicStatus, m *cloudevents.Message) {
	if m.Topic == cloudevents.TopicStockLevels {
		return // most are replaced by a newer one before they are sent
	}
	s := topics[m.Topic]
	s.Pending++
	s.Oldest = max(s.Oldest, time.Since(time.UnixMilli(m.AtMs)))
	topics[m.Topic] = s
}
