package cluster

import (
	"context"
	"fmt"
	"time"

	"stampede/actors/entity"
)

// drainPoll is how often drain looks whether all actors have ended.
const drainPoll = 5 * time.Millisecond

// drain is how a cluster of one ends. It refuses new activations, tells every actor to finish, and waits. Those
// that ask others come first: what they have accepted, they finish with the
// others' help. When ctx ends, what is left is stopped with whatever it has open.
func (p *placement) drain(ctx context.Context) error {
	for _, asking := range []bool{true, false} {
		if err := p.drainKinds(ctx, asking); err != nil {
			p.each(func(_ entity.Address, a *activation) { p.system.Root.Stop(a.pid) })
			return err
		}
	}
	return nil
}

func (p *placement) drainKinds(ctx context.Context, asking bool) error {
	for _, k := range p.kinds {
		if k.Asks == asking {
			k.closed.Store(true)
		}
	}
	p.each(func(addr entity.Address, a *activation) {
		if p.kinds[addr.Kind].Asks == asking {
			p.system.Root.Send(a.pid, &entity.Drain{})
		}
	})
	for {
		left := int64(0)
		for _, k := range p.kinds {
			if k.Asks == asking {
				left += k.active.Load()
			}
		}
		if left == 0 {
			return nil
		}
		if !sleep(ctx, drainPoll) {
			return fmt.Errorf("drain: %d actors still had something to finish: %w", p.total(), ctx.Err())
		}
	}
}
