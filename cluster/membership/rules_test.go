package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/cluster/members"
)

// observing is an observer "a" of a cluster of Up members, all of whose leases
// it saw at moment 0.
func observing(ids ...string) *observer {
	o := newObserver("a", lease)
	c := members.Contents{Version: 10, View: 5}
	for _, id := range ids {
		c.Rows = append(c.Rows, members.Row{Member: members.Member{ID: id, Address: "host:" + id, State: members.Up}})
		c.Leases = append(c.Leases, members.Lease{ID: id, Beat: 1, Seen: 5})
	}
	o.learn(c, 0)
	return o
}

// see has the observer read the table again, after something has happened to it.
func (o *observer) see(now moment, happen func(c *members.Contents)) {
	c := o.contents
	c.Rows, c.Leases = slices.Clone(c.Rows), slices.Clone(c.Leases)
	happen(&c)
	o.learn(c, now)
}

func (o *observer) renewed(now moment, ids ...string) {
	o.see(now, func(c *members.Contents) {
		for _, id := range ids {
			c.Lease(id).Beat++
		}
	})
}

func (o *observer) suspectedBy(now moment, id, by string, how members.Finding) {
	o.see(now, func(c *members.Contents) {
		c.Version++
		r := c.Row(id)
		r.Suspicions = append(slices.Clone(r.Suspicions), members.Suspicion{By: by, How: how})
	})
}

func (o *observer) unleased(now moment, id string) {
	o.see(now, func(c *members.Contents) {
		c.Version++
		c.Row(id).Ended = "cut off"
		c.Leases = slices.DeleteFunc(c.Leases, func(l members.Lease) bool { return l.ID == id })
	})
}

const (
	ms     = time.Millisecond
	lapsed = lease + lease/10
)

