// The simulation runs the entity runtime, with the real sku and order kinds,
// in the world of sim_world_test.go, and holds what clients were told against
// the journal, read by a small model of its own that shares no code with the
// kinds. Run one seed: go test ./actors/entity -run TestSimulation -seed 42
package entity_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

var (
	oneSeed  = flag.Uint64("seed", 0, "run only this seed of the simulation")
	simSeeds = flag.Int("sim-seeds", 1000, "how many seeds the simulation runs")
)

func TestSimulation(t *testing.T) {
	first, last := uint64(1), uint64(*simSeeds)
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed
	}
	var sum tally
	for seed := first; seed <= last; seed++ {
		got, problems := simulate(seed, nothing)
		if len(problems) > 0 {
			t.Fatalf("seed %d: %s", seed, problems[0])
		}
		sum.add(got)
	}
	t.Logf("%d seeds: %+v", last-first+1, sum)
	if *oneSeed == 0 && (sum.reserved == 0 || sum.rejected == 0 || sum.confirmed == 0 || sum.expired == 0 || sum.cancelled == 0 || sum.faults == 0 || sum.mismatches == 0 || sum.drains == 0 || sum.tooLarge == 0 || sum.jams == 0 || sum.glimpses == 0 || sum.told == 0) {
		t.Errorf("the simulation did not reach everything that it is to check: %+v", sum)
	}
}

// TestSimulationNotices breaks one rule at a time: a check that cannot fail is none.
func TestSimulationNotices(t *testing.T) {
	for _, b := range []broken{theFence, theDurability, theSKUMemory, theKeyMemory, theGlimpse} {
		t.Run(string(b), func(t *testing.T) {
			for seed := uint64(1); seed <= 200; seed++ {
				if _, problems := simulate(seed, b); len(problems) > 0 {
					t.Logf("seed %d: %s", seed, problems[0])
					return
				}
			}
			t.Errorf("200 seeds with a broken rule went unnoticed")
		})
	}
}

// tally counts what a run reached.
type tally struct{ reserved, rejected, confirmed, expired, cancelled, mismatches, faults, acknowledged, drains, tooLarge, jams, glimpses, told int }

func (t *tally) add(o tally) {
	t.reserved += o.reserved
	t.rejected += o.rejected
	t.confirmed += o.confirmed
	t.expired += o.expired
	t.cancelled += o.cancelled
	t.mismatches += o.mismatches
	t.faults += o.faults
	t.acknowledged += o.acknowledged
	t.drains += o.drains
	t.tooLarge += o.tooLarge
	t.jams += o.jams
	t.glimpses += o.glimpses
	t.told += o.told
}

const (
	simUnits    = 12
	simShoppers = 14
	simHold     = 20 * time.Second
	simEnd      = 300 * time.Second
	// simWatch is how long watchers wait, and simUnwatched when they stop: long after all is over.
	simWatch     = 2500 * time.Millisecond
	simUnwatched = 130 * time.Second
)

// run is one seed's clients.
type run struct {
	*world
	tally
	skus  []string
	first map[string]*orderpb.Order // the first answer that a key got
	seen  map[entity.Address]uint64 // the version that a watcher was told last
}

func simulate(seed uint64, b broken) (tally, []string) {
	r := &run{world: newWorld(seed, b), skus: []string{"shirt", "shoes"}, first: map[string]*orderpb.Order{}, seen: map[entity.Address]uint64{}}
	for _, s := range r.skus {
		r.configure(s)
		r.watch(entity.Address{Kind: "sku", ID: s}, &skupb.GetLevel{})
	}
	for i := range simShoppers {
		r.after(time.Duration(r.rng.IntN(8000))*time.Millisecond, func() { r.shop(i) })
	}
	for range 1 + r.rng.IntN(3) {
		r.after(time.Duration(r.rng.IntN(15000))*time.Millisecond, r.crash)
	}
	start := r.clock
	r.run(start.Add(15 * time.Second))
	// Quiet again: what is under way ends, deadlines pass, and a restart finds the rest.
	r.calm = true
	r.run(start.Add(90 * time.Second))
	r.crash()
	r.wakeAll()
	r.run(start.Add(simEnd))
	if len(r.problems) == 0 {
		r.judge()
	}
	r.drains, r.tooLarge, r.jams, r.glimpses = r.hurdles.drains, r.hurdles.tooLarge, r.hurdles.jams, r.hurdles.glimpses
	return r.tally, r.problems
}

