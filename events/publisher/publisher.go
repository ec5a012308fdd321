// Package publisher publishes the journal's logs to Kafka: every event at
// least once, in order an aggregate, whatever breaks meanwhile.
//
// A record goes through these stages:
//
//	read from a log → mapped to messages → queued at their partitions
//	→ in a batch → acknowledged → its position below the watermark
//
// Of each partition one batch is on its way at a time, and the same batch is
// sent until it is acknowledged; so nothing overtakes and nothing is skipped.
// A batch carries a producer id and a sequence, so one that is sent again is
// not stored twice (facts that end this: a broker that lost its memory of the
// producer, and a restart of this process; then the same ids come again).
//
// Memory is bounded: at Limits.PendingBytes reading waits, the log drops what
// it keeps for a slow reader, and reading goes on from the journal later.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
)

// Publisher publishes the logs of its configuration. Run owns its goroutines;
// the other methods may be called from any.
type Publisher struct {
	cfg         Config
	compression compress.Compression
	logger      *slog.Logger
	metrics     *metrics
	mapper      *cloudevents.Mapper
	reader      *events.Reader
	keeper      *events.Keeper
	link        link
	balancer    kafka.Murmur2Balancer
	// wake tells the sender to look; holds one.
	wake chan struct{}

	mu       sync.Mutex
	topics   map[string]*topic
	parts    []*partition
	trackers map[entity.Epoch]*tracker
	// pending and pendingBytes are of the messages that were read and are not
	// acknowledged.
	pending      int
	pendingBytes int
	// failing is how many partitions have a batch that failed saidAfter times.
	failing int
	// moved is closed, and replaced, when something was acknowledged.
	moved chan struct{}
}

// topic is a topic's partitions, pinned when the publisher starts: more of
// them later would move keys and break their order.
type topic struct {
	parts []*partition
	ids   []int
}

var _ events.Sink = (*Publisher)(nil)

// New returns a publisher. It does not talk to the brokers yet.
func New(cfg Config) (*Publisher, error) {
	cfg.Limits.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	l, err := newKafkaLink(&cfg)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return newPublisher(cfg, l)
}

func newPublisher(cfg Config, l link) (*Publisher, error) {
	cfg.Limits.setDefaults()
	cfg.Log.Name = ReaderName
	compression, err := cfg.compression()
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg:         cfg,
		compression: compression,
		logger:      cfg.Logger,
		metrics:     newMetrics(cfg.Registerer),
		mapper:      cloudevents.NewMapper(cfg.Format, cfg.Source),
		reader:      events.NewReader(cfg.Log, events.NewReaderMetrics(cfg.Registerer, ReaderName)),
		keeper:      events.NewKeeper(cfg.Log),
		link:        l,
		balancer:    kafka.Murmur2Balancer{Consistent: true},
		wake:        make(chan struct{}, 1),
		topics:      make(map[string]*topic),
		trackers:    make(map[entity.Epoch]*tracker),
		moved:       make(chan struct{}),
	}
	p.registerGauges(cfg.Registerer)
	return p, nil
}

// Run publishes until ctx ends or the present log ends, and then for at most
// Limits.DrainTimeout what it has read. It returns nil when everything that
// was read is acknowledged and its watermark saved, else why not. It must be
// called once.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.link.close()
	if err := p.prepareTopics(ctx); err != nil {
		return unlessStopped(err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { p.send(background) })
	work.Go(func() { p.keeper.Run(background, p.Watermarks) })

	readErr := p.reader.Run(ctx, p)
	drainErr := p.drain(ctx)
	stop()
	work.Wait()

	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Limits.DrainTimeout)
	defer cancel()
	saveErr := p.keeper.Save(saving, p.Watermarks())
	return errors.Join(unlessStopped(readErr), drainErr, saveErr)
}

