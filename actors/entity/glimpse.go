// This file is how an actor is read without a turn of its own: while nothing
// changes, what it would answer to a question is kept where anyone can get it.
package entity

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// Glimpse lets some of a kind's commands, which change nothing, be answered
// without a turn of the actor.
type Glimpse struct {
	// Reads reports a command that changes nothing, whose answer answers others.
	Reads func(cmd proto.Message) bool
	// Again is what Decide would answer such a command with now, given what it
	// has answered one with in the same state, and that WakeAt has not come; nil:
	// it has to be decided. It is called from any goroutine, and changes nothing.
	Again func(before, cmd proto.Message, now time.Time) proto.Message
}

// Window is where one activation shows a glimpse. Its zero value shows nothing.
//
// What it shows is what the actor would answer: it is there only while all that
// was decided is durable, is taken away before an event changes the state, and
// before the activation ends. So by the time that a change is acknowledged, or
// that anybody else can have the actor, the old state is nowhere to be read.
type Window struct{ pane atomic.Pointer[pane] }

// pane is what a window shows.
type pane struct {
	clock  func() time.Time
	fit    func() error // nil: always
	until  time.Time    // the actor has something to do then; zero: never
	before proto.Message
	again  func(before, cmd proto.Message, now time.Time) proto.Message
}

// Read is the actor's answer to a command that reads, or nil: then it is to be
// sent the command.
//
// Each step bears out the one before it. The answer is of the moment at which
// the pane was looked at. The time is taken afterwards: no deadline had come by
// then. So is the lease: a member whose lease holds has not been put out up to
// now, and nobody can have taken the actor from it without its having ended.
func (w *Window) Read(cmd proto.Message) proto.Message {
	p := w.pane.Load()
	if p == nil {
		return nil
	}
	now := p.clock()
	if !p.until.IsZero() && !now.Before(p.until) {
		return nil
	}
	if p.fit != nil && p.fit() != nil {
		return nil
	}
	return p.again(p.before, cmd, now)
}

// glimpsed shows other readers what one was answered, if all of the state is
// durable. What answers nobody else, such as a refusal of who asked, is not shown:
// it would keep the next one's answer from being.
func (c *core[S, E]) glimpsed(cmd, reply proto.Message) {
	g := c.kind.Glimpse
	if g == nil || c.shown || c.draining || c.version != c.durable || !g.Reads(cmd) || g.Again(reply, cmd, c.host.now()) == nil {
		return
	}
	var until time.Time
	if c.kind.WakeAt != nil {
		until = c.kind.WakeAt(c.state)
	}
	c.shown = true
	c.host.show(reply, until)
}

// hide takes away what glimpsed has shown.
func (c *core[S, E]) hide() {
	if c.shown {
		c.shown = false
		c.host.hide()
	}
}

func (a *activation[S, E]) show(reply proto.Message, until time.Time) {
	a.window.pane.Store(&pane{clock: a.rt.Clock, fit: a.rt.Fit, until: until, before: reply, again: a.kind.Glimpse.Again})
}

func (a *activation[S, E]) hide() { a.window.pane.Store(nil) }

func (k *Kind[S, E]) reads(cmd proto.Message) bool { return k.Glimpse != nil && k.Glimpse.Reads(cmd) }
