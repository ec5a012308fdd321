package entity

import (
	"errors"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
)

type pill struct{ stopping, release chan struct{} }

func (p pill) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Stopping); ok {
		close(p.stopping)
		<-p.release
	}
}

type told chan error

func (t told) Answer(_ proto.Message, err error) { t <- err }

// A request that got in behind the poison pill, because the door was shut a
// moment too late, is refused rather than dropped.
func TestRequestBehindThePill(t *testing.T) {
	system := actor.NewActorSystem()
	defer system.Shutdown()
	p := pill{make(chan struct{}), make(chan struct{})}
	box := &mailbox{limit: 10}
	pid := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }, actor.WithMailbox(func() actor.Mailbox {
		box.Mailbox = actor.Unbounded()()
		return box
	})))
	stopped := system.Root.PoisonFuture(pid)
	<-p.stopping
	answer := make(told, 1)
	system.Root.Send(pid, &Request{Answer: answer})
	box.shut.Store(true)
	close(p.release)
	if err := stopped.Wait(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answer:
		if !errors.Is(err, ErrRetry) {
			t.Error(err)
		}
	case <-time.After(time.Second):
		t.Error("nobody answers")
	}
}