// unlessStopped leaves out that the publisher was told to stop: no failure.
func unlessStopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// drain waits until nothing is pending; once ctx has ended, no longer than
// Limits.DrainTimeout.
func (p *Publisher) drain(ctx context.Context) error {
	var timeout <-chan time.Time
	stopped := ctx.Done()
	for {
		p.mu.Lock()
		pending, moved := p.pending, p.moved
		p.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-moved:
		case <-stopped:
			stopped = nil
			timeout = time.After(p.cfg.Limits.DrainTimeout)
		case <-timeout:
			return fmt.Errorf("publisher: %d messages were not acknowledged in time; they are published after the next start", pending)
		}
	}
}

// Take implements events.Sink. It waits while too much is pending.
func (p *Publisher) Take(ctx context.Context, epoch entity.Epoch, records []*entity.Record, upTo uint64) error {
	var messages []cloudevents.Message
	for _, rec := range records {
		var err error
		if messages, err = p.mapper.Map(messages[:0], rec); err != nil {
			p.metrics.unpublishable.Inc()
			p.logger.Error("a journal record has no published form and was left out", slog.Uint64("epoch", uint64(epoch)),
				slog.Uint64("position", rec.Position), slog.Any("error", err))
		}
		if err := p.room(ctx); err != nil {
			return err
		}
		p.enqueue(epoch, rec.Position, messages)
	}
	p.mu.Lock()
	p.tracker(epoch).upTo(upTo)
	p.progressed()
	p.mu.Unlock()
	p.wakeSender()
	return nil
}

// room waits until there is room for another record.
func (p *Publisher) room(ctx context.Context) error {
	for {
		p.mu.Lock()
		full, moved := p.pendingBytes >= p.cfg.Limits.PendingBytes, p.moved
		p.mu.Unlock()
		if !full {
			return nil
		}
		p.wakeSender()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enqueue puts the messages of one record into the queues of their partitions.
func (p *Publisher) enqueue(epoch entity.Epoch, position uint64, messages []cloudevents.Message) {
	now := time.Now()
	s := &span{epoch: epoch, position: position, open: len(messages)}
	if len(messages) > 0 {
		s.atMs = messages[0].AtMs
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracker(epoch).add(s)
	for i := range messages {
		it := &item{msg: messages[i], size: messageBytes(&messages[i]), span: s}
		p.pending++
		p.pendingBytes += it.size + itemBytes
		part := p.partition(it.msg.Topic, it.msg.Key)
		if replaced := part.queue.push(it, now); replaced != nil {
			p.metrics.conflated.Inc()
			p.settleItem(replaced)
		}
	}
}

// partition is where a key belongs, as the Java client's default partitioner says.
func (p *Publisher) partition(name, key string) *partition {
	t := p.topics[name]
	return t.parts[p.balancer.Balance(kafka.Message{Key: []byte(key)}, t.ids...)]
}

func (p *Publisher) tracker(epoch entity.Epoch) *tracker {
	t := p.trackers[epoch]
	if t == nil {
		t = &tracker{}
		p.trackers[epoch] = t
	}
	return t
}

// settleItem lets go of an item that is acknowledged or was superseded by one
// that is tracked itself.
func (p *Publisher) settleItem(it *item) {
	it.span.open--
	p.pending--
	p.pendingBytes -= it.size + itemBytes
}

// progressed wakes whoever waits for room or for a watermark.
func (p *Publisher) progressed() {
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *Publisher) wakeSender() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Watermarks is how far each incarnation's log is published.
func (p *Publisher) Watermarks() map[entity.Epoch]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	marks := make(map[entity.Epoch]uint64, len(p.trackers))
	for epoch, t := range p.trackers {
		marks[epoch] = t.mark()
	}
	return marks
}

// WaitFor waits until the present log is published up to and including position.
func (p *Publisher) WaitFor(ctx context.Context, position uint64) error {
	for {
		p.mu.Lock()
		mark, moved := p.tracker(p.cfg.Log.Epoch).mark(), p.moved
		p.mu.Unlock()
		if mark >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("publisher: log is published up to %d of %d: %w", mark, position, ctx.Err())
		}
	}
}
