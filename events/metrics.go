package events

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// ReaderMetrics counts what the readers of the logs meet.
type ReaderMetrics struct {
	corrupt prometheus.Counter
}

// NewReaderMetrics registers the metrics of the reader name.
func NewReaderMetrics(reg prometheus.Registerer, name string) *ReaderMetrics {
	return &ReaderMetrics{
		corrupt: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name:        "stampede_log_corrupt_records_total",
			Help:        "Journal records that failed their checksum and were left out by a reader of the log.",
			ConstLabels: prometheus.Labels{"reader": name},
		}),
	}
}
