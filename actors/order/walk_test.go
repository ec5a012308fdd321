package order_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

var walks = flag.Int("walks", 1500, "how many random walks an order goes")

var (
	customer = &commonpb.Actor{UserId: "usr_1"}
	clerk    = &commonpb.Actor{UserId: "usr_s", Staff: true}
)

// sold: the shop has, or had, the money.
func sold(o *orderpb.Order) bool {
	switch o.GetStatus() {
	case orderpb.Status_STATUS_CONFIRMED, orderpb.Status_STATUS_PARTIALLY_FULFILLED, orderpb.Status_STATUS_FULFILLED:
		return true
	default:
		return o.GetPayment().GetRefunded() != nil
	}
}

// TestWalk: whatever happens on the way, in the end either everything is
// confirmed, committed and captured, or nothing is held, committed or reserved
// of the customer's money; and every answer on the way was true to that. A
// failure names its seed.
func TestWalk(t *testing.T) {
	ends := map[string]int{}
	for seed := range uint64(*walks) {
		d := newWalk(t, rand.New(rand.NewPCG(seed, 7)), fmt.Sprint("seed ", seed))
		d.run()
		ends[d.ending()]++
	}
	// A walk that never gets somewhere proves nothing of it.
	for _, want := range []string{"CONFIRMED", "CONFIRMED late", "CANCELLED", "CANCELLED undelivered", "REJECTED", "EXPIRED", "PARTIALLY_FULFILLED", "FULFILLED", "CANCELLED refunded", "CANCELLED uncaptured"} {
		if ends[want] < 10 {
			t.Errorf("only %d of the walks end %s: %v", ends[want], want, ends)
		}
	}
}

// TestWalkByRapid is the same with rapid's dice, which finds the shortest walk
// that fails.
func TestWalkByRapid(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { newWalk(rt, rapidDice{rt}, "rapid").run() })
}

type rapidDice struct{ t *rapid.T }

func (d rapidDice) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "dice") }

func newWalk(t fataler, rng dice, name string) *walk {
	w := newWorld(t, rng, map[string]int64{"A": 4, "B": 3, "C": 2})
	return &walk{world: w, name: name, answers: map[string]string{}, books: books{lines: map[string]*bookLine{}, price: 1000}}
}

type walk struct {
	*world
	name string
	// rivals are other orders' holds.
	rivals []rival
	taken  int // rivals so far
	// answers are what keys were answered with in the end: a refusal's reason
	// once given for good is given for ever.
	answers map[string]string
	open    int // commands without an answer
	books   books
	news    []int64 // attempts that the bank has sent notices of, or will
	moves   int     // fulfilments and refunds that were asked for
}

type rival struct{ order, sku string }

// ending is how the order ended, in words that tell the interesting ways apart.
func (d *walk) ending() string {
	o := d.order()
	name := strings.TrimPrefix(o.GetStatus().String(), "STATUS_")
	switch {
	case o.GetRejection().GetReason() == commonpb.Reason_REASON_PAYMENT_DECLINED:
		return name + " uncaptured"
	case o.GetStatus() == orderpb.Status_STATUS_CANCELLED && o.GetRejection() != nil:
		return name + " undelivered"
	case o.GetStatus() == orderpb.Status_STATUS_CANCELLED && o.GetPayment().GetRefunded() != nil:
		return name + " refunded"
	case o.GetStatus() == orderpb.Status_STATUS_CONFIRMED && o.GetHistory()[len(o.GetHistory())-1].GetAtMs() > o.GetPlacedAtMs()+o.GetHoldMs():
		return name + " late"
	}
	return name
}

func (d *walk) fail(format string, args ...any) {
	d.t.Helper()
	d.t.Fatalf("%s: %s\n%v", d.name, fmt.Sprintf(format, args...), d.order())
}

func (d *walk) run() {
	defer func() {
		if _, ok := d.t.(*testing.T); ok {
			if v := recover(); v != nil {
				panic(d.name + ": " + fmt.Sprint(v))
			}
		}
	}()
	place := d.anyPlace()
	steps := 10 + d.rng.IntN(90)
	for range steps {
		d.step(place)
		d.checkBooks()
	}
	d.end(place)
}

func (d *walk) anyPlace() *orderpb.Place {
	c := &orderpb.Place{CustomerId: "usr_1", IdempotencyKey: "k1", HoldMs: (10 * time.Minute).Milliseconds()}
	for _, id := range []string{"A", "B", "C"}[:1+d.rng.IntN(3)] {
		c.Lines = append(c.Lines, &orderpb.PlaceLine{Sku: id, Quantity: int64(1 + d.rng.IntN(2))})
	}
	c.PaymentToken = []string{"", "", "ok", "ok", "decline", "act", "broken"}[d.rng.IntN(7)]
	return c
}

