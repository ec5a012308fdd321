package resolve

import (
	"context"
	"slices"
	"strings"
	"time"

	"stampede/gateway/graph"
)

// Events is what the gateway knows of the events on their way out. Nil on a
// node that publishes none.
type Events interface {
	// Outbox is what the cluster has left to publish, and what this node has
	// published.
	Outbox(ctx context.Context) ([]TopicStatus, error)
	// Replay publishes again, or joins the same replay under way, and waits
	// until it is done or ctx ends. republished is how many events so far.
	Replay(ctx context.Context, what Replay) (republished int, done bool, err error)
}

// TopicStatus is how far a topic has come.
type TopicStatus struct {
	Topic     string
	Pending   int64
	Oldest    time.Duration
	Published int64
}

// Replay says what is published again. Key empty: all; SinceMs 0: from the start.
type Replay struct {
	Kind, Key   string
	FromVersion uint64
	SinceMs     int64
}

const (
	// replayWait is how long a mutation waits for a replay, and replayAgain when
	// it should be asked again.
	replayWait  = 3 * time.Second
	replayAgain = 250 * time.Millisecond
)

// replayed are the kinds whose events are published.
func replayed() []string { return []string{"order", "sku", "product", "sale", "account"} }

// replayOf reads the input.
func replayOf(in graph.ReplayEventsInput) (Replay, []graph.UserError) {
	var bad problems
	what := Replay{Kind: in.Kind, FromVersion: 1}
	bad.require(slices.Contains(replayed(), in.Kind), "must be one of: "+strings.Join(replayed(), ", "), "kind")
	if in.Key != nil {
		bad.require(*in.Key != "" && len(*in.Key) <= maxKeyBytes && printable(*in.Key), "must be 1 to 255 bytes without control characters", "key")
		what.Key = *in.Key
	}
	if in.FromVersion != nil {
		bad.require(*in.FromVersion >= 1, "must be at least 1", "fromVersion")
		what.FromVersion = uint64(max(*in.FromVersion, 1)) //nolint:gosec // positive
	}
	if in.Since != nil {
		what.SinceMs = int64(*in.Since)
	}
	return what, bad
}
