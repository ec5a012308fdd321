package publisher

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"stampede/actors/entity"
	"stampede/events"
	"stampede/events/cloudevents"
)

// ReaderName is the name that the publisher's watermarks are kept under.
const ReaderName = "kafka"

// Partitions is how many partitions the topics are created with.
const Partitions = 12

// Config is what a publisher is made of. Zero values of the options mean their
// defaults.
type Config struct {
	// Brokers are host:port of one or more brokers of the cluster.
	Brokers []string
	// ClientID is what the brokers see in their logs and quotas.
	ClientID string
	TLS      *tls.Config
	SASL     SASL

	// Replication is the replication factor that topics are created with; 0:
	// the brokers' default.
	Replication int
	// TopicConfig is set, besides the clean-up policy, on topics that are created.
	TopicConfig map[string]string

	Format cloudevents.Format
	// Source is what ce_source begins with.
	Source string
	// Compression is lz4 (the default), zstd, snappy, gzip or none.
	Compression string

	// Log says which logs are published. Its Name, Source and Wants are set by
	// the publisher.
	Log events.Config
	// Follow begins to read the present log from its start, under a name. It is
	// asked once for each group of topics.
	Follow func(name string) events.Source
	// Streams is what is read of an actor that has moved.
	Streams Streams
	// Settled is how far the present log is durable; nil: not known.
	Settled func() uint64

	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Limits     Limits
}

// Streams is what of persistence.Journal single streams are read from.
type Streams interface {
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error]
	ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error]
}

// SASL is how the publisher authenticates itself.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: none.
	Mechanism string
	Username  string
	Password  string
}

// LogValue keeps the password out of logs.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.Mechanism) }

// Limits bounds a publisher.
type Limits struct {
	// PendingBytes bounds the messages in memory that are not acknowledged, the
	// groups of topics in equal parts: at it, reading the log waits. Default 24 MiB.
	PendingBytes int
	// BatchRecords and BatchBytes (before compression) bound a batch of a
	// partition. Default 2,000 and 512 KiB.
	BatchRecords int
	BatchBytes   int
	// RequestBytes bounds a request, which carries the batches of all
	// partitions that a broker leads. Default 8 MiB.
	RequestBytes int
	// Linger is the shortest time between the beginnings of two requests to one
	// broker, but after one with a batch that was half full: what comes meanwhile
	// goes together. Default 50 ms.
	Linger time.Duration
	// RequestTimeout is when an unanswered request is given up and its batches
	// are sent again. Default 15 s.
	RequestTimeout time.Duration
	// FirstBackoff and LongestBackoff bound the wait before a batch is sent
	// again: doubled from one attempt to the next, with jitter. Default 50 ms
	// and 5 s.
	FirstBackoff   time.Duration
	LongestBackoff time.Duration
	// LevelInterval is the shortest time between two stock levels of a SKU.
	// Default 250 ms.
	LevelInterval time.Duration
	// DrainTimeout is how long Run goes on, once its context has ended, to
	// have acknowledged what it has read. Default 5 s.
	DrainTimeout time.Duration
}

func (l *Limits) setDefaults() {
	setDefault(&l.PendingBytes, 24<<20)
	setDefault(&l.BatchRecords, 2000)
	setDefault(&l.BatchBytes, 512<<10)
	setDefault(&l.RequestBytes, 8<<20)
	setDefault(&l.Linger, 50*time.Millisecond)
	setDefault(&l.RequestTimeout, 15*time.Second)
	setDefault(&l.FirstBackoff, 50*time.Millisecond)
	setDefault(&l.LongestBackoff, 5*time.Second)
	setDefault(&l.LevelInterval, 250*time.Millisecond)
	setDefault(&l.DrainTimeout, 5*time.Second)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c *Config) validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no broker is given"))
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("broker %q: want host:port", b))
		}
	}
	if c.Replication < 0 || c.Replication > 1<<15-1 {
		errs = append(errs, fmt.Errorf("replication %d: want 1 or more, or 0 for the brokers' default", c.Replication))
	}
	if t := c.Limits.RequestTimeout; t < 0 || t > time.Hour {
		errs = append(errs, fmt.Errorf("request timeout %v: want up to an hour", t))
	}
	if _, err := c.compression(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.SASL.mechanism(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Config) compression() (compress.Compression, error) {
	if c.Compression == "" {
		return compress.Lz4, nil
	}
	var out compress.Compression
	if err := out.UnmarshalText([]byte(c.Compression)); err != nil {
		return 0, fmt.Errorf("compression %q: want lz4, zstd, snappy, gzip or none", c.Compression)
	}
	return out, nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil //nolint:nilnil // no mechanism is a valid choice
	case "PLAIN":
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	case "SCRAM-SHA-256":
		return scramMechanism(scram.SHA256, s)
	case "SCRAM-SHA-512":
		return scramMechanism(scram.SHA512, s)
	}
	return nil, fmt.Errorf("SASL mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}

func scramMechanism(algorithm scram.Algorithm, s SASL) (sasl.Mechanism, error) {
	m, err := scram.Mechanism(algorithm, s.Username, s.Password)
	if err != nil {
		return nil, fmt.Errorf("SASL credentials for %s cannot be used", algorithm.Name())
	}
	return m, nil
}
