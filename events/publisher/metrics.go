package publisher

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	published     *prometheus.CounterVec
	failures      *prometheus.CounterVec
	conflated     prometheus.Counter
	levelsAgain   prometheus.Counter
	dataOmitted   prometheus.Counter
	unpublishable prometheus.Counter
	batchRecords  prometheus.Histogram
	topicFaults   prometheus.Gauge
	held          prometheus.Gauge
	parked        prometheus.Gauge
	tails         prometheus.Counter
	remade        prometheus.Counter
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
		levelsAgain: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_levels_sent_again_total", Help: "Stock levels that were read from the journal and sent because an older one could have come last.",
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
		held: f.NewGauge(prometheus.GaugeOpts{
			Name: "stampede_events_held_streams", Help: "Streams of which something of another log, or a refused event, has to be published first.",
		}),
		parked: f.NewGauge(prometheus.GaugeOpts{
			Name: "stampede_events_parked_keys", Help: "Keys that wait because the broker refuses an event of theirs, even without its data.",
		}),
		remade: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_topics_remade_total", Help: "Topics that were gone while events were published, and were made again without what they held.",
		}),
		tails: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_events_tail_records_total", Help: "Journal records that were published out of their log's turn, before what follows them in another log.",
		}),
	}
}
