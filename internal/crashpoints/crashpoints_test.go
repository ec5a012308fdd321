// Package crashpoints kills a node at every point at which an order that is
// placed and paid in one call touches the world: before and after each write to
// the store, and before and after each question to the payment provider. The
// runtime, the log, the views and the reminders are the real ones; nobody asks
// for the order again. Whatever was cut off, another node brings it to an end: the
// next one, or of three those that are left.
package crashpoints

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/cluster/membership"
	"stampede/internal/faultstore"
	"stampede/internal/testservers"
	"stampede/internal/testshop"
	"stampede/payments"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

var somePoints = flag.Int("points", 4, "at how many points nodes on a real store are killed, any of them; 0: at every one")

func TestMain(m *testing.M) { testservers.Main(m) }

const (
	holdFor = time.Second
	// within bounds how long after a node's end everything is at rest.
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
	for _, where := range testshop.Places() {
		t.Run(where.Name, func(t *testing.T) {
			t.Parallel()
			crashAtEveryStep(t, where)
		})
	}
}

func crashAtEveryStep(t *testing.T, where testshop.Place) {
	whole := run(t, where, -1)
	if whole.passed < 12 {
		t.Fatalf("the order has %d points only", whole.passed)
	}
	if got := whole.end(t); got != "confirmed" {
		t.Fatalf("without a crash it is %s", got)
	}
	points := rand.Perm(whole.passed)
	if inMemory := where.Name == "memory"; testing.Short() || !inMemory && *somePoints > 0 {
		points = points[:min(len(points), max(1, *somePoints))]
	}
	var mu sync.Mutex
	ends := map[string]int{}
	t.Run("at", func(t *testing.T) {
		for _, point := range points {
			t.Run(fmt.Sprint(point+1), func(t *testing.T) {
				t.Parallel()
				end := run(t, where, point+1).end(t)
				mu.Lock()
				defer mu.Unlock()
				ends[end]++
			})
		}
	})
	t.Logf("%d points, %d tried: %v", whole.passed, len(points), ends)
	// Of three nodes those that are left go on with most of what was begun.
	if len(points) == whole.passed && (ends["confirmed"] == 0 || ends["released"] == 0 && where.Nodes == 1) {
		t.Errorf("the crashes prove nothing: %v", ends)
	}
}

// world is a shop, its bank, and the point at which one of its nodes dies.
type world struct {
	*testshop.Shop
	bank *payments.Simulator

	mu     sync.Mutex
	counts bool
	armed  int
	passed int // points
	victim *testshop.Node
	dying  chan struct{} // closed when there is a victim
	dead   chan struct{} // closed when it has gone
}

// run places the order in a shop whose node dies at the point, if there is one.
// Where it was the only one, another is started.
func run(t *testing.T, where testshop.Place, point int) *world {
	t.Helper()
	w := &world{bank: payments.NewSimulator(), dying: make(chan struct{}), dead: make(chan struct{})}
	c := testshop.Config{
		Bank: w.bank, Lease: membership.DefaultLease,
		Over: func(n *testshop.Node, s persistence.Store) persistence.Store { return &store{s, n, w} },
		Ask:  func(n *testshop.Node, p payments.Provider) payments.Provider { return &bank{p, n, w} },
	}
	if where.Name == "memory" { // whose writes may land after the death of who wrote them
		database := faultstore.New(1, faultstore.Faults{})
		c.Open = func(testing.TB) persistence.Store { return database.Connect() }
		w.Shop = testshop.Open(t, c)
	} else {
		w.Shop = where.Shop(t, c)
	}
	asked := w.Nodes()[0]
	for _, id := range []string{"A", "B"} {
		call(t, asked, "sku", id, &skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: id, Price: &commonpb.Money{MinorUnits: 1000, Currency: "EUR"}, Active: true, InitialStock: 10})
	}
	w.arm(point)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := asked.Call(ctx, address(), place())
		answered <- err
	}()
	if point < 0 {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		w.rest(t, false)
		return w
	}
	select {
	case <-w.dying: // whoever asked has gone as well
		cancel()
		<-w.dead
	case err := <-answered: // writes go together or not: this time there were fewer points, or the last ones are still to come
		answered <- err
		if w.rest(t, true) && !w.dies() {
			t.Logf("only %d points were passed", w.passed)
			return w
		}
		<-w.dead
	}
	cancel()
	if err := <-answered; err == nil {
		t.Log("it was answered before its node died")
	}
	if len(w.Nodes()) == 0 {
		w.Add()
	}
	w.rest(t, false)
	return w
}

func address() entity.Address { return entity.Address{Kind: "order", ID: order.ID("usr_1", "k1")} }

// arm begins to count points.
func (w *world) arm(point int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts, w.armed = true, point
}

// pass is a point: true if the node has died, here or before.
func (w *world) pass(n *testshop.Node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.counts && w.victim == nil {
		if w.passed++; w.passed == w.armed {
			w.victim = n
			close(w.dying)
			go func() {
				w.Kill(n)
				close(w.dead)
			}()
		}
	}
	return w.victim == n
}

// dies waits a moment for a node whose last write is durable, and which may not
// have noticed.
func (w *world) dies() bool {
	select {
	case <-w.dead:
		return true
	case <-time.After(300 * time.Millisecond):
		return w.died()
	}
}

// store is a node's, between two points.
type store struct {
	persistence.Store
	node  *testshop.Node
	world *world
}

