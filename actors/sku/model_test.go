package sku

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// model is what a SKU promises, in the fewest words: a pile of free units, a
// pile set aside, and who has what.
type model struct {
	free, aside int64
	orders      map[string]*modelOrder
	answers     map[string]modelAnswer
}

type modelOrder struct {
	state    string // held, sold, ended (by its deadline), gone (given back)
	quantity int64
	until    time.Time
	move     int64 // the last one; then quantity is what is left
}

type modelAnswer struct {
	input string
	stock stock
}

func (m *model) sum(state string) (n int64) {
	for _, o := range m.orders {
		if o.state == state {
			n += o.quantity
		}
	}
	return n
}

func (m *model) stock() stock { return stock{m.free, m.sum("held"), m.sum("sold"), m.aside} }

func (m *model) order(id string) *modelOrder {
	if m.orders[id] == nil {
		m.orders[id] = &modelOrder{}
	}
	return m.orders[id]
}

// do is a command, and the reason it is refused with, or "UNSPECIFIED".
func (m *model) do(cmd proto.Message, now time.Time) string {
	for _, o := range m.orders {
		if o.state == "held" && !o.until.After(now) {
			o.state = "ended"
			m.free += o.quantity
		}
	}
	switch c := cmd.(type) {
	case *skupb.Reserve:
		return m.reserve(c, now)
	case *skupb.Confirm:
		return m.confirm(c)
	case *skupb.Release:
		return m.release(c)
	case *skupb.Fulfil:
		return m.move(c.GetOrderId(), c.GetMove(), c.GetQuantity(), 0, func() {})
	case *skupb.Return:
		return m.move(c.GetOrderId(), c.GetMove(), c.GetCommitted(), c.GetFulfilled(), func() {
			if c.GetRestock() {
				m.free += c.GetCommitted() + c.GetFulfilled()
			} else {
				m.aside += c.GetCommitted()
			}
		})
	case *skupb.Adjust:
		return m.keyed(c.GetIdempotencyKey(), fmt.Sprint("adjust", c.GetDelta()), func() string {
			if m.free+c.GetDelta() < 0 {
				return "INSUFFICIENT_STOCK"
			}
			m.free += c.GetDelta()
			return ""
		})
	case *skupb.MarkUnavailable:
		return m.keyed(c.GetIdempotencyKey(), fmt.Sprint("aside", c.GetQuantity()), func() string {
			if m.free < c.GetQuantity() {
				return "INSUFFICIENT_STOCK"
			}
			m.free, m.aside = m.free-c.GetQuantity(), m.aside+c.GetQuantity()
			return ""
		})
	case *skupb.SetOnHand:
		return m.keyed(c.GetIdempotencyKey(), fmt.Sprint("count", c.GetOnHand(), c.GetAllowShortfall()), func() string { return m.count(c) })
	}
	return "UNSPECIFIED"
}

func (m *model) reserve(c *skupb.Reserve, now time.Time) string {
	o := m.order(c.GetOrderId())
	switch {
	case (o.state == "held" || o.state == "sold") && o.move == 0 && o.quantity != c.GetQuantity():
		return "IDEMPOTENCY_MISMATCH"
	case o.state == "held" || o.state == "sold":
		return "UNSPECIFIED"
	case o.state == "ended":
		return "HOLD_EXPIRED"
	case o.state == "gone":
		return "ILLEGAL_TRANSITION"
	case c.GetExpiresAtMs() <= now.UnixMilli():
		return "HOLD_EXPIRED"
	case m.free < c.GetQuantity():
		return "INSUFFICIENT_STOCK"
	}
	m.free -= c.GetQuantity()
	*o = modelOrder{"held", c.GetQuantity(), time.UnixMilli(c.GetExpiresAtMs()), 0}
	return "UNSPECIFIED"
}

