package order_test

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// world is one order among real SKUs and a payment provider, run the way the
// runtime runs actors, but in one thread and by dice: what is asked may be
// lost, answered twice, or arrive long after nobody cares; the order and the
// SKUs may be restarted between any two messages.
type world struct {
	t    fataler
	rng  dice
	now  time.Time
	skus map[string]*sku.State
	bank bank
	// initial is the stock that each SKU began with.
	initial map[string]int64

	id      string
	journal []*orderpb.Event
	state   *order.State

	// What a restart loses: commands that wait, questions that are under way.
	waiting []*call
	asks    map[string]*question
	follow  *call

	// ghosts are messages that were sent and may arrive (again) at any time.
	ghosts []order.Ask
	// afterCommit is called when events have been committed; may be nil.
	afterCommit func()
}

// call is a command that is being decided; answered gets the reply, once.
type call struct {
	cmd      proto.Message
	answered func(*orderpb.OrderReply)
	heard    map[string]proto.Message
	missing  int
}

type question struct {
	ask   order.Ask
	calls []*call
}

// dice is where chance comes from: a seed, or rapid.
type dice interface{ IntN(n int) int }

// fataler is what a world needs of a test, rapid's or the standard one.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newWorld(t fataler, rng dice, stock map[string]int64) *world {
	w := &world{
		t: t, rng: rng, now: time.UnixMilli(1_800_000_000_000),
		skus: map[string]*sku.State{}, bank: bank{}, id: order.ID("usr_1", "k1"), asks: map[string]*question{},
	}
	w.state, w.initial = order.New(w.id), stock
	for id, units := range stock {
		w.skus[id] = sku.New(id)
		w.tell(id, &skupb.Configure{
			ProductId: "prd_1", ProductVersion: 1, Name: id, Price: &commonpb.Money{MinorUnits: 1000, Currency: "EUR"}, Active: true, InitialStock: units,
		})
	}
	return w
}

// tell is a message to a SKU, decided and applied.
func (w *world) tell(id string, cmd proto.Message) proto.Message {
	s := w.skus[id]
	if s == nil {
		s = sku.New(id)
		w.skus[id] = s
	}
	events, reply := sku.Decide(s, cmd, w.now)
	for _, e := range events {
		sku.Evolve(s, e)
	}
	return reply
}

// send is a message to whoever an ask is for.
func (w *world) send(a order.Ask) proto.Message {
	if a.Kind == "sku" {
		return w.tell(a.ID, a.Command)
	}
	if a.ID != w.id {
		w.t.Fatalf("the payment of %s is asked of %s", w.id, a.ID)
	}
	return w.bank.do(a.Command)
}

// command gives the order a command and runs it as far as it goes without an
// answer from outside.
func (w *world) command(cmd proto.Message, answered func(*orderpb.OrderReply)) {
	w.decide(&call{cmd: cmd, answered: answered})
	w.wakeWaiting()
}

func (w *world) decide(c *call) (changed bool) {
	d := order.Decide(w.state, c.cmd, w.now, c.heard)
	for _, e := range d.Events {
		b, err := proto.Marshal(e)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		stored := &orderpb.Event{}
		if err := proto.Unmarshal(b, stored); err != nil {
			w.t.Fatalf("%v", err)
		}
		order.Evolve(w.state, e)
		w.journal = append(w.journal, stored)
	}
	switch {
	case c.answered == nil:
	case d.Reply != nil:
		c.answered(d.Reply.(*orderpb.OrderReply))
	case len(d.Asks) > 0:
		w.converse(c, d.Asks)
	default:
		c.heard = nil
		w.waiting = append(w.waiting, c)
	}
	if len(d.Events) > 0 && w.afterCommit != nil {
		w.afterCommit()
	}
	return len(d.Events) > 0
}

// wakeWaiting decides again what waits, until nothing changes, and then asks
// what the state wants.
func (w *world) wakeWaiting() {
	for changed := true; changed; {
		changed = false
		again := w.waiting
		w.waiting = nil
		for _, c := range again {
			changed = w.decide(c) || changed
		}
	}
	if w.follow == nil {
		if asks := order.Pending(w.state); len(asks) > 0 {
			w.follow = &call{cmd: &commonpb.Continue{}}
			w.converse(w.follow, asks)
		}
	}
}

func (w *world) converse(c *call, asks []order.Ask) {
	for _, a := range asks {
		if _, ok := c.heard[a.Key]; ok {
			continue
		}
		c.missing++
		if q := w.asks[a.Key]; q != nil {
			if !proto.Equal(q.ask.Command, a.Command) && a.Kind != "sku" {
				w.t.Fatalf("two questions by the key %s: %v and %v", a.Key, q.ask.Command, a.Command)
			}
			q.calls = append(q.calls, c)
			continue
		}
		w.asks[a.Key] = &question{ask: a, calls: []*call{c}}
	}
	if c.missing == 0 {
		w.t.Fatalf("%T asks only what it has heard", c.cmd)
	}
}

// hear brings the answer to a question.
func (w *world) hear(key string, reply proto.Message) {
	q := w.asks[key]
	if q == nil {
		return
	}
	delete(w.asks, key)
	for _, c := range q.calls {
		if c.heard == nil {
			c.heard = map[string]proto.Message{}
		}
		c.heard[key] = reply
		if c.missing--; c.missing == 0 {
			if c == w.follow {
				w.follow = nil
			}
			w.decide(c)
		}
	}
	w.wakeWaiting()
}

