package publisher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/events/cloudevents"
)

// TopicStatus is what has been committed for a topic and is not yet at the
// broker, as this node knows it.
type TopicStatus struct {
	Topic string
	// Pending is exact for what was read; of what was not, because memory is
	// full, it is what there would be if it were as what was read before.
	Pending uint64
	// Oldest is the age of the oldest event that was read and is not
	// acknowledged; 0: there is none.
	Oldest time.Duration
	// Published counts what the broker has acknowledged since this node was
	// started, repeats included.
	Published uint64
}

// Outbox returns how far each topic has come.
func (p *Publisher) Outbox() []TopicStatus {
	settled := p.settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []TopicStatus
	for _, spec := range cloudevents.Topics() {
		s := TopicStatus{Topic: spec.Name}
		g := p.groupOfTopic(spec.Name)
		if t := p.topics[spec.Name]; t != nil {
			s.Pending, s.Published = uint64(t.pending), t.published //nolint:gosec // counts
			if t.pending > 0 {
				s.Oldest = g.oldest()
			}
			s.Pending += estimate(t, g.tracker(p.cfg.Log.Epoch).taken, settled)
		}
		out = append(out, s)
	}
	return out
}

// estimate is how many messages of the topic are in the part of the log that
// was not read, if it is as the part that was.
func estimate(t *topic, taken, settled uint64) uint64 {
	if settled <= taken || taken == 0 {
		return 0
	}
	each := (float64(t.published) + float64(t.pending)) / float64(taken)
	return uint64(each * float64(settled-taken))
}

func (p *Publisher) settled() uint64 {
	if p.cfg.Settled == nil {
		return 0
	}
	return p.cfg.Settled()
}

// groupOfTopic is the group that publishes to a topic.
func (p *Publisher) groupOfTopic(topic string) *group {
	name := "others"
	switch topic {
	case cloudevents.TopicOrders:
		name = "orders"
	case cloudevents.TopicStock, cloudevents.TopicStockLevels:
		name = "stock"
	}
	return p.group(name)
}

// oldest is the age of the oldest event of the group that was read and is not
// acknowledged.
func (g *group) oldest() time.Duration {
	oldest := int64(0)
	for _, t := range g.trackers {
		t.mark()
		if len(t.spans) > 0 && t.spans[0].atMs > 0 && (oldest == 0 || t.spans[0].atMs < oldest) {
			oldest = t.spans[0].atMs
		}
	}
	if oldest == 0 {
		return 0
	}
	return max(0, time.Since(time.UnixMilli(oldest)))
}

// Stats is how far a publisher has come.
type Stats struct {
	// Pending is the messages that were read and are not acknowledged, Bytes
	// their size and that of what is held.
	Pending int
	Bytes   int
	// Behind is how many positions of the present log are durable and not published.
	Behind uint64
	// Oldest is the age of the oldest event that was read and is not
	// acknowledged; 0: there is none.
	Oldest time.Duration
}

// Stats returns how far the publisher has come.
func (p *Publisher) Stats() Stats {
	settled := p.settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	var s Stats
	for _, t := range p.topics {
		s.Pending += t.pending
	}
	for _, g := range p.groups {
		s.Bytes += g.queued + g.held + g.levels.bytes()
		s.Oldest = max(s.Oldest, g.oldest())
	}
	if mark := p.mark(p.cfg.Log.Epoch); settled > mark {
		s.Behind = settled - mark
	}
	return s
}

// outboxMetrics are read from the publisher when they are asked for.
type outboxMetrics struct {
	p                       *Publisher
	pending, oldest, behind *prometheus.Desc
}

func (p *Publisher) registerGauges(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	topic := []string{"topic"}
	reg.MustRegister(&outboxMetrics{
		p:       p,
		pending: prometheus.NewDesc("stampede_events_pending", "Messages that are committed and not acknowledged by the broker; estimated beyond what fits in memory.", topic, nil),
		oldest:  prometheus.NewDesc("stampede_events_oldest_pending_seconds", "Age of the oldest event that was read from the log and is not acknowledged.", topic, nil),
		behind:  prometheus.NewDesc("stampede_events_behind_records", "Positions of the present log that are durable and not published; at most as many records.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (m *outboxMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.pending
	ch <- m.oldest
	ch <- m.behind
}

// Collect implements prometheus.Collector.
func (m *outboxMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m.p.Outbox() {
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(s.Pending), s.Topic)
		ch <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, s.Oldest.Seconds(), s.Topic)
	}
	ch <- prometheus.MustNewConstMetric(m.behind, prometheus.GaugeValue, float64(m.p.Stats().Behind))
}
