package cluster

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/actors/entity"
	"stampede/proto/gen/clusterpb"
)

// Metrics counts what happens between the nodes of a cluster. A nil *Metrics
// counts nothing.
type Metrics struct {
	reg         prometheus.Registerer
	activations *prometheus.CounterVec
	handedOvers prometheus.Counter
	retries     *prometheus.CounterVec
	frames      *prometheus.CounterVec
	requests    *prometheus.CounterVec
	losses      prometheus.Counter
	ownerless   prometheus.Histogram
}

// NewMetrics registers the counters with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		reg:         reg,
		activations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stampede_cluster_activations_total", Help: "Actors that this node has activated, by kind."}, []string{"kind"}),
		handedOvers: prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_cluster_handovers_total", Help: "Actors stopped because another node owns them now."}),
		retries:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stampede_cluster_request_retries_total", Help: "Attempts of the request path that were made again, by why."}, []string{"reason"}),
		frames:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stampede_cluster_frames_total", Help: "Frames sent to other nodes: each carries what had gathered."}, []string{"peer"}),
		requests:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stampede_cluster_requests_total", Help: "Requests to and from other nodes."}, []string{"direction"}),
		losses:      prometheus.NewCounter(prometheus.CounterOpts{Name: "stampede_cluster_connections_lost_total", Help: "Connections to other nodes that broke or could not be made."}),
		ownerless: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "stampede_cluster_without_owner_seconds", Help: "From a call's first attempt that found no owner to its answer.",
			Buckets: []float64{.001, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
	}
	reg.MustRegister(m.activations, m.handedOvers, m.retries, m.frames, m.requests, m.losses, m.ownerless)
	return m
}

// watch registers what is looked up when it is asked for.
func (m *Metrics) watch(n *Node) {
	if m == nil {
		return
	}
	m.reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stampede_cluster_handovers_pending", Help: "Actors that another node owns now and that have not stopped yet."},
			func() float64 { return float64(n.peers.pending.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stampede_cluster_claims", Help: "Actors that wait for another node to hand them over."},
			func() float64 { return float64(n.peers.claims.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stampede_cluster_view", Help: "Version of the newest view of the members."},
			func() float64 { return float64(n.peers.present.Load().version()) }),
		&queues{n.peers, prometheus.NewDesc("stampede_cluster_queue_messages", "Messages that wait for the connection to another node.", []string{"peer"}, nil)},
	)
}

// queues is how much waits for each peer. It is prometheus.Collector.
type queues struct {
	peers *peers
	desc  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (q *queues) Describe(to chan<- *prometheus.Desc) { to <- q.desc }

// Collect implements prometheus.Collector.
func (q *queues) Collect(to chan<- prometheus.Metric) {
	for _, l := range q.peers.all() {
		to <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(l.queued()), l.id)
	}
}

func (m *Metrics) activated(kind string) {
	if m != nil {
		m.activations.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) handedOver(actors int) {
	if m != nil {
		m.handedOvers.Add(float64(actors))
	}
}

func (m *Metrics) retried(err error) {
	if m == nil {
		return
	}
	reason := "other"
	for _, c := range []struct {
		err  error
		name string
	}{
		{errNotOwner, "moved"},
		{errStale, "view"},
		{errLost, "connection"},
		{entity.ErrFenced, "fenced"},
		{entity.ErrUnknownOutcome, "unknown_outcome"},
		{entity.ErrUnavailable, "unavailable"},
		{entity.ErrTimeout, "timeout"},
		{entity.ErrRetry, "restarting"},
	} {
		if errors.Is(err, c.err) {
			reason = c.name
			break
		}
	}
	m.retries.WithLabelValues(reason).Inc()
}

func (m *Metrics) sent(f *clusterpb.Frame) {
	if m != nil {
		m.frames.WithLabelValues(f.GetTo()).Inc()
		m.requests.WithLabelValues("sent").Add(float64(len(f.GetRequests())))
	}
}

func (m *Metrics) received() {
	if m != nil {
		m.requests.WithLabelValues("received").Inc()
	}
}

func (m *Metrics) lost() {
	if m != nil {
		m.losses.Inc()
	}
}

func (m *Metrics) ownerFound(after time.Duration) {
	if m != nil {
		m.ownerless.Observe(after.Seconds())
	}
}

// forget drops what is counted for a peer that is gone.
func (m *Metrics) forget(peer string) {
	if m != nil {
		m.frames.DeleteLabelValues(peer)
	}
}
