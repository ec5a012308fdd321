package e2e

// Shoppers of a cluster who behave well: they know several nodes, stay with one
// that answers, send again with the same key to the next one when it does not,
// and wait as long as they are told to. What they did and were told is recorded.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptFor is how long a shopper waits before asking another node.
	attemptFor = 3 * time.Second
	// patience is how long a shopper sends the same again.
	patience = 90 * time.Second
	// someFailures is how many failed attempts are shown.
	someFailures = 20
	// loadCustomers are how many users the shoppers are.
	loadCustomers = 4
	// longestWait bounds how long a shopper waits before trying again.
	longestWait = time.Second
)

// entry is one request of one shopper, and what came of it in the end.
type entry struct {
	operation
	key, sku string
	// order is the order's id, and paid whether it was paid with the order.
	order string
	paid  bool
	// node is the URL that answered, attempts how many were needed.
	node     string
	attempts int
}

// load is shoppers at work on a fleet. A shopper never gives anything back, so
// every acknowledged unit must still be held or sold at the end.
type load struct {
	t testing.TB
	f *fleet
	// stock is what there was of each SKU; hot is the one that most want.
	stock map[string]int
	skus  []string
	hot   string

	customers []*client
	limiter   *rate.Limiter
	began     time.Time
	stopped   context.CancelFunc
	shoppers  sync.WaitGroup
	runs      int
	// ordersOnly: nobody looks, nobody pays, and all want one unit.
	ordersOnly bool

	// answered counts requests whose outcome is known or was given up, ordered the
	// orders that were acknowledged.
	answered, ordered atomic.Int64
	// shed counts answers that said to come later, lost the attempts without an answer.
	shed, lost atomic.Int64

	mu      sync.Mutex
	entries []entry
	failed  []string
	longest time.Duration
	why     string
}

// newLoad opens a shop with a hot SKU and three others. perSecond bounds the orders.
func newLoad(t testing.TB, f *fleet, perSecond float64, hotStock int) *load {
	t.Helper()
	return newLoadOf(t, f, perSecond, hotStock, loadCustomers)
}

// newLoadOf is newLoad with so many customers, each of whom has a budget of
// requests at each node.
func newLoadOf(t testing.TB, f *fleet, perSecond float64, hotStock, customers int) *load {
	t.Helper()
	l := &load{t: t, f: f, hot: f.sku("HOT"), stock: map[string]int{}, began: time.Now(), limiter: rate.NewLimiter(rate.Limit(perSecond), 1)}
	var variants []variant
	for i, short := range []string{"HOT", "A", "B", "C"} {
		stock := hotStock
		if i > 0 {
			stock = 50_000
		}
		l.skus = append(l.skus, f.sku(short))
		l.stock[f.sku(short)] = stock
		variants = append(variants, variant{f.sku(short), "1.00", stock})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := f.ask(ctx, func(c *client) error {
		_, err := c.createProduct(ctx, f.name, f.name, variants...)
		return err
	})
	if err != nil {
		t.Fatalf("creating a product: %v", err)
	}
	for i := range customers {
		c := newClient(nil, "")
		_, _, err := l.anywhere(ctx, new(int), func(ctx context.Context, at *client) error {
			in, err := at.register(ctx, fmt.Sprintf("shopper%d@%s.test", i, f.name), "nine noisy newts")
			if err == nil {
				c.token = in.Tokens.AccessToken
			}
			return err
		}, c)
		if err != nil {
			t.Fatalf("registering: %v", err)
		}
		l.customers = append(l.customers, c)
	}
	return l
}

// start sets shoppers to work until stop.
func (l *load) start(shoppers int) {
	l.t.Helper()
	random := randomness(l.t)
	ctx, cancel := context.WithCancel(l.t.Context())
	l.stopped = cancel
	l.runs++
	for i := range shoppers {
		own := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		name := fmt.Sprintf("%d-%d", l.runs, i)
		l.shoppers.Go(func() { l.shop(ctx, i, name, own) })
	}
	l.t.Cleanup(cancel)
}

// stop lets every shopper finish what was begun.
func (l *load) stop() {
	l.stopped()
	l.shoppers.Wait()
}

// more waits for so many more answers.
func (l *load) more(answers int64) {
	l.t.Helper()
	enough := l.answered.Load() + answers
	eventually(l.t, time.Minute, "traffic", func() error {
		if n := l.answered.Load(); n < enough {
			return fmt.Errorf("%d answers of %d", n, enough)
		}
		return nil
	})
}

func (l *load) shop(ctx context.Context, shopper int, name string, random *rand.Rand) {
	at := shopper // which gateway: a shopper stays with one that answers
	c := l.customers[shopper%len(l.customers)]
	for n := 0; l.limiter.Wait(ctx) == nil; n++ {
		e := entry{operation: operation{client: shopper}, key: name + "-" + strconv.Itoa(n), sku: l.hot}
		if random.IntN(3) == 0 {
			e.sku = l.skus[1+random.IntN(len(l.skus)-1)]
		}
		if random.IntN(5) == 0 {
			e.action = look
		}
		e.units, e.paid = 1+random.IntN(2), random.IntN(4) == 0
		if l.ordersOnly {
			e.action, e.units, e.paid = reserve, 1, false
		}
		err := l.do(&at, &e, c)
		l.mu.Lock()
		if err != nil {
			l.failed = append(l.failed, fmt.Sprintf("%s of %s: %v", e.action, e.key, err))
			e.outcome = unknown
		}
		if e.order != "" {
			l.ordered.Add(1)
		}
		if took := time.Duration(e.back - e.call); took > l.longest {
			l.longest, l.why = took, fmt.Sprintf("%v by %s after %d attempts", e.operation, e.node, e.attempts)
		}
		l.entries = append(l.entries, e)
		l.mu.Unlock()
		l.answered.Add(1)
	}
}

// do sends one request until its outcome is known. What was begun is finished,
// also when the load is over.
func (l *load) do(at *int, e *entry, c *client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), patience)
	defer cancel()
	e.call = int64(time.Since(l.began))
	var err error
	e.node, e.attempts, err = l.anywhere(ctx, at, func(ctx context.Context, c *client) error {
		if e.action == look {
			e.call = int64(time.Since(l.began)) // a look that failed has seen nothing
			return e.looked(c.stock(ctx, e.sku))
		}
		token := ""
		if e.paid {
			token = "tok_ok"
		}
		return e.placed(c.place(ctx, e.key, token, want{e.sku, e.units}))
	}, c)
	e.back = int64(time.Since(l.began))
	return err
}

