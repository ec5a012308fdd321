package operation

import (
	"context"
	"errors"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
	"stampede/gateway/scalar"
)

// Reporter is told of what outsiders only see as INTERNAL.
type Reporter interface {
	// RequestID finds the request in the log.
	RequestID(ctx context.Context) string
	// Failed reports an error, once. path is the field it came from.
	Failed(ctx context.Context, path string, err error)
	// Panicked reports a panic, once.
	Panicked(ctx context.Context, value any, stack []byte)
}

// show is a fault as a response lists it.
func show(f *fault.Error) *gqlerror.Error {
	extensions := map[string]any{"code": string(f.Code)}
	if len(f.Field) > 0 {
		extensions["field"] = f.Field
	}
	if f.RetryAfterMs > 0 {
		extensions["retryAfterMs"] = f.RetryAfterMs
	}
	return &gqlerror.Error{Message: f.Message, Extensions: extensions}
}

// internalError is an INTERNAL that has been reported already.
type internalError struct{ requestID string }

func (e *internalError) Error() string { return "something went wrong on our side" }

func (e *Engine) internal(ctx context.Context) *internalError {
	return &internalError{requestID: e.reporter.RequestID(ctx)}
}

func (e *internalError) show() *gqlerror.Error {
	return &gqlerror.Error{Message: e.Error(), Extensions: map[string]any{"code": string(fault.Internal), "requestId": e.requestID}}
}

// present is the error presenter: gqlgen calls it for every error of an execution.
func (e *Engine) present(ctx context.Context, err error) *gqlerror.Error {
	path := graphql.GetPath(ctx)
	located, hasPath := errors.AsType[*gqlerror.Error](err)
	if hasPath && located.Path != nil {
		path = located.Path
	}
	shown := e.presentBare(ctx, path, err)
	shown.Path = path
	if field := graphql.GetFieldContext(ctx); field != nil && len(path) > len(field.Path()) {
		// An argument: the response has no such path, so it goes where fields are named.
		shown.Path = field.Path()
	}
	if hasPath {
		shown.Locations = located.Locations
	}
	return shown
}

func (e *Engine) presentBare(ctx context.Context, path ast.Path, err error) *gqlerror.Error {
	if reported, ok := errors.AsType[*internalError](err); ok {
		return reported.show()
	}
	if bad, ok := errors.AsType[*scalar.Error](err); ok {
		return show(&fault.Error{Code: fault.Invalid, Message: bad.Error(), Field: inputField(path, fieldDepth(ctx))})
	}
	if f, known := fault.Of(err); known {
		return show(f)
	}
	if depth := fieldDepth(ctx); len(path) > depth { // an argument that validation let through
		return show(&fault.Error{Code: fault.Invalid, Message: "must be of the type that the schema says", Field: inputField(path, depth)})
	}
	e.reporter.Failed(ctx, path.String(), err)
	return e.internal(ctx).show()
}

func fieldDepth(ctx context.Context) int {
	if field := graphql.GetFieldContext(ctx); field != nil {
		return len(field.Path())
	}
	return 0
}

// inputField is the path of an input as UserError.field has it: below the
// argument `input`, or the argument itself. skip leaves the response path out.
func inputField(path ast.Path, skip int) []string {
	if skip > len(path) {
		return nil
	}
	path = path[skip:]
	if len(path) > 1 && path[0] == ast.PathName("input") {
		path = path[1:]
	}
	return pathStrings(path)
}

func pathStrings(path ast.Path) []string {
	out := make([]string, 0, len(path))
	for _, p := range path {
		switch p := p.(type) {
		case ast.PathName:
			out = append(out, string(p))
		case ast.PathIndex:
			out = append(out, itoa(int(p)))
		}
	}
	return out
}
