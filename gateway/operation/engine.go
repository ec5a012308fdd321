// Package operation runs one GraphQL operation over an executable schema:
// parse, measure, validate, price, coerce, execute. It knows nothing of HTTP
// and nothing of the shop. The order is the point: whatever is cheap and can
// refuse comes before whatever is dear.
package operation

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"stampede/gateway/fault"
)

// Engine runs operations. It is safe for use by many goroutines.
type Engine struct {
	exec          graphql.ExecutableSchema
	limits        Limits
	introspection bool
	rules         *rules.Rules
	documents     *textCache[string, *document]
	persisted     *textCache[string, string]
	answers       *textCache[asked, answer]
	clock         func() time.Time
	reporter      Reporter
	types         Types
}

// Options of an Engine.
type Options struct {
	Limits Limits
	// Introspection lets clients read the schema, and puts suggestions into validation errors.
	Introspection bool
	// Reporter is told of faults that nobody outside may see.
	Reporter Reporter
	// Types lets plain answers be written without gqlgen; optional.
	Types Types
	// Clock says until when an answer is kept; needed where Types has a Direct.
	Clock func() time.Time
}

// New makes an engine over a schema.
func New(exec graphql.ExecutableSchema, o Options) *Engine {
	limits := o.Limits.orDefault()
	return &Engine{
		exec: exec, limits: limits, introspection: o.Introspection, rules: validationRules(o.Introspection),
		documents: newTextCache[string, *document](limits.CachedText), persisted: newTextCache[string, string](limits.CachedText),
		answers: newTextCache[asked, answer](keptBytes), clock: o.Clock,
		reporter: o.Reporter, types: o.Types,
	}
}

// Params is a request as it was sent.
type Params struct {
	Query         string
	OperationName string
	Variables     map[string]any
	// PersistedHash is the SHA-256 of the query in hexadecimal, if the client sent one:
	// with the query to have it kept, or instead of it.
	PersistedHash string
}

// Operation is a request that may be executed.
type Operation struct {
	// Cost is what it costs its caller.
	Cost int
	text string
	doc  *document
	plan *plan
	vars map[string]any
}

// IsQuery reports an operation that changes nothing.
func (o *Operation) IsQuery() bool { return o.plan.op.Operation == ast.Query }

// Response is what came of it. Data is JSON.
type Response struct {
	Data   []byte
	Errors gqlerror.List
}

// MaxCost is the most that one operation may cost.
func (e *Engine) MaxCost() int { return e.limits.Cost }

// Prepare does everything that comes before execution. Its errors are request errors: nothing was executed.
func (e *Engine) Prepare(p *Params) (*Operation, gqlerror.List) {
	text, err := e.text(p)
	if err != nil {
		return nil, gqlerror.List{show(err)}
	}
	doc, errs := e.document(text)
	if errs != nil {
		return nil, e.cap(errs)
	}
	if err := e.keep(p, text); err != nil {
		return nil, gqlerror.List{show(err)}
	}
	plan := doc.find(p.OperationName)
	if plan == nil {
		return nil, gqlerror.List{show(fault.New(fault.ValidationFailed, "operationName must be the name of one of the document's operations"))}
	}
	vars, err := coerceVariables(e.exec.Schema(), plan.op, p.Variables)
	if err == nil {
		err = checkConditions(doc.conditions, vars)
	}
	if err != nil {
		return nil, gqlerror.List{show(err)}
	}
	cost := plan.cost
	if plan.varies {
		cost = max((&pricer{vars: vars}).set(plan.op.SelectionSet), 1)
	}
	if cost > e.limits.Cost {
		return nil, gqlerror.List{show(tooComplex("it costs %d points, at most %d are allowed; ask for fewer fields or shorter lists", cost, e.limits.Cost))}
	}
	return &Operation{Cost: cost, text: text, doc: doc, plan: plan, vars: vars}, nil
}

// Execute runs a query or a mutation. It never panics.
func (e *Engine) Execute(ctx context.Context, o *Operation) *Response {
	if o.plan.direct != nil {
		if res, ok := e.direct(ctx, o); ok {
			return res
		}
	}
	return e.run(ctx, o, func(ctx context.Context) []byte { return e.exec.Exec(ctx)(ctx).Data })
}

