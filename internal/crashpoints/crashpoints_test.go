// Package crashpoints kills a node at every point at which an order that is
// placed and paid in one call touches the world: before and after each write to
// the store, and before and after each question to the payment provider. The
// runtime, the log, the views and the reminders are the real ones; nobody asks
// for the order again. Whatever was cut off, the next node brings it to an end.
package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/cluster"
	"stampede/events"
	"stampede/events/views"
	"stampede/internal/faultstore"
	"stampede/payments"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

const (
	holdFor = time.Second
	// within bounds how long after the start of the next node everything is at rest.
	within = time.Minute
)

var errDead = errors.New("the process is dead")

// place is 1 A and 2 B, paid in the same call.
func place() *orderpb.Place {
	return &orderpb.Place{
		CustomerId: "usr_1", IdempotencyKey: "k1", PaymentToken: payments.TokenOK, HoldMs: holdFor.Milliseconds(),
		Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1}, {Sku: "B", Quantity: 2}},
	}
}

// TestCrashAtEveryStep: afterwards the order is confirmed, its units committed
// and its money taken; or there is no such order, or an ended one, nothing is
// held and no money is kept.
func TestCrashAtEveryStep(t *testing.T) {
	whole := run(t, -1)
	if whole.points < 12 {
		t.Fatalf("the order has %d points only: %v", whole.points, whole)
	}
	if got := whole.end(t); got != "confirmed" {
		t.Fatalf("without a crash it is %s", got)
	}
	var mu sync.Mutex
	ends := map[string]int{}
	t.Run("at", func(t *testing.T) {
		for point := 1; point <= whole.points; point++ {
			t.Run(fmt.Sprint(point), func(t *testing.T) {
				t.Parallel()
				end := run(t, point).end(t)
				mu.Lock()
				defer mu.Unlock()
				ends[end]++
			})
		}
	})
	if ends["confirmed"] == 0 || ends["released"] == 0 {
		t.Errorf("the crashes prove nothing: %v", ends)
	}
}

// shop is a database, a bank, and the processes that work with them.
type shop struct {
	store  *faultstore.Store
	bank   *payments.Simulator
	points int // that were passed
	node   *process
}

// run places the order on a node that dies at the point, if there is one, and
// starts another.
func run(t *testing.T, point int) *shop {
	t.Helper()
	s := &shop{store: faultstore.New(1, faultstore.Faults{}), bank: payments.NewSimulator()}
	first := s.start(t, s.store)
	for _, id := range []string{"A", "B"} {
		first.call(t, "sku", id, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: id, Price: &commonpb.Money{MinorUnits: 1000, Currency: "EUR"}, Active: true, InitialStock: 10})
	}
	first.armed.Store(int64(point))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := first.node.Call(ctx, address(), place())
		answered <- err
	}()
	if point < 0 {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		s.node = first
		s.rest(t, first.dead)
		s.points = int(first.passed.Load())
		return s
	}
	select {
	case <-first.dead:
	case err := <-answered: // writes go together or not: this time there were fewer points, or the last ones are still to come
		answered <- err
		s.node = first
		if s.rest(t, first.dead) && !first.dies() {
			t.Logf("only %d points were passed", first.passed.Load())
			return s
		}
	}
	cancel()
	if err := <-answered; err == nil {
		t.Log("it was answered before its node died")
	}
	s.node = s.start(t, s.store.Connect())
	s.rest(t, s.node.dead)
	return s
}

func address() entity.Address { return entity.Address{Kind: "order", ID: order.ID("usr_1", "k1")} }

// rest waits, without asking any actor, until nothing is left to be done; false
// when the process has died before.
func (s *shop) rest(t *testing.T, dead <-chan struct{}) bool {
	t.Helper()
	var last string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		o := s.order(t)
		pending := len(order.Pending(o)) > 0 || !order.WakeAt(o).IsZero()
		_, held, _ := s.stock(t, "A")
		_, heldB, _ := s.stock(t, "B")
		if !pending && held+heldB == 0 {
			return true
		}
		select {
		case <-dead:
			return false
		default:
		}
		last = fmt.Sprint(order.Snapshot(o), " held ", held, " and ", heldB)
	}
	t.Fatalf("not at rest after %s: %s", within, last)
	return false
}

// end is how it ended; everything must agree.
func (s *shop) end(t *testing.T) string {
	t.Helper()
	o := order.Snapshot(s.order(t)).(*orderpb.Order)
	paid := o.GetStatus() == orderpb.Status_STATUS_CONFIRMED
	for i, id := range []string{"A", "B"} {
		want := int64(0)
		if paid {
			want = int64(i + 1)
		}
		if available, held, committed := s.stock(t, id); held != 0 || committed != want || available != 10-want {
			t.Errorf("%s has %d available, %d held, %d committed; the order is %v", id, available, held, committed, o.GetStatus())
		}
	}
	if captured := s.captured(t); captured != paid || paid && o.GetPayment().GetCaptured().GetMinorUnits() != 3000 {
		t.Errorf("money taken: %t; the order is %v, %v", captured, o.GetStatus(), o.GetPayment())
	}
	// Whoever asks again with the same key hears the same.
	reply := s.node.call(t, "order", address().ID, place()).(*orderpb.OrderReply)
	switch {
	case paid && reply.GetOrder().GetStatus() != orderpb.Status_STATUS_CONFIRMED:
		t.Errorf("the same again: %v", reply)
	case paid:
		return "confirmed"
	case reply.GetOrder().GetStatus() == orderpb.Status_STATUS_CONFIRMED && o.GetStatus() != orderpb.Status_STATUS_UNSPECIFIED:
		t.Errorf("%v, and the same again is confirmed", o.GetStatus())
	}
	return "released"
}