func (d *walk) step(place *orderpb.Place) {
	if sold(d.order()) && d.rng.IntN(5) == 0 {
		d.move()
		return
	}
	switch n := d.rng.IntN(100); {
	case n < 12:
		d.ask("place", place)
	case n < 22:
		d.pay()
	case n < 24:
		d.move()
	case n < 26:
		d.ask("cancel", &orderpb.Cancel{Actor: customer})
	case n < 28:
		d.ask("get", &orderpb.Get{Actor: customer})
	case n < 70:
		d.answerOne()
	case n < 76:
		d.restart()
		d.open = 0
	case n < 80:
		d.restartSKU()
	case n < 86:
		d.ghost()
	case n < 92:
		d.rivalry()
	case n < 94:
		for attempt, k := range d.bank {
			k.agreed = true
			d.news = append(d.news, attempt)
		}
		slices.Sort(d.news)
	case n < 95 && len(d.news) > 0:
		d.ask("notice", &orderpb.PaymentNotice{Attempt: d.news[d.rng.IntN(len(d.news))]})
	case n < 98:
		d.advance(time.Duration(d.rng.IntN(60)) * time.Second)
	default:
		d.advance(11 * time.Minute)
		d.sellOut()
	}
}

func (d *walk) pay() {
	n := d.rng.IntN(4)
	d.ask(fmt.Sprint("pay", n), &orderpb.Pay{Actor: customer, IdempotencyKey: fmt.Sprint("p", n), PaymentToken: []string{"ok", "decline", "act", "ok"}[n]})
}

// move fulfils or refunds something, or asks for the same again.
func (d *walk) move() {
	n := d.rng.IntN(d.moves + 1)
	if n == d.moves {
		d.moves++
	}
	// What a key asks for is in the key, so that it is the same every time.
	pick := rand.New(rand.NewPCG(uint64(n), 3))
	var lines []*orderpb.LineQuantity
	if pick.IntN(6) > 0 {
		lines = append(lines, &orderpb.LineQuantity{Sku: []string{"A", "B", "C"}[pick.IntN(3)], Quantity: int64(1 + pick.IntN(2))})
	}
	key := fmt.Sprint("m", n)
	if pick.IntN(2) == 0 {
		d.ask(key, &orderpb.Fulfil{Actor: clerk, IdempotencyKey: key, Lines: lines, Tracking: "T-" + key})
		return
	}
	d.ask(key, &orderpb.Refund{Actor: clerk, IdempotencyKey: key, Lines: lines, Restock: pick.IntN(2) == 0, Reason: "why not"})
}

// ask sends a command and holds every answer against the earlier ones.
func (d *walk) ask(key string, cmd proto.Message) {
	d.open++
	d.command(cmd, func(r *orderpb.OrderReply) {
		d.open--
		reason := r.GetRefusal().GetReason()
		if r.GetOrder() == nil && reason == commonpb.Reason_REASON_UNSPECIFIED {
			d.fail("%s is answered with nothing", key)
		}
		switch reason {
		case commonpb.Reason_REASON_PAYMENT_DECLINED:
			if r.GetOrder().GetRejection() == nil { // else it was granted first
				d.answers[key] = reason.String()
			}
		case commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH:
			d.fail("%s: the input was always the same: %v", key, r)
		default:
		}
		if want := d.answers[key]; want != "" && want != reason.String() {
			d.fail("%s was answered with %s and now with %v", key, want, r)
		}
		if sold(r.GetOrder()) {
			d.answers["confirmed"] = "yes"
		} else if r.GetOrder() != nil && d.answers["confirmed"] != "" && r.GetOrder().GetRejection().GetReason() != commonpb.Reason_REASON_PAYMENT_DECLINED {
			d.fail("an order that was confirmed is answered as %v", r.GetOrder().GetStatus())
		}
	})
}

// answerOne takes one open question: it arrives and is answered; or its answer
// is lost and it is asked again; or it stays on its way.
func (d *walk) answerOne() {
	keys := d.keys()
	if len(keys) == 0 {
		return
	}
	key := keys[d.rng.IntN(len(keys))]
	a := d.asks[key].ask
	d.ghosts = append(d.ghosts, a)
	switch d.rng.IntN(6) {
	case 0:
		d.send(a) // arrives; the answer does not
	case 1: // does not arrive
	default:
		d.hear(key, d.send(a))
	}
}

// ghost delivers a message that was sent before, maybe long ago.
func (d *walk) ghost() {
	if len(d.ghosts) > 0 {
		d.send(d.ghosts[d.rng.IntN(len(d.ghosts))])
	}
}

