package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/proto/gen/commonpb"
)

// watch waits for the account's state to be over the version.
func watch(ctx context.Context, n *cluster.Node, after uint64, wait time.Duration) (proto.Message, error) {
	get, err := anypb.New(&commonpb.Money{})
	if err != nil {
		return nil, err
	}
	return n.Call(entity.WithWait(ctx, wait), alice, &commonpb.Watch{AfterVersion: after, WaitMs: wait.Milliseconds(), Get: get})
}

// A call that waits is not taken for lost, nor counted among those that are
// being worked on, and ends when what it waits for happens or its time is up.
func TestWatchOutlastsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		options := cluster.DefaultOptions()
		options.MaxInFlight, options.PassivateAfter = 1, time.Second
		rt := &entity.Runtime{Log: d, Store: d, Clock: time.Now, Logger: quiet, Limits: entity.DefaultLimits()}
		n := cluster.NewNode(quiet, []entity.Spawner{entity.Bind(rt, accounts())}, nil, options)
		start := time.Now()
		var told time.Duration
		watched := make(chan error, 1)
		go func() {
			_, err := watch(t.Context(), n, 0, 50*time.Second)
			told = time.Since(start)
			watched <- err
		}()
		time.Sleep(30 * time.Second)
		if active := n.Active()["account"]; active != 1 {
			t.Errorf("%d actors in memory: the watched one was passivated", active)
		}
		if got := mustCall(t, n, add(1)); got != 1 {
			t.Errorf("got %d", got)
		}
		if err := <-watched; err != nil || told != 30*time.Second {
			t.Errorf("told after %s, %v", told, err)
		}
		start = time.Now()
		if _, err := watch(t.Context(), n, 1, 20*time.Second); err != nil || time.Since(start) != 20*time.Second {
			t.Errorf("nothing changed: %v after %s", err, time.Since(start))
		}
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Whoever watches when the node drains is told at once.
func TestWatchEndsWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(), nil)
		mustCall(t, n, add(1))
		errs := make(chan error, 1)
		go func() {
			_, err := watch(t.Context(), n, 1, time.Minute)
			errs <- err
		}()
		eventually(t, "the node to be watched", func() bool { return n.Watches() == 1 })
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
		select {
		case err := <-errs:
			if !errors.Is(err, entity.ErrRetry) {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the watcher hangs")
		}
	})
}
