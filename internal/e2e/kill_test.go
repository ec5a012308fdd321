package e2e

// SIGKILL in mid-traffic, again and again on one data directory: whatever a
// shopper was told is still so, and nothing was sold twice.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// promise is what a shopper was told about an order, and with what input.
type promise struct {
	who   *client
	key   string
	wants []want
	token string
	// told is the newest answer; order is nil if there was none but the refusal.
	told    *order
	refusal string
}

// promises are everything that was acknowledged.
type promises struct {
	mu  sync.Mutex
	all []*promise
	// acknowledged counts answers, also several about one order.
	acknowledged atomic.Int64
}

func (p *promises) add(one *promise) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, one)
}

// killStock is small enough that some SKUs are sold out in the end.
var killStock = []variant{{"K-A", "10.00", 120}, {"K-B", "0.99", 60}, {"K-C", "250.00", 40}, {"K-D", "3.50", 400}}

const (
	killClients = 24
	killOrders  = 6 // of each client in each round
)

func TestAcknowledgedOrdersSurviveKills(t *testing.T) {
	t.Parallel()
	killAndRestart(t, *rounds)
}

func killAndRestart(t *testing.T, rounds int, flags ...string) {
	t.Helper()
	random := randomness(t)
	dir := t.TempDir()
	s := serve(t, dir, flags...)
	sh := openShop(t, s, enoughCustomers, killStock...)
	var told promises
	for round := range rounds {
		var over sync.WaitGroup
		begun := told.acknowledged.Load()
		killAt := begun + 10 + random.Int64N(killClients*killOrders*2/3)
		over.Go(func() {
			together(t, killClients, random, func(ctx context.Context, client int, random *rand.Rand) error {
				return told.shopper(ctx, sh.customers[client%enoughCustomers], fmt.Sprintf("r%d-c%d", round, client), random)
			})
		})
		eventually(t, soon, "traffic", func() error {
			if have := told.acknowledged.Load(); have < killAt {
				return fmt.Errorf("%d of %d answers", have-begun, killAt-begun)
			}
			return nil
		})
		s.kill()
		s = serve(t, dir, flags...)
		sh.at.set(s)
		over.Wait()
		if t.Failed() {
			return
		}
		told.verify(t, sh, random)
		if t.Failed() {
			return
		}
		t.Logf("round %d: killed after %d answers, %d orders are as acknowledged", round, killAt-begun, len(told.all))
	}
	told.verifyLists(t, sh)
	told.verifyEvents(t, s.kafka)
	s.checkPublished()
	s.stop()
}

// shopper orders, pays and cancels; each request is sent again with the same
// input until its outcome is known, also over the crash.
func (p *promises) shopper(ctx context.Context, c *client, name string, random *rand.Rand) error {
	for n := range killOrders {
		one := &promise{who: c, key: fmt.Sprintf("%s-o%d", name, n), wants: someWants(random)}
		switch random.IntN(4) {
		case 0:
			one.token = "tok_ok"
		case 1:
			one.token = "tok_decline"
		}
		answer, err := settle(ctx, func() (*order, error) { return c.place(ctx, one.key, one.token, one.wants...) })
		if err := one.heard(answer, err, "INSUFFICIENT_STOCK", "PAYMENT_DECLINED"); err != nil {
			return err
		}
		p.add(one)
		p.acknowledged.Add(1)
		if one.told == nil || one.told.State != "RESERVED" {
			continue
		}
		switch random.IntN(3) {
		case 0:
			answer, err = settle(ctx, func() (*order, error) { return c.pay(ctx, one.key+"-pay", one.told.ID, "tok_ok") })
		case 1:
			answer, err = settle(ctx, func() (*order, error) { return c.cancel(ctx, one.told.ID) })
		default:
			continue
		}
		if err := one.heard(answer, err); err != nil {
			return err
		}
		p.acknowledged.Add(1)
	}
	return nil
}

func someWants(random *rand.Rand) []want {
	lines := 1 + random.IntN(2)
	wants := make([]want, lines)
	for i, at := range random.Perm(len(killStock))[:lines] {
		wants[i] = want{killStock[at].sku, 1 + random.IntN(3)}
	}
	return wants
}

// heard keeps an answer; a refusal must be one of those that there can be.
func (one *promise) heard(answer *order, err error, possible ...string) error {
	one.refusal = codeOf(err)
	if err != nil && !slices.Contains(possible, one.refusal) {
		return fmt.Errorf("%s: %w", one.key, err)
	}
	if answer == nil {
		return unexpected(one.key+" without an order", nil, err)
	}
	one.told = answer
	return nil
}

// lasting is what of an order must never change again by itself. After the
// answer, a paid order's money is taken, and what a rejected one held on other
// lines is given back.
func lasting(o *order) order {
	c := *o
	switch c.State {
	case "CONFIRMED":
		c.Payment, c.Version = payment{}, 0
	case "REJECTED":
		c.Version = 0
	}
	return c
}

