// The simulation's world: virtual time, a store whose writes fail, hang, land
// late or twice, a network that loses and repeats, activations that overlap,
// and processes that die. Everything is decided by one seeded generator, so a
// seed replays.
package entity_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// broken names a rule that the simulation breaks on purpose, to show that it
// would notice.
type broken string

const (
	nothing       broken = ""
	theFence      broken = "the fence: a second record with the same seq is acknowledged"
	theDurability broken = "reply after durable: an answer leaves while the write is under way"
	theSKUMemory  broken = "idempotency memory of the SKU: a repeated Reserve is a new one"
	theGlimpse    broken = "glimpses: what readers have stays when the state changes"
	theKeyMemory  broken = "idempotency memory of the order: a repeated Place is decided afresh"
)

type world struct {
	rng   *rand.Rand
	clock time.Time
	queue eventQueue
	order uint64
	calm  bool // no more faults
	broke broken

	journal   map[string][]*entity.Record
	snapshots map[string]*entity.Snapshot
	position  uint64
	current   map[entity.Address][]*act
	payments  map[string]*paymentpb.AuthorizeReply
	limits    entity.Limits

	jammedUntil time.Time // the log refuses everything until then
	hurdles     struct{ drains, tooLarge, jams, glimpses int }

	problems []string
}

type event struct {
	at    time.Time
	order uint64
	do    func()
}
type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func newWorld(seed uint64, b broken) *world {
	limits := entity.DefaultLimits()
	limits.AskFor = 2 * time.Second
	if seed%3 == 0 {
		limits.MaxUnanswered, limits.MaxRecordBytes = 6, 2000
	}
	limits.SnapshotEveryRecords, limits.SnapshotEveryBytes, limits.SnapshotOnPassivationRecords = 4, 1, 2
	return &world{
		rng: rand.New(rand.NewPCG(seed, 7)), clock: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), broke: b,
		journal: map[string][]*entity.Record{}, snapshots: map[string]*entity.Snapshot{}, current: map[entity.Address][]*act{},
		payments: map[string]*paymentpb.AuthorizeReply{}, limits: limits,
	}
}

func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf("at %s: ", w.clock.Format("15:04:05.000"))+fmt.Sprintf(format, args...))
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, event{w.clock.Add(d), w.order, do})
}

// run lets events happen until there are none or the bound is reached.
func (w *world) run(until time.Time) {
	for len(w.queue) > 0 && !w.queue[0].at.After(until) && len(w.problems) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.clock = e.at
		e.do()
	}
	if w.clock.Before(until) {
		w.clock = until
	}
}

func (w *world) chance(p float64) bool { return !w.calm && w.rng.Float64() < p }
func (w *world) soon() time.Duration   { return time.Duration(1+w.rng.IntN(5000)) * time.Microsecond }
func (w *world) late() time.Duration   { return time.Duration(w.rng.IntN(3000)) * time.Millisecond }

// ---- the store ----

// write puts a record where it belongs unless another is there.
func (w *world) write(rec *entity.Record) error {
	have := w.journal[rec.Stream()]
	if uint64(len(have)) >= rec.Seq {
		if have[rec.Seq-1].Position == rec.Position {
			return nil
		}
		if w.broke == theFence {
			return nil
		}
		return entity.ErrFenced
	}
	if uint64(len(have))+1 != rec.Seq {
		w.problem("%s record %d written after record %d", rec.Stream(), rec.Seq, len(have))
	}
	w.journal[rec.Stream()] = append(have, rec)
	return nil
}

func (w *world) LoadSnapshot(_ context.Context, stream string) (*entity.Snapshot, error) {
	if w.chance(0.1) {
		return nil, nil
	}
	if w.chance(0.02) {
		return nil, entity.ErrUnavailable
	}
	return w.snapshots[stream], nil
}

func (w *world) SaveSnapshot(_ context.Context, s *entity.Snapshot) error {
	w.snapshots[s.Stream()] = s
	return nil
}

func (w *world) ReadStream(_ context.Context, stream string, after uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for _, r := range w.journal[stream] {
			if w.chance(0.01) {
				yield(nil, entity.ErrUnavailable)
				return
			}
			if r.Seq > after && !yield(r, nil) {
				return
			}
		}
	}
}

// ---- activations ----

// act is one activation: the core's host.
type act struct {
	w     *world
	addr  entity.Address
	core  *entity.TestCore
	dead  bool
	timer int
	open  int // requests that it has received and not answered
}