// restart rebuilds the order from its journal. What waited is lost.
func (w *world) restart() {
	w.state = order.New(w.id)
	for _, e := range w.journal {
		order.Evolve(w.state, proto.CloneOf(e))
	}
	for _, q := range w.asks {
		w.ghosts = append(w.ghosts, q.ask)
	}
	slices.SortFunc(w.ghosts, func(a, b order.Ask) int { return compare(a, b) })
	w.waiting, w.asks, w.follow = nil, map[string]*question{}, nil
	w.wakeWaiting()
}

func compare(a, b order.Ask) int {
	x, y := fmt.Sprint(a.Key, a.ID, a.Command), fmt.Sprint(b.Key, b.ID, b.Command)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// keys are the open questions' keys, in an order that does not depend on chance.
func (w *world) keys() []string {
	keys := make([]string, 0, len(w.asks))
	for k := range w.asks {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// advance lets time pass and wakes who is to be woken.
func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	if at := order.WakeAt(w.state); !at.IsZero() && !at.After(w.now) {
		w.command(&commonpb.Tick{}, nil)
	}
	for _, id := range w.skuIDs() {
		if at := sku.WakeAt(w.skus[id]); !at.IsZero() && !at.After(w.now) {
			w.tell(id, &commonpb.Tick{})
		}
	}
}

func (w *world) skuIDs() []string {
	var ids []string
	for id := range w.skus {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// quiet answers every question, without faults, until there is none.
func (w *world) quiet() {
	for range 1000 {
		keys := w.keys()
		if len(keys) == 0 {
			return
		}
		w.hear(keys[0], w.send(w.asks[keys[0]].ask))
	}
	w.t.Fatalf("the order never comes to rest: asks %v", w.keys())
}

// units is what a SKU has for the order, by state.
func (w *world) units(id string) (held, committed int64) {
	for _, a := range sku.Snapshot(w.skus[id]).(*skupb.State).GetAllocations() {
		switch {
		case a.GetOrderId() != w.id:
		case a.GetCommitted():
			committed += a.GetQuantity()
		default:
			held += a.GetQuantity()
		}
	}
	return held, committed
}

func (w *world) order() *orderpb.Order { return order.Snapshot(w.state).(*orderpb.Order) }

// bank is a payment provider's books, by attempt. What becomes of a payment is
// written in its token.
type bank map[int64]*booking

type booking struct {
	asked      bool
	acting     bool
	agreed     bool // by the shopper, where that is asked for
	broken     bool // authorized, and then never captured
	authorized bool
	captured   int
	amount     int64 // captured
	voided     bool
	refunds    map[int64]int64 // by number; -1 is refused
}

func (b bank) of(attempt int64) *booking {
	if b[attempt] == nil {
		b[attempt] = &booking{}
	}
	return b[attempt]
}

func (b bank) do(cmd proto.Message) proto.Message {
	switch c := cmd.(type) {
	case *paymentpb.Authorize:
		k := b.of(c.GetAttempt())
		k.asked = true
		reply := &paymentpb.AuthorizeReply{Provider: "bank", Reference: fmt.Sprint("ref", c.GetAttempt())}
		switch {
		case k.voided || c.GetToken() == "decline":
			reply.Status, reply.DeclineReason = paymentpb.AuthorizeReply_STATUS_DECLINED, "no"
		case c.GetToken() == "act" && !k.agreed:
			k.acting = true
			reply.Status, reply.NextActionUrl = paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION, "https://bank.invalid/"
		default:
			k.authorized, k.broken = true, c.GetToken() == "broken"
			reply.Status = paymentpb.AuthorizeReply_STATUS_AUTHORIZED
		}
		return reply
	case *paymentpb.Lookup:
		k := b.of(c.GetAttempt())
		token := "ok"
		if !k.acting {
			panic(fmt.Sprintf("attempt %d is looked up: %+v", c.GetAttempt(), *k))
		}
		if !k.agreed {
			token = "act"
		}
		return b.do(&paymentpb.Authorize{Attempt: c.GetAttempt(), Token: token})
	case *paymentpb.Refund:
		return b.refund(c)
	case *paymentpb.Capture:
		k := b.of(c.GetAttempt())
		if k.broken {
			return &paymentpb.CaptureReply{Refused: "the card was stolen"}
		}
		if !k.authorized || k.voided {
			panic(fmt.Sprintf("attempt %d is captured: %+v", c.GetAttempt(), *k))
		}
		k.captured, k.amount = 1, c.GetAmount().GetMinorUnits()
		return &paymentpb.CaptureReply{}
	case *paymentpb.Void:
		k := b.of(c.GetAttempt())
		if k.captured > 0 {
			panic(fmt.Sprintf("attempt %d is voided: %+v", c.GetAttempt(), *k))
		}
		k.voided = true
		return &paymentpb.VoidReply{}
	}
	panic(fmt.Sprintf("the bank is asked %T", cmd))
}

// refund gives money back once a number; every fourth it refuses.
func (b bank) refund(c *paymentpb.Refund) proto.Message {
	k := b.of(c.GetAttempt())
	if k.captured == 0 {
		panic(fmt.Sprintf("attempt %d is refunded: %+v", c.GetAttempt(), *k))
	}
	if k.refunds == nil {
		k.refunds = map[int64]int64{}
	}
	amount, known := k.refunds[c.GetNumber()]
	switch {
	case !known && c.GetNumber()%4 == 0:
		amount = -1
	case !known:
		amount = c.GetAmount().GetMinorUnits()
	case amount >= 0 && amount != c.GetAmount().GetMinorUnits():
		panic(fmt.Sprintf("refund %d is %d and then %v", c.GetNumber(), amount, c.GetAmount()))
	}
	k.refunds[c.GetNumber()] = amount
	if amount < 0 {
		return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUSED, RefuseReason: "no"}
	}
	return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: fmt.Sprint("re", c.GetNumber())}
}
