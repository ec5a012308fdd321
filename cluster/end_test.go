package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

var discard = slog.New(slog.DiscardHandler)

// box is an entity.Responder that keeps what it is told.
type box chan error

func (b box) Answer(_ proto.Message, err error) { b <- err }

// nothing is an actor that answers nobody.
type nothing struct{}

func (nothing) Receive(actor.Context) {}

// A request that was sent to an actor just as it ended is answered at once, so
// that its caller does not wait for the end of the attempt.
func TestRequestToAnEndedActor(t *testing.T) {
	spawner := entity.Spawner{Kind: "nothing", Props: func(string, func(), *entity.Window) *actor.Props {
		return actor.PropsFromProducer(func() actor.Actor { return nothing{} })
	}}
	n := NewNode(discard, []entity.Spawner{spawner}, nil, DefaultOptions())
	pid, err := n.actors.locate(entity.Address{Kind: "nothing", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.system.Root.PoisonFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	answer := make(box, 1)
	n.system.Root.Send(pid, &entity.Request{Answer: answer})
	select {
	case err := <-answer:
		if !entity.Retryable(err) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody answers")
	}
}
