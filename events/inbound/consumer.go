package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// The topics and the consumer group. Their names are a promise.
const (
	TopicCommands = "stampede.commands.v1"
	TopicDead     = "stampede.commands.dead.v1"
	Group         = "stampede-commands"
)

// Caller sends a command to an actor and waits for its durable answer.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

// Config is what a consumer is made of. Zero values of the options mean their defaults.
type Config struct {
	// Brokers are host:port of one or more brokers of the cluster.
	Brokers  []string
	ClientID string
	TLS      *tls.Config
	SASL     sasl.Mechanism
	// Replication is the replication factor that the topics are created with.
	Replication int
	// TopicConfig is set on topics that are created.
	TopicConfig map[string]string

	Caller     Caller
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Limits     Limits
}

// Limits bounds a consumer.
type Limits struct {
	// Batch is how many messages of a partition are worked on at once: those of
	// one SKU one after the other, of others at the same time. Default 32.
	Batch int
	// CallTimeout bounds one attempt to have a command done. Default 10 s.
	CallTimeout time.Duration
	// FirstBackoff and LongestBackoff bound the wait before an attempt is
	// repeated: doubled from one to the next, with jitter. Default 50 ms and 5 s.
	FirstBackoff   time.Duration
	LongestBackoff time.Duration
	// SessionTimeout is after how long without a heartbeat the brokers give a
	// node's partitions to another. Default 10 s.
	SessionTimeout time.Duration
}

func (l *Limits) setDefaults() {
	setDefault(&l.Batch, 32)
	setDefault(&l.CallTimeout, 10*time.Second)
	setDefault(&l.FirstBackoff, 50*time.Millisecond)
	setDefault(&l.LongestBackoff, 5*time.Second)
	setDefault(&l.SessionTimeout, 10*time.Second)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Consumer takes commands. Several, on several nodes, share the partitions.
type Consumer struct {
	cfg       Config
	logger    *slog.Logger
	metrics   *metrics
	transport *kafka.Transport
	dialer    *kafka.Dialer
	client    *kafka.Client
	dead      *kafka.Writer
}

const (
	dialTimeout = 10 * time.Second
	// sayEvery is which of the attempts at the same thing that fail are logged.
	sayEvery = 100
)

// New checks the configuration; nothing is connected to before Run.
func New(cfg Config) (*Consumer, error) {
	if len(cfg.Brokers) == 0 || cfg.Caller == nil || cfg.Logger == nil {
		return nil, errors.New("inbound: brokers, a caller and a logger are needed")
	}
	cfg.Limits.setDefaults()
	c := &Consumer{cfg: cfg, logger: cfg.Logger.With("in", "commands"), metrics: newMetrics(cfg.Registerer)}
	c.transport = &kafka.Transport{ClientID: cfg.ClientID, TLS: cfg.TLS, SASL: cfg.SASL, DialTimeout: dialTimeout}
	c.dialer = &kafka.Dialer{ClientID: cfg.ClientID, TLS: cfg.TLS, SASLMechanism: cfg.SASL, Timeout: dialTimeout, DualStack: true}
	addr := kafka.TCP(cfg.Brokers...)
	c.client = &kafka.Client{Addr: addr, Transport: c.transport}
	c.dead = &kafka.Writer{
		Addr: addr, Transport: c.transport, Topic: TopicDead, Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond, MaxAttempts: 1, // attempts are ours: they go on until it is acknowledged
	}
	return c, nil
}

// Run takes commands until ctx ends, whatever the brokers do meanwhile. What it
// has not committed then is taken again by the next one, without further effect.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.transport.CloseIdleConnections()
	defer func() {
		if err := c.dead.Close(); err != nil {
			c.logger.Warn("the writer of dead letters did not close", slog.Any("error", err))
		}
	}()
	if err := c.prepareTopics(ctx); err != nil {
		return ended(ctx, err)
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: Group, Brokers: c.cfg.Brokers, Dialer: c.dialer, Topics: []string{TopicCommands}, StartOffset: kafka.FirstOffset,
		SessionTimeout: c.cfg.Limits.SessionTimeout, HeartbeatInterval: c.cfg.Limits.SessionTimeout / 5, RebalanceTimeout: c.cfg.Limits.SessionTimeout,
		JoinGroupBackoff: time.Second, WatchPartitionChanges: true,
	})
	if err != nil {
		return fmt.Errorf("inbound: %w", err)
	}
	err = c.generations(ctx, group)
	return ended(ctx, errors.Join(err, group.Close()))
}

// ended is nil when the reason is that it was told to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// generations works on the partitions that this member has, from one rebalance
// to the next.
func (c *Consumer) generations(ctx context.Context, group *kafka.ConsumerGroup) error {
	for failures := 0; ; {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, kafka.ErrGroupClosed):
			return fmt.Errorf("inbound: %w", err)
		case err != nil:
			c.metrics.interruptions.Inc()
			if failures%sayEvery == 0 {
				c.logger.Warn("the consumer group cannot be joined now and is tried again", slog.Any("error", err))
			}
			if pause(ctx, c.backoff(failures)) != nil {
				return ctx.Err()
			}
			failures++
			continue
		}
		failures = 0
		mine := generation.Assignments[TopicCommands]
		c.metrics.lag.Reset()
		c.metrics.partitions.Set(float64(len(mine)))
		for _, a := range mine {
			generation.Start(func(owned context.Context) {
				both, cancel := context.WithCancel(owned)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				c.work(both, generation, a)
			})
		}
	}
}

// call has a command done, as often as it takes: a fault blocks the SKU's later
// commands of this partition and loses none. Nil: it was done, and is durable.
// An error: ctx has ended.
func (c *Consumer) call(ctx context.Context, cmd command) (*rejection, error) {
	for attempt := 0; ; attempt++ {
		r, wait, err := c.try(ctx, cmd)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.metrics.retries.Inc()
		if attempt%sayEvery == 0 {
			c.logger.Warn("a command is tried again until it is done", slog.String("sku", cmd.sku), slog.Int("attempts", attempt+1), slog.Any("error", err))
		}
		if err := pause(ctx, max(c.backoff(attempt), wait)); err != nil {
			return nil, err
		}
	}
}

// backoff is how long to wait after so many attempts before the next.
func (c *Consumer) backoff(attempts int) time.Duration {
	d := c.cfg.Limits.LongestBackoff
	if first := c.cfg.Limits.FirstBackoff; attempts < 16 && first<<attempts < d {
		d = first << attempts
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each runs do for every group of messages and waits for all.
func each[T any](groups []T, do func(T)) {
	var all sync.WaitGroup
	for _, g := range groups {
		all.Go(func() { do(g) })
	}
	all.Wait()
}
