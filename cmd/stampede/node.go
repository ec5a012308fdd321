package main

// The one place where a node's parts are put together, and taken apart again in
// the opposite order. dev, serve and the demo's server are all this. How each
// part is made is in parts.go.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stampede/cmd/stampede/internal/admin"
	"stampede/gateway/auth"
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
	closeFor        = 25 * time.Second
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

	config   nodeConfig
	log      *slog.Logger
	registry *prometheus.Registry
	admin    *admin.Admin
	operator string
	tokens   *auth.Tokens
	// drainStreams ends what stays open on the public listener.
	drainStreams func(context.Context) error

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
		all, cancel := context.WithTimeout(context.Background(), closeFor)
		defer cancel()
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

// startNode starts a node and returns when it serves. What it had started
// before a failure is taken down again.
func startNode(ctx context.Context, config nodeConfig, log *slog.Logger) (*node, error) {
	n := &node{failed: make(chan error, 1), config: config, log: log, registry: prometheus.NewRegistry()}
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
	caller := n.startActors(store, journal)
	if err := n.startCommands(caller); err != nil {
		return err
	}
	accounts, keys, err := n.openAccounts(ctx, store, caller)
	if err != nil {
		return err
	}
	handler, err := n.gateway(store, caller, accounts, keys)
	if err != nil {
		return err
	}
	if err := n.ensureOperator(ctx, accounts); err != nil {
		return err
	}
	if n.url, err = n.serveHTTP(ctx, "public HTTP", "listen", n.config.Listen, writeTimeout, handler); err != nil {
		return err
	}
	// First of all: those who only listen are told while everything else is still served.
	n.onClose("subscriptions", closeStreamsFor, n.drainStreams)
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

// otherAddress adds to the error of an address that is taken which flag gives another.
func otherAddress(err error, flag string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; choose another with --%s: port 0 picks a free one", err, flag)
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