// captured asks the bank: what is captured cannot be voided. Of a payment that
// it never heard of, or that is voided, nothing is kept.
func (s *shop) captured(t *testing.T) bool {
	t.Helper()
	_, err := s.bank.Void(t.Context(), &paymentpb.Void{OrderId: address().ID, Attempt: 1})
	if err != nil && !errors.Is(err, payments.ErrState) {
		t.Fatal(err)
	}
	return err != nil
}

// order and stock are what is durable, whatever any process believes.
func (s *shop) order(t *testing.T) *order.State {
	t.Helper()
	state := order.New(address().ID)
	for _, e := range fold(t, s.store, address().Stream(), func() *orderpb.Event { return &orderpb.Event{} }) {
		order.Evolve(state, e)
	}
	return state
}

func (s *shop) stock(t *testing.T, id string) (available, held, committed int64) {
	t.Helper()
	state := sku.New(id)
	for _, e := range fold(t, s.store, "sku/"+id, func() *skupb.Event { return &skupb.Event{} }) {
		sku.Evolve(state, e)
	}
	k := sku.Snapshot(state).(*skupb.State).GetStock()
	return k.GetAvailable(), k.GetHeld(), k.GetCommitted()
}

func fold[E proto.Message](t *testing.T, store *faultstore.Store, stream string, empty func() E) []E {
	t.Helper()
	var out []E
	for _, rec := range store.Truth().Stream(stream) {
		var batch journalpb.Batch
		if err := proto.Unmarshal(rec.Events, &batch); err != nil {
			t.Fatal(err)
		}
		for _, entry := range batch.GetEntries() {
			e := empty()
			if err := proto.Unmarshal(entry.GetEvent(), e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
	}
	return out
}

// process is a node with everything that a store has readers for. It dies at
// the point that it is armed for.
type process struct {
	persistence.Store
	kill   func()
	armed  atomic.Int64
	passed atomic.Int64
	dead   chan struct{}
	once   sync.Once
	node   *cluster.Node
	bank   payments.Provider
}

// pass is a point: true if the process has died, here or before.
func (p *process) pass() bool {
	if p.armed.Load() != 0 && p.passed.Add(1) == p.armed.Load() {
		p.once.Do(func() { p.kill(); close(p.dead) })
	}
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// dies waits a moment for a process whose last write is durable, and which may
// not have noticed.
func (p *process) dies() bool {
	select {
	case <-p.dead:
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}

// Append is two points.
func (p *process) Append(ctx context.Context, records []*entity.Record) []error {
	p.pass() // the store refuses what comes from a dead process
	errs := p.Store.Append(ctx, records)
	if p.pass() {
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", entity.ErrUnknownOutcome, errDead)
		}
	}
	return errs
}

// Call asks the bank, between two points.
func (p *process) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	if p.pass() {
		return nil, errDead
	}
	reply, err := payments.Port{Provider: p.bank}.Call(ctx, to, cmd)
	if p.pass() {
		return nil, errDead
	}
	return reply, err
}

func (s *shop) start(t *testing.T, store *faultstore.Store) *process {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	p := &process{Store: store, kill: store.Kill, dead: make(chan struct{}), bank: s.bank}
	journal, err := commitlog.Open(t.Context(), p, "node", commitlog.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	project, err := views.New(views.Config{
		Log:   events.Config{Journal: p, Watermarks: p, Epoch: journal.Epoch(), Source: journal.Follow(views.ReaderName, 0), Ended: commitlog.ErrClosed, Logger: logger},
		Views: p, Streams: p, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	asker := &late{}
	rt := &entity.Runtime{Log: journal, Store: p, Asker: asker, Clock: time.Now, Logger: logger, Limits: entity.DefaultLimits()}
	p.node = cluster.NewNode(logger, actors.Kinds(rt), map[string]cluster.Caller{"payment": p}, cluster.DefaultOptions())
	asker.Caller = p.node
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = project.Run(ctx) }) // a dead process's reader ends with an error
	running.Go(func() { p.node.WakeDue(ctx, time.Now, due{p}) })
	t.Cleanup(func() {
		store.Kill() // whatever is under way ends
		stop()
		closing, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = p.node.Close(closing) // what a dead process leaves undone is not this test's
		_ = journal.Close(closing)
		running.Wait()
	})
	return p
}

func (p *process) call(t *testing.T, kind, id string, cmd proto.Message) proto.Message {
	t.Helper()
	reply, err := p.node.Call(t.Context(), entity.Address{Kind: kind, ID: id}, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

type late struct{ cluster.Caller }

type due struct{ views persistence.Views }

// Due implements cluster.Reminders.
func (d due) Due(ctx context.Context, before time.Time, limit int) ([]entity.Address, error) {
	rows, err := d.views.DueRows(ctx, before, limit)
	out := make([]entity.Address, len(rows))
	for i, row := range rows {
		out[i] = entity.Address{Kind: row.Kind, ID: row.ID}
	}
	return out, err
}
