package entity

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the node's actors do. A nil *Metrics counts nothing.
type Metrics struct {
	activations prometheus.Counter
	active      prometheus.Gauge
	ends        *prometheus.CounterVec
	snapshots   prometheus.Counter
	refusing    prometheus.Counter
}

// NewMetrics registers the counters with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		activations: prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_actor_activations_total", Help: "Actors activated."}),
		active:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "stampede_actors_active", Help: "Actors in memory."}),
		ends:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stampede_actor_ends_total", Help: "Activations ended, by why."}, []string{"reason"}),
		snapshots:   prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_actor_snapshots_total", Help: "Snapshots saved."}),
		refusing:    prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_actor_corrupt_total", Help: "Activations that found a journal which cannot be trusted."}),
	}
	reg.MustRegister(m.activations, m.active, m.ends, m.snapshots, m.refusing)
	return m
}

func (m *Metrics) activated() {
	if m != nil {
		m.activations.Inc()
		m.active.Inc()
	}
}

func (m *Metrics) deactivated(reason error) {
	if m == nil {
		return
	}
	m.active.Dec()
	label := "error"
	var p *panicError
	switch {
	case reason == nil:
		label = "passivated"
	case errors.Is(reason, ErrFenced):
		label = "fenced"
	case errors.Is(reason, ErrUnknownOutcome):
		label = "unknown_outcome"
	case errors.Is(reason, ErrOverloaded):
		label = "overloaded"
	case errors.Is(reason, ErrUnavailable):
		label = "unavailable"
	case errors.As(reason, &p):
		label = "panic"
	}
	m.ends.WithLabelValues(label).Inc()
}

func (m *Metrics) snapshotted() {
	if m != nil {
		m.snapshots.Inc()
	}
}

func (m *Metrics) corrupt() {
	if m != nil {
		m.refusing.Inc()
	}
}
