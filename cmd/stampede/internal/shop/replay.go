package shop

import (
	"context"
	"errors"
	"time"
)

// Replay says which events are published again. Key and Since may be empty.
type Replay struct {
	Kind, Key   string
	FromVersion int
	Since       string
}

// ReplayEvents publishes events again: it asks until the server has done all of
// it, and tells progress how many there were so far.
func (c *Client) ReplayEvents(ctx context.Context, what Replay, progress func(n int)) (int, error) {
	input := map[string]any{"kind": what.Kind, "fromVersion": what.FromVersion}
	if what.Key != "" {
		input["key"] = what.Key
	}
	if what.Since != "" {
		input["since"] = what.Since
	}
	const document = `mutation($input:ReplayEventsInput!){payload:replayEvents(input:$input){republished` + errorFields + `}}`
	n := 0
	for {
		var data struct {
			Payload struct {
				Republished int `json:"republished"`
				userErrors
			} `json:"payload"`
		}
		if err := c.call(ctx, document, map[string]any{"input": input}, &data, nil); err != nil {
			return n, err
		}
		n = max(n, data.Payload.Republished)
		progress(n)
		err := data.Payload.err()
		var later *errLater
		if !errors.As(err, &later) {
			return n, err
		}
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-time.After(max(later.after, leastDelay)):
		}
	}
}