func (w *world) activate(addr entity.Address) *act {
	a := &act{w: w, addr: addr}
	switch addr.Kind {
	case "sku":
		a.core = entity.NewTestCore(w.skuKind(), addr, &w.limits, a)
	case "order":
		a.core = entity.NewTestCore(w.orderKind(), addr, &w.limits, a)
	}
	if err := a.core.Recover(context.Background(), w); err != nil {
		if errors.Is(err, entity.ErrCorrupt) {
			w.problem("recovery: %v", err)
		}
		return nil
	}
	w.current[addr] = append(w.current[addr], a)
	a.core.Begin()
	return a
}

func (w *world) skuKind() *entity.Kind[sku.State, *skupb.Event] {
	k := actors.SKU()
	if w.broke == theSKUMemory {
		decide := k.Decide
		k.Decide = func(s *sku.State, cmd proto.Message, now time.Time, h entity.Heard) entity.Decision[*skupb.Event] {
			if r, ok := cmd.(*skupb.Reserve); ok {
				r = proto.CloneOf(r)
				r.OrderId = order.ID(r.OrderId, fmt.Sprint(w.rng.Uint64()))
				cmd = r
			}
			return decide(s, cmd, now, h)
		}
	}
	return k
}

func (w *world) orderKind() *entity.Kind[order.State, *orderpb.Event] {
	k := actors.Order()
	if w.broke == theKeyMemory {
		decide := k.Decide
		k.Decide = func(s *order.State, cmd proto.Message, now time.Time, h entity.Heard) entity.Decision[*orderpb.Event] {
			if p, ok := cmd.(*orderpb.Place); ok {
				s = order.New(order.ID(p.CustomerId, p.IdempotencyKey))
			}
			return decide(s, cmd, now, h)
		}
	}
	return k
}

// pick finds an activation for a request: usually the one there is; sometimes,
// as when a topology changes, a second one beside it, or one that has just passivated.
func (w *world) pick(addr entity.Address) *act {
	if alive := w.current[addr]; len(alive) > 0 && w.chance(0.03) {
		alive[w.rng.IntN(len(alive))].core.Passivate()
	}
	if alive := w.current[addr]; len(alive) > 0 && w.chance(0.01) {
		w.drain(alive[w.rng.IntN(len(alive))])
	}
	alive := w.current[addr]
	if len(alive) == 0 || w.chance(0.02) && len(alive) < 3 {
		return w.activate(addr)
	}
	return alive[w.rng.IntN(len(alive))]
}

// send delivers a request, or loses it, or delivers it twice.
func (w *world) send(addr entity.Address, cmd proto.Message, to entity.Responder) {
	times := 1
	switch {
	case w.chance(0.03):
		times = 0
	case w.chance(0.03):
		times = 2
	}
	for range times {
		w.after(w.soon(), func() {
			a := w.pick(addr)
			if a == nil {
				to.Answer(nil, entity.ErrRetry)
				return
			}
			a.receive(cmd, to)
		})
	}
}

// receive hands a request over and checks that it is answered at most once.
func (a *act) receive(cmd proto.Message, to entity.Responder) {
	a.look()
	a.open++
	answers := 0
	a.core.Receive(&entity.Request{Command: cmd, Answer: responder(func(reply proto.Message, err error) {
		a.open--
		if answers++; answers > 1 {
			a.w.problem("%s: %T was answered %d times", a.addr.Stream(), cmd, answers)
		}
		to.Answer(reply, err)
	})})
}

// look checks that what readers have is what the kind says in that moment.
func (a *act) look() {
	var get proto.Message = &skupb.GetLevel{}
	if a.addr.Kind == "order" {
		get = &orderpb.Get{Actor: &commonpb.Actor{Staff: true}}
	}
	got := a.core.Glimpse(get)
	if got == nil {
		return
	}
	a.w.hurdles.glimpses++
	if want := a.core.Decided(get); want == nil || !proto.Equal(got, want) {
		a.w.problem("%s: readers have %v, and it is %v", a.addr.Stream(), got, want)
	}
}

// drain asks an activation to finish, as a node that leaves does, and after a
// while not to wait for others any more.
func (w *world) drain(a *act) {
	w.hurdles.drains++
	a.core.Drain()
	a.live(2*time.Second, a.core.Drain)
	a.live(30*time.Second, func() { w.problem("%s has not ended long after it was to drain", a.addr.Stream()) })
}

// crash ends every activation at once, as SIGKILL does; writes that are on
// their way to the store may still land.
func (w *world) crash() {
	for addr, all := range w.current {
		for _, a := range all {
			a.dead = true
		}
		delete(w.current, addr)
	}
}

func (a *act) gone() {
	a.dead = true
	kept := a.w.current[a.addr][:0]
	for _, other := range a.w.current[a.addr] {
		if other != a {
			kept = append(kept, other)
		}
	}
	a.w.current[a.addr] = kept
}

// live runs do later, if the activation still lives then.
func (a *act) live(d time.Duration, do func()) {
	a.w.after(d, func() {
		if !a.dead {
			do()
		}
	})
}

