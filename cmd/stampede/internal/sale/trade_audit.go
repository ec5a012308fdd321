package sale

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
)

const (
	// settleGrace is how long after the last hold's end everything must be decided.
	settleGrace = 30 * time.Second
	settlePause = 250 * time.Millisecond
)

// Audit asks the server what became of the trade: every acknowledged order, a
// sample of the keys again, the stock and the sale. With Pay it first waits for
// the end of the last hold. What is not decided then it takes down as it is.
func (t *Trade) Audit(ctx context.Context) error {
	deadline := time.Now().Add(settleGrace)
	if t.config.Pay {
		deadline = deadline.Add(t.config.HoldFor)
	}
	if err := t.readOrders(ctx, deadline); err != nil {
		return err
	}
	if err := t.repeatKeys(ctx); err != nil {
		return err
	}
	return t.readEnd(ctx, deadline)
}

// readOrders reads all orders until every one of them is settled.
func (t *Trade) readOrders(ctx context.Context, deadline time.Time) error {
	var open []int
	for i := range t.history.Placed {
		if t.history.Placed[i].Kind == shop.Accepted {
			open = append(open, i)
		}
	}
	for {
		if err := t.readSome(ctx, open); err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(i int) bool {
			o, ok := t.history.Final[t.history.Placed[i].ID]
			return !ok || t.settled(&o)
		})
		if len(open) == 0 || time.Now().After(deadline) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// settled: nothing becomes of the order any more by itself.
func (t *Trade) settled(o *shop.Trade) bool {
	if !t.config.Pay {
		return o.State != "RESERVING"
	}
	return !slices.Contains([]string{"RESERVING", "RESERVED", "PAYING"}, o.State) && o.Payment.State != "PENDING" && o.Payment.State != "AUTHORIZED"
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(settlePause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readSome reads orders, each as the shopper whose it is.
func (t *Trade) readSome(ctx context.Context, which []int) error {
	found := make([]*shop.Trade, len(which))
	err := t.askEach(ctx, len(which), func(ctx context.Context, v *load.Visitor, n int) load.Result {
		p := &t.history.Placed[which[n]]
		return v.Ask(ctx, t.tokens[p.Shopper], shop.ReadTrade(p.ID), shop.JudgeRead(&found[n]))
	})
	if err != nil {
		return fmt.Errorf("read the orders back: %w", err)
	}
	for n, i := range which {
		if found[n] != nil {
			t.history.Final[t.history.Placed[i].ID] = *found[n]
		} else {
			delete(t.history.Final, t.history.Placed[i].ID)
		}
	}
	return nil
}

// askEach asks n things, some at a time. What is not decided is an error.
func (t *Trade) askEach(ctx context.Context, n int, ask func(context.Context, *load.Visitor, int) load.Result) error {
	if n == 0 {
		return nil
	}
	var next, failed atomic.Int64
	var why atomic.Value
	_, err := load.Visit(ctx, load.Options{URL: t.config.URL, Others: t.config.Others, Concurrency: min(t.config.Concurrency, n)}, func(ctx context.Context, v *load.Visitor) {
		for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
			if r := ask(ctx, v, i); r.Kind == shop.Retry || r.Kind == shop.Failed {
				failed.Add(1)
				why.Store(r.Reason)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case failed.Load() > 0:
		return fmt.Errorf("%d of %d questions got no answer: %v", failed.Load(), n, why.Load())
	}
	return nil
}

// repeatKeys sends a sample of the orders again, accepted and rejected ones.
func (t *Trade) repeatKeys(ctx context.Context) error {
	var accepted, rejected []int
	for i := range t.history.Placed {
		switch p := &t.history.Placed[i]; {
		case p.Kind == shop.Accepted:
			accepted = append(accepted, i)
		case p.Kind == shop.Refused && p.ID != "":
			rejected = append(rejected, i)
		}
	}
	sample := append(spread(accepted), spread(rejected)...)
	answers := make([]proof.PlacedAgain, len(sample))
	err := t.askEach(ctx, len(sample), func(ctx context.Context, v *load.Visitor, n int) load.Result {
		var order *shop.Trade
		i := sample[n]
		r := v.Ask(ctx, t.tokens[t.history.Placed[i].Shopper], shop.PlaceOrder(t.inputs[i]), shop.JudgeTrade(&order))
		answers[n] = proof.PlacedAgain{Placed: i, Kind: r.Kind, Reason: r.Reason}
		if order != nil {
			answers[n].ID = order.ID
		}
		return r
	})
	t.history.Repeats = answers
	if err != nil {
		return fmt.Errorf("repeat orders: %w", err)
	}
	return nil
}

// readEnd reads the stock and the sale, until no hold is left and the sale has
// heard from its SKUs, or the deadline.
func (t *Trade) readEnd(ctx context.Context, deadline time.Time) error {
	for {
		levels, err := t.config.Staff.Stock(ctx, t.skus)
		if err != nil {
			return err
		}
		t.history.Levels = levels
		held, left := 0, 0
		for _, level := range levels {
			held += level.Held
		}
		told := true
		if s := t.history.Sale; s != nil {
			now, err := t.config.Staff.Sale(ctx, s.ID)
			if err != nil {
				return err
			}
			s.Final = *now
			for _, item := range now.Items {
				left += item.Remaining
			}
			told = (left == 0) == (now.State == "SOLD_OUT")
		}
		if told && (held == 0 || !t.config.Pay) || time.Now().After(deadline) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}
