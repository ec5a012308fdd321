// Package broker is the embedded Kafka broker: what lets one command start a
// whole shop whose events an ordinary Kafka client can read.
//
// It is franz-go's kfake, which its authors call a fake for testing: one node,
// no replication, no quotas, and a record that it acknowledged survives the
// end of the process but, as it does not sync every write, not that of the
// machine. After an unclean end it has forgotten which batches it has seen, so
// a batch that is sent again can appear twice. What it cannot write it does not
// acknowledge, but would the second time (see the publisher's nextEpoch). The
// journal keeps every event, so what such an accident costs is repeats, or a gap
// of what the topics held; for production use a real Kafka.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"

	"stampede/persistence"
)

// Config says where the broker keeps its data and listens.
type Config struct {
	// Dir is the data directory; it is created if absent, and locked.
	Dir string
	// Listen is host:port, port 0 for a free one. Clients are told this host,
	// so it has to be one that they can reach and not a wildcard.
	Listen string
	Logger *slog.Logger
}

// Broker is a running embedded broker. It owns its data directory until Close.
type Broker struct {
	cluster *kfake.Cluster
	lock    *flock.Flock
	addr    string
	dir     string
	log     *slog.Logger

	stop    chan struct{}
	cleaner sync.WaitGroup
	// shortened is how large the topics were when they had been shortened last.
	// It belongs to the cleaner.
	shortened int64
}

// How the broker bounds its disk and, as it keeps an index of every batch, its
// memory: each of a topic's 12 partitions keeps the newest retentionBytes
// (compressed, about 60,000 events) in segments of segmentBytes.
const (
	retentionBytes     = "8388608"
	segmentBytes       = "2097152"
	maxMessageBytes    = "1048588"
	dirPermissions     = 0o750
	filePermissions    = 0o600
	lockFile           = "lock"
	dataFolder         = "log"
	loopbackAnyPort    = "127.0.0.1:0"
	offsetsKeptMinutes = "10080"
)

// TopicConfig is the settings that topics on this broker must be created with:
// it trims only topics that say so themselves.
func TopicConfig() map[string]string {
	return map[string]string{"retention.bytes": retentionBytes, "segment.bytes": segmentBytes}
}

// Start opens the data directory and listens. A directory that another process
// has open is refused with an error that wraps persistence.ErrInUse.
func Start(cfg Config) (*Broker, error) {
	listen, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, dirPermissions); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, lockFile))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("embedded broker: lock %s: %w", cfg.Dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("embedded broker: %s: %w", cfg.Dir, persistence.ErrInUse)
	}
	b := &Broker{lock: lock, dir: cfg.Dir, log: cfg.Logger, stop: make(chan struct{})}
	if err := b.start(listen); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded broker: %w", err), lock.Unlock())
	}
	b.shortened = b.bytes()
	b.cleaner.Go(b.cleanNowAndThen)
	return b, nil
}

func (b *Broker) start(listen string) (err error) {
	if err := b.unmark(); err != nil {
		return err
	}
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("stampede-embedded"),
		kfake.DataDir(filepath.Join(b.dir, dataFolder)),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms":    neverMs,
			"log.retention.bytes":       retentionBytes,
			"log.segment.bytes":         segmentBytes,
			"message.max.bytes":         maxMessageBytes,
			"offsets.retention.minutes": offsetsKeptMinutes,
		}),
		kfake.WithLogger(logger{b.log}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			var lc net.ListenConfig
			ln, err := lc.Listen(context.Background(), network, listen)
			if err == nil {
				b.addr = ln.Addr().String()
			}
			return ln, err
		}),
	)
	return err
}

// Addr is host:port as clients reach it.
func (b *Broker) Addr() string { return b.addr }

// Close writes the state to disk, stops listening and gives the directory
// free. It must be called once, after the broker's clients in this process
// have stopped.
func (b *Broker) Close() error {
	close(b.stop)
	b.cleaner.Wait()
	b.cluster.Close()
	if err := b.lock.Unlock(); err != nil {
		return fmt.Errorf("embedded broker: unlock: %w", err)
	}
	return nil
}

func listenAddress(listen string) (string, error) {
	if listen == "" {
		listen = loopbackAnyPort
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("embedded broker: listen address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return "", fmt.Errorf("embedded broker: listen address %q: clients are told this host, so give one that they can reach", listen)
	}
	return listen, nil
}

// logger passes the broker's warnings and errors on. That it could not write
// comes as a warning, and is more than that.
type logger struct{ log *slog.Logger }

// How the warnings begin. It begins so with what it could not write, which it
// then does not acknowledge; and so when it trims a topic to the newest of each
// key: it has removed the old files by then.
const (
	couldNotWrite  = "persist "
	couldNotShrink = "rebuildSegments "
)

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn || level == kfake.LogLevelNone {
		return
	}
	detail := slog.String("detail", fmt.Sprintf(format, args...))
	switch {
	case strings.HasPrefix(format, couldNotWrite):
		l.log.Error("the embedded broker cannot write its data: what it is sent waits until it can", detail)
	case strings.HasPrefix(format, couldNotShrink):
		l.log.Error("the embedded broker could not write a topic again that it had shortened, and has lost some of it: \"stampede events replay\" publishes it again", detail)
	case level == kfake.LogLevelError:
		l.log.Error("embedded broker", detail)
	default:
		l.log.Warn("embedded broker", detail)
	}
}
