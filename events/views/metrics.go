package views

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	written    *prometheus.CounterVec
	failures   prometheus.Counter
	rebuilt    prometheus.Counter
	unreadable prometheus.Counter
	unknown    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, p *Projector) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stampede_views_lag_seconds", Help: "Age of the oldest event that was read and is not in its row.",
	}, func() float64 { return p.Lag().Seconds() })
	return &metrics{
		written: f.NewCounterVec(prometheus.CounterOpts{
			Name: "stampede_views_rows_written_total", Help: "Rows written to the views.",
		}, []string{"kind"}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_views_store_failures_total", Help: "Reads and writes of the views that failed and are tried again.",
		}),
		rebuilt: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_views_rows_rebuilt_total", Help: "Rows that were rebuilt from their stream.",
		}),
		unreadable: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_views_unreadable_streams_total", Help: "Rows that stay as they are because their stream cannot be trusted.",
		}),
		unknown: f.NewCounter(prometheus.CounterOpts{
			Name: "stampede_views_unknown_records_total", Help: "Records of a kind that the views do not know.",
		}),
	}
}
