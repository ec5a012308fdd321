package cluster

// This file is how an actor in this node's memory is read without its being
// asked; see entity.Glimpse.

import (
	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// glimpse is the answer to a command that reads, if this node owns the actor
// and the actor shows it; nil: it has to be asked.
//
// That the actor is this node's is looked at last. By then the node does not
// act yet on a view by which another one owns it; whoever does own it then waits
// until this node does, or has let the actor end. So the answer is not older
// than the moment in which the window was looked through, as with entity.Window.
func (n *Node) glimpse(to entity.Address, cmd proto.Message) proto.Message {
	kind := n.actors.kinds[to.Kind]
	if kind == nil || kind.Reads == nil || !kind.Reads(cmd) {
		return nil
	}
	a := n.actors.find(to)
	if a == nil {
		return nil
	}
	reply := a.window.Read(cmd)
	if reply == nil {
		return nil
	}
	if owner, err := n.elsewhere(to); owner != nil || err != nil {
		return nil
	}
	a.used.Store(n.actors.clock.Load())
	return reply
}