func (d *walk) restartSKU() {
	ids := d.skuIDs()
	id := ids[d.rng.IntN(len(ids))]
	b, err := proto.Marshal(sku.Snapshot(d.skus[id]))
	if err != nil {
		d.fail("%v", err)
	}
	if d.skus[id], err = sku.Restore(id, b); err != nil {
		d.fail("%v", err)
	}
}

// rivalry has other orders take and return units.
func (d *walk) rivalry() {
	ids := d.skuIDs()
	id := ids[d.rng.IntN(len(ids))]
	if n := len(d.rivals); n > 0 && d.rng.IntN(3) == 0 {
		r := d.rivals[n-1]
		d.rivals = d.rivals[:n-1]
		d.tell(r.sku, &skupb.Release{OrderId: r.order})
		return
	}
	d.taken++
	r := rival{fmt.Sprint("rival", d.taken), id}
	reply := d.tell(id, &skupb.Reserve{OrderId: r.order, CustomerId: "usr_2", Quantity: int64(1 + d.rng.IntN(3)), ExpiresAtMs: d.now.Add(5 * time.Minute).UnixMilli()})
	if reply.(*skupb.ReserveReply).GetRefusal() == nil {
		d.rivals = append(d.rivals, r)
	}
}

// sellOut has others take all that is left of a SKU, for longer than the walk.
func (d *walk) sellOut() {
	ids := d.skuIDs()
	id := ids[d.rng.IntN(len(ids))]
	left := d.tell(id, &skupb.GetLevel{}).(*skupb.StockReply).GetLevel().GetStock().GetAvailable()
	if left > 0 && d.rng.IntN(2) == 0 {
		d.taken++
		d.tell(id, &skupb.Reserve{OrderId: fmt.Sprint("rival", d.taken), CustomerId: "usr_2", Quantity: left, ExpiresAtMs: d.now.Add(40 * time.Minute).UnixMilli()})
	}
}

// end brings everything to rest and looks at what there is.
func (d *walk) end(place *orderpb.Place) {
	d.quiet()
	if d.open != 0 {
		d.fail("%d commands are never answered", d.open)
	}
	if d.order().GetStatus() == orderpb.Status_STATUS_UNSPECIFIED {
		d.ask("place", place)
		d.quiet()
	}
	d.advance(time.Hour)
	d.quiet()
	for len(d.ghosts) > 0 { // whatever is still on its way arrives at last
		d.send(d.ghosts[0])
		d.ghosts = d.ghosts[1:]
	}
	d.advance(time.Hour)
	d.checkEnd()
	before := d.order()
	d.restart()
	d.quiet()
	if !proto.Equal(before, d.order()) {
		d.fail("another order after a restart: %v", before)
	}
	d.checkHistory(before)
}

func (d *walk) checkEnd() {
	d.checkBooks()
	o := d.order()
	confirmed := sold(o)
	if !confirmed && d.answers["confirmed"] != "" && o.GetRejection().GetReason() != commonpb.Reason_REASON_PAYMENT_DECLINED {
		d.fail("it was answered as confirmed, and is not")
	}
	want := map[string]int64{}
	for _, l := range o.GetLines() {
		if confirmed {
			want[l.GetSku()] = l.GetQuantity() - l.GetFulfilled() - l.GetWithdrawn()
		}
	}
	for _, id := range d.skuIDs() {
		if held, committed := d.units(id); held != 0 || committed != want[id] {
			d.fail("%s holds %d and has committed %d, want %d", id, held, committed, want[id])
		}
	}
	captured := 0
	for attempt, k := range d.bank {
		captured += k.captured
		if k.authorized && k.captured == 0 && !k.voided {
			d.fail("payment %d reserves the customer's money for ever", attempt)
		}
	}
	if (captured == 1) != confirmed || captured > 1 {
		d.fail("captured %d times", captured)
	}
	if len(order.Pending(d.state)) != 0 || !order.WakeAt(d.state).IsZero() {
		d.fail("it is not at rest")
	}
}

func (d *walk) checkHistory(o *orderpb.Order) {
	from := orderpb.Status_STATUS_UNSPECIFIED
	for _, h := range o.GetHistory() {
		if h.GetStatus() != from && !slices.Contains(order.AllowedTransitions(from), h.GetStatus()) {
			d.fail("it went from %v to %v", from, h.GetStatus())
		}
		from = h.GetStatus()
	}
	if from != o.GetStatus() || len(order.AllowedTransitions(from)) != 0 && !sold(o) {
		d.fail("it ends as %v, its history as %v", o.GetStatus(), from)
	}
}