func (e *entry) looked(levels []*level, err error) error {
	if err != nil {
		return err
	}
	if len(levels) != 1 || levels[0] == nil {
		return fmt.Errorf("no level of %s", e.sku)
	}
	e.version, e.available, e.held = levels[0].Version, levels[0].Available, levels[0].Held
	return levels[0].conserved()
}

func (e *entry) placed(o *order, err error) error {
	var short *userError
	if errors.As(err, &short) && short.Code == "INSUFFICIENT_STOCK" {
		e.outcome, e.available = refused, short.Available
		return nil
	}
	if err != nil {
		return err
	}
	want := "RESERVED"
	if e.paid {
		want = "CONFIRMED"
	}
	if o == nil || o.State != want || len(o.Lines) != 1 || o.Lines[0].SKU != e.sku || o.Lines[0].Quantity != e.units || o.Lines[0].SKUVersion == nil {
		return unexpected("placing "+e.key, o, nil)
	}
	e.order, e.version = o.ID, *o.Lines[0].SKUVersion
	return nil
}

// anywhere sends to one gateway after the other until the outcome is known, and
// says who answered and after how many attempts. Who is told to come later does,
// and each time that it is told again it waits twice as long, for others wait too.
// Whose own budget is used up stays where it is.
func (l *load) anywhere(ctx context.Context, at *int, send func(context.Context, *client) error, who *client) (string, int, error) {
	told := 0 // to come later, one time after the other
	for attempt := 1; ; attempt++ {
		urls := l.f.urls()
		url := urls[*at%len(urls)]
		within, cancel := context.WithTimeout(ctx, attemptFor)
		err := send(within, &client{place(url), who.token, who.http})
		cancel()
		if err == nil || !open(err) {
			return url, attempt, err
		}
		wait := 5 * time.Millisecond
		if errors.Is(err, errLater) || hint(err) > 0 {
			l.shed.Add(1)
			wait = max(wait, min(hint(err)<<min(told, 10), longestWait))
			told++
		} else {
			l.lost.Add(1)
			told = 0
		}
		if l.shed.Load()+l.lost.Load() <= someFailures {
			l.t.Logf("%s: attempt %d at %s: %v", time.Since(l.began).Round(time.Millisecond), attempt, url, err)
		}
		if !overBudget(err) {
			*at++
		}
		if !pause(ctx, wait+rand.N(wait)) {
			return url, attempt, err
		}
	}
}

// overBudget reports that the caller has asked for too much, not the node for too little.
func overBudget(err error) bool {
	var failed *fault
	return errors.As(err, &failed) && failed.status == http.StatusTooManyRequests
}

// hint is how long an answer says to wait.
func hint(err error) time.Duration {
	var refused *userError
	var failed *fault
	switch {
	case errors.As(err, &refused):
		return time.Duration(refused.RetryAfterMs) * time.Millisecond
	case errors.As(err, &failed):
		return time.Duration(failed.Extensions.RetryAfterMs) * time.Millisecond
	}
	return 0
}

// gap is the longest that any shopper has waited since the last call, and with what.
func (l *load) gap() (time.Duration, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest, why := l.longest, l.why
	l.longest, l.why = 0, ""
	return longest, why
}

// failures is how many attempts did not get an answer that was one.
func (l *load) failures() int64 { return l.shed.Load() + l.lost.Load() }
