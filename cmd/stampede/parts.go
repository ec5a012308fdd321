package main

// How the parts of a node behind its public side are made: store, log, readers,
// broker, actors. The public side is in parts_gateway.go; what order they are
// started in, and how they end, in node.go.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cmd/stampede/internal/admin"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/publisher"
	"stampede/events/views"
	"stampede/payments"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	"stampede/persistence/mongo"
	"stampede/persistence/sqlite"
)

// quietAfterCrash is how long the log of a dead incarnation must show nothing
// new: longer than one of its writes can still take to appear in a database on
// the network. The embedded store's lock makes it certain at once.
const quietAfterCrash = 6 * time.Second

func (n *node) openStore(ctx context.Context) (persistence.Store, error) {
	open := n.openEmbedded
	if n.config.Mongo != "" {
		open = n.openMongo
	}
	store, err := open(ctx)
	if err != nil {
		return nil, err
	}
	n.onClose("store", closeLogFor, func(context.Context) error { return store.Close() })
	n.admin.Require(admin.Part{Name: "store", Check: store.Ping})
	return store, nil
}

func (n *node) openMongo(ctx context.Context) (persistence.Store, error) {
	store, err := mongo.Open(ctx, string(n.config.Mongo), n.config.MongoDatabase)
	if err != nil {
		return nil, fmt.Errorf("--mongo: %w", err)
	}
	return store, nil
}