func TestRules(t *testing.T) {
	gone, unreachable := members.Gone, members.Unreachable
	for _, c := range []struct {
		name   string
		of     string // the members, a letter each
		happen func(o *observer)
		at     moment
		want   string // what is done, to whom
	}{
		{name: "nothing has happened", of: "abc", at: lease / 3, want: ""},
		{name: "a lease has almost lapsed", of: "abc", happen: func(o *observer) { o.renewed(1*ms, "b") }, at: lapsed - 1, want: ""},
		{name: "a lease has lapsed", of: "abc", happen: func(o *observer) { o.renewed(1*ms, "b") }, at: lapsed, want: "evict c"},
		{name: "a renewal seen late counts from when it was seen", of: "ab", happen: func(o *observer) { o.renewed(lease, "b") }, at: lapsed + lease - 1, want: ""},
		{name: "an old answer is no renewal", of: "ab", happen: func(o *observer) {
			o.renewed(1*ms, "b")
			o.see(2*ms, func(c *members.Contents) { c.Lease("b").Beat = 1 })
			o.renewed(3 * ms) // shows what is the newest
		}, at: lapsed + 1*ms, want: "evict b"},
		{name: "the table was away", of: "ab", happen: func(o *observer) { o.resume(lapsed - 1) }, at: 2*lapsed - 2, want: ""},
		{name: "the table was away, and the other stays so", of: "ab", happen: func(o *observer) { o.resume(lapsed - 1) }, at: 2*lapsed - 1, want: "evict b"},

		{name: "gone, of two", of: "ab", happen: func(o *observer) { o.found("b", gone, 1, 0) }, at: 1 * ms, want: "evict b"},
		{name: "gone, of three, nobody else says so", of: "abc", happen: func(o *observer) { o.found("b", gone, 1, 0) }, at: 1 * ms, want: "suspect"},
		{name: "gone, of three, another says so", of: "abc", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.suspectedBy(1*ms, "b", "c", gone)
		}, at: 1 * ms, want: "evict b"},
		{name: "gone, others say unreachable", of: "abc", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.suspectedBy(1*ms, "b", "c", unreachable)
		}, at: 1 * ms, want: "revoke b"},
		{name: "another says gone, and it answers", of: "abc", happen: func(o *observer) {
			o.found("b", members.Answers, 1, 0)
			o.suspectedBy(1*ms, "b", "c", gone)
		}, at: 1 * ms, want: ""},
		{name: "another says gone, and nobody has looked", of: "abc", happen: func(o *observer) { o.suspectedBy(1*ms, "b", "c", gone) }, at: 1 * ms, want: ""},
		{name: "gone, and it has renewed since", of: "ab", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.renewed(1*ms, "b")
		}, at: 2 * ms, want: ""},
		{name: "gone, says one whose own lease has ended", of: "abcd", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.suspectedBy(1*ms, "b", "c", gone)
			o.unleased(1*ms, "c")
		}, at: 1 * ms, want: "suspect"},
		{name: "two gone of three: the other may only be a moment late", of: "abc", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.found("c", gone, 1, 0)
		}, at: lease/2 - 1, want: "suspect"},
		{name: "two gone of three: the other is late with its lease", of: "abc", happen: func(o *observer) {
			o.found("b", gone, 1, 0)
			o.found("c", gone, 1, 0)
		}, at: lease / 2, want: "evict b"},

		{name: "unreachable for less than a lease", of: "abc", happen: func(o *observer) {
			o.found("b", unreachable, 1, 0)
			o.suspectedBy(1*ms, "b", "c", unreachable)
			o.renewed(lease-1, "b", "c")
		}, at: lease - 1, want: ""},
		{name: "unreachable for a lease, nobody else says so", of: "abc", happen: func(o *observer) {
			o.found("b", unreachable, 1, 0)
			o.renewed(lease-1, "b", "c")
		}, at: lease, want: "suspect"},
		{name: "unreachable for a lease, another says so", of: "abc", happen: func(o *observer) {
			o.found("b", unreachable, 1, 0)
			o.suspectedBy(1*ms, "b", "c", unreachable)
			o.renewed(lease-1, "b", "c")
		}, at: lease, want: "revoke b"},
		{name: "it answered in between", of: "abc", happen: func(o *observer) {
			o.found("b", unreachable, 1, 0)
			o.found("b", members.Answers, 1, 1*ms)
			o.found("b", unreachable, 1, 2*ms)
			o.suspectedBy(3*ms, "b", "c", unreachable)
			o.renewed(lease-1, "b", "c")
		}, at: lease, want: ""},
		{name: "one at a time", of: "abcd", happen: func(o *observer) {
			o.found("b", unreachable, 1, 0)
			o.suspectedBy(1*ms, "b", "c", unreachable)
			o.renewed(lease-1, "b", "c", "d")
			o.unleased(lease-1, "d")
		}, at: lease, want: "suspect"},
		{name: "a lease that was ended still has its time", of: "abc", happen: func(o *observer) {
			o.renewed(lease-1, "c")
			o.unleased(lease-1, "b")
		}, at: lapsed + lease - 2, want: ""},
		{name: "a lease that was ended has had its time", of: "abc", happen: func(o *observer) {
			o.unleased(1*ms, "b")
			o.renewed(lease, "c")
		}, at: lapsed + 1*ms, want: "evict b"},
		{name: "its address is this one's now", of: "ba", happen: func(o *observer) {
			o.see(1*ms, func(c *members.Contents) { c.Row("b").Member.Address = "host:a"; c.Version++ })
		}, at: 1 * ms, want: "evict b"},
		{name: "this one's address is another's now", of: "ab", happen: func(o *observer) {
			o.see(1*ms, func(c *members.Contents) { c.Row("b").Member.Address = "host:a"; c.Version++ })
		}, at: 1 * ms, want: ""},
		{name: "a suspicion is taken back", of: "abc", happen: func(o *observer) {
			o.suspectedBy(1*ms, "b", "a", unreachable)
			o.found("b", members.Answers, 1, 2*ms)
		}, at: 3 * ms, want: "suspect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ids []string
			for _, id := range c.of {
				ids = append(ids, string(id))
			}
			o := observing(ids...)
			if c.happen != nil {
				c.happen(o)
			}
			ch, what := o.next(c.at)
			got := ""
			if ch != nil {
				got = string(what)
				for i := range ch.Rows {
					if old := o.contents.Row(ch.Rows[i].Member.ID); old.Ended != ch.Rows[i].Ended || old.Member.State != ch.Rows[i].Member.State {
						got += " " + ch.Rows[i].Member.ID
					}
				}
				if what == evict && ch.View != o.contents.View+1 || what != evict && ch.View != o.contents.View {
					t.Errorf("view %d after %d", ch.View, o.contents.View)
				}
			}
			if got != c.want {
				t.Errorf("does %q, want %q", got, c.want)
			}
		})
	}
}

