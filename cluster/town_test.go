package cluster_test

// What the processes of a test share, served on a socket.

import (
	"context"
	"errors"
	"net"
	"net/rpc"
	"slices"
	"strings"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

// Town is what the processes share: the journal, the table of members, and the
// witness of what is active where. Its methods are net/rpc's.
type Town struct {
	disk    *disk
	witness *witness

	mu      sync.Mutex
	view    *members.View
	changed chan struct{}
	exited  map[string]bool
}

type (
	// Written is a record, and what became of it.
	Written struct {
		Record *entity.Record
		Fenced bool
	}
	// Span is a part of a stream.
	Span struct {
		Stream string
		After  uint64
	}
	// Event is what a node has to tell.
	Event struct {
		Node string
		Addr entity.Address
	}
	// None is nothing.
	None struct{}
)

func newTown() *Town {
	return &Town{disk: newDisk(), witness: newWitness(), view: &members.View{}, changed: make(chan struct{}), exited: map[string]bool{}}
}

// Write commits a record.
func (w *Town) Write(rec *entity.Record, out *Written) error {
	done := make(chan error, 1)
	w.disk.Commit(rec, func(err error) { done <- err })
	out.Fenced = errors.Is(<-done, entity.ErrFenced)
	return nil
}

// Read reads records.
func (w *Town) Read(s Span, out *[]*entity.Record) error {
	for rec, err := range w.disk.ReadStream(context.Background(), s.Stream, s.After) {
		if err != nil {
			return err
		}
		*out = append(*out, rec)
	}
	return nil
}

// Next waits until there is a newer view than that, at most a second.
func (w *Town) Next(than uint64, out *members.View) error {
	late := time.After(time.Second)
	for {
		w.mu.Lock()
		v, changed := w.view, w.changed
		w.mu.Unlock()
		if v.Version > than {
			*out = *v
			return nil
		}
		select {
		case <-changed:
		case <-late:
			*out = *v
			return nil
		}
	}
}

func (w *Town) change(do func([]members.Member) []members.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := &members.View{Version: w.view.Version + 1, Members: do(slices.Clone(w.view.Members))}
	slices.SortFunc(next.Members, func(a, b members.Member) int { return strings.Compare(a.ID, b.ID) })
	w.view = next
	close(w.changed)
	w.changed = make(chan struct{})
}

// Join adds a member.
func (w *Town) Join(m members.Member, _ *None) error {
	w.change(func(all []members.Member) []members.Member { return append(all, m) })
	return nil
}

// Drain marks a member.
func (w *Town) Drain(id string, _ *None) error {
	w.change(func(all []members.Member) []members.Member {
		for i := range all {
			if all[i].ID == id {
				all[i].State = members.Draining
			}
		}
		return all
	})
	return nil
}

// Leave removes a member.
func (w *Town) Leave(id string, _ *None) error {
	w.change(func(all []members.Member) []members.Member {
		return slices.DeleteFunc(all, func(m members.Member) bool { return m.ID == id })
	})
	return nil
}

// Suspect evicts a member whose process has ended.
func (w *Town) Suspect(id string, _ *None) error {
	w.mu.Lock()
	gone := w.exited[id] && w.view.Find(id) != nil
	w.mu.Unlock()
	if gone {
		return w.Leave(id, nil)
	}
	return nil
}

// Started and Ended tell the witness.
func (w *Town) Started(e Event, _ *None) error { w.witness.started(e.Node, e.Addr); return nil }

// Ended is the other half of Started.
func (w *Town) Ended(e Event, _ *None) error { w.witness.ended(e.Node, e.Addr); return nil }

// serve serves the town on a socket.
func serveRPC(name string, service any, socket string) (net.Listener, error) {
	server := rpc.NewServer()
	if err := server.RegisterName(name, service); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			go server.ServeConn(conn)
		}
	}()
	return listener, nil
}
