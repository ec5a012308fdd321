package sale

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
)

// What shoppers and staff do, a request or two at a time. Each act takes down
// what it was told.

// join takes a place in the waiting room.
func join(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
	var ticket *shop.Ticket
	sale := j.trade.history.Sale.ID
	r := v.Ask(ctx, j.token, shop.JoinSale(sale), shop.JudgeJoin(&ticket))
	if r.Kind != shop.Accepted {
		j.trade.broke("%s: %s", j.name("could not join the waiting room"), r.Reason)
		return over, false
	}
	j.ticket = ticket
	// Before the opening, and for who comes after it, the position is the order of joining.
	j.trade.note(func(h *proof.Trade) {
		h.Sale.Waited[j.shopper] = &proof.Waited{Number: ticket.Position, Early: j.early}
	})
	return 0, false
}

// awaitAdmission polls the ticket, as often as it says, until it lets the
// shopper in.
func awaitAdmission(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
	var ticket *shop.Ticket
	r := v.Ask(ctx, j.token, shop.ReadTicket(j.ticket.ID), shop.JudgeRead(&ticket))
	if r.Kind != shop.Accepted {
		j.trade.broke("%s: %s", j.name("could not read the ticket"), r.Reason)
		return over, false
	}
	if ticket.AdmissionToken == "" {
		return time.Duration(max(ticket.PollAfterMs, 1)) * time.Millisecond, true
	}
	j.admission = ticket.AdmissionToken
	j.trade.lent.Store(&lentToken{j.shopper, j.admission})
	j.trade.note(func(h *proof.Trade) {
		w := h.Sale.Waited[j.shopper]
		w.Position, w.AdmittedAt = ticket.Position, r.Answered
	})
	return 0, false
}

// intrude orders with a token that is no good.
func intrude(how string, token func(*journey) string) act {
	return func(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
		var order *shop.Trade
		in := shop.PlaceOrderInput{
			IdempotencyKey: fmt.Sprintf("intruder-%s-%d-%s", j.trade.config.Run, j.shopper, how[:4]), SaleID: j.trade.history.Sale.ID, AdmissionToken: token(j),
			Lines: []shop.LineQuantity{{SKU: j.trade.skus[j.shopper%len(j.trade.skus)], Quantity: 1}},
		}
		r := v.Ask(ctx, j.token, shop.PlaceOrder(in), shop.JudgeTrade(&order))
		if r.Reason == "SALE_NOT_OPEN" { // before the opening nobody gets as far as the door
			return openingDelay, true
		}
		j.trade.note(func(h *proof.Trade) {
			h.Sale.Intruders = append(h.Sale.Intruders, proof.Intruder{Shopper: j.shopper, How: how, Kind: r.Kind, Reason: r.Reason})
		})
		return 0, false
	}
}

// place orders; with a payment token it pays in the same call.
func place(lines []shop.LineQuantity, paymentToken string, greedy bool) act {
	return func(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
		t := j.trade
		j.orders++
		in := shop.PlaceOrderInput{IdempotencyKey: fmt.Sprintf("demo-%s-%d-%d", t.config.Run, j.shopper, j.orders), Lines: lines, PaymentToken: paymentToken}
		if t.history.Sale != nil {
			in.SaleID, in.AdmissionToken = t.history.Sale.ID, j.admission
		}
		var order *shop.Trade
		r := v.Do(ctx, j.token, shop.PlaceOrder(in), shop.JudgeTrade(&order))
		if !greedy {
			t.placedOne()
		}
		p := proof.Placed{Shopper: j.shopper, Key: in.IdempotencyKey, Lines: lines, Greedy: greedy || j.orders > 1, Kind: r.Kind, Reason: r.Reason}
		if order != nil {
			p.ID = order.ID
			if order.State != "REJECTED" { // it held its units, whatever its payment came to
				p.Kind, p.Told = shop.Accepted, []proof.Told{{Version: order.Version, State: order.State}}
			}
		}
		t.note(func(h *proof.Trade) {
			j.placed = len(h.Placed)
			h.Placed, t.inputs = append(h.Placed, p), append(t.inputs, in)
		})
		if p.Kind != shop.Accepted {
			if greedy {
				return 0, false
			}
			return over, false
		}
		j.order = order
		if r.Kind == shop.Refused && !mayEnd("pay", r.Reason) {
			t.broke("%s: %s", j.name("paid in one call and was refused"), r.Reason)
		}
		return 0, false
	}
}

