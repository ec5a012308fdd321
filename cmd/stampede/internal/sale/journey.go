package sale

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
)

// journey is what one shopper does, and what the staff does to the shopper's
// order: acts, one after the other. It belongs to whoever has it from the queue.
type journey struct {
	trade   *Trade
	shopper int
	token   string
	early   bool
	acts    []act
	at      time.Time // when it is due

	ticket    *shop.Ticket
	admission string
	// order is the newest acknowledged one, placed its index in the history.
	order  *shop.Trade
	placed int
	orders int // how many were asked for
	// spelling counts the changes of the name that the shopper comes under.
	spelling int
}

// act is one step: again says to do it once more after the wait.
type act func(ctx context.Context, v *load.Visitor, j *journey) (wait time.Duration, again bool)

// over ends a journey after an act.
const over = time.Duration(-1)

// step performs the next act and reports whether there is more.
func (j *journey) step(ctx context.Context, v *load.Visitor) (time.Duration, bool) {
	wait, again := j.acts[0](ctx, v, j)
	if !again {
		j.acts = j.acts[1:]
	}
	if wait == over || len(j.acts) == 0 || ctx.Err() != nil {
		j.trade.served.Add(1)
		return 0, false
	}
	return wait, true
}

// joinOnly joins and leaves the rest for later.
func (j *journey) joinOnly(ctx context.Context, v *load.Visitor) (time.Duration, bool) {
	if wait, _ := j.acts[0](ctx, v, j); wait == over {
		j.acts = []act{leave}
	} else {
		j.acts = j.acts[1:]
	}
	return 0, false
}

func leave(context.Context, *load.Visitor, *journey) (time.Duration, bool) { return over, false }

// plan makes up what a shopper will do; the same for the same shopper in every
// run, so that a run can be made again.
func (t *Trade) plan(i int) *journey {
	j := &journey{trade: t, shopper: i, token: t.tokens[i], placed: -1}
	dice := rand.New(rand.NewPCG(uint64(i), 0x5a1e)) //nolint:gosec // what shoppers have in mind is no secret
	if t.history.Sale != nil {
		j.early = i%5 != 4
		j.acts = append(j.acts, join)
		if i%16 == 3 {
			j.acts = append(j.acts, intrude("no token", func(*journey) string { return "" }), intrude("a made-up token", func(*journey) string { return "let-me-in" }))
		}
		j.acts = append(j.acts, awaitAdmission)
		if i%8 < 2 || i < aliasCustomers {
			j.acts = append(j.acts, t.greedy(j, dice)...)
		}
	}
	lines := t.basket(i, dice)
	if !t.config.Pay {
		j.acts = append(j.acts, place(lines, "", false))
		return j
	}
	j.acts = append(j.acts, t.payingPlan(lines, dice)...)
	return j
}

// greedy tries to have more than the limit: with other keys, under another
// spelling of the address, at once. The shopper's own order comes after it.
func (t *Trade) greedy(j *journey, dice *rand.Rand) []act {
	sku := t.skus[j.shopper%len(t.skus)]
	one := []shop.LineQuantity{{SKU: sku, Quantity: 1}}
	acts := []act{place([]shop.LineQuantity{{SKU: sku, Quantity: saleLimit + 1}}, "", true)}
	for range saleLimit + 1 {
		acts = append(acts, useNextName, place(one, "", true))
	}
	if dice.IntN(2) == 0 {
		acts = append(acts, intrude("somebody else's token", func(j *journey) string {
			if lent := t.lent.Load(); lent != nil && lent.shopper != j.shopper {
				return lent.token
			}
			return "nobody has one yet"
		}))
	}
	return acts
}

// useNextName goes on under the next spelling, if there are several.
func useNextName(_ context.Context, _ *load.Visitor, j *journey) (time.Duration, bool) {
	if names := j.trade.aliases[j.shopper]; len(names) > 1 {
		j.spelling++
		j.token = names[j.spelling%len(names)]
	}
	return 0, false
}

// basket is what a shopper wants: one unit, or with several SKUs at times more
// of them and two of each.
func (t *Trade) basket(i int, dice *rand.Rand) []shop.LineQuantity {
	first := i % len(t.skus)
	lines := []shop.LineQuantity{{SKU: t.skus[first], Quantity: 1}}
	if !t.config.Pay || dice.IntN(5) < 3 {
		return lines
	}
	lines[0].Quantity += dice.IntN(2)
	for n := range min(dice.IntN(3), len(t.skus)-1) {
		lines = append(lines, shop.LineQuantity{SKU: t.skus[(first+n+1)%len(t.skus)], Quantity: 1 + dice.IntN(2)})
	}
	return lines
}

// payingPlan is one of the ways in which orders are paid or not, and what
// becomes of them afterwards.
func (t *Trade) payingPlan(lines []shop.LineQuantity, dice *rand.Rand) []act {
	later := func(token string) []act { return []act{place(lines, "", false), pay(token)} }
	var acts []act
	switch n := dice.IntN(100); {
	case n < 34: // in one call
		acts = []act{place(lines, "tok_ok", false)}
	case n < 48:
		acts = later("tok_ok")
	case n < 55: // declined, and paid with another card
		acts = append(later("tok_decline"), pay("tok_ok"))
	case n < 58:
		acts = []act{place(lines, "tok_insufficient_funds", false), pay("tok_ok")}
	case n < 61: // declined, and given up
		return append(later("tok_decline"), cancel)
	case n < 64:
		acts = []act{place(lines, "tok_timeout", false)}
	case n < 67:
		acts = later("tok_slow")
	case n < 70:
		acts = later("tok_webhook_first")
	case n < 73:
		acts = []act{place(lines, "tok_webhook_twice", false)}
	case n < 76: // never does what the bank asks for
		return []act{place(lines, "tok_requires_action", false)}
	case n < 79: // does it with another card
		acts = append(later("tok_requires_action"), pay("tok_ok"))
	case n < 88:
		return []act{place(lines, "", false), cancel}
	case n < 92:
		acts = []act{place(lines, "", false), payAndCancel}
	default: // forgets about it
		return []act{place(lines, "", false)}
	}
	return append(acts, t.staffPlan(lines, dice)...)
}

// staffPlan is what the staff does to a paid order.
func (t *Trade) staffPlan(lines []shop.LineQuantity, dice *rand.Rand) []act {
	one := []shop.LineQuantity{{SKU: lines[0].SKU, Quantity: 1}}
	switch dice.IntN(10) {
	case 0, 1, 2:
		return []act{move(proof.Move{Lines: lines})}
	case 3: // the first unit only
		return []act{move(proof.Move{Lines: one})}
	case 4: // sent back, and for sale again
		return []act{move(proof.Move{Lines: lines}), move(proof.Move{Lines: one, Refund: true, Restock: true})}
	case 5: // sent, and not sent back
		return []act{move(proof.Move{Lines: lines}), move(proof.Move{Lines: lines, Refund: true})}
	case 6: // given back before it left
		return []act{move(proof.Move{Lines: one, Refund: true, Restock: true})}
	case 7: // damaged before it left
		return []act{move(proof.Move{Lines: one, Refund: true})}
	default: // the parcel is not packed yet
		return nil
	}
}

// name is what a step is called in a report.
func (j *journey) name(what string) string { return fmt.Sprintf("shopper %d %s", j.shopper, what) }
