package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
)

// stored is a message as the fake broker keeps it.
type stored struct {
	topic     string
	partition int
	key       string
	value     []byte
	null      bool
	headers   map[string]string
	list      []cloudevents.Header // in their order
	at        time.Time
}

// fakeLink is a broker in memory that checks batches as a real one does:
// checksum and shape (by kafka-go's decoder), sequences of idempotent
// producers, size. fault decides what goes wrong with a batch.
type fakeLink struct {
	t          *testing.T
	partitions int
	started    time.Time
	term       time.Duration // 0: for ever
	maxBatch   int           // bytes; 0: any
	// fault returns whether the batch is stored and what the producer hears.
	fault func(outgoing) (store bool, err error)
	// refuse: a batch with a message of such a key is refused for what it is.
	refuse func(key string) bool
	// requestFault fails or delays a whole request before anything is stored.
	requestFault func(ctx context.Context) error

	mu       sync.Mutex
	log      []stored
	inFlight map[string]int
	overlap  bool
	// several: of several producers several batches can be on their way.
	several  bool
	sessions int64
	// next is the sequence that the broker expects, a producer and partition.
	next     map[string]int32
	requests int
}

func newFakeLink(t *testing.T) *fakeLink {
	return &fakeLink{t: t, partitions: 4, started: time.Now(), inFlight: make(map[string]int), next: make(map[string]int32)}
}

func (l *fakeLink) close() {}

func (l *fakeLink) topics(context.Context) (topicsFound, error) {
	out := make(map[string]int)
	for _, t := range cloudevents.Topics() {
		out[t.Name] = l.partitions
	}
	return topicsFound{partitions: out}, nil
}

// leaders spreads the partitions over two brokers, which change places
// every term.
func (l *fakeLink) leaders(context.Context) (map[string][]int, error) {
	out := make(map[string][]int)
	for _, t := range cloudevents.Topics() {
		for i := range l.partitions {
			out[t.Name] = append(out[t.Name], l.leader(i))
		}
	}
	return out, nil
}

func (l *fakeLink) leader(partition int) int {
	if l.term == 0 {
		return partition % 2
	}
	return (partition + int(time.Since(l.started)/l.term)) % 2
}

func (l *fakeLink) newSession(context.Context) (session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions++
	return session{id: l.sessions - 1}, nil // the first is 0, as a broker's can be
}

func (l *fakeLink) produce(ctx context.Context, leader int, batches []outgoing) ([]error, error) {
	l.enter(batches, 1)
	defer l.enter(batches, -1)
	select {
	case <-time.After(time.Millisecond): // the round trip
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.requestFault != nil {
		if err := l.requestFault(ctx); err != nil {
			return nil, err
		}
	}
	out := make([]error, len(batches))
	for i, b := range batches {
		if l.leader(int(b.partition)) != leader {
			out[i] = kafka.NotLeaderForPartition
			continue
		}
		out[i] = l.one(b)
	}
	return out, nil
}

func (l *fakeLink) enter(batches []outgoing, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 {
		l.requests++
	}
	for _, b := range batches {
		key := fmt.Sprintf("%s/%d", b.topic, b.partition)
		l.inFlight[key] += n
		l.overlap = l.overlap || l.inFlight[key] > 1 && !l.several
	}
}

func (l *fakeLink) one(b outgoing) error {
	if l.maxBatch > 0 && len(b.raw) > l.maxBatch {
		return kafka.MessageSizeTooLarge
	}
	store, answer := true, error(nil)
	if l.fault != nil {
		store, answer = l.fault(b)
	}
	if !store {
		return answer
	}
	if err := l.store(b); err != nil {
		return err
	}
	return answer
}

// store keeps a batch unless it has it.
func (l *fakeLink) store(b outgoing) error { return l.take(b, true) }

// take knows the batch's sequence from now on. One that fails in the middle of
// it does not keep the batch.
func (l *fakeLink) take(b outgoing, keep bool) error {
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(b.raw)); err != nil {
		l.t.Errorf("batch cannot be decoded: %v", err)
		return kafka.InvalidMessage
	}
	head, ok := set.Records.(*protocol.RecordStream).Records[0].(*protocol.RecordBatch)
	if !ok {
		l.t.Errorf("not a record batch: %T", set.Records)
		return kafka.InvalidMessage
	}
	var messages []stored
	for {
		r, err := head.ReadRecord()
		if err != nil {
			break
		}
		messages = append(messages, decode(l.t, b, r))
	}
	for _, m := range messages {
		if l.refuse != nil && l.refuse(m.key) {
			return kafka.MessageSizeTooLarge
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprintf("%d/%d/%s/%d", head.ProducerID, head.ProducerEpoch, b.topic, b.partition)
	expected, known := l.next[key]
	switch {
	case known && head.BaseSequence == expected-int32(len(messages)):
		return nil // a repeat
	case known && head.BaseSequence != expected:
		return kafka.OutOfOrderSequenceNumber
	case !known && head.BaseSequence != 0:
		return kafka.UnknownProducerId
	}
	l.next[key] = head.BaseSequence + int32(len(messages))
	if keep {
		l.log = append(l.log, messages...)
	}
	return nil
}

// forget loses what the broker knew of producers.
func (l *fakeLink) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.next)
}