// Append is two points.
func (s *store) Append(ctx context.Context, records []*entity.Record) []error {
	lost := func() []error {
		errs := make([]error, len(records))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", entity.ErrUnknownOutcome, errDead)
		}
		return errs
	}
	_, fails := s.Store.(*faultstore.Store)
	if s.world.pass(s.node) && !fails { // that one decides itself what of it lands, and when
		return lost()
	}
	errs := s.Store.Append(ctx, records)
	if s.world.pass(s.node) {
		return lost()
	}
	return errs
}

// bank is the way to it, between two points.
type bank struct {
	payments.Provider
	node  *testshop.Node
	world *world
}

func asked[R any](b *bank, ask func() (R, error)) (reply R, err error) {
	if b.world.pass(b.node) {
		return reply, errDead
	}
	reply, err = ask()
	if b.world.pass(b.node) {
		return reply, errDead
	}
	return reply, err
}

func (b *bank) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	return asked(b, func() (*paymentpb.AuthorizeReply, error) { return b.Provider.Authorize(ctx, cmd) })
}

func (b *bank) Capture(ctx context.Context, cmd *paymentpb.Capture) (*paymentpb.CaptureReply, error) {
	return asked(b, func() (*paymentpb.CaptureReply, error) { return b.Provider.Capture(ctx, cmd) })
}

func (b *bank) Void(ctx context.Context, cmd *paymentpb.Void) (*paymentpb.VoidReply, error) {
	return asked(b, func() (*paymentpb.VoidReply, error) { return b.Provider.Void(ctx, cmd) })
}

// died reports whether a node has died, or is about to.
func (w *world) died() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.victim != nil
}

// rest waits, without asking any actor, until nothing is left to be done; false
// when a node that is still to die has died before.
func (w *world) rest(t *testing.T, toDie bool) bool {
	t.Helper()
	var last string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if toDie && w.died() {
			return false
		}
		o, err := w.order(t)
		if err != nil {
			continue // its node is going down
		}
		pending := len(order.Pending(o)) > 0 || !order.WakeAt(o).IsZero()
		_, held, _, errA := w.stock(t, "A")
		_, heldB, _, errB := w.stock(t, "B")
		if !pending && held+heldB == 0 && errA == nil && errB == nil {
			return true
		}
		last = fmt.Sprint(order.Snapshot(o), " held ", held, " and ", heldB)
	}
	t.Fatalf("not at rest after %s: %s", within, last)
	return false
}

// end is how it ended; everything must agree.
func (w *world) end(t *testing.T) string {
	t.Helper()
	read, err := w.order(t)
	if err != nil {
		t.Fatal(err)
	}
	o := order.Snapshot(read).(*orderpb.Order)
	paid := o.GetStatus() == orderpb.Status_STATUS_CONFIRMED
	for i, id := range []string{"A", "B"} {
		want := int64(0)
		if paid {
			want = int64(i + 1)
		}
		if available, held, committed, err := w.stock(t, id); err != nil || held != 0 || committed != want || available != 10-want {
			t.Errorf("%s has %d available, %d held, %d committed; the order is %v, %v", id, available, held, committed, o.GetStatus(), err)
		}
	}
	if captured := w.captured(t); captured != paid || paid && o.GetPayment().GetCaptured().GetMinorUnits() != 3000 {
		t.Errorf("money taken: %t; the order is %v, %v", captured, o.GetStatus(), o.GetPayment())
	}
	// Whoever asks again with the same key hears the same.
	reply := call(t, w.Nodes()[0], "order", address().ID, place()).(*orderpb.OrderReply)
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
func (w *world) captured(t *testing.T) bool {
	t.Helper()
	_, err := w.bank.Void(t.Context(), &paymentpb.Void{OrderId: address().ID, Attempt: 1})
	if err != nil && !errors.Is(err, payments.ErrState) {
		t.Fatal(err)
	}
	return err != nil
}

// order and stock are what is durable, whatever any process believes.
func (w *world) order(t *testing.T) (*order.State, error) {
	t.Helper()
	state := order.New(address().ID)
	events, err := fold(t, w, address().Stream(), func() *orderpb.Event { return &orderpb.Event{} })
	for _, e := range events {
		order.Evolve(state, e)
	}
	return state, err
}

func (w *world) stock(t *testing.T, id string) (available, held, committed int64, err error) {
	t.Helper()
	state := sku.New(id)
	events, err := fold(t, w, "sku/"+id, func() *skupb.Event { return &skupb.Event{} })
	for _, e := range events {
		sku.Evolve(state, e)
	}
	k := sku.Snapshot(state).(*skupb.State).GetStock()
	return k.GetAvailable(), k.GetHeld(), k.GetCommitted(), err
}

func fold[E proto.Message](t *testing.T, w *world, stream string, empty func() E) ([]E, error) {
	t.Helper()
	var out []E
	nodes := w.Nodes()
	if len(nodes) == 0 {
		return nil, errDead
	}
	for rec, err := range nodes[0].Store().ReadStream(t.Context(), stream, 0) {
		if err != nil {
			return nil, err
		}
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
	return out, nil
}

func call(t *testing.T, n *testshop.Node, kind, id string, cmd proto.Message) proto.Message {
	t.Helper()
	reply, err := n.Call(t.Context(), entity.Address{Kind: kind, ID: id}, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
