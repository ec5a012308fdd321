package main

// stampede events replay: publishes events again, through the API. And what
// the API is told of the events on their way out.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"

	"stampede/actors/entity"
	"stampede/cmd/stampede/internal/shop"
	"stampede/events"
	"stampede/events/publisher"
	"stampede/gateway/resolve"
	"stampede/persistence"
)

// eventsReplayCmd publishes events again, with the same ids.
type eventsReplayCmd struct {
	staffFlags
	Kind        string `required:"" placeholder:"KIND" group:"Replay" help:"order, sku, product, sale or account."`
	Key         string `placeholder:"ID" group:"Replay" help:"Only the events of this one."`
	FromVersion int    `default:"1" placeholder:"N" group:"Replay" help:"Only from this version of each on."`
	Since       string `placeholder:"TIME" group:"Replay" help:"Only what happened since, such as 2026-11-23T15:00:00Z."`
	JSON        bool   `name:"json" group:"Replay" help:"Print the result as one JSON object on the last line."`
}

// replayKinds are the kinds whose events are published.
func replayKinds() []string { return []string{"order", "sku", "product", "sale", "account"} }

// Validate lists everything that is wrong with the configuration.
func (c *eventsReplayCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	checkOneOf(&wrong, "kind", c.Kind, replayKinds()...)
	checkCount(&wrong, "from-version", c.FromVersion, 1<<31-1)
	if c.Since != "" {
		if _, err := time.Parse(time.RFC3339, c.Since); err != nil {
			wrong.add("since", "%q is not a time such as 2026-11-23T15:00:00Z", c.Since)
		}
	}
	return wrong
}

// Run asks for the replay again and again until it is done, and shows how far
// it is. A replay that is interrupted here goes on in the server.
func (c *eventsReplayCmd) Run(ctx context.Context, std streams) error {
	client, err := c.client(ctx, 1)
	if err != nil {
		return err
	}
	var bar *progressbar.ProgressBar
	if file, ok := std.err.(*os.File); ok && isTerminal(file) {
		// How many there are is not known before they were read.
		bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(file), progressbar.OptionSetDescription("events republished"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"), progressbar.OptionThrottle(progressEvery))
	}
	start := time.Now()
	n, err := client.ReplayEvents(ctx, shop.Replay{Kind: c.Kind, Key: c.Key, FromVersion: c.FromVersion, Since: c.Since}, func(n int) {
		if bar != nil {
			_ = bar.Set(n) // an unwritable terminal is no reason to stop
		}
	})
	if bar != nil {
		_ = bar.Finish()
		_, _ = fmt.Fprintln(std.err)
	}
	if err != nil {
		return fmt.Errorf("%d events were published again so far: %w", n, err)
	}
	if c.JSON {
		_, err = fmt.Fprintf(std.out, "{\"republished\":%d,\"seconds\":%.3f}\n", n, time.Since(start).Seconds())
		return err
	}
	_, err = fmt.Fprintf(std.out, "%d events published again in %s\n", n, time.Since(start).Round(time.Millisecond))
	return err
}

// outgoing tells the API of the events on their way out.
type outgoing struct {
	publisher *publisher.Publisher
	replayer  *publisher.Replayer
}

var _ resolve.Events = outgoing{}

// Outbox implements resolve.Events.
func (o outgoing) Outbox(ctx context.Context) ([]resolve.TopicStatus, error) {
	topics, err := o.publisher.ClusterOutbox(ctx)
	if err != nil {
		return nil, err
	}
	var out []resolve.TopicStatus
	for _, t := range topics {
		out = append(out, resolve.TopicStatus{Topic: t.Topic, Pending: int64(t.Pending), Oldest: t.Oldest, Published: int64(t.Published)}) //nolint:gosec // counts
	}
	return out, nil
}

// Replay implements resolve.Events.
func (o outgoing) Replay(ctx context.Context, what resolve.Replay) (int, bool, error) {
	n, done, err := o.replayer.Replay(ctx, publisher.Replay{Kind: what.Kind, Key: what.Key, FromVersion: what.FromVersion, SinceMs: what.SinceMs})
	if errors.Is(err, publisher.ErrTooManyReplays) {
		err = fmt.Errorf("%w: %w", entity.ErrOverloaded, err)
	}
	return n, done, err
}

// lateAdoption is which logs of others this node reads: none before it is a
// member. Its readers start earlier.
type lateAdoption struct{ atomic.Pointer[events.Members] }

// Orphans implements events.Cluster.
func (l *lateAdoption) Orphans(epochs []persistence.EpochInfo) []entity.Epoch {
	if joined := l.Load(); joined != nil {
		return joined.Orphans(epochs)
	}
	return nil
}

// Steady implements events.Steady.
func (l *lateAdoption) Steady() (view uint64, ok bool) {
	if joined := l.Load(); joined != nil {
		return joined.Steady()
	}
	return 0, false
}
