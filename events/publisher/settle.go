package publisher

import (
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
)

// saidAfter is how many attempts a batch may fail before it is said: the first
// ones are part of every change of leaders.
const saidAfter = 3

// settle deals with what became of the partition's batch.
func (p *Publisher) settle(part *partition, err error, now time.Time) {
	switch {
	case part.batch == nil:
		// It could not even be made; err says why.
		p.fail(part, err, now)
	case err == nil, errors.Is(err, kafka.DuplicateSequenceNumber):
		p.acknowledge(part)
	case refused(err) && !part.batch.bare():
		p.divide(part, err)
	case refused(err):
		it := part.batch.items[0]
		part.batch, part.retryAt = nil, time.Time{}
		p.recovered(part)
		p.metrics.failures.WithLabelValues(part.topic).Inc()
		it.span.group.park(part, it, err)
	case beginsAnew(err):
		part.beginAnew()
		p.fail(part, err, now)
	case errors.Is(err, kafka.Unknown):
		part.nextEpoch()
		p.fail(part, err, now)
	default:
		p.fail(part, err, now)
	}
}

// refused reports an error that is of what is in the batch: sent again, it
// would be refused again.
func refused(err error) bool {
	for _, e := range [...]kafka.Error{kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.InvalidTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// beginsAnew reports an error after which the partition needs a new producer
// id: the broker does not know the old one any more, or not its sequence. The
// batch may have been stored before: then it is repeated.
func beginsAnew(err error) bool {
	for _, e := range [...]kafka.Error{
		kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId, kafka.InvalidProducerEpoch, kafka.InvalidProducerIDMapping, kafka.ProducerFenced,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// beginAnew gives the partition a producer id of its own, a new one.
func (part *partition) beginAnew() {
	part.hasSession, part.ownSession = false, true
	part.batch.raw = nil
}

// nextEpoch is for a broker that has failed in the middle of taking a batch: it
// may know the batch's sequence without having the batch, and would acknowledge
// it as a repeat. (The embedded broker does when its disk is full.) In a new
// epoch nothing is a repeat. Its own producer id can be taken on, which costs the
// broker nothing, however often it fails.
func (part *partition) nextEpoch() {
	if !part.ownSession || part.session.epoch == math.MaxInt16 {
		part.beginAnew()
		return
	}
	part.session.epoch++
	part.sequence, part.batch.raw = 0, nil
}

func (p *Publisher) acknowledge(part *partition) {
	n := len(part.batch.items)
	for _, it := range part.batch.items {
		if p.topics[part.topic].compacted {
			it.span.group.levelSent(it)
		} else {
			p.settleItem(it)
		}
	}
	p.topics[part.topic].published += uint64(n) //nolint:gosec // a count
	p.metrics.published.WithLabelValues(part.topic).Add(float64(n))
	p.metrics.batchRecords.Observe(float64(n))
	part.sequence = nextSequence(part.sequence, n)
	part.batch = nil
	part.batchBytes = min(part.batchBytes+part.batchBytes/batchBytesGrowing+1, p.cfg.Limits.BatchBytes)
	part.retryAt = time.Time{}
	p.recovered(part)
}

// recovered takes in that a partition that may have failed does not any more.
func (p *Publisher) recovered(part *partition) {
	attempts := part.attempts
	part.attempts = 0
	if attempts < saidAfter {
		return
	}
	if p.failing--; p.failing == 0 {
		p.logger.Info("publishing works again")
	}
}

// divide deals with a batch that is too large for the broker: it is sent in
// parts, and a message that is too large by itself without its data. (One that
// is refused even so is parked.)
func (p *Publisher) divide(part *partition, err error) {
	items := part.batch.items
	part.batch = nil
	if len(items) > 1 {
		part.batchBytes = max(1, min(part.batchBytes, batchSize(items))/2)
	} else {
		it := items[0]
		p.metrics.dataOmitted.Inc()
		p.logger.Error("an event is too large for the broker and is published without its data", slog.String("topic", part.topic),
			slog.String("key", it.msg.Key), slog.Uint64("version", it.msg.Version), slog.Int("bytes", len(it.msg.Value)), slog.Any("error", err))
		it.msg, it.omitted = it.msg.WithoutData(), true
	}
	part.again = append(items[:len(items):len(items)], part.again...)
}

func batchSize(items []*item) (bytes int) {
	for _, it := range items {
		bytes += it.size
	}
	return bytes
}

// fail schedules the partition's next attempt.
func (p *Publisher) fail(part *partition, err error, now time.Time) {
	p.metrics.failures.WithLabelValues(part.topic).Inc()
	part.retryAt = now.Add(p.backoff(part.attempts))
	part.attempts++
	if part.attempts != saidAfter {
		return
	}
	if p.failing++; p.failing == 1 {
		p.logger.Warn("publishing fails and is tried again until it succeeds", slog.String("topic", part.topic),
			slog.Int("partition", part.id), slog.Any("error", err))
	}
}

func (p *Publisher) failAll(parts []*partition, err error, now time.Time) {
	for _, part := range parts {
		p.fail(part, err, now)
	}
}

// backoff doubles with the attempts; the later half of it is random.
func (p *Publisher) backoff(attempts int) time.Duration {
	d := p.cfg.Limits.LongestBackoff
	if first := p.cfg.Limits.FirstBackoff; attempts < 16 && first<<attempts < d {
		d = first << attempts
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}
