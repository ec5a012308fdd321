package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// serveCmd runs a node until it is told to end.
type serveCmd struct {
	nodeFlags `embed:""`
	DevTools  bool `group:"Access" help:"Introspection and the playground, which production has no use for."`
	// StopWithParent lets the demo's server end with the demo, whatever ends it.
	StopWithParent bool `hidden:""`
}

// Validate lists everything that is wrong with the configuration.
func (c *serveCmd) Validate() faults {
	c.readSecrets()
	return c.validate()
}

// Run serves until ctx ends, then drains.
func (c *serveCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.StopWithParent {
		go func() {
			_, _ = io.Copy(io.Discard, std.in) // ends when the parent does
			cancel()
		}()
	}
	return runNode(ctx, nodeConfig{nodeFlags: c.nodeFlags, devTools: c.DevTools}, std, nil)
}

// runNode runs a node until ctx ends or a part of it fails. welcome, if set, is
// called between the start and the ready line.
func runNode(ctx context.Context, config nodeConfig, std streams, welcome func(ctx context.Context, n *node) error) error {
	log := config.logger(std.err)
	if err := relaxGC(log); err != nil {
		log.Warn("the garbage collector runs as it does by default", slog.Any("error", err))
	}
	n, err := startNode(ctx, config, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end while starting
		}
		return err
	}
	if welcome != nil {
		if err := welcome(ctx, n); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	fmt.Fprintf(std.out, "ready url=%s admin=%s kafka=%s\n", n.url, n.adminURL, n.kafka)
	select {
	case <-ctx.Done():
		log.Info("draining")
		return n.Close()
	case <-n.asked:
		return n.Close()
	case err := <-n.failed:
		return errors.Join(err, n.Close())
	}
}
