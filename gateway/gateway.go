// Package gateway is the shop's public HTTP: GraphQL, the keys that tokens are
// checked with, and the places where web pages are mounted. It wires the
// pieces together; the pieces are in the folders beside this file.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"stampede/gateway/auth"
	"stampede/gateway/graph"
	"stampede/gateway/httpapi"
	"stampede/gateway/live"
	"stampede/gateway/operation"
	"stampede/gateway/resolve"
	"stampede/gateway/schema"
	"stampede/gateway/waiting"
)

// Tokens checks access tokens.
type Tokens interface {
	Verify(token string, now time.Time) (auth.Claims, error)
}

// Keys are the public keys that anyone can check access tokens with.
type Keys interface{ JWKS() []byte }

// Config is what the gateway is made of.
type Config struct {
	Caller   resolve.Caller
	Views    resolve.Views
	Accounts resolve.Accounts
	// Journal is what a SKU's past is read from.
	Journal resolve.Journal
	// Cluster is what operators see of it.
	Cluster resolve.Cluster
	// Events is what the API knows of the events on their way out; nil: this node publishes none.
	Events resolve.Events
	Tokens Tokens
	Keys   Keys
	// HoldFor is how long a placed order's units are held.
	HoldFor time.Duration
	// TicketKey signs the tickets and admission tokens of sales: at least
	// waiting.KeyBytes, the same on all nodes.
	TicketKey []byte
	// AllowedOrigins are the web origins whose pages may call the API; "*": any.
	AllowedOrigins []string
	// TrustedProxies may say in X-Forwarded-For whom they speak for.
	TrustedProxies []netip.Prefix
	// DevTools turns on introspection and the playground.
	DevTools bool
	// Storefront serves / and everything below it, Console serves /console; nil: 404.
	Storefront http.Handler
	Console    http.Handler
	// StripeWebhook takes Stripe's notices at /webhooks/stripe; nil: 404.
	StripeWebhook http.Handler
	// PaymentPages are the simulated bank's, at /simulator/; nil: 404.
	PaymentPages http.Handler
	Limits       Limits
	Logger       *slog.Logger
	Clock        func() time.Time
}

// Limits bound what the gateway takes. Zero fields take the default.
type Limits struct {
	HTTP      httpapi.Limits
	Operation operation.Limits
	Live      live.Limits
}

// Gateway is the public HTTP side. Whoever serves its handler calls Drain before
// the HTTP server is shut down.
type Gateway struct {
	config  Config
	handler *httpapi.Handler
	hub     *live.Hub
}

// New wires a gateway.
func New(c Config) (*Gateway, error) { return wire(c, types()) }

