package sale

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
)

// TradeConfig says what is sold to whom, and how. Units, Shoppers and SKUs mean
// what they do in a Config; of those shoppers some want more than one unit, or
// several SKUs.
type TradeConfig struct {
	Config
	// Pay: orders are paid, cancelled, forgotten, fulfilled and refunded.
	Pay bool
	// HoldFor is how long an order holds its units; with Pay the audit waits for
	// the last of them.
	HoldFor time.Duration
	// Admission is the API's AdmissionPolicy of the waiting room; empty: none.
	Admission string
	// Aliases returns the access tokens of one customer under several spellings
	// of the address that the customer registered with. Called for the first
	// aliasCustomers shoppers of a waiting room.
	Aliases func(ctx context.Context, i int) ([]string, error)
}

const (
	tradePrice    = "299.00"
	ordinaryPrice = "499.00"
	currency      = "EUR"

	// saleLimit is how many units of a SKU a customer may have in the sale.
	saleLimit = 2
	// aliasCustomers register, so that they can come under another spelling.
	aliasCustomers = 4
	// openingDelay is between the last early shopper and the opening: the
	// reminder and the nodes' schedules must have it before.
	openingDelay = time.Second
	// lateBy is how long after the opening the others begin to come.
	lateBy = 100 * time.Millisecond
	// letInWithin is how long it takes to let everybody in.
	letInWithin  = 5 * time.Second
	minLetIn     = 20  // a second
	maxLetIn     = 500 // a second
	saleLasts    = time.Hour
	maxSaleItems = 100
)

// Trade is a sale in which more is done than placing orders. Its steps are
// called in order, from one goroutine: Prepare, Run, Audit, ReadEvents.
type Trade struct {
	config   TradeConfig
	tokens   []string
	aliases  map[int][]string
	skus     []string
	journeys []*journey

	history proof.Trade
	served  atomic.Int64
	decided atomic.Int64 // shoppers' own orders, placed in one way or the other
	steps   *steps

	// mu guards what the journeys add to the history.
	mu sync.Mutex
	// inputs are those of history.Placed.
	inputs []shop.PlaceOrderInput
	// lent is the newest admission token, for an intruder to try.
	lent atomic.Pointer[lentToken]
}

type lentToken struct {
	shopper int
	token   string
}

// NewTrade returns a trade that has not begun.
func NewTrade(c TradeConfig) *Trade {
	t := &Trade{config: c, aliases: map[int][]string{}, history: proof.Trade{
		Stock: map[string]int{}, Price: shop.Money{Amount: ordinaryPrice, Currency: currency}, Settles: c.Pay, Shoppers: c.Shoppers,
		Final: map[string]shop.Trade{},
	}}
	for i := range c.SKUs {
		sku := fmt.Sprintf("DEMO-%s-%d", c.Run, i+1)
		t.skus = append(t.skus, sku)
		t.history.Stock[sku] = c.Units / c.SKUs
		if i < c.Units%c.SKUs {
			t.history.Stock[sku]++
		}
	}
	if c.Admission == "" {
		return t
	}
	t.history.Price.Amount = tradePrice
	t.history.Sale = &proof.SaleSeen{
		Allocation: map[string]int{}, Limit: saleLimit, Shuffled: c.Admission == "SHUFFLED_AT_OPENING", Waited: map[int]*proof.Waited{},
		PerSecond: min(max(c.Shoppers/int(letInWithin/time.Second), minLetIn), maxLetIn),
	}
	for sku, units := range t.history.Stock {
		// More is in stock than the sale may have, so that its own bound is what holds.
		t.history.Sale.Allocation[sku] = units
		t.history.Stock[sku] = units + 1 + units/10
	}
	return t
}

// MaxSaleSKUs is how many SKUs one sale can have.
const MaxSaleSKUs = maxSaleItems

// SKUs are what is sold.
func (t *Trade) SKUs() []string { return t.skus }

// Answered is how many shoppers are done, by any goroutine.
func (t *Trade) Answered() int { return int(t.served.Load()) }

// History is what was seen so far. The steps that follow add to it.
func (t *Trade) History() *proof.Trade { return &t.history }

// Prepare makes the products and the sale, and gives every shopper a token and
// a plan.
func (t *Trade) Prepare(ctx context.Context) error {
	if err := t.createProducts(ctx); err != nil {
		return err
	}
	t.tokens = make([]string, t.config.Shoppers)
	for i := range t.tokens {
		token, err := t.config.Token(i)
		if err != nil {
			return fmt.Errorf("token of shopper %d: %w", i, err)
		}
		t.tokens[i] = token
	}
	if t.history.Sale != nil {
		if err := t.createSale(ctx); err != nil {
			return err
		}
	}
	for i := range t.config.Shoppers {
		t.journeys = append(t.journeys, t.plan(i))
	}
	return nil
}