func (m *model) confirm(c *skupb.Confirm) string {
	o := m.order(c.GetOrderId())
	switch {
	case (o.state == "held" || o.state == "sold") && o.move == 0 && o.quantity != c.GetQuantity():
		return "INVALID"
	case o.state == "held" || o.state == "sold":
		o.state = "sold"
		return "UNSPECIFIED"
	case o.state == "gone":
		return "ILLEGAL_TRANSITION"
	case m.free < c.GetQuantity() && o.state == "ended":
		return "HOLD_EXPIRED"
	case m.free < c.GetQuantity():
		return "INSUFFICIENT_STOCK"
	}
	m.free -= c.GetQuantity()
	o.state, o.quantity = "sold", c.GetQuantity()
	return "UNSPECIFIED"
}

func (m *model) release(c *skupb.Release) string {
	o := m.order(c.GetOrderId())
	switch {
	case o.state == "sold" && !c.GetIncludeCommitted():
		return "ILLEGAL_TRANSITION"
	case o.state == "sold" || o.state == "held":
		m.free += o.quantity
		o.move = 0
	}
	o.state = "gone"
	return "UNSPECIFIED"
}

// move takes sold units from an order, and does what becomes of them.
func (m *model) move(order string, number, sold, outside int64, then func()) string {
	o := m.order(order)
	switch {
	case sold+outside == 0:
		return "INVALID"
	case (o.state == "sold" || o.state == "gone") && o.move >= number:
		return "UNSPECIFIED"
	case sold > 0 && o.state != "sold", o.state == "held":
		return "ILLEGAL_TRANSITION"
	case o.state == "sold" && o.quantity < sold:
		return "INVALID"
	}
	then()
	o.move = number
	if o.state == "sold" {
		o.quantity -= sold
	}
	if o.state != "sold" || o.quantity == 0 {
		o.state = "gone"
	}
	return "UNSPECIFIED"
}

func (m *model) count(c *skupb.SetOnHand) string {
	taken := m.sum("held") + m.sum("sold")
	switch {
	case c.GetOnHand() >= taken+m.aside:
		m.free = c.GetOnHand() - taken - m.aside
	case c.GetOnHand() < taken && !c.GetAllowShortfall():
		return "INSUFFICIENT_STOCK"
	default:
		m.free, m.aside = 0, max(0, c.GetOnHand()-taken)
	}
	return ""
}

func (m *model) keyed(key, input string, do func() string) string {
	if a, ok := m.answers[key]; ok {
		if a.input != input {
			return "IDEMPOTENCY_MISMATCH"
		}
		return "UNSPECIFIED"
	}
	if reason := do(); reason != "" {
		return reason
	}
	m.answers[key] = modelAnswer{input, m.stock()}
	return "UNSPECIFIED"
}

// anyCommand draws a command of few orders and keys, so that they meet.
func anyCommand(draw func(what string, n int) int, now time.Time) proto.Message {
	order := fmt.Sprint("o", draw("order", 8))
	key := fmt.Sprint("k", draw("key", 10))
	quantity := int64(1 + draw("quantity", 4))
	move := int64(1 + draw("move", 4))
	switch draw("command", 16) {
	case 0, 1, 2, 3:
		return &skupb.Reserve{
			OrderId: order, CustomerId: "usr_" + order, Quantity: quantity,
			ExpiresAtMs: now.Add(time.Duration(draw("hold", 6)) * time.Second).UnixMilli(),
		}
	case 4, 5:
		return confirm(order, quantity)
	case 6:
		return release(order)
	case 7:
		return takeBack(order)
	case 8:
		return adjust(key, []int64{-7, -3, -1, 1, 2, 5}[draw("delta", 6)])
	case 9:
		return count(key, int64(draw("onHand", 25)), draw("allow", 2) == 1)
	case 10:
		return aside(key, quantity)
	case 11, 12:
		return fulfil(order, move, quantity)
	case 13:
		r := returned(order, move, int64(draw("committed", 3)), int64(draw("fulfilled", 3)), draw("restock", 2) == 1)
		r.SettledLater = draw("lasting", 2) == 1
		return r
	case 14:
		return settleReturn(order, move)
	default:
		return &commonpb.Tick{}
	}
}