func (n *node) openEmbedded(ctx context.Context) (persistence.Store, error) {
	store, err := sqlite.Open(ctx, n.config.DataDir)
	if errors.Is(err, persistence.ErrInUse) {
		return nil, fmt.Errorf("%w; end that first, or give another with --data-dir", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	for _, file := range store.Repaired() {
		n.log.Warn("a file of the store was made anew from the journal", slog.String("file", file))
	}
	return store, nil
}

// openLog opens the log and starts its readers.
func (n *node) openLog(ctx context.Context, store persistence.Store, name string) (*commitlog.Log, error) {
	inFlight := 2 // SQLite has one writer: the second batch is ready when the first is done
	if n.config.Mongo != "" {
		inFlight = 4
	}
	journal, err := commitlog.Open(ctx, store, name, commitlog.Options{MaxInFlight: inFlight, Logger: n.log})
	if err != nil {
		return nil, err
	}
	if err := n.join(ctx, store, journal, name); err != nil {
		return nil, errors.Join(err, journal.Close(ctx))
	}
	// The log ends before its readers do: they read it to its end.
	readersErr := n.startReaders(store, journal)
	n.onClose("commit log", closeLogFor, journal.Close)
	return journal, errors.Join(readersErr, commitlog.Register(n.registry, journal))
}

func (n *node) startBroker() error {
	if len(n.config.Kafka) > 0 {
		n.kafka = strings.Join(n.config.Kafka, ",")
		return nil
	}
	b, err := broker.Start(broker.Config{Dir: filepath.Join(n.config.DataDir, "broker"), Listen: n.config.KafkaListen, Logger: n.log})
	if err != nil {
		return otherAddress(err, "kafka-listen")
	}
	n.kafka = b.Addr()
	n.onClose("embedded broker", closeReadersFor, func(context.Context) error { return b.Close() })
	return nil
}

// startReaders starts what follows the log: the publisher and the views.
func (n *node) startReaders(store persistence.Store, journal *commitlog.Log) error {
	format, err := cloudevents.ParseFormat(n.config.EventsFormat)
	if err != nil {
		return err
	}
	topics := map[string]string(nil)
	if len(n.config.Kafka) == 0 {
		topics = broker.TopicConfig()
	}
	brokers := n.config.Kafka
	if len(brokers) == 0 {
		brokers = []string{n.kafka}
	}
	publish, err := publisher.New(publisher.Config{
		Brokers: brokers, ClientID: "stampede", Replication: n.config.KafkaReplication, TopicConfig: topics, Format: format,
		Log: n.readerConfig(store, journal), Follow: func(name string) events.Source { return journal.Follow(name, 0) }, Streams: store,
		Settled: journal.Settled, Registerer: n.registry, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.follow("publisher", publish.Run)
	replays := publisher.NewReplayer(publish, store, publisher.ReplayRate)
	n.events = outgoing{publish, replays}
	n.onClose("replays", closeReadersFor, func(context.Context) error {
		replays.Close()
		return nil
	})
	projected := n.readerConfig(store, journal)
	projected.Source = journal.Follow(views.ReaderName, 0)
	project, err := views.New(views.Config{
		Log: projected, Views: store, Streams: store, Registerer: n.registry, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.follow("views", project.Run)
	return nil
}

func (n *node) readerConfig(store persistence.Store, journal *commitlog.Log) events.Config {
	quiet := time.Duration(0)
	if n.config.Mongo != "" {
		quiet = quietAfterCrash
	}
	var adopts events.Cluster // nil: a cluster of one adopts all older logs
	if n.config.clustered() {
		adopts = &n.adopts
	}
	return events.Config{
		Cluster: adopts, Journal: store, Watermarks: store, Epoch: journal.Epoch(), Ended: commitlog.ErrClosed,
		Quiet: quiet, Logger: n.log,
	}
}

// follow runs a reader of the log until the log's end. When it is closed the
// log has ended, and the reader gets a while to finish what it has read.
func (n *node) follow(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err != nil && ctx.Err() == nil {
			n.fail(fmt.Errorf("%s: %w", name, err))
		}
		ended <- err
	}()
	n.onClose(name, closeReadersFor, func(closing context.Context) error {
		defer cancel()
		select {
		case err := <-ended:
			return err
		case <-closing.Done():
			cancel()
			return <-ended
		}
	})
}

// fail reports the first part that ended by itself.
func (n *node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

func (n *node) startActors(store persistence.Store, journal *commitlog.Log, desk *payments.Desk) {
	caller := &lateCaller{}
	rt := &entity.Runtime{
		Log: journal, Store: store, Asker: caller, Clock: n.config.now, Logger: n.log, Limits: entity.DefaultLimits(), Metrics: entity.NewMetrics(n.registry),
	}
	ports := map[string]cluster.Caller{"payment": payments.Port{Provider: n.paymentProvider(caller, desk)}}
	if n.joined != nil {
		rt.Fit = n.joined.Fit
	}
	n.hosted = n.startHosting(actors.Kinds(rt), ports)
	caller.Caller = n.hosted
	n.onClose("actors", closeActorsFor, n.closeActors)

	ctx, cancel := context.WithCancel(context.Background())
	var waking sync.WaitGroup
	waking.Go(func() { n.hosted.WakeDue(ctx, n.config.now, reminders{store}) })
	n.onClose("reminders", closeReadersFor, func(context.Context) error {
		cancel()
		waking.Wait()
		return nil
	})
}

// lateCaller closes the circle between the runtime, whose actors ask each
// other, and the node, which carries what they ask. It is set before the first
// call.
type lateCaller struct{ cluster.Caller }

// Send implements entity.Sender.
func (l *lateCaller) Send(to entity.Address, req *entity.Request) bool {
	sender, ok := l.Caller.(entity.Sender)
	return ok && sender.Send(to, req)
}

// reminders are the actors that have something to do, as the views list them.
type reminders struct{ views persistence.Views }

// Due implements cluster.Reminders.
func (r reminders) Due(ctx context.Context, before time.Time, limit int) ([]entity.Address, error) {
	rows, err := r.views.DueRows(ctx, before, limit)
	if err != nil {
		return nil, err
	}
	due := make([]entity.Address, len(rows))
	for i, row := range rows {
		due[i] = entity.Address{Kind: row.Kind, ID: row.ID}
	}
	return due, nil
}
