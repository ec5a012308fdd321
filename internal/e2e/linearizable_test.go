package e2e

// One SKU and 64 clients: whatever they are told must fit one order of events
// that keeps to real time.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	manyClients = 64
	// enoughCustomers: several clients are one customer, whose budget of
	// requests they share.
	enoughCustomers = 8
)

// Reserving until well after the last unit is gone, with looks in between. No
// unit is given back, so that every level can be computed from the versions.
func TestVersionsAreTheOrderOfEvents(t *testing.T) {
	t.Parallel()
	const initial, each = 600, 16
	random := randomness(t)
	s := serve(t, t.TempDir())
	sh := openShop(t, s, enoughCustomers, variant{"HOT", "19.90", initial})
	run := newRecorder()
	together(t, manyClients, random, func(ctx context.Context, client int, random *rand.Rand) error {
		c := sh.customers[client%enoughCustomers]
		for n := range each {
			if n%4 == 3 {
				if err := run.look(ctx, c, client, "HOT"); err != nil {
					return err
				}
				continue
			}
			if _, err := run.reserve(ctx, c, client, fmt.Sprintf("c%d-%d", client, n), "HOT", 1+random.IntN(3), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err := checkVersions(run.all, initial); err != nil {
		t.Error(err)
	}
	sold, accepted, refusals := 0, 0, 0
	for _, o := range run.all {
		switch {
		case o.action == reserve && o.outcome == done:
			sold += o.units
			accepted++
		case o.outcome == refused:
			refusals++
		}
	}
	if l := sh.level(t, "HOT"); l.Held != sold || l.OnHand != initial {
		t.Errorf("%d units were acknowledged of %d, and the stock says %+v", sold, initial, *l)
	}
	if accepted == 0 || refusals == 0 {
		t.Errorf("%d accepted and %d refused: this shows little", accepted, refusals)
	}
	t.Logf("%d operations: %d accepted with %d units of %d, %d refused", len(run.all), accepted, sold, initial, refusals)
	tried := mustNotice(t, run.all, initial, versionForgeries, func(doctored []operation) bool { return checkVersions(doctored, initial) != nil })
	if tried != len(versionForgeries) {
		t.Errorf("the history has room for %d forgeries of %d", tried, len(versionForgeries))
	}
	s.stop()
}

// Short histories of reserving, giving back and looking, of eight clients on a
// SKU and 64 in the shop, some requests given up before their answer: Porcupine
// finds an order for each, and none for a doctored one. (What it takes grows
// exponentially with the operations that are under way at once.)
func TestShortHistoriesAreLinearizable(t *testing.T) {
	t.Parallel()
	random := randomness(t)
	s := serve(t, t.TempDir())
	sh := openShop(t, s, enoughCustomers)
	for n := range *histories {
		traffic := newShortTraffic(t, sh, n, manyClients, 6, random)
		traffic.run(t, random)
		traffic.check(t, sh)
	}
	s.checkPublished()
	s.stop()
}

// The same while the server is killed and started again: shoppers whose request
// was cut off send it again with its key, or give it up.
func TestHistoriesAreLinearizableOverACrash(t *testing.T) {
	t.Parallel()
	historiesOverACrash(t, *histories)
}

// The same where the journal is a real MongoDB: what readers are shown without a
// turn of the actor is what that has durably.
func TestHistoriesAreLinearizableOnMongo(t *testing.T) {
	if testing.Short() {
		t.Skip("the embedded store is read, too")
	}
	t.Parallel()
	historiesOverACrash(t, max(1, *histories/4), onRealServers(t)...)
}

func historiesOverACrash(t *testing.T, histories int, flags ...string) {
	t.Helper()
	random := randomness(t)
	dir := t.TempDir()
	s := serve(t, dir, flags...)
	sh := openShop(t, s, enoughCustomers)
	for n := range histories {
		traffic := newShortTraffic(t, sh, n, manyClients/2, 8, random)
		killAt := int64(10 + random.IntN(manyClients/2*8*2/3))
		var over sync.WaitGroup
		over.Go(func() { traffic.run(t, random) })
		eventually(t, soon, "traffic", func() error {
			if n := traffic.answered.Load(); n < killAt {
				return fmt.Errorf("%d operations of %d", n, killAt)
			}
			return nil
		})
		s.kill()
		s = serve(t, dir, flags...)
		sh.at.set(s)
		over.Wait()
		traffic.check(t, sh)
	}
	s.checkPublished()
	s.stop()
}

// shortSKUs is how many SKUs the clients of short histories spread over.
const shortSKUs = 8

// shortTraffic is one short history a SKU.
type shortTraffic struct {
	shop     *shop
	clients  int
	requests int
	initial  int
	skus     [shortSKUs]string
	runs     [shortSKUs]*recorder
	answered atomic.Int64
}

func newShortTraffic(t *testing.T, sh *shop, n, clients, requests int, random *rand.Rand) *shortTraffic {
	t.Helper()
	s := &shortTraffic{shop: sh, clients: clients, requests: requests, initial: 4 + random.IntN(clients/4)}
	var variants []variant
	for i := range s.skus {
		s.skus[i] = fmt.Sprintf("SHORT-%d-%d", n, i)
		s.runs[i] = newRecorder()
		s.runs[i].answered = &s.answered
		variants = append(variants, variant{s.skus[i], "5.00", s.initial})
	}
	sh.addProduct(t, fmt.Sprintf("short-%d", n), variants...)
	return s
}

func (s *shortTraffic) run(t *testing.T, random *rand.Rand) {
	t.Helper()
	together(t, s.clients, random, func(ctx context.Context, client int, random *rand.Rand) error {
		i := client % shortSKUs
		return s.runs[i].shopper(ctx, s.shop.customers[client%enoughCustomers], client, s.skus[i], s.requests, random)
	})
}

// check checks every SKU's history, and that the checks would have noticed.
func (s *shortTraffic) check(t *testing.T, sh *shop) {
	t.Helper()
	counts, longest, illegal := map[string]int{}, time.Duration(0), 0
	for i, run := range s.runs {
		if err := checkVersions(run.all, s.initial); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if got := linearizable(run.all, s.initial, porcupineWithin); got != porcupine.Ok {
			t.Errorf("Porcupine says %s of %d operations on %d units of %s:\n%s", got, len(run.all), s.initial, s.skus[i], describe(run.all))
			continue
		}
		longest = max(longest, time.Since(began))
		mustNotice(t, run.all, s.initial, modelForgeries, func(doctored []operation) bool {
			got := linearizable(doctored, s.initial, illegalWithin)
			if got == porcupine.Illegal {
				illegal++
			}
			return got != porcupine.Ok
		})
		for _, o := range run.all {
			counts[o.action.String()+" "+o.outcome.String()]++
		}
		sh.level(t, s.skus[i])
	}
	if illegal < len(s.runs) {
		t.Errorf("of %d doctored histories only %d were found illegal: too few to show anything", len(s.runs), illegal)
	}
	t.Logf("%d histories on %d units each, none took longer than %s: %v", len(s.runs), s.initial, longest.Round(time.Millisecond), counts)
}

const (
	// porcupineWithin bounds one check; a thousandth of it is usual.
	porcupineWithin = 30 * time.Second
	// illegalWithin bounds the search for an order of a doctored history. To find
	// that there is none, it has to look at all; a few remain undecided.
	illegalWithin = 300 * time.Millisecond
)

func describe(history []operation) string {
	var b strings.Builder
	for _, o := range history {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}

// together runs clients at the same time, each with randomness of its own, and
// waits for all of them. It may be called from any goroutine.
func together(t *testing.T, clients int, random *rand.Rand, do func(ctx context.Context, client int, random *rand.Rand) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for client := range clients {
		own := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		all.Go(func() {
			if err := do(ctx, client, own); err != nil {
				t.Errorf("client %d: %v", client, err)
			}
		})
	}
	all.Wait()
}

// shopper reserves, looks and gives back. One request in eight is given up
// after a moment that is often too short.
func (r *recorder) shopper(ctx context.Context, c *client, client int, sku string, requests int, random *rand.Rand) error {
	type hold struct {
		order string
		units int
	}
	var holds []hold
	for n := range requests {
		switch what := random.IntN(10); {
		case what < 2:
			if err := r.look(ctx, c, client, sku); err != nil {
				return err
			}
		case what < 5 && len(holds) > 0:
			if err := r.cancel(ctx, c, client, holds[0].order, holds[0].units); err != nil {
				return err
			}
			holds = holds[1:]
		default:
			units, patience := 1+random.IntN(3), time.Duration(0)
			if random.IntN(8) == 0 {
				patience = time.Duration(random.IntN(6_000)) * time.Microsecond
			}
			id, err := r.reserve(ctx, c, client, fmt.Sprintf("%s-%d-%d", sku, client, n), sku, units, patience)
			if err != nil {
				return err
			}
			if id != "" {
				holds = append(holds, hold{id, units})
			}
		}
	}
	return nil
}

// reserve places an order and sends it again until its outcome is known, or,
// with patience, gives it up after that long. It returns the order's id if it
// has the units.
func (r *recorder) reserve(ctx context.Context, c *client, client int, key, sku string, units int, patience time.Duration) (string, error) {
	o := operation{client: client, action: reserve, units: units, call: r.now()}
	var placed *order
	var err error
	if patience > 0 {
		within, stop := context.WithTimeout(ctx, patience)
		placed, err = c.place(within, key, "", want{sku, units})
		stop()
	} else {
		placed, err = settle(ctx, func() (*order, error) { return c.place(ctx, key, "", want{sku, units}) })
	}
	o.back = r.now()
	var short *userError
	switch {
	case err == nil && placed.State == "RESERVED" && len(placed.Lines) == 1 && placed.Lines[0].SKUVersion != nil:
		o.version = *placed.Lines[0].SKUVersion
	case errors.As(err, &short) && short.Code == "INSUFFICIENT_STOCK" && short.Requested == units && short.SKU == sku:
		o.outcome, o.available = refused, short.Available
	case open(err) && patience > 0 && ctx.Err() == nil:
		o.outcome = unknown
	default:
		return "", unexpected("placing "+key, placed, err)
	}
	r.add(o)
	if o.outcome != done {
		return "", nil
	}
	return placed.ID, nil
}

func (r *recorder) cancel(ctx context.Context, c *client, client int, id string, units int) error {
	o := operation{client: client, action: cancel, units: units, call: r.now()}
	cancelled, err := settle(ctx, func() (*order, error) { return c.cancel(ctx, id) })
	o.back = r.now()
	if err != nil || cancelled.State != "CANCELLED" {
		return unexpected("cancelling "+id, cancelled, err)
	}
	r.add(o)
	return nil
}

func (r *recorder) look(ctx context.Context, c *client, client int, sku string) error {
	o := operation{client: client, action: look}
	levels, err := settle(ctx, func() ([]*level, error) {
		o.call = r.now() // a look that failed has not seen anything
		return c.stock(ctx, sku)
	})
	o.back = r.now()
	if err != nil || len(levels) != 1 || levels[0] == nil {
		return unexpected("looking at "+sku, levels, err)
	}
	if err := levels[0].conserved(); err != nil {
		return err
	}
	o.version, o.available, o.held = levels[0].Version, levels[0].Available, levels[0].Held
	r.add(o)
	return nil
}
