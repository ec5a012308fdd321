package cluster

import (
	"fmt"

	"stampede/actors/entity"
)

// maxWatches is how many calls that only wait (entity.WithWait) a node carries
// at once. Each is a goroutine that sleeps and an entry at its actor.
const maxWatches = 65_536

// watching takes a place for a call that waits; the caller gives it back.
func (n *Node) watching() error {
	if n.watches.Add(1) > maxWatches {
		n.watches.Add(-1)
		return fmt.Errorf("%w: the node carries %d watches", entity.ErrOverloaded, maxWatches)
	}
	return nil
}

// Watches is the number of calls that only wait.
func (n *Node) Watches() int { return int(n.watches.Load()) }