// payments of an order and how they may end: what is not here is a violation.
func mayEnd(what, reason string) bool {
	outcomes := map[string][]string{
		"pay":    {"PAYMENT_DECLINED", "HOLD_EXPIRED"},
		"race":   {"PAYMENT_DECLINED", "HOLD_EXPIRED", "ILLEGAL_TRANSITION"},
		"cancel": {"ILLEGAL_TRANSITION"}, // it has ended by itself meanwhile
	}
	return slices.Contains(outcomes[what], reason)
}

// tell takes down what was acknowledged of the journey's order.
func (j *journey) tell(order *shop.Trade) {
	if order == nil {
		return
	}
	j.trade.note(func(h *proof.Trade) {
		p := &h.Placed[j.placed]
		p.Told = append(p.Told, proof.Told{Version: order.Version, State: order.State})
	})
	if j.order == nil || order.Version >= j.order.Version {
		j.order = order
	}
}

func pay(token string) act {
	return func(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
		if sold(j.order) {
			return 0, false
		}
		var order *shop.Trade
		key := fmt.Sprintf("pay-%s-%d", token, j.orders)
		r := v.Do(ctx, j.token, shop.PayOrder(key, j.order.ID, token), shop.JudgeTrade(&order))
		j.tell(order)
		if r.Kind != shop.Accepted && !(r.Kind == shop.Refused && mayEnd("pay", r.Reason)) {
			j.trade.broke("%s: %s", j.name("could not pay order "+j.order.ID), r.Reason)
			return over, false
		}
		if r.Reason == "HOLD_EXPIRED" {
			return over, false
		}
		return 0, false
	}
}

func cancel(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
	var order *shop.Trade
	r := v.Ask(ctx, j.token, shop.CancelOrder(j.order.ID, "changed my mind"), shop.JudgeTrade(&order))
	j.tell(order)
	if r.Kind != shop.Accepted && !(r.Kind == shop.Refused && mayEnd("cancel", r.Reason)) {
		j.trade.broke("%s: %s", j.name("could not cancel order "+j.order.ID), r.Reason)
	}
	return 0, false
}

// payAndCancel does both at the same moment: one of them wins.
func payAndCancel(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
	var paid, cancelled *shop.Trade
	var payAnswer, cancelAnswer load.Result
	second := v.Second()
	var both sync.WaitGroup
	both.Go(func() {
		payAnswer = v.Do(ctx, j.token, shop.PayOrder("race", j.order.ID, "tok_ok"), shop.JudgeTrade(&paid))
	})
	both.Go(func() {
		cancelAnswer = second.Ask(ctx, j.token, shop.CancelOrder(j.order.ID, "raced"), shop.JudgeTrade(&cancelled))
	})
	both.Wait()
	j.tell(paid)
	j.tell(cancelled)
	for what, r := range map[string]load.Result{"pay": payAnswer, "cancel": cancelAnswer} {
		if r.Kind != shop.Accepted && !(r.Kind == shop.Refused && mayEnd("race", r.Reason)) {
			j.trade.broke("%s order %s: %s", j.name("raced to "+what), j.order.ID, r.Reason)
		}
	}
	if payAnswer.Kind == shop.Accepted && cancelAnswer.Kind == shop.Accepted {
		j.trade.broke("%s", j.name("was told that order "+j.order.ID+" is paid, and that it is cancelled"))
	}
	return 0, false
}

// sold: the order was paid.
func sold(o *shop.Trade) bool {
	return o != nil && slices.Contains([]string{"CONFIRMED", "PARTIALLY_FULFILLED", "FULFILLED"}, o.State)
}

// move is the staff's: units leave, or money goes back.
func move(m proof.Move) act {
	return func(ctx context.Context, v *load.Visitor, j *journey) (time.Duration, bool) {
		if !sold(j.order) {
			return over, false
		}
		var order *shop.Trade
		what, body := "fulfil", shop.FulfilOrder("fulfil", j.order.ID, m.Lines)
		if m.Refund {
			what, body = "refund", shop.RefundOrder("refund", j.order.ID, m.Lines, m.Restock)
		}
		r := v.Ask(ctx, j.trade.config.Staff.Token, body, shop.JudgeTrade(&order))
		if r.Kind != shop.Accepted {
			j.trade.broke("the staff could not %s order %s: %s", what, j.order.ID, r.Reason)
			return over, false
		}
		j.tell(order)
		j.trade.note(func(h *proof.Trade) { h.Placed[j.placed].Moves = append(h.Placed[j.placed].Moves, m) })
		return 0, false
	}
}