// TestModel drives a SKU and the model with the same commands: reasons and
// stock are the same after each, and a command sent again changes nothing.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{orders: map[string]*modelOrder{}, answers: map[string]modelAnswer{}}
		initial := int64(rapid.IntRange(0, 12).Draw(rt, "stock"))
		s, now := New("SHOE-42"), t0
		apply(t, s, onSale(initial), now)
		m.free = initial
		draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now = now.Add(time.Duration(draw("later", 3)) * 700 * time.Millisecond)
			events, level := Decide(s, &skupb.GetLevel{}, now)
			if again := Again(level, &skupb.GetLevel{}, now.Add(time.Second)); len(events) == 0 && (WakeAt(s).IsZero() || now.Add(time.Second).Before(WakeAt(s))) {
				if _, want := Decide(s, &skupb.GetLevel{}, now.Add(time.Second)); !proto.Equal(again, want) {
					rt.Fatalf("read again: %v, want %v", again, want)
				}
			}
			cmd := anyCommand(draw, now)
			want := m.do(cmd, now)
			events, reply := Decide(s, cmd, now)
			for _, e := range events {
				Evolve(s, e)
			}
			if err := check(s); err != nil {
				rt.Fatalf("%T %v: %v", cmd, cmd, err)
			}
			if got := reasonOf(reply); got != want {
				rt.Fatalf("%T %v: %s (%s), the model says %s", cmd, cmd, got, refusalOf(reply).GetMessage(), want)
			}
			if s.stock != m.stock() {
				rt.Fatalf("%T %v: %+v, the model says %+v", cmd, cmd, s.stock, m.stock())
			}
			if r, ok := reply.(*skupb.StockReply); ok && r.GetRefusal() == nil {
				if want := m.answers[keyOf(cmd)].stock; stockOf(r.GetLevel().GetStock()) != want {
					rt.Fatalf("%T %v: answered %v, the model says %+v", cmd, cmd, r, want)
				}
			}
			again, second := Decide(s, cmd, now)
			if len(again) != 0 || reasonOf(second) != want && want != "UNSPECIFIED" {
				rt.Fatalf("%T %v again: %s, %v", cmd, cmd, names(again), second)
			}
		}
		// When all deadlines have passed, nothing is held.
		now = now.Add(time.Hour)
		apply(t, s, &commonpb.Tick{}, now)
		m.do(&commonpb.Tick{}, now)
		if s.stock.held != 0 || s.stock != m.stock() || !WakeAt(s).IsZero() {
			rt.Fatalf("in the end: %+v, the model says %+v", s.stock, m.stock())
		}
	})
}

func keyOf(cmd proto.Message) string {
	return cmd.(interface{ GetIdempotencyKey() string }).GetIdempotencyKey()
}

// TestSnapshotAndTail: for 1,000 random histories, a snapshot taken anywhere
// and the events after it make the state that all events make, to the byte,
// and both go on alike. A failure names its seed.
func TestSnapshotAndTail(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		history, now := randomHistory(t, rng)
		cut := rng.IntN(len(history) + 1)
		full, part := New("SHOE-42"), New("SHOE-42")
		for i, e := range history {
			if i == cut {
				part = restored(t, part)
			}
			Evolve(full, e)
			Evolve(part, e)
		}
		if cut == len(history) {
			part = restored(t, part)
		}
		for range 20 {
			a, b := mustMarshal(t, Snapshot(full)), mustMarshal(t, Snapshot(part))
			if a != b || !WakeAt(full).Equal(WakeAt(part)) {
				t.Fatalf("seed %d, cut at %d of %d: full replay\n%v\nsnapshot and tail\n%v", seed, cut, len(history), Snapshot(full), Snapshot(part))
			}
			now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
			cmd := anyCommand(func(_ string, n int) int { return rng.IntN(n) }, now)
			ea, ra := Decide(full, cmd, now)
			eb, rb := Decide(part, cmd, now)
			if fmt.Sprint(ea, ra) != fmt.Sprint(eb, rb) {
				t.Fatalf("seed %d, cut at %d of %d: %v: %v %v, %v %v", seed, cut, len(history), cmd, ea, ra, eb, rb)
			}
			for i := range ea {
				Evolve(full, ea[i])
				Evolve(part, eb[i])
			}
		}
	}
}

