package membership

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stampede/cluster/members"
)

// counts is what a Service counts.
type counts struct {
	renewals, renewalsFailed, tableErrors atomic.Uint64
	evictions, revocations                atomic.Uint64
	probes                                [members.Gone + 1]atomic.Uint64
}

func (c *counts) changed(what action) {
	switch what {
	case evict:
		c.evictions.Add(1)
	case revoke:
		c.revocations.Add(1)
	case suspect:
	}
}

func (c *counts) probed(f members.Finding) { c.probes[f].Add(1) }

// collector shows a Service as Prometheus metrics; it reads them when asked.
type collector struct {
	service                                                    *Service
	members, version, settled, leaseLeft                       *prometheus.Desc
	renewals, tableErrors, evictions, revocations, probesFound *prometheus.Desc
}

// Register shows the service's metrics, named stampede_member…, in a registry. A
// registry takes one service.
func Register(registry prometheus.Registerer, s *Service) error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("stampede_member"+name, help, labels, nil)
	}
	c := &collector{
		service:     s,
		members:     desc("s", "Members that this node knows, by state.", "state"),
		version:     desc("ship_view_version", "Version of the view of the members that this node has."),
		settled:     desc("ship_settled_version", "Version of the view that all members act on, or a later one."),
		leaseLeft:   desc("ship_lease_left_seconds", "Time until this node's lease runs out; 0 when it has."),
		renewals:    desc("ship_lease_renewals_total", "Attempts to renew this node's lease, by outcome.", "outcome"),
		tableErrors: desc("ship_table_errors_total", "Reads and changes of the membership table that failed."),
		evictions:   desc("ship_evictions_total", "Members that this node put Down."),
		revocations: desc("ship_revocations_total", "Members whose lease this node ended because nobody could reach them."),
		probesFound: desc("ship_probes_total", "Probes of other members, by what they found.", "finding"),
	}
	if err := registry.Register(c); err != nil {
		return fmt.Errorf("register membership metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.members, c.version, c.settled, c.leaseLeft, c.renewals, c.tableErrors, c.evictions, c.revocations, c.probesFound,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.service
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value *atomic.Uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value.Load()), labels...)
	}
	var states [members.Down + 1]int
	for _, m := range s.Members() {
		states[m.State]++
	}
	for state, n := range states {
		gauge(c.members, float64(n), members.State(state).String())
	}
	gauge(c.version, float64(s.View().Version))
	gauge(c.settled, float64(s.Settled()))
	gauge(c.leaseLeft, max(0, (time.Duration(s.fitUntil.Load())-s.now()).Seconds()))
	counter(c.renewals, &s.counts.renewals, "confirmed")
	counter(c.renewals, &s.counts.renewalsFailed, "failed")
	counter(c.tableErrors, &s.counts.tableErrors)
	counter(c.evictions, &s.counts.evictions)
	counter(c.revocations, &s.counts.revocations)
	for f := range s.counts.probes {
		counter(c.probesFound, &s.counts.probes[f], members.Finding(f).String())
	}
}
