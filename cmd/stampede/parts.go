package main

// How each part of a node is made. What order they are started in, and how they
// end, is in node.go.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cmd/stampede/internal/admin"
	"stampede/cmd/stampede/internal/catalogue"
	"stampede/events"
	"stampede/events/broker"
	"stampede/events/cloudevents"
	"stampede/events/publisher"
	"stampede/events/views"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/waiting"
	"stampede/gateway/web"
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
		return nil, err
	}
	return store, nil
}

func (n *node) openEmbedded(ctx context.Context) (persistence.Store, error) {
	store, err := sqlite.Open(ctx, n.config.DataDir)
	if err != nil {
		return nil, err
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

// accountSecretSetting names the secret that account ids are derived with: one
// for all nodes of a store, for ever.
const accountSecretSetting = "account-secret"

// ticketKeySetting names the key that tickets and admission tokens are signed with.
const ticketKeySetting = "ticket-key"

// sharedSecret is the secret of that name that all nodes of a store have, made
// by the first.
func sharedSecret(ctx context.Context, store persistence.Store, name string) ([]byte, error) {
	fresh := make([]byte, waiting.KeyBytes)
	_, _ = rand.Read(fresh) // never fails
	kept, err := store.Setting(ctx, name, fresh)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return kept, nil
}

func (n *node) openAccounts(ctx context.Context, store persistence.Store, caller cluster.Caller) (*auth.Accounts, *auth.Keys, error) {
	directory := n.config.SigningKeys
	if directory == "" {
		directory = filepath.Join(n.config.DataDir, "signing-keys")
	}
	keys, err := auth.LoadKeys(directory)
	if err != nil {
		return nil, nil, err
	}
	fresh := make([]byte, auth.SecretBytes)
	_, _ = rand.Read(fresh) // never fails
	kept, err := store.Setting(ctx, accountSecretSetting, fresh)
	if err != nil {
		return nil, nil, fmt.Errorf("account secret: %w", err)
	}
	n.tokens = auth.NewTokens(keys, auth.TokenOptions{})
	passwords := auth.NewPasswords(max(1, runtime.GOMAXPROCS(0)/2), passwordQueue)
	return auth.NewAccounts(caller, n.tokens, passwords, kept, n.config.now), keys, nil
}

func (n *node) gateway(ctx context.Context, store persistence.Store, caller cluster.Caller, accounts *auth.Accounts, keys *auth.Keys) (http.Handler, error) {
	storefront, err := web.Storefront()
	if err != nil {
		return nil, err
	}
	console, err := web.Console()
	if err != nil {
		return nil, err
	}
	proxies, err := parseProxies(n.config.Proxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	ticketKey, err := sharedSecret(ctx, store, ticketKeySetting)
	if err != nil {
		return nil, err
	}
	desk, err := n.paymentDesk(ctx, store)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gateway.Config{
		Caller: caller, Views: store, Events: n.events, Accounts: accounts, Journal: store, Cluster: &operations{n, n.hosted, store}, Tokens: n.tokens, Keys: keys, HoldFor: n.config.holdFor(), TicketKey: ticketKey,
		AllowedOrigins: n.config.Origins, TrustedProxies: proxies, DevTools: n.config.devTools, Storefront: storefront, Console: console, StripeWebhook: n.stripeWebhook(caller), PaymentPages: n.paymentPages(caller, desk),
		Logger: n.log, Clock: n.config.now,
	})
	if err != nil {
		return nil, err
	}
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "stampede_http_request_duration_seconds", Help: "Time to answer a request on the public listener.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
	}, []string{"code"})
	n.registry.MustRegister(duration)
	n.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stampede_streams_open", Help: "WebSockets and event streams."}, func() float64 {
			streams, _ := g.Listening()
			return float64(streams)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stampede_actors_watched", Help: "Actors that this node watches for its subscribers."}, func() float64 {
			_, actors := g.Listening()
			return float64(actors)
		}),
	)
	n.drainStreams = g.Drain
	timed := promhttp.InstrumentHandlerDuration(duration, g.Handler())
	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gateway.StaysOpen(r) { // how long somebody listens is not how long an answer takes
			g.Handler().ServeHTTP(w, r)
			return
		}
		timed.ServeHTTP(w, r)
	}))
	if !n.config.samplePictures {
		return handler, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+catalogue.ImagePath, catalogue.Images())
	mux.Handle("/", handler)
	return mux, nil
}

// How long a node of many tries to make its operator, and how often.
const (
	operatorFor   = time.Minute
	operatorAgain = time.Second
)

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ensureOperator makes the operator of --bootstrap-admin if there is none.
func (n *node) ensureOperator(ctx context.Context, accounts *auth.Accounts) error {
	if n.config.BootAdmin == "" {
		return nil
	}
	started := n.config.now()
	user, refusal, err := accounts.EnsureAdmin(ctx, n.config.BootAdmin, string(n.config.bootPassword))
	for entity.Retryable(err) && n.joined != nil && time.Since(started) < operatorFor {
		// A node without actors may be the first of its cluster.
		n.log.Info("waiting for a node that hosts actors", slog.Any("error", err))
		if !pause(ctx, operatorAgain) {
			return ctx.Err()
		}
		user, refusal, err = accounts.EnsureAdmin(ctx, n.config.BootAdmin, string(n.config.bootPassword))
	}
	if err != nil {
		return fmt.Errorf("operator of --bootstrap-admin: %w", err)
	}
	if refusal != nil {
		return fmt.Errorf("operator of --bootstrap-admin: %s", refusal.GetMessage())
	}
	n.operator = user.GetId()
	n.operatorMade = user.GetCreatedAtMs() >= started.UnixMilli()
	return nil
}

// operatorToken is an access token of the operator of --bootstrap-admin.
func (n *node) operatorToken() (string, error) {
	token, _, err := n.tokens.Issue(n.operator, []auth.Role{auth.Customer, auth.Staff, auth.Operator}, n.config.now())
	return token, err
}