// TestRestartAnywhere: an order that is rebuilt from its events, after any of
// them, comes to the same end with the same events.
func TestRestartAnywhere(t *testing.T) {
	type script struct {
		name  string
		token string
		stock map[string]int64
		then  proto.Message
		end   orderpb.Status
	}
	plenty := map[string]int64{"A": 5, "B": 5}
	scripts := []script{
		{"paid", "ok", plenty, nil, orderpb.Status_STATUS_CONFIRMED},
		{"declined and paid again", "decline", plenty, &orderpb.Pay{Actor: customer, IdempotencyKey: "p", PaymentToken: "ok"}, orderpb.Status_STATUS_CONFIRMED},
		{"acting and paid otherwise", "act", plenty, &orderpb.Pay{Actor: customer, IdempotencyKey: "p", PaymentToken: "ok"}, orderpb.Status_STATUS_CONFIRMED},
		{"acting and cancelled", "act", plenty, &orderpb.Cancel{Actor: customer}, orderpb.Status_STATUS_CANCELLED},
		{"fulfilled in part", "ok", plenty, &orderpb.Fulfil{Actor: clerk, IdempotencyKey: "f", Lines: []*orderpb.LineQuantity{{Sku: "A", Quantity: 1}}}, orderpb.Status_STATUS_PARTIALLY_FULFILLED},
		{"fulfilled", "ok", plenty, &orderpb.Fulfil{Actor: clerk, IdempotencyKey: "f"}, orderpb.Status_STATUS_FULFILLED},
		{"refunded in part", "ok", plenty, &orderpb.Refund{Actor: clerk, IdempotencyKey: "r", Restock: true, Lines: []*orderpb.LineQuantity{{Sku: "B", Quantity: 1}}}, orderpb.Status_STATUS_CONFIRMED},
		{"refunded", "ok", plenty, &orderpb.Refund{Actor: clerk, IdempotencyKey: "r"}, orderpb.Status_STATUS_CANCELLED},
		{"confirmed and not captured", "broken", plenty, nil, orderpb.Status_STATUS_CANCELLED},
		{"cancelled", "", plenty, &orderpb.Cancel{Actor: customer}, orderpb.Status_STATUS_CANCELLED},
		{"rejected", "ok", map[string]int64{"A": 5, "B": 1}, nil, orderpb.Status_STATUS_REJECTED},
	}
	for _, sc := range scripts {
		t.Run(sc.name, func(t *testing.T) {
			run := func(restartAfter int) *world {
				w := newWorld(t, rand.New(rand.NewPCG(0, 0)), sc.stock)
				commits, crash := 0, false
				w.afterCommit = func() { commits++; crash = commits == restartAfter }
				commands := []proto.Message{&orderpb.Place{
					CustomerId: "usr_1", IdempotencyKey: "k1", PaymentToken: sc.token, HoldMs: 600_000,
					Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 2}, {Sku: "B", Quantity: 2}},
				}}
				if sc.then != nil {
					commands = append(commands, sc.then)
				}
				for _, cmd := range commands {
					for done := false; !done; { // whoever loses the connection asks again
						w.command(cmd, func(*orderpb.OrderReply) { done = true })
						for !crash && len(w.keys()) > 0 {
							key := w.keys()[0]
							w.hear(key, w.send(w.asks[key].ask))
						}
						if crash {
							crash = false
							w.restart()
							w.quiet()
						}
					}
				}
				w.quiet()
				return w
			}
			whole := run(-1)
			if got := whole.order().GetStatus(); got != sc.end {
				t.Fatalf("it ends as %v, want %v", got, sc.end)
			}
			if len(whole.journal) < 2 {
				t.Fatal("nothing happened")
			}
			for k := 1; k <= len(whole.journal); k++ {
				part := run(k)
				if !proto.Equal(whole.order(), part.order()) {
					t.Errorf("after commit %d: %v\nwithout a restart: %v", k, part.order(), whole.order())
				}
			}
		})
	}
}

// TestOneLineOrderIsOneRecord: placing costs the order one record and the SKU one.
func TestOneLineOrderIsOneRecord(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(0, 0)), map[string]int64{"A": 5})
	commits := 0
	w.afterCommit = func() { commits++ }
	before := sku.Snapshot(w.skus["A"]).(*skupb.State).GetVersion()
	w.command(&orderpb.Place{CustomerId: "usr_1", IdempotencyKey: "k1", HoldMs: 600_000, Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1}}}, func(*orderpb.OrderReply) {})
	w.quiet()
	if after := sku.Snapshot(w.skus["A"]).(*skupb.State).GetVersion(); commits != 1 || len(w.journal) != 2 || after != before+1 {
		t.Errorf("%d records of the order with %d events, %d events of the SKU", commits, len(w.journal), after-before)
	}
}
