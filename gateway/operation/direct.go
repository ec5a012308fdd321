package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// What every shopper loads again and again, and the order at the end of it, does
// not go through gqlgen at all: an operation of one root field that has a Direct,
// and whose selection has a plan, is resolved and written here. Where what it
// depends on has a version, the answer is kept, and given to whoever asks the
// same of the same version.

// Direct resolves one root field of Query or Mutation.
type Direct struct {
	// Resolve is what the field's resolver does. Arguments are as GraphQL has
	// them, with defaults. It declines before it does anything.
	Resolve func(ctx context.Context, ask Ask) (Direction, error)
	// Guarded: Resolve declines whom the field's @auth does not let through.
	// Without it a field with @auth is resolved by gqlgen.
	Guarded bool
	// Version, if set, is what answers depend on besides the document, its
	// variables and time: comparable, and the same only when the answer is. Nil: this
	// request's is not kept.
	Version func(ctx context.Context) any
}

// Ask is what a Direct is asked for.
type Ask struct {
	Arguments map[string]any
	// Fill: the fields in Types.Filled are selected somewhere.
	Fill bool
}

// Direction is what a Direct has found.
type Direction struct {
	// Value is of the type that the field's resolver returns.
	Value any
	// Until is until when it may be said again, as long as the version is the same; zero: it may not.
	Until time.Time
	// Declined: the resolver has to do it. There is no value.
	Declined bool
}

// direct is how an operation of one root field is answered here.
type direct struct {
	Direct
	// object is the root: Query or Mutation.
	object string
	field  *ast.Field
	// key is what the data begin with.
	key   string
	write writer
	fill  bool
}

// asked says which answer is meant.
type asked struct {
	plan *plan
	vars string
}

// answer is one that was given.
type answer struct {
	version any
	until   time.Time
	data    []byte
}

const (
	// keptBytes bounds the answers that are kept, and keptVariables the
	// variables that they may depend on.
	keptBytes     = 32 << 20
	keptVariables = 1 << 10
)

// direct is nil for what goes gqlgen's way.
func (p *planner) direct(op *ast.OperationDefinition) *direct {
	if p.types.Root == nil || len(op.Directives) > 0 || len(op.SelectionSet) != 1 {
		return nil
	}
	root := p.root(op)
	field, ok := op.SelectionSet[0].(*ast.Field)
	if !ok || len(field.Directives) > 0 {
		return nil
	}
	by, ok := p.types.Direct[root.Name+"."+field.Name]
	if !ok || !by.Guarded && field.Definition.Directives.ForName("auth") != nil {
		return nil
	}
	with := *p
	filled := false
	with.filled = &filled
	nullable := *field.Definition.Type
	nullable.NonNull = false
	write := with.value(&nullable, p.resolved(root.Name, field.Name), field.SelectionSet)
	if write == nil {
		return nil
	}
	return &direct{Direct: by, object: root.Name, field: field, key: "{" + key(field.Alias, false), write: write, fill: filled}
}

// direct answers if it can.
func (e *Engine) direct(ctx context.Context, o *Operation) (res *Response, ok bool) {
	d := o.plan.direct
	var key asked
	var version any
	if d.Version != nil {
		if version = d.Version(ctx); version != nil {
			if key, ok = o.asked(); !ok {
				version = nil
			}
		}
	}
	if version != nil {
		if kept, ok := e.answers.get(key); ok && kept.version == version && e.clock().Before(kept.until) {
			return &Response{Data: kept.data}, true
		}
	}
	declined := false
	var until time.Time
	res = e.guard(graphql.WithResponseContext(ctx, e.present, e.recovered), func(ctx context.Context) (data []byte) {
		data, until, declined = e.resolve(ctx, o, d)
		return data
	})
	if declined {
		return nil, false
	}
	if version != nil && len(res.Errors) == 0 && !until.IsZero() {
		data := bytes.Clone(res.Data) // without the room that it was written in
		e.answers.replace(key, answer{version: version, until: until, data: data}, len(data)+len(key.vars))
	}
	return res, true
}

// resolve is what gqlgen does with a root field, errors and panics included.
func (e *Engine) resolve(ctx context.Context, o *Operation, d *direct) (data []byte, until time.Time, declined bool) {
	ctx = graphql.WithFieldContext(ctx, &graphql.FieldContext{
		Object: d.object, Field: graphql.CollectedField{Field: d.field, Selections: d.field.SelectionSet}, IsMethod: true, IsResolver: true,
	})
	defer func() {
		if p := recover(); p != nil {
			graphql.AddError(ctx, e.recovered(ctx, p))
			data = d.nothing()
		}
	}()
	found, err := d.Resolve(ctx, Ask{Arguments: d.field.ArgumentMap(o.vars), Fill: d.fill})
	switch {
	case found.Declined:
		return nil, until, true
	case err != nil:
		graphql.AddError(ctx, graphql.AddFieldLocationToError(ctx, err))
		return d.nothing(), until, false
	}
	b := append(make([]byte, 0, usualBytes), d.key...)
	return append(d.write(b, reflect.ValueOf(found.Value)), '}'), found.Until, false
}

// nothing is the data when the field has failed.
func (d *direct) nothing() []byte {
	if d.field.Definition.Type.NonNull {
		return []byte(null)
	}
	return []byte(d.key + null + "}")
}

// asked is false for what depends on so many variables that it is not kept.
func (o *Operation) asked() (asked, bool) {
	if len(o.vars) == 0 {
		return asked{plan: o.plan}, true
	}
	text, err := json.Marshal(o.vars) // in the order of their names
	return asked{plan: o.plan, vars: string(text)}, err == nil && len(text) <= keptVariables
}
