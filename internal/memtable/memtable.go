// Package memtable is a membership table in memory that fails as a database
// does: before a change, after it, late, slowly, not at all for one of its
// clients. Everything is decided by a seed; time is the time package's, so in a
// testing/synctest bubble nothing really waits.
package memtable

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"stampede/cluster/members"
)

// Faults are probabilities, each call's own, and times.
type Faults struct {
	// Refuse: the call fails and nothing was done.
	Refuse float64
	// LoseAnswer: it fails and was done.
	LoseAnswer float64
	// Late: a change or renewal fails, and is done within LateTime after.
	Late     float64
	LateTime time.Duration
	// Slow: it takes up to SlowTime, beside the CallTime that all take up to.
	Slow               float64
	CallTime, SlowTime time.Duration
}

// ErrFault is what a call that was made to fail returns.
var ErrFault = errors.New("the table was made to fail")

// Table is the table itself. Its zero value is empty.
type Table struct {
	mu       sync.Mutex
	contents members.Contents
	history  []members.Contents
}

// History is every version that there was, with its leases at the time.
func (t *Table) History() []members.Contents {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.history)
}

func (t *Table) read() members.Contents {
	c := t.contents
	c.Rows, c.Leases = slices.Clone(c.Rows), slices.Clone(c.Leases)
	return c
}

func (t *Table) change(ch *members.Change) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	leases := slices.Clone(t.contents.Leases)
	if ch.From != t.contents.Version || ch.End != nil && (t.contents.Lease(ch.End.ID) == nil || t.contents.Lease(ch.End.ID).Beat != ch.End.Beat) {
		return members.ErrConflict
	}
	if ch.End != nil {
		leases = slices.DeleteFunc(leases, func(l members.Lease) bool { return l.ID == ch.End.ID })
	}
	if ch.Begin != "" {
		leases = append(leases, members.Lease{ID: ch.Begin, Beat: 1})
	}
	t.contents = members.Contents{Version: ch.From + 1, View: ch.View, Rows: slices.Clone(ch.Rows), Leases: leases}
	t.history = append(t.history, t.read())
	return nil
}

func (t *Table) renew(l members.Lease) (members.Contents, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.contents.Lease(l.ID)
	if held == nil || held.Beat != l.Beat {
		return members.Contents{}, members.ErrConflict
	}
	held.Beat++
	held.Seen = l.Seen
	return t.read(), nil
}

// Client is one process's way to the table.
type Client struct {
	table *Table

	mu     sync.Mutex
	dice   *rand.Rand
	faults Faults
	cut    bool
	frozen chan struct{} // closed when it goes on
}

// Connect makes a client without faults.
func (t *Table) Connect(seed uint64) *Client {
	return &Client{table: t, dice: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // replayable on purpose
}

// Set sets the faults of the calls from now on.
func (c *Client) Set(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// Cut cuts the client off, so that its calls hang until their context ends; or
// lets it through again.
func (c *Client) Cut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// Freeze stops the process of the client: nothing begins and nothing returns,
// whatever happens to contexts, until Thaw.
func (c *Client) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen == nil {
		c.frozen = make(chan struct{})
	}
}

// Thaw has the process go on.
func (c *Client) Thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen != nil {
		close(c.frozen)
		c.frozen = nil
	}
}

// AwaitThaw waits while the process is frozen.
func (c *Client) AwaitThaw() {
	for {
		c.mu.Lock()
		frozen := c.frozen
		c.mu.Unlock()
		if frozen == nil {
			return
		}
		<-frozen
	}
}

// Read implements membership.Table.
func (c *Client) Read(ctx context.Context) (contents members.Contents, err error) {
	err = c.call(ctx, func() error {
		c.table.mu.Lock()
		defer c.table.mu.Unlock()
		contents = c.table.read()
		return nil
	}, false)
	return contents, err
}

// Change implements membership.Table.
func (c *Client) Change(ctx context.Context, ch *members.Change) error {
	return c.call(ctx, func() error { return c.table.change(ch) }, true)
}

// Renew implements membership.Table.
func (c *Client) Renew(ctx context.Context, l members.Lease) (contents members.Contents, err error) {
	err = c.call(ctx, func() error {
		got, err := c.table.renew(l)
		contents = got
		return err
	}, true)
	return contents, err
}

// call does something to the table, with what the dice say goes wrong.
func (c *Client) call(ctx context.Context, do func() error, writes bool) error {
	c.AwaitThaw()
	defer c.AwaitThaw() // what is read while frozen is seen after it
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	f, cut, x := c.faults, c.cut, c.dice.Float64()
	wait := time.Duration(c.dice.Float64() * float64(f.CallTime))
	if c.dice.Float64() < f.Slow {
		wait += time.Duration(c.dice.Float64() * float64(f.SlowTime))
	}
	late := time.Duration(c.dice.Float64() * float64(f.LateTime))
	c.mu.Unlock()
	if cut {
		<-ctx.Done()
		return ctx.Err()
	}
	timer := time.NewTimer(wait / 2)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	switch {
	case x < f.Refuse:
		return ErrFault
	case writes && x < f.Refuse+f.Late:
		time.AfterFunc(late, func() { _ = do() })
		return ErrFault
	}
	err := do()
	timer.Reset(wait - wait/2)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if x < f.Refuse+f.Late+f.LoseAnswer {
		return ErrFault
	}
	return err
}
