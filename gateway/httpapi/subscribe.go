package httpapi

import (
	"bytes"
	"context"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
	"stampede/gateway/live"
	"stampede/gateway/operation"
)

// started is an operation that has begun: it has its one answer already, or is
// a subscription whose events come from a source.
type started struct {
	op     *operation.Operation
	source *live.Source
	res    *operation.Response
}

// start does everything that takes one of the gate's places: the first answer
// of a query or a mutation, the opening of a subscription. With errors nothing
// was executed. readOnly refuses mutations.
func (h *Handler) start(ctx context.Context, caller string, params *operation.Params, readOnly bool) (*started, gqlerror.List) {
	if !h.gate.enter(ctx) {
		return nil, later("too many requests are being worked on; nothing was done", time.Second)
	}
	defer h.gate.leave()
	ctx, cancel := context.WithTimeout(ctx, h.limits.Timeout)
	defer cancel()
	now := h.Clock()
	if wait := h.rates.take(caller, arrivalPoints, now); wait > 0 {
		return nil, later(budgetUsed, wait)
	}
	op, errs := h.Engine.Prepare(params)
	if errs != nil {
		h.rates.take(caller, refusedPoints, now)
		return nil, errs
	}
	if readOnly && !op.IsQuery() && !op.IsSubscription() {
		return nil, operation.Fail(fault.New(fault.BadRequest, "GET is for queries and subscriptions only: send a mutation by POST")).Errors
	}
	if wait := h.rates.take(caller, h.price(ctx, op), now); wait > 0 {
		return nil, later(budgetUsed, wait)
	}
	if !op.IsSubscription() {
		return &started{op: op, res: h.Engine.Execute(ctx, op)}, nil
	}
	source, errs := h.Engine.Open(ctx, op)
	if errs != nil {
		return nil, errs
	}
	return &started{op: op, source: source.(*live.Source)}, nil
}

const budgetUsed = "your budget is used up for the moment; nothing was done"

func later(message string, wait time.Duration) gqlerror.List {
	return operation.Fail(&fault.Error{Code: fault.Throttled, Message: message, RetryAfterMs: max(wait.Milliseconds(), 1)}).Errors
}

// failed is how an error of the hub looks outside.
func failed(err error) gqlerror.List {
	shown, _ := fault.Of(err)
	return operation.Fail(shown).Errors
}

// event appends the answer to one event, as a response is written. What is the
// same for all who ask alike is made once for all of them.
func (h *Handler) event(ctx context.Context, b []byte, s *started, state *live.State) []byte {
	way := s.op.Way()
	if way == nil {
		ctx, cancel := context.WithTimeout(ctx, h.limits.Timeout)
		defer cancel()
		return appendResponse(b, h.Engine.Event(ctx, s.op, s.source.Value(state.Reply)))
	}
	if s.source.Own {
		return append(append(append(b, `{"data":`...), s.op.WriteEvent(s.source.Value(state.Reply))...), '}')
	}
	data := state.Text(way, func() []byte { return s.op.WriteEvent(s.source.Value(state.Reply)) })
	b = append(b, `{"data":`...)
	b = append(b, data...)
	return append(b, '}')
}

func appendResponse(b []byte, res *operation.Response) []byte {
	b = append(b, '{')
	if len(res.Errors) > 0 {
		b = append(b, `"errors":`...)
		b = appendErrors(b, res.Errors)
	}
	if res.Data != nil {
		if len(res.Errors) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"data":`...)
		b = append(b, res.Data...)
	}
	return append(b, '}')
}

func appendErrors(b []byte, errs gqlerror.List) []byte {
	var buf bytes.Buffer
	writeErrors(&buf, errs)
	return append(b, buf.Bytes()...)
}