// randomHistory is the events of up to 120 commands, as they come back from storage.
func randomHistory(t *testing.T, rng *rand.Rand) ([]*skupb.Event, time.Time) {
	t.Helper()
	var history []*skupb.Event
	s, now := New("SHOE-42"), t0
	commands := 1 + rng.IntN(120)
	for i := range commands {
		var cmd proto.Message
		switch {
		case i == 0:
			cmd = onSale(int64(rng.IntN(12)))
		case rng.IntN(20) == 0:
			cmd = &skupb.Configure{ProductId: "prd_1", ProductVersion: int64(1 + rng.IntN(5)), Name: "Shoe", Price: eur(int64(rng.IntN(3000))), Active: rng.IntN(4) > 0}
		default:
			cmd = anyCommand(func(_ string, n int) int { return rng.IntN(n) }, now)
		}
		now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
		if rng.IntN(50) == 0 {
			now = now.Add(13 * time.Hour) // memories grow old as well
		}
		events, _ := Decide(s, cmd, now)
		for _, e := range events {
			Evolve(s, e)
			stored := &skupb.Event{}
			if err := proto.Unmarshal([]byte(mustMarshal(t, e)), stored); err != nil {
				t.Fatal(err)
			}
			history = append(history, stored)
		}
	}
	return history, now
}

func mustMarshal(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzDecide: no bytes for a snapshot and no commands make the SKU panic or
// break an invariant.
func FuzzDecide(f *testing.F) {
	commands := []proto.Message{
		&skupb.Reserve{}, &skupb.Confirm{}, &skupb.Release{}, &skupb.Adjust{}, &skupb.SetOnHand{}, &skupb.MarkUnavailable{},
		&skupb.Configure{}, &skupb.Unconfigure{}, &skupb.GetLevel{}, &commonpb.Tick{}, &commonpb.Continue{}, &skupb.Fulfil{}, &skupb.Return{}, &skupb.SettleReturn{},
	}
	for name, steps := range states {
		s := given(f, steps)
		for i, cmd := range []proto.Message{reserve("o1", 2), confirm("o1", 2), takeBack("o1"), adjust("k", -1), count("k", 1, true), aside("k", 1), onSale(3), &skupb.Unconfigure{ProductId: "prd_1"}} {
			f.Add([]byte(mustMarshal(f, Snapshot(s))), uint8(i), []byte(mustMarshal(f, cmd)), t0.Add(time.Duration(len(name))*time.Minute).UnixMilli())
		}
	}
	f.Fuzz(func(t *testing.T, snapshot []byte, kind uint8, input []byte, nowMs int64) {
		s, err := Restore("SHOE-42", snapshot)
		if err != nil {
			s = New("SHOE-42")
		}
		cmd := proto.Clone(commands[int(kind)%len(commands)])
		if proto.Unmarshal(input, cmd) != nil {
			return
		}
		for _, now := range []time.Time{time.UnixMilli(nowMs), time.UnixMilli(nowMs).Add(time.Minute), t0} {
			events, reply := Decide(s, cmd, now)
			for _, e := range events {
				Evolve(s, e)
			}
			if err := check(s); err != nil {
				t.Fatalf("%v after %s: %v", err, names(events), strings.TrimSpace(fmt.Sprint(cmd)))
			}
			_, tick := cmd.(*commonpb.Tick)
			_, cont := cmd.(*commonpb.Continue)
			if reply == nil && !tick && !cont {
				t.Fatalf("no reply to %T", cmd)
			}
		}
	})
}
