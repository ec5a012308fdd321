package publisher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	published     *prometheus.CounterVec
	failures      *prometheus.CounterVec
	conflated     prometheus.Counter
	dataOmitted   prometheus.Counter
	unpublishable prometheus.Counter
	batchRecords  prometheus.Histogram
	topicFaults   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		published: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stampede_events_published_total", Help: "Messages that the broker has acknowledged, repeats included.",
		}, []string{"topic"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stampede_events_publish_failures_total", Help: "Batches that were not acknowledged and are sent again.",
		}, []string{"topic"}),
		conflated: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_levels_conflated_total", Help: "Stock levels that were replaced by a newer one before they were sent.",
		}),
		dataOmitted: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_data_omitted_total", Help: "Events that the broker found too large and that were published without their data.",
		}),
		unpublishable: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_unpublishable_records_total", Help: "Journal records that have no published form and were left out.",
		}),
		batchRecords: f.NewHistogram(prometheus.HistogramOpts{
			Name: "stampede_events_batch_records", Help: "Messages in an acknowledged batch.", Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		topicFaults: f.NewGauge(prometheus.GaugeOpts{
			Name: "stampede_events_topic_faults", Help: "Settings of existing topics that break what consumers are promised.",
		}),
	}
}

// registerGauges registers what is read from the publisher when it is asked for.
func (p *Publisher) registerGauges(reg prometheus.Registerer) {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stampede_events_pending", Help: "Messages that were read from the log and are not acknowledged.",
	}, func() float64 { return float64(p.Stats().Pending) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stampede_events_behind_records", Help: "Positions of the present log that are durable and not published; at most as many records.",
	}, func() float64 { return float64(p.Stats().Behind) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stampede_events_oldest_pending_seconds", Help: "Age of the oldest event that was read from the log and is not acknowledged.",
	}, func() float64 { return p.Stats().Oldest.Seconds() })
}

// Stats is how far a publisher has come.
type Stats struct {
	// Pending is the messages that were read and are not acknowledged, Bytes their size.
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
	var settled uint64
	if p.cfg.Settled != nil {
		settled = p.cfg.Settled()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Pending: p.pending, Bytes: p.pendingBytes}
	oldest := int64(0)
	for epoch, t := range p.trackers {
		mark := t.mark()
		if len(t.spans) > 0 && (oldest == 0 || t.spans[0].atMs < oldest) {
			oldest = t.spans[0].atMs
		}
		if epoch == p.cfg.Log.Epoch && settled > mark {
			s.Behind = settled - mark
		}
	}
	if p.trackers[p.cfg.Log.Epoch] == nil {
		s.Behind = settled
	}
	if oldest > 0 {
		s.Oldest = max(0, time.Since(time.UnixMilli(oldest)))
	}
	return s
}