// TestEvictionPresumesTheBeatThatWasJudged: a renewal in between saves the member.
func TestEvictionPresumesTheBeatThatWasJudged(t *testing.T) {
	o := observing("a", "b")
	o.renewed(1*ms, "b")
	ch, _ := o.next(1*ms + lapsed)
	if diff := cmp.Diff(&members.Lease{ID: "b", Beat: 2, Seen: 5}, ch.End); diff != "" || ch.From != 10 {
		t.Errorf("from %d: %s", ch.From, diff)
	}
}

func TestToProbe(t *testing.T) {
	o := observing("a", "b", "c", "d")
	probe := func(now moment, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, o.toProbe(now)); diff != "" {
			t.Errorf("at %s (-want +got):\n%s", now, diff)
		}
	}
	probe(lease/2 - 1)
	o.suspectedBy(1*ms, "c", "d", members.Gone)
	probe(2*ms, "c")
	o.found("c", members.Answers, 1, 2*ms)
	probe(3 * ms)
	probe(2*ms+lease/6, "c") // it is still suspected
	o.found("b", members.Gone, 1, 4*ms)
	probe(5 * ms)
	o.renewed(6*ms, "b")
	probe(7*ms, "b") // at once: it is not gone after all
	o.renewed(lease/2, "b", "c")
	o.found("b", members.Answers, 2, lease/2)
	o.found("c", members.Answers, 2, lease/2)
	probe(lease/2+1, "d") // its lease is overdue
}

func TestSettled(t *testing.T) {
	o := observing("a", "b")
	if got := o.settled(); got != 5 {
		t.Errorf("all have seen it: %d", got)
	}
	o.see(1*ms, func(c *members.Contents) { c.Version, c.View = 11, 6; c.Lease("a").Seen = 6 })
	if got := o.settled(); got != 5 {
		t.Errorf("one has not seen it: %d", got)
	}
	o.unleased(2*ms, "b")
	if got := o.settled(); got != 0 {
		t.Errorf("nobody knows what one has seen: %d", got)
	}
}

// TestRowsAreBounded: those that are Down are forgotten, oldest first.
func TestRowsAreBounded(t *testing.T) {
	var c members.Contents
	made := func(ch *members.Change) {
		c.Version, c.View, c.Rows = ch.From+1, ch.View, ch.Rows
	}
	for i := range 3 * members.MaxDown {
		id := fmt.Sprintf("m%03d", i)
		made(c.Join(members.Member{ID: id}))
		if i%2 == 0 {
			made(c.End(id, "left", members.Down))
		}
	}
	for i := 1; i < 3*members.MaxDown; i += 2 {
		made(c.End(fmt.Sprintf("m%03d", i), "left", members.Down))
	}
	if len(c.Rows) != members.MaxDown || c.Row(fmt.Sprintf("m%03d", 3*members.MaxDown-1)) == nil || c.Row("m000") != nil {
		t.Errorf("%d rows are kept: %+v", len(c.Rows), c.Rows)
	}
	if ch := c.End(c.Rows[0].Member.ID, "again", members.Down); ch != nil {
		t.Errorf("one that is Down can end again: %+v", ch)
	}
}

func TestFindingOf(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if got := FindingOf(err); got != members.Answers {
		t.Errorf("a port that listens: %s, %v", got, err)
	} else {
		conn.Close()
	}
	l.Close()
	_, err = dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if got := FindingOf(err); got != members.Gone {
		t.Errorf("a port that does not listen: %s, %v", got, err)
	}
	for _, err := range []error{context.DeadlineExceeded, os.ErrDeadlineExceeded, errors.New("connection reset by peer")} {
		if got := FindingOf(err); got != members.Unreachable {
			t.Errorf("%v: %s", err, got)
		}
	}
}