// call sends a command until an answer comes, as a client with a key does.
func (r *run) call(addr entity.Address, cmd proto.Message, then func(proto.Message)) {
	var try func(n int)
	try = func(n int) {
		answered := false
		once := func(reply proto.Message, err error) {
			if err == nil {
				r.check(addr, reply) // also when the client has given up
			}
			if answered {
				return
			}
			answered = true
			if err == nil {
				r.acknowledged++
				then(reply)
				return
			}
			r.faults++
			if !entity.Retryable(err) && !errors.Is(err, entity.ErrTooLarge) {
				r.problem("%s: %T: %v", addr.Stream(), cmd, err)
			}
			if n < 60 {
				r.after(time.Duration(n)*r.soon(), func() { try(n + 1) })
			}
		}
		r.send(addr, cmd, responder(once))
		r.after(3*time.Second, func() { once(nil, entity.ErrTimeout) })
	}
	try(1)
}

// watch asks for an actor's state whenever it has changed, wherever the actor
// is, as a node does for its subscribers.
func (r *run) watch(addr entity.Address, get proto.Message) {
	question, err := anypb.New(get)
	if err != nil {
		panic(err)
	}
	start := r.clock
	var next func()
	next = func() {
		if r.clock.Sub(start) > simUnwatched {
			return
		}
		r.call(addr, &commonpb.Watch{AfterVersion: r.seen[addr], WaitMs: simWatch.Milliseconds(), Get: question}, func(reply proto.Message) {
			version := versionOf(reply)
			if version > r.seen[addr] {
				r.seen[addr] = version
				r.told++
			}
			next()
		})
	}
	next()
}

func versionOf(reply proto.Message) uint64 {
	switch m := reply.(type) {
	case *skupb.StockReply:
		return uint64(m.GetLevel().GetVersion())
	case *orderpb.OrderReply:
		return uint64(m.GetOrder().GetVersion())
	}
	return 0
}

func (r *run) configure(s string) {
	r.call(entity.Address{Kind: "sku", ID: s}, &skupb.Configure{
		ProductId: "prd_1", ProductVersion: 1, Name: s, Active: true, InitialStock: simUnits,
		Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"},
	}, func(proto.Message) {})
}

// shop is what one shopper does.
func (r *run) shop(i int) {
	customer, key := fmt.Sprintf("usr_%d", i), "key"
	addr := entity.Address{Kind: "order", ID: order.ID(customer, key)}
	place := &orderpb.Place{CustomerId: customer, IdempotencyKey: key, HoldMs: simHold.Milliseconds()}
	for _, s := range r.skus[r.rng.IntN(len(r.skus)):] {
		place.Lines = append(place.Lines, &orderpb.PlaceLine{Sku: s, Quantity: int64(1 + r.rng.IntN(3))})
	}
	if r.rng.IntN(3) == 0 {
		place.PaymentToken = "tok_ok"
	}
	r.call(addr, place, func(reply proto.Message) {
		r.placed(customer, reply)
		if i%7 == 0 && r.seen[addr] == 0 {
			r.watch(addr, &orderpb.Get{Actor: &commonpb.Actor{UserId: customer}})
		}
		// Whoever is not sure asks again, with the same key.
		if r.rng.IntN(2) == 0 {
			r.call(addr, place, func(reply proto.Message) { r.placed(customer, reply) })
		}
		r.next(addr, customer, place)
	})
}

// next is what the shopper does with the order.
func (r *run) next(addr entity.Address, customer string, place *orderpb.Place) {
	who := &commonpb.Actor{UserId: customer}
	switch r.rng.IntN(5) {
	case 0:
		r.after(r.late(), func() {
			r.call(addr, &orderpb.Pay{Actor: who, IdempotencyKey: "pay", PaymentToken: "tok_ok"}, func(proto.Message) {})
		})
	case 1:
		r.after(r.late(), func() {
			r.call(addr, &orderpb.Cancel{Actor: who, Reason: "changed my mind"}, func(proto.Message) {})
		})
	case 2:
		other := proto.CloneOf(place)
		other.Lines[0].Quantity++
		r.call(addr, other, func(reply proto.Message) {
			if got := reply.(*orderpb.OrderReply).GetRefusal().GetReason(); got != commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH {
				r.problem("same key, other input: %v", got)
			}
			r.mismatches++
		})
	}
}