func (a *act) Now() time.Time                   { return a.w.clock }
func (a *act) Rand() *rand.Rand                 { return a.w.rng }
func (a *act) Hides() bool                      { return a.w.broke != theGlimpse }
func (a *act) After(d time.Duration, do func()) { a.live(d, do) }
func (a *act) End(reason error) {
	if a.open != 0 {
		a.w.problem("%s ended (%v) with %d requests unanswered", a.addr.Stream(), reason, a.open)
	}
	a.gone()
}

func (a *act) Snapshot(s *entity.Snapshot) {
	if !a.w.chance(0.2) {
		_ = a.w.SaveSnapshot(context.Background(), s)
	}
}

func (a *act) Wake(at time.Time) {
	a.timer++
	mine := a.timer
	if !at.IsZero() {
		a.live(max(0, at.Sub(a.w.clock)), func() {
			if a.timer == mine {
				a.core.Tick()
			}
		})
	}
}

// Commit gives the write its fate.
func (a *act) Commit(rec *entity.Record) {
	w := a.w
	told := func(d time.Duration, err error) { a.live(d, func() { a.core.Committed(rec.Seq, err) }) }
	if w.chance(0.003) {
		w.jammedUntil = w.clock.Add(w.late())
	}
	switch {
	case w.clock.Before(w.jammedUntil):
		w.hurdles.jams++
		told(w.soon(), entity.ErrOverloaded)
		return
	case w.chance(0.02):
		told(w.soon(), entity.ErrOverloaded)
		return
	case w.chance(0.003):
		w.hurdles.tooLarge++
		told(w.soon(), entity.ErrTooLarge)
		return
	}
	w.position++
	stored := *rec
	stored.Epoch, stored.Position = 1, w.position
	stored.Checksum = stored.Sum()
	if w.broke == theDurability {
		told(0, nil)
		told = func(time.Duration, error) {}
	}
	land := func(d time.Duration, then func(error)) {
		w.after(d, func() { then(w.write(&stored)) })
	}
	switch {
	case w.chance(0.02): // surely not written
		told(w.soon(), entity.ErrUnavailable)
	case w.chance(0.02): // written, and the answer lost
		land(w.soon(), func(err error) { told(w.soon(), entity.ErrUnknownOutcome) })
	case w.chance(0.02): // lost on the way
		told(w.soon(), entity.ErrUnknownOutcome)
	case w.chance(0.02): // the caller has given up; then it lands
		told(w.soon(), entity.ErrUnknownOutcome)
		land(w.late(), func(error) {})
	case w.chance(0.02): // twice
		land(w.soon(), func(err error) { told(w.soon(), err) })
		land(w.late(), func(error) {})
	case w.chance(0.05): // slow
		land(w.late(), func(err error) { told(w.soon(), err) })
	default:
		land(w.soon(), func(err error) { told(w.soon(), err) })
	}
}

// Ask carries a question to another actor or to the payment provider.
func (a *act) Ask(q entity.Ask, _ string, after time.Duration) {
	w := a.w
	a.live(after+w.soon(), func() {
		answered := false
		answer := responder(func(reply proto.Message, err error) {
			w.after(w.soon(), func() {
				if !answered && !a.dead {
					answered = true
					a.core.Heard(q.Key, reply, err)
				}
			})
		})
		a.live(500*time.Millisecond, func() { answer.Answer(nil, entity.ErrTimeout) })
		if q.Kind == "payment" {
			if !w.chance(0.05) {
				reply, err := w.pay(q.Command)
				answer.Answer(reply, err)
			}
			return
		}
		w.send(entity.Address{Kind: q.Kind, ID: q.ID}, q.Command, answer)
	})
}

// pay is the payment provider: it declines every fifth order's first attempt,
// and remembers.
func (w *world) pay(cmd proto.Message) (proto.Message, error) {
	switch c := cmd.(type) {
	case *paymentpb.Authorize:
		key := fmt.Sprint(c.OrderId, c.Attempt)
		if w.payments[key] == nil {
			r := &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_AUTHORIZED, Provider: "sim", Reference: key}
			if w.rng.IntN(5) == 0 {
				r = &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_DECLINED, Provider: "sim", DeclineReason: "no"}
			}
			w.payments[key] = r
		}
		return w.payments[key], nil
	case *paymentpb.Capture:
		return &paymentpb.CaptureReply{}, nil
	case *paymentpb.Void:
		return &paymentpb.VoidReply{}, nil
	}
	return nil, fmt.Errorf("unknown payment command %T", cmd)
}

type responder func(proto.Message, error)

func (r responder) Answer(reply proto.Message, err error) { r(reply, err) }