// run gives do the operation's context, and takes what it answers and what went wrong.
func (e *Engine) run(ctx context.Context, o *Operation, do func(context.Context) []byte) *Response {
	return e.guard(e.operationContext(ctx, o), do)
}

// guard takes what is answered and what went wrong in a context that keeps errors.
func (e *Engine) guard(ctx context.Context, do func(context.Context) []byte) (res *Response) {
	defer func() {
		if p := recover(); p != nil {
			e.reporter.Panicked(ctx, p, debug.Stack())
			res = &Response{Errors: gqlerror.List{e.internal(ctx).show()}}
		}
	}()
	data := do(ctx)
	errs := graphql.GetErrors(ctx)
	if len(data) > e.limits.ResponseBytes {
		return &Response{Data: []byte("null"), Errors: gqlerror.List{show(tooComplex("the answer is over %d bytes; ask for fewer fields or shorter lists", e.limits.ResponseBytes))}}
	}
	return &Response{Data: data, Errors: e.cap(errs)}
}

// resolveField runs a resolver, and writes what it returned if that is plain.
func (o *Operation) resolveField(ctx context.Context, next graphql.Resolver) (any, error) {
	res, err := next(ctx)
	if err != nil || len(o.plan.plain) == 0 {
		return res, err
	}
	write := o.plan.plain[graphql.GetFieldContext(ctx).Field.Field]
	if write == nil {
		return res, nil
	}
	v := reflect.ValueOf(res)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return res, nil
	}
	return written(write(make([]byte, 0, usualBytes), v)), nil
}

// usualBytes is room for the answer that is written most: an order of one line.
const usualBytes = 768

func resolveRoot(ctx context.Context, next graphql.RootResolver) graphql.Marshaler { return next(ctx) }

func (e *Engine) recovered(ctx context.Context, p any) error {
	e.reporter.Panicked(ctx, p, debug.Stack())
	return e.internal(ctx)
}

// document parses, measures, validates and prices a text, or takes it from the cache.
func (e *Engine) document(text string) (*document, gqlerror.List) {
	if doc, ok := e.documents.get(text); ok {
		return doc, nil
	}
	parsed, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, e.limits.Tokens)
	if err != nil {
		return nil, gqlerror.List{parseError(err, e.limits.Tokens)}
	}
	if len(parsed.Operations) == 0 {
		return nil, gqlerror.List{show(fault.New(fault.ValidationFailed, "the document has no operation"))}
	}
	measured := &shape{doc: parsed, limits: &e.limits}
	if err := measured.check(); err != nil {
		return nil, gqlerror.List{show(err)}
	}
	if measured.introspection && !e.introspection {
		return nil, gqlerror.List{show(fault.New(fault.ValidationFailed, "introspection is off on this server; the schema is published with it"))}
	}
	if errs := validator.ValidateWithRules(e.exec.Schema(), parsed, e.rules); len(errs) > 0 {
		return nil, validationErrors(parsed, errs)
	}
	doc := &document{ast: parsed, plans: make([]plan, len(parsed.Operations)), conditions: measured.conditions}
	planner := planner{schema: e.exec.Schema(), doc: parsed, types: e.types}
	for i, op := range parsed.Operations {
		p := pricer{}
		doc.plans[i] = plan{op: op, cost: max(p.set(op.SelectionSet), 1), varies: p.varies}
		if op.Operation == ast.Subscription {
			doc.plans[i].event = planner.event(op)
		} else {
			doc.plans[i].plain, doc.plans[i].direct = planner.operation(op), planner.direct(op)
		}
	}
	e.documents.put(text, doc, len(text))
	return doc, nil
}

// cap keeps a response from being mostly errors.
func (e *Engine) cap(errs gqlerror.List) gqlerror.List {
	if more := len(errs) - e.limits.Errors; more > 0 {
		errs = append(errs[:e.limits.Errors:e.limits.Errors], gqlerror.Errorf("and %d more errors", more))
	}
	for _, err := range errs {
		err.Message = shorten(err.Message)
	}
	return errs
}

// Fail is the response that consists of one fault.
func Fail(err *fault.Error) *Response { return &Response{Errors: gqlerror.List{show(err)}} }

func shorten(message string) string {
	const maxMessageBytes = 300
	if len(message) <= maxMessageBytes {
		return message
	}
	return fmt.Sprintf("%s… (%d bytes)", toValid(message[:maxMessageBytes]), len(message))
}
