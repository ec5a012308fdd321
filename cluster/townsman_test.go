package cluster_test

// One process's membership, log and store: the town, asked over its socket.

import (
	"context"
	"fmt"
	"iter"
	"net/rpc"
	"sync"
	"sync/atomic"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

// townsman is one process's cluster.Membership, entity.Log and entity.Store.
type townsman struct {
	rpc  *rpc.Client
	self members.Member
	seen atomic.Pointer[members.View]

	mu sync.Mutex
	do func(*members.View)
}

func (t *townsman) call(method string, in, out any) error { return t.rpc.Call("Town."+method, in, out) }

func (t *townsman) follow() error {
	for {
		v := &members.View{}
		if err := t.call("Next", t.seen.Load().Version, v); err != nil {
			return err
		}
		t.see(v)
	}
}

func (t *townsman) see(v *members.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.Version > t.seen.Load().Version {
		t.seen.Store(v)
		if t.do != nil {
			t.do(v)
		}
	}
}

func (t *townsman) Self() members.Member { return t.self }
func (t *townsman) View() *members.View  { return t.seen.Load() }
func (t *townsman) Fit() error           { return nil }
func (t *townsman) Refresh()             {} // follow is always about to hear
func (t *townsman) Watch(do func(*members.View)) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.do = do
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.do = nil
	}
}
func (t *townsman) Settled() uint64 { return 0 } // not known here: a member is waited for until it is evicted

func (t *townsman) Suspect(id string, _ members.Finding) { t.rpc.Go("Town.Suspect", id, &None{}, nil) }

func (t *townsman) Drain(context.Context) error { return t.call("Drain", t.self.ID, &None{}) }

func (t *townsman) Leave(context.Context) error { return t.call("Leave", t.self.ID, &None{}) }

func (t *townsman) started(addr entity.Address) error {
	return t.call("Started", Event{t.self.ID, addr}, &None{})
}

func (t *townsman) ended(addr entity.Address) error {
	return t.call("Ended", Event{t.self.ID, addr}, &None{})
}

func (t *townsman) Commit(rec *entity.Record, done func(error)) {
	go func() {
		out := &Written{}
		err := t.call("Write", rec, out)
		switch {
		case err != nil:
			err = fmt.Errorf("%w: %w", entity.ErrUnknownOutcome, err)
		case out.Fenced:
			err = entity.ErrFenced
		}
		done(err)
	}()
}

func (t *townsman) Settle(context.Context, entity.Address) error { return nil }
func (t *townsman) LoadSnapshot(context.Context, string) (*entity.Snapshot, error) {
	return nil, nil //nolint:nilnil // there is none
}
func (t *townsman) SaveSnapshot(context.Context, *entity.Snapshot) error { return nil }
func (t *townsman) ReadStream(_ context.Context, stream string, after uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		var records []*entity.Record
		if err := t.call("Read", Span{stream, after}, &records); err != nil {
			yield(nil, err)
			return
		}
		for _, rec := range records {
			if !yield(rec, nil) {
				return
			}
		}
	}
}
