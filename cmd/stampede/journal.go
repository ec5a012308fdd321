package main

// stampede journal show and stampede journal verify: they read the store itself,
// so they work when no node does.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stampede/cmd/stampede/internal/journal"
	"stampede/persistence"
	"stampede/persistence/mongo"
	"stampede/persistence/sqlite"
)

// journalShowCmd prints one stream.
type journalShowCmd struct {
	storeFlags `embed:""`
	Stream     string `arg:"" help:"kind/id, such as sku/MUG-1 or order/ord_…."`
}

// Validate lists everything that is wrong with the configuration.
func (c *journalShowCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	if kind, id, ok := strings.Cut(c.Stream, "/"); !ok || kind == "" || id == "" {
		wrong.add("<stream>", "%q is not kind/id, such as sku/MUG-1", c.Stream)
	}
	return wrong
}

var errJournal = errors.New("the journal is damaged")

// Run prints a line a record. A record that does not fit is an error.
func (c *journalShowCmd) Run(ctx context.Context, std streams) (err error) {
	store, err := c.openJournal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	problems, err := journal.Show(ctx, store, c.Stream, std.out)
	if err == nil && problems > 0 {
		err = fmt.Errorf("%w: %d records of %s do not fit", errJournal, problems, c.Stream)
	}
	return err
}

// journalVerifyCmd checks the whole journal.
type journalVerifyCmd struct {
	storeFlags `embed:""`
}

// Validate lists everything that is wrong with the configuration.
func (c *journalVerifyCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	return wrong
}

// Run says what there is and what is wrong with it, which is an error.
func (c *journalVerifyCmd) Run(ctx context.Context, std streams) (err error) {
	store, err := c.openJournal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var shown *progress
	report, err := journal.Verify(ctx, store, func(what string, done, of int) {
		if shown == nil || shown.what != what {
			shown = newProgress(std.err, what, what, of)
		}
		shown.show(done)
		if done == of {
			shown.finish(done)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%d records (%d bytes) of %d streams, written by %d incarnations; %d events replayed, %d snapshots compared\n",
		report.Records, report.Bytes, report.Streams, report.Epochs, report.Events, report.Snapshots)
	if len(report.Faults) == 0 {
		fmt.Fprintln(std.out, "The journal is whole.")
		return nil
	}
	for _, one := range report.Faults {
		fmt.Fprintf(std.out, "  - %s\n", one)
	}
	if report.Suppressed > 0 {
		fmt.Fprintf(std.out, "  and %d more\n", report.Suppressed)
	}
	return fmt.Errorf("%w: %d faults", errJournal, len(report.Faults)+report.Suppressed)
}

// openJournal opens the store that there is; it never makes one.
func (f *storeFlags) openJournal(ctx context.Context) (persistence.Store, error) {
	if f.Mongo != "" {
		return mongo.Open(ctx, string(f.Mongo), f.MongoDatabase)
	}
	if _, err := os.Stat(filepath.Join(f.DataDir, sqlite.JournalFile)); err != nil {
		return nil, fmt.Errorf("--data-dir %s has no journal: %w", f.DataDir, err)
	}
	store, err := sqlite.Open(ctx, f.DataDir)
	if errors.Is(err, persistence.ErrInUse) {
		return nil, fmt.Errorf("%w; end that first, or give another with --data-dir", err)
	}
	if err != nil {
		return nil, err
	}
	return store, nil
}
