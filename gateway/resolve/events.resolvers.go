package resolve

import (
	"context"
	"fmt"
	"time"

	"stampede/gateway/graph"
)

func (r *mutationResolver) ReplayEvents(ctx context.Context, input graph.ReplayEventsInput) (*graph.ReplayPayload, error) {
	if _, err := viewerOf(ctx); err != nil {
		return nil, err
	}
	what, bad := replayOf(input)
	if bad != nil {
		return &graph.ReplayPayload{UserErrors: bad}, nil
	}
	if r.Events == nil {
		return &graph.ReplayPayload{UserErrors: []graph.UserError{graph.GenericError{Code: graph.ErrorCodeConflict, Message: "this node publishes no events: ask one with the role publisher"}}}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, replayWait)
	defer cancel()
	n, done, err := r.Events.Replay(waiting, what)
	if err != nil {
		payload, shown := later(err)
		if shown != nil {
			return nil, fmt.Errorf("replay events of %s: %w", what.Kind, shown)
		}
		return &graph.ReplayPayload{Republished: int32of(int64(n)), UserErrors: payload}, nil
	}
	payload := &graph.ReplayPayload{Republished: int32of(int64(n)), UserErrors: []graph.UserError{}}
	if !done {
		payload.UserErrors = append(payload.UserErrors, graph.RetryLater{
			Code: graph.ErrorCodeInProgress, RetryAfterMs: int32of(replayAgain.Milliseconds()),
			Message: "the replay goes on: send the same input again to see how far it is",
		})
	}
	return payload, nil
}

func (r *queryResolver) Outbox(ctx context.Context) ([]graph.OutboxStatus, error) {
	if _, err := viewerOf(ctx); err != nil {
		return nil, err
	}
	out := []graph.OutboxStatus{}
	if r.Events == nil {
		return out, nil
	}
	topics, err := r.Events.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		out = append(out, graph.OutboxStatus{
			Topic: t.Topic, Pending: int32of(t.Pending), OldestMs: int32of(int64(t.Oldest / time.Millisecond)), Published: int32of(t.Published),
		})
	}
	return out, nil
}