func wire(c Config, t operation.Types) (*Gateway, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	parsed, err := schema.Load()
	if err != nil {
		return nil, err
	}
	g := &Gateway{config: c, hub: live.NewHub(c.Caller, c.Limits.Live, c.Logger)}
	root := resolve.New(resolve.Config{Caller: c.Caller, Views: c.Views, Accounts: c.Accounts, Journal: c.Journal, Cluster: c.Cluster, Events: c.Events, HoldFor: c.HoldFor, TicketKey: c.TicketKey, Clock: c.Clock, Logger: c.Logger})
	if t.Root != nil {
		t.Direct, t.Filled = root.Direct(), resolve.Filled()
	}
	engine := operation.New(
		graph.NewExecutableSchema(graph.Config{Schema: parsed, Resolvers: root, Directives: graph.DirectiveRoot{Auth: resolve.Auth}}),
		operation.Options{Limits: c.Limits.Operation, Introspection: c.DevTools, Reporter: reporter{c.Logger}, Types: t, Clock: c.Clock},
	)
	g.handler, err = httpapi.New(httpapi.Config{
		Engine: engine, Limits: c.Limits.HTTP, MaxCost: engine.MaxCost(), Identify: g.identify, Trusted: trusted, Credentials: resolve.Credentials, Hub: g.hub,
		AllowedOrigins: c.AllowedOrigins, TrustedProxies: c.TrustedProxies, Playground: g.playground(), Other: g.other(),
		Logger: c.Logger, Clock: c.Clock,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

// types are the schema's types in Go, for answers that are plain data.
func types() operation.Types {
	return operation.Types{
		Root: reflect.TypeFor[graph.ResolverRoot](),
		Members: map[string]reflect.Type{
			"GenericError":      reflect.TypeFor[graph.GenericError](),
			"InsufficientStock": reflect.TypeFor[graph.InsufficientStock](),
			"CustomerLimit":     reflect.TypeFor[graph.CustomerLimit](),
			"RetryLater":        reflect.TypeFor[graph.RetryLater](),
			"VersionConflict":   reflect.TypeFor[graph.VersionConflict](),
		},
	}
}

func (c *Config) validate() error {
	var errs []error
	missing := func(absent bool, name string) {
		if absent {
			errs = append(errs, fmt.Errorf("gateway: %s is not set", name))
		}
	}
	missing(c.Caller == nil, "Caller")
	missing(c.Views == nil, "Views")
	missing(c.Accounts == nil, "Accounts")
	missing(c.Journal == nil, "Journal")
	missing(c.Cluster == nil, "Cluster")
	missing(c.Tokens == nil, "Tokens")
	missing(c.Keys == nil, "Keys")
	missing(c.HoldFor <= 0, "HoldFor")
	missing(len(c.TicketKey) < waiting.KeyBytes, "TicketKey")
	missing(c.Logger == nil, "Logger")
	missing(c.Clock == nil, "Clock")
	return errors.Join(errs...)
}

// Handler is everything that the public listener serves.
func (g *Gateway) Handler() http.Handler { return g.handler }

// trusted callers are the shop's own people and machines: what they may ask for
// in bulk is bounded by what the actors and the store take.
func trusted(ctx context.Context) bool { return resolve.ScopeOf(ctx).IsStaff() }

// Drain tells everyone who listens to connect again elsewhere, and ends what
// listens for them. Those that do not go in time are cut off. Other requests are
// served as before.
func (g *Gateway) Drain(ctx context.Context) error {
	err := g.handler.Drain(ctx)
	g.hub.Close()
	return err
}

// StaysOpen reports a request whose answer is a stream of events.
func StaysOpen(r *http.Request) bool { return httpapi.WantsEvents(r.Header) }

// Listening is how many sockets and event streams there are, and how many
// actors are watched for them.
func (g *Gateway) Listening() (streams, actors int) { return g.handler.Streams(), g.hub.Topics() }

// other serves every path but /graphql.
func (g *Gateway) other() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", g.jwks)
	mount(mux, "/console", g.config.Console)
	mount(mux, "/console/", g.config.Console)
	mount(mux, "/webhooks/stripe", g.config.StripeWebhook)
	mount(mux, "/simulator/", g.config.PaymentPages)
	mount(mux, "/", g.config.Storefront)
	return mux
}

func mount(mux *http.ServeMux, pattern string, h http.Handler) {
	if h != nil {
		mux.Handle(pattern, h)
	}
}

func (g *Gateway) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(g.config.Keys.JWKS()) // a client that has gone is told nothing
}

// reporter logs what outsiders only see as INTERNAL.
type reporter struct{ logger *slog.Logger }

func (r reporter) RequestID(ctx context.Context) string { return resolve.ScopeOf(ctx).RequestID }

func (r reporter) Failed(ctx context.Context, path string, err error) {
	r.logger.ErrorContext(ctx, "field failed", "request_id", r.RequestID(ctx), "path", path, "error", err)
}

func (r reporter) Panicked(ctx context.Context, value any, stack []byte) {
	r.logger.ErrorContext(ctx, "field panicked", "request_id", r.RequestID(ctx), "panic", value, "stack", string(stack))
}
