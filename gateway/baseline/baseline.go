// Package baseline is an empty mutation behind gqlgen's own server, and behind
// the gateway's pipeline: what the gateway's benchmarks and the whole system's
// are compared with, in the same process and run. Nothing that is served to
// anyone uses it.
package baseline

//go:generate go tool gqlgen generate

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/baseline/generated"
	"stampede/gateway/httpapi"
	"stampede/gateway/operation"
)

// Body is the request that both handlers take by POST as application/json.
const Body = `{"query":"mutation Noop($input: NoopInput!) { noop(input: $input) { ok } }","operationName":"Noop","variables":{"input":{"idempotencyKey":"k-1"}}}`

// Stock is gqlgen's server with its POST transport and a cache of parsed
// documents, and nothing else: no authentication, no limits.
func Stock() http.Handler {
	server := handler.New(generated.NewExecutableSchema(generated.Config{Resolvers: resolvers{}}))
	server.AddTransport(transport.POST{})
	server.SetQueryCache(lru.New[*ast.QueryDocument](1000))
	return server
}

// Ours is the same schema behind the gateway's pipeline, with its limits and headers.
func Ours(logger *slog.Logger) (http.Handler, error) {
	engine := operation.New(generated.NewExecutableSchema(generated.Config{Resolvers: resolvers{}}), operation.Options{Reporter: silent{}})
	return httpapi.New(httpapi.Config{
		Engine: engine, MaxCost: engine.MaxCost(), Limits: httpapi.Limits{RatePerSecond: -1},
		Identify: func(ctx context.Context, _ *http.Request, _ string) (context.Context, string) { return ctx, "" },
		Other:    http.NotFoundHandler(), Logger: logger, Clock: time.Now,
	})
}

type resolvers struct{}

func (resolvers) Mutation() generated.MutationResolver { return resolvers{} }
func (resolvers) Query() generated.QueryResolver       { return resolvers{} }

func (resolvers) Noop(context.Context, generated.NoopInput) (*generated.NoopPayload, error) {
	return &generated.NoopPayload{Ok: true}, nil
}

func (resolvers) Nothing(context.Context) (*bool, error) { return nil, nil } //nolint:nilnil // it is nothing

type silent struct{}

func (silent) RequestID(context.Context) string      { return "" }
func (silent) Failed(context.Context, string, error) {}
func (silent) Panicked(context.Context, any, []byte) {}
