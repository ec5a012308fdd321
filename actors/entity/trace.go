package entity

import "context"

type traceKey struct{}

// WithTrace puts a W3C traceparent into the context of a call, so that the
// events which the call causes carry it to their consumers.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// TraceFrom is the traceparent that WithTrace put there, or empty.
func TraceFrom(ctx context.Context) string {
	t, _ := ctx.Value(traceKey{}).(string)
	return t
}
