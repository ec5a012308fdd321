// Command stampede is a commerce cluster for flash sales: one binary that is a
// whole shop (dev), a node (serve), a proof (demo) and a load generator
// (bench).
//
// This package is wiring: it reads the configuration, builds the parts with
// plain constructors, runs them and takes them down. It decides nothing about
// stock or orders.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // a failure while running, or a proof that does not hold
	exitUsage  = 2 // a configuration that cannot be run
)

// streams are the process's own, passed in so that commands can be tested.
type streams struct {
	in       io.Reader
	out, err io.Writer
	// json, if set, gets the one object that --json prints.
	json io.Writer
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go obey(signals, cancel, func() { os.Exit(exitFailed) })
	os.Exit(run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// hurryAfter is how long after the first signal another one is taken for a
// second: what stands between a process and who ends it (a terminal and a
// script, timeout(1), a supervisor and its group) may well deliver one twice.
const hurryAfter = 500 * time.Millisecond

// obey drains at the first signal. Whoever asks again does not want to wait for
// the drain.
func obey(signals <-chan os.Signal, drain, quit func()) {
	<-signals
	asked := time.Now()
	drain()
	for range signals {
		if time.Since(asked) >= hurryAfter {
			quit()
			return
		}
	}
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	parsed, err := parse(args, std)
	var wrong faults
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintln(std.err, wrong.Error())
		return exitUsage
	case err != nil:
		fmt.Fprintf(std.err, "stampede: %v\n", err)
		return exitUsage
	case parsed.helped:
		return exitOK
	}
	err = parsed.command.Run(ctx, std)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintln(std.err, wrong.Error())
		return exitUsage
	}
	fmt.Fprintf(std.err, "stampede %s: %v\n", parsed.name, err)
	return exitFailed
}
