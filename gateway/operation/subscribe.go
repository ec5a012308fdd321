package operation

import (
	"context"
	"reflect"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
)

// A subscription is executed as the specification has it: its root field is
// resolved once to a source of events (Open), and the operation is executed
// once for each event, with the event as the field's value (Event, or WriteEvent
// where that is plain). So there is no goroutine and no channel that waits for
// the next one: whoever has the source decides when to execute.

// opening carries the source out of the resolver, event the event into it.
type (
	openingKey struct{}
	opening    struct{ source any }
	eventKey   struct{}
)

// Offer is called by the resolver of a subscription's root field, with what its
// events come from. What the resolver returns then is not looked at.
func Offer(ctx context.Context, source any) {
	if o, ok := ctx.Value(openingKey{}).(*opening); ok {
		o.source = source
	}
}

// EventOf is the event that the operation is being executed for; false while
// it is being opened.
func EventOf[T any](ctx context.Context) (<-chan T, bool) {
	value, ok := ctx.Value(eventKey{}).(T)
	if !ok {
		return nil, false
	}
	events := make(chan T, 1)
	events <- value
	return events, true
}

// IsSubscription reports an operation whose answers are several.
func (o *Operation) IsSubscription() bool { return o.plan.op.Operation == ast.Subscription }

// Open resolves a subscription's root field to its source. With errors there is none.
func (e *Engine) Open(ctx context.Context, o *Operation) (any, gqlerror.List) {
	opened := &opening{}
	errs := e.run(context.WithValue(ctx, openingKey{}, opened), o, func(ctx context.Context) []byte {
		e.exec.Exec(ctx) // resolves the root field; nothing is taken from what it returns
		return nil
	}).Errors
	if len(errs) == 0 && opened.source == nil {
		return nil, gqlerror.List{show(fault.New(fault.ValidationFailed, "a subscription has one root field that is not left out by a directive"))}
	}
	return opened.source, errs
}

// Event executes the operation for one event.
func (e *Engine) Event(ctx context.Context, o *Operation, value any) *Response {
	return e.run(context.WithValue(ctx, eventKey{}, value), o, func(ctx context.Context) []byte {
		res := e.exec.Exec(ctx)(ctx)
		if res == nil {
			return []byte(null)
		}
		return res.Data
	})
}

// Way is the same for all operations that write an event alike; nil: the
// events of this one are not plain, and must be executed.
func (o *Operation) Way() any {
	if o.plan.event == nil {
		return nil
	}
	return o.plan
}

// WriteEvent is the data that Event would answer with, if Way is not nil.
func (o *Operation) WriteEvent(value any) []byte {
	field := o.plan.op.SelectionSet[0].(*ast.Field)
	b := make([]byte, 0, usualBytes)
	b = append(b, '{')
	b = append(b, strconv.Quote(field.Alias)...) // a name: nothing in it needs more
	b = append(b, ':')
	b = o.plan.event(b, reflect.ValueOf(value))
	return append(b, '}')
}

// event plans how a subscription's events are written; nil if they are not plain.
func (p *planner) event(op *ast.OperationDefinition) writer {
	if p.types.Root == nil || len(op.Directives) > 0 || len(op.SelectionSet) != 1 {
		return nil
	}
	field, ok := op.SelectionSet[0].(*ast.Field)
	if !ok || len(field.Directives) > 0 {
		return nil
	}
	t := p.resolved(p.schema.Subscription.Name, field.Name)
	if t == nil || t.Kind() != reflect.Chan {
		return nil
	}
	nullable := *field.Definition.Type
	nullable.NonNull = false // what is nil is never an event
	return p.value(&nullable, t.Elem(), field.SelectionSet)
}

func (e *Engine) operationContext(ctx context.Context, o *Operation) context.Context {
	ctx = graphql.WithOperationContext(ctx, &graphql.OperationContext{
		RawQuery: o.text, OperationName: o.plan.op.Name, Doc: o.doc.ast, Operation: o.plan.op, Variables: o.vars,
		DisableIntrospection:   !e.introspection,
		RecoverFunc:            e.recovered,
		ResolverMiddleware:     o.resolveField,
		RootResolverMiddleware: resolveRoot,
	})
	return graphql.WithResponseContext(ctx, e.present, e.recovered)
}