// verify reads every order back and places it again, with the same and with
// another input, and compares the stock with all that was acknowledged.
func (p *promises) verify(t *testing.T, sh *shop, random *rand.Rand) {
	t.Helper()
	held, committed := map[string]int{}, map[string]int{}
	var mu sync.Mutex
	together(t, killClients, random, func(ctx context.Context, client int, _ *rand.Rand) error {
		for i := client; i < len(p.all); i += killClients {
			one := p.all[i]
			if err := one.verify(ctx, i); err != nil {
				return fmt.Errorf("%s %+v: %w", one.key, *one.told, err)
			}
			mu.Lock()
			for _, l := range one.told.Lines {
				switch one.told.State {
				case "RESERVED":
					held[l.SKU] += l.Quantity
				case "CONFIRMED":
					committed[l.SKU] += l.Quantity
				}
			}
			mu.Unlock()
		}
		return nil
	})
	for _, v := range killStock {
		if held[v.sku]+committed[v.sku] > v.stock {
			t.Errorf("%s is oversold: of %d units %d were acknowledged as held and %d as sold", v.sku, v.stock, held[v.sku], committed[v.sku])
		}
		eventually(t, soon, "only acknowledged units are held or sold", func() error {
			l := sh.level(t, v.sku)
			if l.OnHand != v.stock || l.Held != held[v.sku] || l.Committed != committed[v.sku] {
				return fmt.Errorf("%s: %d units, of which %d were acknowledged as held and %d as sold: %+v", v.sku, v.stock, held[v.sku], committed[v.sku], *l)
			}
			return nil
		})
	}
}

func (one *promise) verify(ctx context.Context, n int) error {
	want := lasting(one.told)
	read, err := settle(ctx, func() (*order, error) { return one.who.order(ctx, one.told.ID) })
	if err != nil || read == nil {
		return unexpected("read back", read, err)
	}
	if diff := cmp.Diff(want, lasting(read)); diff != "" {
		return fmt.Errorf("it was another one (-told +read):\n%s", diff)
	}
	again, err := settle(ctx, func() (*order, error) { return one.who.place(ctx, one.key, one.token, one.wants...) })
	if again == nil {
		return unexpected("placed again", again, err)
	}
	if diff := cmp.Diff(want, lasting(again)); diff != "" {
		return fmt.Errorf("placed again, it is another one (-told +again):\n%s", diff)
	}
	if one.told.State == "REJECTED" && codeOf(err) != one.refusal {
		return fmt.Errorf("placed again, it is refused with %q, not %q", codeOf(err), one.refusal)
	}
	if n%4 != 0 { // one in four: it is the same code for all
		return nil
	}
	other := slices.Clone(one.wants)
	other[0].units++
	_, err = settle(ctx, func() (*order, error) { return one.who.place(ctx, one.key, one.token, other...) })
	if codeOf(err) != "IDEMPOTENCY_MISMATCH" {
		return unexpected("another input under its key", nil, err)
	}
	return nil
}

// verifyLists waits until the staff's list has every order, once, as it is.
func (p *promises) verifyLists(t *testing.T, sh *shop) {
	t.Helper()
	eventually(t, time.Minute, "the list of orders", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		listed, err := sh.operator.orders(ctx, 50)
		if err != nil {
			return err
		}
		if len(listed) != len(p.all) {
			return fmt.Errorf("%d orders are listed of %d", len(listed), len(p.all))
		}
		states := map[string]string{}
		for _, o := range listed {
			states[o.ID] = o.State
		}
		for _, one := range p.all {
			if states[one.told.ID] != one.told.State {
				return fmt.Errorf("%s is listed as %q and was told to be %q", one.told.ID, states[one.told.ID], one.told.State)
			}
		}
		return nil
	})
}

// verifyEvents reads the orders' topic from its beginning until every
// acknowledged order is told of, as it ended.
func (p *promises) verifyEvents(t *testing.T, kafka string) {
	t.Helper()
	last := map[string]string{
		"RESERVED": "OrderReserved", "CONFIRMED": "PaymentCaptured", "REJECTED": "OrderRejected", "CANCELLED": "OrderHoldsReleased",
	}
	events := consume(t, kafka, "stampede.orders.v1", 30*time.Second, func(seen map[string][]published) error {
		for _, one := range p.all {
			if !slices.ContainsFunc(seen[one.told.ID], func(e published) bool { return e.kind == last[one.told.State] }) {
				return fmt.Errorf("%s of order %s, which is %s, among %v", last[one.told.State], one.told.ID, one.told.State, seen[one.told.ID])
			}
		}
		return nil
	})
	for _, one := range p.all {
		if err := inOrder(events[one.told.ID]); err != nil {
			t.Errorf("order %s: %v", one.told.ID, err)
		}
	}
}
