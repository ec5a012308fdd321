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
	groups      []*group
	link        link
	balancer    kafka.Murmur2Balancer
	// wake tells the sender to look; holds one.
	wake chan struct{}

	mu     sync.Mutex
	topics map[string]*topic
	parts  []*partition
	// failing is how many partitions have a batch that failed saidAfter times.
	failing int
	// moved is closed, and replaced, when something was acknowledged.
	moved chan struct{}

	elsewhereMu sync.Mutex
	elsewhere   elsewhere
}

// topic is a topic's partitions, pinned when the publisher starts: more of
// them later would move keys and break their order.
type topic struct {
	parts     []*partition
	ids       []int
	compacted bool
	// pending counts the messages that were read and are not acknowledged,
	// published those that are, repeats included.
	pending   int
	published uint64
}

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
		link:        l,
		balancer:    kafka.Murmur2Balancer{Consistent: true},
		wake:        make(chan struct{}, 1),
		topics:      make(map[string]*topic),
		moved:       make(chan struct{}),
	}
	for _, name := range groupNames() {
		p.groups = append(p.groups, newGroup(p, name))
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
	var sending sync.WaitGroup
	sending.Go(func() { p.send(background) })
	// Of one group that fails the others must not go on as if nothing were.
	reading, fail := context.WithCancel(ctx)
	defer fail()
	errs := make([]error, len(p.groups))
	var work sync.WaitGroup
	for i, g := range p.groups {
		work.Go(func() {
			if errs[i] = g.run(reading); errs[i] != nil {
				fail()
			}
		})
	}
	work.Wait()
	stop()
	sending.Wait()
	return errors.Join(errs...)
}

// unlessStopped leaves out that the publisher was told to stop: no failure.
func unlessStopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// partition is where a key belongs, as the Java client's default partitioner says.
func (p *Publisher) partition(t *topic, key string) *partition {
	return t.parts[p.balancer.Balance(kafka.Message{Key: []byte(key)}, t.ids...)]
}

// settleItem lets go of an item that is acknowledged or was superseded by one
// that is tracked itself.
func (p *Publisher) settleItem(it *item) {
	it.span.group.release(it)
	it.span.settle()
}

// release takes an item out of the accounts of what is queued.
func (g *group) release(it *item) {
	g.queued -= it.size + itemBytes
	g.p.topics[it.msg.Topic].pending--
	if it.level != nil {
		it.level.queued = false
	}
	if !it.counted {
		return
	}
	if g.levels.queued[it.addr]--; g.levels.queued[it.addr] == 0 {
		delete(g.levels.queued, it.addr)
	}
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

// mark is how far an incarnation's log is published, all topics.
func (p *Publisher) mark(epoch entity.Epoch) uint64 {
	mark := events.Finished
	for _, g := range p.groups {
		mark = min(mark, g.tracker(epoch).mark())
	}
	return mark
}

// WaitFor waits until the present log is published up to and including position.
func (p *Publisher) WaitFor(ctx context.Context, position uint64) error {
	for {
		p.mu.Lock()
		mark, moved := p.mark(p.cfg.Log.Epoch), p.moved
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
