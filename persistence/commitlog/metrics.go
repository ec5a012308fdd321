package commitlog

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// collector shows a Log's Stats as Prometheus metrics. It reads them when it
// is asked, so that commits pay for nothing but plain counters.
type collector struct {
	log *Log

	records, pendingBytes, retainedRecords, retainedBytes  *prometheus.Desc
	position, settled, batches, outcomes, bytes, resolved  *prometheus.Desc
	batchRecords, appendTime, commitTime                   *prometheus.Desc
	followerPosition, followerBehind, followerJournalReads *prometheus.Desc
}

// Register shows the log's metrics, named stampede_commit_…, in a registry. A
// registry takes one log.
func Register(registry prometheus.Registerer, l *Log) error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("stampede_commit_"+name, help, labels, nil)
	}
	c := &collector{
		log:                  l,
		records:              desc("pending_records", "Records accepted and not settled.", "state"),
		pendingBytes:         desc("pending_bytes", "Bytes of the records accepted and not settled."),
		retainedRecords:      desc("retained_records", "Records kept in memory for followers."),
		retainedBytes:        desc("retained_bytes", "Bytes of the records kept in memory for followers."),
		position:             desc("position", "Last position given to a record."),
		settled:              desc("settled_position", "Position with nothing unsettled at or below it."),
		batches:              desc("batches_total", "Batches appended to the journal."),
		outcomes:             desc("records_total", "Commits answered, by outcome.", "outcome"),
		bytes:                desc("durable_bytes_total", "Bytes of records that became durable."),
		resolved:             desc("resolved_total", "Unknown outcomes found out, by what they were.", "outcome"),
		batchRecords:         desc("batch_records", "Records in a batch."),
		appendTime:           desc("append_duration_seconds", "Time to append one batch."),
		commitTime:           desc("duration_seconds", "Time from taking a record to answering its actor."),
		followerPosition:     desc("follower_position", "Position up to which a follower was handed everything.", "follower"),
		followerBehind:       desc("follower_behind_positions", "Settled positions that a follower has not been handed.", "follower"),
		followerJournalReads: desc("follower_journal_reads_total", "Times a follower read the journal because it was behind the memory.", "follower"),
	}
	if err := registry.Register(c); err != nil {
		return fmt.Errorf("register commit log metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.records, c.pendingBytes, c.retainedRecords, c.retainedBytes, c.position, c.settled, c.batches, c.outcomes,
		c.bytes, c.resolved, c.batchRecords, c.appendTime, c.commitTime, c.followerPosition, c.followerBehind, c.followerJournalReads,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.log.Stats()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(c.records, float64(s.Queued), "queued")
	gauge(c.records, float64(s.InFlight), "in_flight")
	gauge(c.records, float64(s.Unresolved), "unresolved")
	gauge(c.pendingBytes, float64(s.PendingBytes))
	gauge(c.retainedRecords, float64(s.RetainedRecords))
	gauge(c.retainedBytes, float64(s.RetainedBytes))
	gauge(c.position, float64(s.Position))
	gauge(c.settled, float64(s.Settled))
	counter(c.batches, s.Batches)
	counter(c.outcomes, s.Durable, "durable")
	counter(c.outcomes, s.Fenced, "fenced")
	counter(c.outcomes, s.TooLarge, "too_large")
	counter(c.outcomes, s.Invalid, "invalid")
	counter(c.outcomes, s.Unavailable, "unavailable")
	counter(c.outcomes, s.Unknown, "unknown")
	counter(c.outcomes, s.Refused, "refused")
	counter(c.bytes, s.DurableBytes)
	counter(c.resolved, s.ResolvedDurable, "durable")
	counter(c.resolved, s.ResolvedLost, "lost")
	out <- s.BatchRecords.metric(c.batchRecords, 1)
	out <- s.AppendTime.metric(c.appendTime, 1e-6)
	out <- s.CommitTime.metric(c.commitTime, 1e-6)
	for name, f := range slowest(s.Followers) {
		gauge(c.followerPosition, float64(f.Position), name)
		gauge(c.followerBehind, float64(s.Settled-min(s.Settled, f.Position)), name)
		counter(c.followerJournalReads, f.JournalReads, name)
	}
}

// slowest merges followers of one name into one: a registry refuses two
// metrics with the same labels.
func slowest(followers []FollowerStats) map[string]FollowerStats {
	byName := make(map[string]FollowerStats, len(followers))
	for _, f := range followers {
		if other, known := byName[f.Name]; known {
			f.Position = min(f.Position, other.Position)
			f.JournalReads += other.JournalReads
		}
		byName[f.Name] = f
	}
	return byName
}

// metric is the histogram with its values scaled to the metric's unit.
func (h *Histogram) metric(d *prometheus.Desc, unit float64) prometheus.Metric {
	buckets := make(map[float64]uint64, HistogramBuckets-1)
	sum := uint64(0)
	for i, n := range h.Buckets[:HistogramBuckets-1] {
		sum += n
		buckets[float64(uint64(1)<<i)*unit] = sum
	}
	return prometheus.MustNewConstHistogram(d, h.Count, float64(h.Sum)*unit, buckets)
}