// placed checks that a key gets the same answer every time.
func (r *run) placed(customer string, reply proto.Message) {
	got := reply.(*orderpb.OrderReply).GetOrder()
	if got == nil {
		r.problem("%s was answered without an order: %v", customer, reply)
		return
	}
	before := r.first[customer]
	if before == nil {
		r.first[customer] = got
		return
	}
	if before.Id != got.Id || (before.Status == orderpb.Status_STATUS_REJECTED) != (got.Status == orderpb.Status_STATUS_REJECTED) {
		r.problem("%s got another answer for its key: %v, then %v", customer, before, got)
	}
	for i, line := range before.Lines {
		if line.SkuVersion != got.Lines[i].SkuVersion && before.Status == orderpb.Status_STATUS_RESERVED && got.Status == orderpb.Status_STATUS_RESERVED {
			r.problem("%s line %d was reserved twice: at version %d, then %d", customer, i, line.SkuVersion, got.Lines[i].SkuVersion)
		}
	}
}

// check holds an answer, at the moment that it leaves, against the journal.
func (r *run) check(addr entity.Address, reply proto.Message) {
	durable := func(stream string, version int64) bool {
		have := r.journal[stream]
		return version == 0 || len(have) > 0 && have[len(have)-1].LastVersion >= uint64(version)
	}
	switch m := reply.(type) {
	case *skupb.ConfigureReply:
		if !durable(addr.Stream(), m.GetLevel().GetVersion()) {
			r.problem("%s: answered version %d before it was durable", addr.Stream(), m.GetLevel().GetVersion())
		}
	case *skupb.StockReply:
		if !durable(addr.Stream(), m.GetLevel().GetVersion()) {
			r.problem("%s: a watcher was told version %d before it was durable", addr.Stream(), m.GetLevel().GetVersion())
		}
	case *orderpb.OrderReply:
		o := m.GetOrder()
		if !durable(addr.Stream(), o.GetVersion()) {
			r.problem("%s: answered version %d before it was durable", addr.Stream(), o.GetVersion())
			return
		}
		for _, line := range o.GetLines() {
			if line.SkuVersion == 0 || line.Status == orderpb.LineStatus_LINE_STATUS_NONE {
				continue
			}
			if !durable("sku/"+line.Sku, line.SkuVersion) {
				r.problem("%s: answered with units of %s version %d before that was durable", addr.Stream(), line.Sku, line.SkuVersion)
				return
			}
			if got := r.books(line.Sku).takenAt[line.SkuVersion]; got != o.Id {
				r.problem("%s says that version %d of %s took its units; the journal says %q", addr.Stream(), line.SkuVersion, line.Sku, got)
			}
		}
	}
}

// books is the model of one SKU: whose the units are, from the journal alone.
type books struct {
	free, total int64
	held        map[string]int64
	sold        map[string]int64
	ended       map[string]bool
	takenAt     map[int64]string
}

func (r *run) books(s string) *books {
	b := &books{held: map[string]int64{}, sold: map[string]int64{}, ended: map[string]bool{}, takenAt: map[int64]string{}}
	version := int64(0)
	r.events("sku/"+s, func(raw []byte) {
		e := &skupb.Event{}
		if err := proto.Unmarshal(raw, e); err != nil {
			r.problem("%s: %v", s, err)
			return
		}
		version++
		r.post(s, b, version, e)
	})
	return b
}

// post books one event and checks what must hold after each.
func (r *run) post(s string, b *books, version int64, e *skupb.Event) {
	switch v := e.Event.(type) {
	case *skupb.Event_Configured:
		if version == 1 {
			b.free, b.total = v.Configured.InitialStock, v.Configured.InitialStock
		}
	case *skupb.Event_Reserved:
		id := v.Reserved.OrderId
		if b.held[id] != 0 || b.sold[id] != 0 || b.ended[id] {
			r.problem("%s version %d: order %s reserved again", s, version, id)
		}
		b.held[id] = v.Reserved.Quantity
		b.free -= v.Reserved.Quantity
		b.takenAt[version] = id
	case *skupb.Event_Released:
		b.free += b.held[v.Released.OrderId] + b.sold[v.Released.OrderId]
		delete(b.held, v.Released.OrderId)
		delete(b.sold, v.Released.OrderId)
		b.ended[v.Released.OrderId] = true
	case *skupb.Event_Expired:
		b.free += b.held[v.Expired.OrderId]
		delete(b.held, v.Expired.OrderId)
		b.ended[v.Expired.OrderId] = true
	case *skupb.Event_ReleaseRemembered:
		b.ended[v.ReleaseRemembered.OrderId] = true
	case *skupb.Event_Confirmed:
		id := v.Confirmed.OrderId
		if b.sold[id] != 0 {
			r.problem("%s version %d: order %s committed again", s, version, id)
		}
		b.free -= v.Confirmed.Reacquired
		b.sold[id] = b.held[id] + v.Confirmed.Reacquired
		delete(b.held, id)
		b.takenAt[version] = id
	}
	sum := b.free
	for _, q := range b.held {
		sum += q
	}
	for _, q := range b.sold {
		sum += q
	}
	if b.free < 0 || sum != b.total {
		r.problem("%s version %d: oversold: free %d, all %d of %d", s, version, b.free, sum, b.total)
	}
}

