package main

// The one place where a node's parts are put together, and taken apart again in
// the opposite order. dev, serve and the demo's server are all this. How each
// part is made is in parts.go and parts_gateway.go.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/cmd/stampede/internal/admin"
	"stampede/gateway/auth"
	"stampede/payments"
	"stampede/persistence"
)

// nodeConfig is what a node is started with.
type nodeConfig struct {
	nodeFlags
	// devTools turns on introspection and the playground.
	devTools bool
	// samplePictures serves the pictures of the sample catalogue.
	samplePictures bool
}

// Deadlines of a shutdown: of all of it, which is below the half minute that
// orchestrators usually give, and of its steps.
const (
	closeFor        = 28 * time.Second
	closeStreamsFor = 3 * time.Second
	closeHTTPFor    = 8 * time.Second
	closeActorsFor  = 8 * time.Second
	closeLogFor     = 5 * time.Second
	closeReadersFor = 5 * time.Second
)

// Bounds of the two HTTP servers.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	// writeTimeout begins with the request: it has time for reading it, working on it and sending the answer.
	writeTimeout   = time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	passwordQueue  = 256
)

// node is a running node. Close must be called.
type node struct {
	url, adminURL, kafka string
	// operatorMade: the operator was made at this start.
	operatorMade bool
	// failed gets the first error of a part that ended by itself.
	failed chan error
	// asked is closed when an operator has asked this node to drain.
	asked chan struct{}

	config   nodeConfig
	log      *slog.Logger
	registry *prometheus.Registry
	admin    *admin.Admin
	operator string
	tokens   *auth.Tokens
	events   outgoing
	adopts   lateAdoption
	// drainStreams ends what stays open on the public listener.
	drainStreams func(context.Context) error
	streamsEnded sync.Once
	// self is this node as a member; joined its place in a cluster of many, nil in one of one.
	self   members.Member
	joined *joined
	hosted *cluster.Node
	// leaving is set once the node is being taken down.
	leaving atomic.Bool
	ended   chan struct{} // closed by Close
	// handedOver gets the outcome of what linger has begun.
	handedOver chan error

	closing sync.Once
	closed  error
	steps   []closeStep // in order of starting
}

// closeStep takes one part down within its time.
type closeStep struct {
	name    string
	timeout time.Duration
	close   func(context.Context) error
}

func (n *node) onClose(name string, timeout time.Duration, end func(context.Context) error) {
	n.steps = append(n.steps, closeStep{name, timeout, end})
}

// Close drains the node and takes it down, newest part first. It returns what
// did not end well.
func (n *node) Close() error {
	n.closing.Do(func() {
		n.admin.SetPhase(admin.Draining)
		n.leaving.Store(true)
		close(n.ended)
		all, cancel := context.WithTimeout(context.Background(), closeFor)
		defer cancel()
		n.linger(all)
		var errs []error
		for i := len(n.steps) - 1; i >= 0; i-- {
			step := n.steps[i]
			ctx, cancel := context.WithTimeout(all, step.timeout)
			if err := step.close(ctx); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", step.name, err))
			}
			cancel()
		}
		n.closed = errors.Join(errs...)
	})
	return n.closed
}

// linger begins to hand the actors over while the node still serves, for as
// long as load balancers need to notice that it is not ready any more. Clients
// are told with every answer to open another connection. A cluster of one has
// nobody to hand over to, and one that was put out of its cluster nothing to
// hand over.
func (n *node) linger(ctx context.Context) {
	if n.joined == nil || n.hosted == nil || n.joined.Err() != nil {
		return
	}
	n.handedOver = make(chan error, 1)
	go func() { n.handedOver <- n.hosted.HandOver(ctx) }()
	served := time.NewTimer(n.config.DrainFor)
	defer served.Stop()
	if err := n.closeStreams(ctx); err != nil {
		n.log.Warn("subscriptions did not end in time", slog.Any("error", err))
	}
	<-served.C
}

