package main

// How the public side of a node is made: accounts, the gateway, and the operator
// of --bootstrap-admin.

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cmd/stampede/internal/catalogue"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/waiting"
	"stampede/gateway/web"
	"stampede/payments"
	"stampede/persistence"
)

// accountSecretSetting names the secret that account ids are derived with: one
// for all nodes of a store, for ever.
const accountSecretSetting = "account-secret"

// ticketKeySetting names the key that tickets and admission tokens are signed with.
const ticketKeySetting = "ticket-key"

// sharedSecretBytes is enough for each of them.
const sharedSecretBytes = max(auth.SecretBytes, waiting.KeyBytes)

// sharedSecret is the secret of that name that all nodes of a store have, made
// by the first.
func sharedSecret(ctx context.Context, store persistence.Store, name string) ([]byte, error) {
	fresh := make([]byte, sharedSecretBytes)
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
	secret, err := sharedSecret(ctx, store, accountSecretSetting)
	if err != nil {
		return nil, nil, err
	}
	n.tokens = auth.NewTokens(keys, auth.TokenOptions{})
	passwords := auth.NewPasswords(max(1, runtime.GOMAXPROCS(0)/2), passwordQueue)
	return auth.NewAccounts(caller, n.tokens, passwords, secret, n.config.now), keys, nil
}

func (n *node) gateway(ctx context.Context, store persistence.Store, caller cluster.Caller, accounts *auth.Accounts, keys *auth.Keys, desk *payments.Desk) (http.Handler, error) {
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
	g, err := gateway.New(gateway.Config{
		Caller: caller, Views: store, Events: n.events, Accounts: accounts, Journal: store, Cluster: &operations{n, n.hosted, store}, Tokens: n.tokens, Keys: keys, HoldFor: n.config.holdFor(), TicketKey: ticketKey,
		AllowedOrigins: n.config.Origins, TrustedProxies: proxies, DevTools: n.config.devTools, Storefront: storefront, Console: console, StripeWebhook: n.stripeWebhook(caller), PaymentPages: n.paymentPages(caller, desk),
		Logger: n.log, Clock: n.config.now,
	})
	if err != nil {
		return nil, err
	}
	n.drainStreams = g.Drain
	handler := n.measured(g)
	if !n.config.samplePictures {
		return handler, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+catalogue.ImagePath, catalogue.Images())
	mux.Handle("/", handler)
	return mux, nil
}

// measured is the gateway with the figures of its public side.
func (n *node) measured(g *gateway.Gateway) http.Handler {
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
	timed := promhttp.InstrumentHandlerDuration(duration, g.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gateway.StaysOpen(r) { // how long somebody listens is not how long an answer takes
			g.Handler().ServeHTTP(w, r)
			return
		}
		timed.ServeHTTP(w, r)
	})
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
	started, deadline := n.config.now(), time.Now().Add(operatorFor)
	user, refusal, err := accounts.EnsureAdmin(ctx, n.config.BootAdmin, string(n.config.bootPassword))
	for entity.Retryable(err) && n.joined != nil && time.Now().Before(deadline) {
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