// events walks a stream and checks that it has no gap.
func (r *run) events(stream string, do func([]byte)) {
	version := uint64(0)
	for i, rec := range r.journal[stream] {
		if rec.Seq != uint64(i+1) || rec.FirstVersion != version+1 {
			r.problem("%s: record %d has seq %d and begins at version %d after %d", stream, i+1, rec.Seq, rec.FirstVersion, version)
		}
		var batch journalpb.Batch
		if err := proto.Unmarshal(rec.Events, &batch); err != nil {
			r.problem("%s: %v", stream, err)
		}
		for _, e := range batch.Entries {
			do(e.Event)
		}
		version = rec.LastVersion
	}
}

// wakeAll activates every actor of the journal, as reminders do after a crash.
func (r *run) wakeAll() {
	for stream := range r.journal {
		var addr entity.Address
		for i := range stream {
			if stream[i] == '/' {
				addr = entity.Address{Kind: stream[:i], ID: stream[i+1:]}
			}
		}
		r.pick(addr)
	}
}

// judge looks at the end: every order is over one way or the other, and the
// SKUs' books agree with the orders'.
func (r *run) judge() {
	for addr, seen := range r.seen {
		if records := r.journal[addr.Stream()]; seen != records[len(records)-1].LastVersion {
			r.problem("%s: its watcher was told version %d last, and %d is the newest", addr.Stream(), seen, records[len(records)-1].LastVersion)
		}
	}
	want := map[string]map[string]int64{}
	for _, s := range r.skus {
		want[s] = map[string]int64{}
	}
	for stream := range r.journal {
		if stream[:4] != "orde" {
			continue
		}
		o := r.recovered(entity.Address{Kind: "order", ID: stream[6:]}).(*orderpb.Order)
		switch o.Status {
		case orderpb.Status_STATUS_CONFIRMED:
			r.confirmed++
			for _, line := range o.Lines {
				want[line.Sku][o.Id] = line.Quantity
			}
			if o.Payment.Status != orderpb.PaymentStatus_PAYMENT_STATUS_CAPTURED {
				r.problem("order %s is confirmed and its payment %v", o.Id, o.Payment.Status)
			}
		case orderpb.Status_STATUS_REJECTED:
			r.rejected++
		case orderpb.Status_STATUS_EXPIRED:
			r.expired++
		case orderpb.Status_STATUS_CANCELLED:
			r.cancelled++
		default:
			r.problem("order %s is still %v long after its deadline", o.Id, o.Status)
		}
	}
	for _, s := range r.skus {
		r.recovered(entity.Address{Kind: "sku", ID: s})
		b := r.books(s)
		if len(b.held) > 0 {
			r.problem("%s: still held after all deadlines: %v", s, b.held)
		}
		for id, q := range b.sold {
			if want[s][id] != q {
				r.problem("%s: %d units are committed to order %s, which has %d", s, q, id, want[s][id])
			}
		}
		for id, q := range want[s] {
			if b.sold[id] != q {
				r.problem("%s: confirmed order %s has %d units, the SKU says %d", s, id, q, b.sold[id])
			}
		}
	}
	for _, o := range r.first {
		if o.Status != orderpb.Status_STATUS_REJECTED {
			r.reserved++
		}
	}
}

// recovered rebuilds an actor with and without its snapshot; both must agree.
func (r *run) recovered(addr entity.Address) proto.Message {
	var states []proto.Message
	kept := r.snapshots[addr.Stream()]
	for _, snap := range []*entity.Snapshot{kept, nil} {
		if snap == nil {
			delete(r.snapshots, addr.Stream())
		}
		a := &act{w: r.world, addr: addr}
		switch addr.Kind {
		case "sku":
			a.core = entity.NewTestCore(r.skuKind(), addr, &r.limits, a)
		case "order":
			a.core = entity.NewTestCore(r.orderKind(), addr, &r.limits, a)
		}
		if err := a.core.Recover(context.Background(), r.world); err != nil {
			r.problem("%s: %v", addr.Stream(), errors.Unwrap(err))
		}
		states = append(states, a.core.State())
	}
	if !proto.Equal(states[0], states[1]) {
		r.problem("%s: snapshot and journal disagree:\n%v\n%v", addr.Stream(), states[0], states[1])
	}
	return states[1]
}