func decode(t *testing.T, b outgoing, r *protocol.Record) stored {
	read := func(v protocol.Bytes) []byte {
		out, err := protocol.ReadAll(v)
		if err != nil {
			t.Errorf("read record: %v", err)
		}
		return out
	}
	m := stored{topic: b.topic, partition: int(b.partition), key: string(read(r.Key)), headers: make(map[string]string), at: time.Now()}
	if m.null = r.Value == nil; !m.null {
		m.value = read(r.Value)
	}
	for _, h := range r.Headers {
		m.headers[h.Key] = string(h.Value)
		m.list = append(m.list, cloudevents.Header{Key: h.Key, Value: string(h.Value)})
	}
	return m
}

func (l *fakeLink) overlapped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overlap
}

func (l *fakeLink) requested() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

func (l *fakeLink) stored() []stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]stored(nil), l.log...)
}

// ids is the events that are stored.
func (l *fakeLink) ids() map[string]bool {
	out := make(map[string]bool)
	for _, m := range l.stored() {
		if m.topic != cloudevents.TopicStockLevels {
			out[m.headers["ce_id"]] = true
		}
	}
	return out
}

// randomFaults breaks batches in every way that a broker can, by a seed.
func randomFaults(l *fakeLink, r *rand.Rand) func(outgoing) (bool, error) {
	var mu sync.Mutex
	return func(b outgoing) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		switch r.IntN(10) {
		case 0:
			return false, kafka.NotLeaderForPartition
		case 1:
			return true, kafka.RequestTimedOut // stored, and the answer is lost
		case 2:
			return false, errors.New("connection reset")
		case 3:
			if r.IntN(4) == 0 {
				l.forget()
			}
		case 4:
			if err := l.take(b, false); err != nil {
				return false, err
			}
			return false, kafka.Unknown // it has failed in the middle
		}
		return true, nil
	}
}

func testConfig(j *logtest.Journal, epoch entity.Epoch) Config {
	return Config{
		Brokers: []string{"127.0.0.1:1"}, Compression: "none", // TestEverythingArrivesInOrderWhateverBreaks has all of them
		Log: events.Config{
			Journal: j, Watermarks: j, Epoch: epoch, Ended: logtest.ErrEnded, Logger: slog.New(slog.DiscardHandler),
		},
		Follow:     func(string) events.Source { return j.Source(epoch) },
		Streams:    j,
		Registerer: prometheus.NewRegistry(),
		Logger:     slog.New(slog.DiscardHandler),
	}
}

func mustNew(t *testing.T, cfg Config, l link) *Publisher {
	t.Helper()
	p, err := newPublisher(cfg, l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// metric is the sum of a metric's values over its labels.
func metric(t *testing.T, p *Publisher, name string) float64 {
	t.Helper()
	families, err := p.cfg.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	t.Fatalf("no metric %s", name)
	return 0
}