// closeStreams tells those who only listen to connect to another node.
func (n *node) closeStreams(ctx context.Context) (err error) {
	n.streamsEnded.Do(func() {
		if n.drainStreams != nil {
			ctx, cancel := context.WithTimeout(ctx, closeStreamsFor)
			defer cancel()
			err = n.drainStreams(ctx)
		}
	})
	return err
}

// closeActors ends the actors, after the hand-over that linger has begun. Only
// now, when nobody is served any more, does the node leave its cluster: until
// then it asks the others for what its own callers ask of it.
func (n *node) closeActors(ctx context.Context) error {
	if n.handedOver != nil {
		select {
		case err := <-n.handedOver:
			if err != nil { // Close says it again, if it still is so
				n.log.Warn("the actors were not handed over", slog.Any("error", err))
			}
		case <-ctx.Done():
		}
	}
	return n.hosted.Close(ctx)
}

// farewell tells clients of a node that is leaving to open another connection.
func (n *node) farewell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// startNode starts a node and returns when it serves. What it had started
// before a failure is taken down again.
func startNode(ctx context.Context, config nodeConfig, log *slog.Logger) (*node, error) {
	n := &node{failed: make(chan error, 1), asked: make(chan struct{}), ended: make(chan struct{}), config: config, log: log, registry: prometheus.NewRegistry()}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.admin = admin.New(n.registry)
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.admin.SetPhase(admin.Serving)
	return n, nil
}

func (n *node) start(ctx context.Context) error {
	var err error
	if n.adminURL, err = n.serveHTTP(ctx, "admin HTTP", "admin-listen", n.config.AdminListen, 0, n.admin.Handler()); err != nil {
		return err
	}
	name, err := n.config.nodeName()
	if err != nil {
		return err
	}
	store, err := n.openStore(ctx)
	if err != nil {
		return err
	}
	if err := n.startBroker(); err != nil {
		return err
	}
	journal, err := n.openLog(ctx, store, name)
	if err != nil {
		return err
	}
	desk, err := n.paymentDesk(ctx, store)
	if err != nil {
		return err
	}
	n.startActors(store, journal, desk)
	if err := n.serveCluster(ctx); err != nil {
		return err
	}
	if err := n.startCommands(n.hosted); err != nil {
		return err
	}
	if !n.config.is(members.Gateway) {
		return nil
	}
	return n.startGateway(ctx, store, desk)
}

// startGateway is the public side.
func (n *node) startGateway(ctx context.Context, store persistence.Store, desk *payments.Desk) error {
	accounts, keys, err := n.openAccounts(ctx, store, n.hosted)
	if err != nil {
		return err
	}
	handler, err := n.gateway(ctx, store, n.hosted, accounts, keys, desk)
	if err != nil {
		return err
	}
	if err := n.ensureOperator(ctx, accounts); err != nil {
		return err
	}
	if n.url, err = n.serveHTTP(ctx, "public HTTP", "listen", n.config.Listen, writeTimeout, n.farewell(handler)); err != nil {
		return err
	}
	// First of all: those who only listen are told while everything else is still served.
	n.onClose("subscriptions", closeStreamsFor, n.closeStreams)
	return nil
}

// serveHTTP listens at the flag's address and serves, and returns the URL. On
// close it waits for the requests under way. No writing time: no limit, which
// profiles need.
func (n *node) serveHTTP(ctx context.Context, name, flag, address string, writing time.Duration, handler http.Handler) (string, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "", otherAddress(fmt.Errorf("%s: %w", name, err), flag)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writing, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
	n.onClose(name, closeHTTPFor, func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
	return "http://" + reachable(listener.Addr()), nil
}

// otherAddress adds to the error of an address that cannot be listened at which
// flag gives another.
func otherAddress(err error, flag string) error {
	var listening *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; choose another with --%s: port 0 picks a free one", err, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; choose one of this machine's with --%s", err, flag)
	case errors.As(err, &listening) && listening.Op == "listen":
		return fmt.Errorf("%w; choose another with --%s", err, flag)
	}
	return err
}

// reachable is an address that a client on this machine can use: a listener on
// all addresses is reached by the loopback one.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
	}
	return address.String()
}
