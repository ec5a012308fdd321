package inbound

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	handled       *prometheus.CounterVec
	refused       *prometheus.CounterVec
	retries       prometheus.Counter
	skipped       prometheus.Counter
	interruptions prometheus.Counter
	partitions    prometheus.Gauge
	lag           *prometheus.GaugeVec
	topicFaults   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		handled: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stampede_commands_handled_total", Help: "Commands from Kafka that were done, repeats included.",
		}, []string{"type"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stampede_commands_refused_total", Help: "Commands from Kafka that became dead letters, repeats included.",
		}, []string{"type", "reason"}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_commands_retries_total", Help: "Attempts at a command or a dead letter that were repeated.",
		}),
		skipped: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_commands_skipped_offsets_total", Help: "Offsets of the commands topic that were not there to be read: deleted before they were taken, or markers of transactions.",
		}),
		interruptions: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_commands_group_failures_total", Help: "Times that the consumer group could not be joined.",
		}),
		partitions: f.NewGauge(prometheus.GaugeOpts{
			Name: "stampede_commands_partitions", Help: "Partitions of the commands topic that this node takes.",
		}),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stampede_commands_lag", Help: "Commands of a partition that wait, as of its last batch.",
		}, []string{"partition"}),
		topicFaults: f.NewGauge(prometheus.GaugeOpts{
			Name: "stampede_commands_topic_faults", Help: "Settings of existing topics of commands by which some can be lost.",
		}),
	}
}
