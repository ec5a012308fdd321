package membership

// What a lease promises, with tables that fail in one way only.

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stampede/cluster/members"
	"stampede/internal/memtable"
)

// oddTable is a table of which some calls fail, or answer late.
type oddTable struct {
	Table
	failReads, failRenewals atomic.Bool
	// answerAfter is how long renewals take to answer; sent is when the last one
	// began that was answered.
	answerAfter time.Duration
	sent        atomic.Pointer[time.Time]
}

func (o *oddTable) Read(ctx context.Context) (members.Contents, error) {
	if o.failReads.Load() {
		return members.Contents{}, memtable.ErrFault
	}
	return o.Table.Read(ctx)
}

func (o *oddTable) Renew(ctx context.Context, l members.Lease) (members.Contents, error) {
	sent := time.Now()
	if o.failRenewals.Load() {
		return members.Contents{}, memtable.ErrFault
	}
	c, err := o.Table.Renew(ctx, l)
	time.Sleep(o.answerAfter)
	if err == nil {
		o.sent.Store(&sent)
	}
	return c, err
}

func startOdd(t *testing.T, id string, table Table, found members.Finding) *Service {
	t.Helper()
	s, err := Start(t.Context(), Config{
		Self: members.Member{ID: id, Address: id + ":1", Roles: []members.Role{members.Actors}}, Table: table, Logger: slog.New(slog.DiscardHandler),
		Probe: func(context.Context, members.Member) members.Finding { return found },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLeaseCountsFromWhenItWasSent: the others may count from that moment too.
func TestLeaseCountsFromWhenItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table memtable.Table
		odd := &oddTable{Table: table.Connect(1), answerAfter: lease / 4}
		s := startOdd(t, "a", odd, members.Answers)
		defer s.Close()
		time.Sleep(2 * lease)
		odd.failRenewals.Store(true)
		time.Sleep(lease / 2) // what is under way has been answered
		until := odd.sent.Load().Add(lease)
		time.Sleep(time.Until(until) - time.Millisecond)
		if err := s.Fit(); err != nil {
			t.Errorf("just before the end: %v", err)
		}
		time.Sleep(time.Millisecond)
		if s.Fit() == nil {
			t.Error("it is fit for longer than a lease after it renewed")
		}
	})
}

// TestRenewalsShowTheTable: a member cannot keep its lease and an old view.
func TestRenewalsShowTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table memtable.Table
		odd := &oddTable{Table: table.Connect(1)}
		a := startOdd(t, "a", odd, members.Answers)
		defer a.Close()
		odd.failReads.Store(true)
		b := startOdd(t, "b", table.Connect(2), members.Answers)
		defer b.Close()
		time.Sleep(lease/3 + time.Millisecond)
		if m := a.View().Find("b"); m == nil || m.State != members.Up {
			t.Errorf("after a renewal: %+v", a.View())
		}
	})
}

// TestLeaseWaitsForTheWatchers: a member that does not follow what it is told
// does not stay fit.
func TestLeaseWaitsForTheWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table memtable.Table
		a := startOdd(t, "a", table.Connect(1), members.Answers)
		goOn := make(chan struct{})
		stop := a.Watch(func(v *members.View) {
			if v.Find("b") != nil {
				<-goOn
			}
		})
		b := startOdd(t, "b", table.Connect(2), members.Answers)
		defer b.Close()
		time.Sleep(lease)
		if a.Fit() == nil || a.acted.Load() == a.View().Version || b.Settled() == b.View().Version {
			t.Errorf("while it hangs: fit %v, acts on %d of %d, settled %d", a.Fit(), a.acted.Load(), a.View().Version, b.Settled())
		}
		close(goOn)
		time.Sleep(lease / 2)
		if a.Fit() != nil || a.Settled() != a.View().Version {
			t.Errorf("when it has gone on: fit %v, settled %d of %d", a.Fit(), a.Settled(), a.View().Version)
		}
		stop()
		a.Close()
	})
}

// TestWhoIsNotFitJudgesNobody: it may be the one that is wrong.
func TestWhoIsNotFitJudgesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table memtable.Table
		odd := &oddTable{Table: table.Connect(1)}
		a := startOdd(t, "a", odd, members.Gone)
		defer a.Close()
		b := startOdd(t, "b", table.Connect(2), members.Answers)
		odd.failRenewals.Store(true)
		time.Sleep(lease + time.Millisecond) // b would put it out a moment later
		if a.Fit() == nil {
			t.Fatal("it is fit")
		}
		b.Close()
		time.Sleep(3 * lease)
		all := table.History()
		if r := all[len(all)-1].Row("b"); !r.Member.Alive() {
			t.Errorf("put out by one that is not fit: %+v", r)
		}
		odd.failRenewals.Store(false)
		time.Sleep(lease)
		if a.View().Find("b") != nil {
			t.Error("fit again, it does not put out who is gone")
		}
	})
}