func (t *Trade) createProducts(ctx context.Context) error {
	for i := 0; i < len(t.skus); i += maxVariants {
		p := shop.Product{Slug: fmt.Sprintf("demo-%s-%d", t.config.Run, i/maxVariants+1), Name: "Flash sale " + t.config.Run, Description: "What the demo sells."}
		for _, sku := range t.skus[i:min(i+maxVariants, len(t.skus))] {
			p.Variants = append(p.Variants, shop.Variant{SKU: sku, Name: sku, Price: shop.Money{Amount: ordinaryPrice, Currency: currency}, Stock: t.history.Stock[sku]})
		}
		if err := t.config.Staff.CreateProduct(ctx, p.Slug, p); err != nil {
			return err
		}
	}
	return nil
}

// createSale makes the sale long before it opens, and registers those who come
// under several names.
func (t *Trade) createSale(ctx context.Context) error {
	s := t.history.Sale
	made, err := t.config.Staff.CreateSale(ctx, shop.NewSale{
		Key: "demo-" + t.config.Run, Name: "Flash sale " + t.config.Run, StartsAt: time.Now().Add(saleLasts), EndsAt: time.Now().Add(2 * saleLasts),
		PerCustomerLimit: s.Limit, Admission: t.config.Admission, AdmitPerSecond: s.PerSecond, Price: t.history.Price, Allocation: s.Allocation, SKUs: t.skus,
	})
	if err != nil {
		return err
	}
	s.ID, s.Commitment = made.ID, made.ShuffleCommitment
	for i := range min(aliasCustomers, t.config.Shoppers) {
		tokens, err := t.config.Aliases(ctx, i)
		if err != nil {
			return fmt.Errorf("shopper %d under several spellings: %w", i, err)
		}
		if len(tokens) == 0 {
			return fmt.Errorf("shopper %d has no token", i)
		}
		t.tokens[i], t.aliases[i] = tokens[0], tokens
	}
	return nil
}

// Run lets all shoppers do what they have in mind. With a waiting room most of
// them join it first, then the sale opens, then the others come.
func (t *Trade) Run(ctx context.Context) (*load.Report, error) {
	if t.history.Sale != nil {
		if err := t.open(ctx); err != nil {
			return nil, err
		}
	}
	t.steps = startSteps(t.config.Steps)
	report, err := t.visit(ctx, t.journeys, (*journey).step)
	if stepErr := t.steps.end(); err == nil {
		err = stepErr
	}
	if err == nil {
		err = ctx.Err()
	}
	return report, err
}

// open lets the early ones join, and opens the sale.
func (t *Trade) open(ctx context.Context) error {
	var early []*journey
	for _, j := range t.journeys {
		if j.early {
			early = append(early, j)
		}
	}
	if _, err := t.visit(ctx, early, (*journey).joinOnly); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	opens := time.Now().Add(openingDelay)
	for _, j := range t.journeys {
		if !j.early {
			j.at = opens.Add(lateBy)
		}
	}
	_, err := t.config.Staff.OpenSale(ctx, t.history.Sale.ID, opens)
	return err
}

// visit performs journeys, a step at a time, as they fall due.
func (t *Trade) visit(ctx context.Context, journeys []*journey, step func(*journey, context.Context, *load.Visitor) (time.Duration, bool)) (*load.Report, error) {
	if len(journeys) == 0 {
		return nil, errors.New("nobody is here")
	}
	q := newQueue(journeys)
	var dispatching sync.WaitGroup
	dispatching.Go(func() { q.dispatch(ctx) })
	options := load.Options{URL: t.config.URL, Others: t.config.Others, Concurrency: min(t.config.Concurrency, len(journeys)), Patience: patience}
	report, err := load.Visit(ctx, options, func(ctx context.Context, v *load.Visitor) {
		for j := range q.due {
			wait, more := step(j, ctx, v)
			if !q.giveBack(ctx, j, wait, more) {
				return
			}
		}
	})
	if err != nil {
		q.stop()
	}
	dispatching.Wait()
	return report, err
}

// note adds to the history.
func (t *Trade) note(change func(h *proof.Trade)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.history)
}

// broke takes down a step that came to nothing that explains it.
func (t *Trade) broke(format string, args ...any) {
	t.note(func(h *proof.Trade) { h.Broken = append(h.Broken, fmt.Sprintf(format, args...)) })
}

// placedOne counts a decision: with half of them made, half of the sale is over.
func (t *Trade) placedOne() {
	t.steps.reached(t.decided.Add(1) * t.steps.parts() / int64(t.config.Shoppers))
}
