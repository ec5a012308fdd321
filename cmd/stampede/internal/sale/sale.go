// Package sale runs one flash sale against a server, as shoppers would, and
// afterwards asks the server what became of it. It takes down everything that
// was seen; judging it is package proof's work.
package sale

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/shop"
)

// Config says what is sold to whom.
type Config struct {
	// URL is the server's base, without /graphql.
	URL string
	// Others are further nodes of the same shop, where shoppers go on.
	Others []string
	// Staff makes the product.
	Staff *shop.Client
	// Token returns the access token of shopper i. It is asked for all of them
	// before the sale begins.
	Token func(i int) (string, error)
	// Run is part of every name, so that a server can see many sales.
	Run string
	// Units are spread evenly over SKUs; shopper i wants one unit of SKU i mod SKUs.
	Units, Shoppers, SKUs int
	Concurrency           int
	// Steps are what happens during the sale, one after the other and evenly
	// spread: a single one when half of the units are sold or half of the shoppers
	// were answered, of two the first after a third. They are called from one
	// goroutine. The sale is over when all have returned; an error ends it.
	Steps []func() error
}

// Bounds of a sale.
const (
	maxVariants = 50 // of a product
	// maxRepeats is how many accepted and how many refused keys are sent again.
	maxRepeats = 500
	// patience is how long a shopper keeps trying: far longer than a restart.
	patience = 90 * time.Second
)

// Sale is a sale under way. Its steps are called in order, from one goroutine:
// Prepare, Run, Audit.
type Sale struct {
	config Config
	tokens []string
	skus   []string

	history  proof.History
	accepted atomic.Int64
	answered atomic.Int64
}

// New returns a sale that has not begun.
func New(c Config) *Sale {
	s := &Sale{config: c, history: proof.History{
		Units: map[string]int{}, ReadBack: map[string]shop.Order{}, Attempts: make([]proof.Attempt, c.Shoppers),
	}}
	for i := range c.SKUs {
		sku := fmt.Sprintf("DEMO-%s-%d", c.Run, i+1)
		s.skus = append(s.skus, sku)
		s.history.Units[sku] = c.Units / c.SKUs
		if i < c.Units%c.SKUs {
			s.history.Units[sku]++
		}
	}
	return s
}

// SKUs are what is sold.
func (s *Sale) SKUs() []string { return s.skus }

// Answered is how many shoppers have been answered so far, by any goroutine.
func (s *Sale) Answered() int { return int(s.answered.Load()) }

// History is what was seen so far. The steps that follow add to it.
func (s *Sale) History() *proof.History { return &s.history }

// Prepare makes the products, gives every shopper a token, and makes sure that
// the stock is there.
func (s *Sale) Prepare(ctx context.Context) error {
	for i := 0; i < len(s.skus); i += maxVariants {
		if err := s.createProduct(ctx, i/maxVariants+1, s.skus[i:min(i+maxVariants, len(s.skus))]); err != nil {
			return err
		}
	}
	s.tokens = make([]string, s.config.Shoppers)
	for i := range s.tokens {
		token, err := s.config.Token(i)
		if err != nil {
			return fmt.Errorf("token of shopper %d: %w", i, err)
		}
		s.tokens[i] = token
	}
	levels, err := s.config.Staff.Stock(ctx, s.skus)
	if err != nil {
		return err
	}
	for _, sku := range s.skus {
		if level, ok := levels[sku]; !ok || level.Available != s.history.Units[sku] {
			return fmt.Errorf("stock of %s before the sale is %+v, want %d available", sku, level, s.history.Units[sku])
		}
	}
	return nil
}

func (s *Sale) createProduct(ctx context.Context, number int, skus []string) error {
	p := shop.Product{
		Slug: fmt.Sprintf("demo-%s-%d", s.config.Run, number), Name: "Flash sale " + s.config.Run,
		Description: "What the demo sells.",
	}
	for _, sku := range skus {
		p.Variants = append(p.Variants, shop.Variant{
			SKU: sku, Name: sku, Price: shop.Money{Amount: "499.00", Currency: "EUR"}, Stock: s.history.Units[sku],
		})
	}
	return s.config.Staff.CreateProduct(ctx, p.Slug, p)
}

// Run lets all shoppers in. Every one of them places one order for one unit,
// with a key of its own, and tries until it is answered.
func (s *Sale) Run(ctx context.Context) (*load.Report, error) {
	steps := startSteps(s.config.Steps)
	var next atomic.Int64
	report, err := load.Run(ctx, load.Options{
		URL: s.config.URL, Others: s.config.Others, Concurrency: s.config.Concurrency, Patience: patience, Judge: shop.JudgePlaceOrder,
		Next: func(t *load.Task) bool {
			i := int(next.Add(1)) - 1
			if i >= s.config.Shoppers {
				return false
			}
			s.fill(t, i)
			return true
		},
		Observe: func(t *load.Task, r load.Result) {
			s.observe(t.Index, r)
			steps.reached(max(s.accepted.Load()*steps.parts()/int64(s.config.Units), s.answered.Load()*steps.parts()/int64(s.config.Shoppers)))
		},
	})
	if stepErr := steps.end(); err == nil {
		err = stepErr
	}
	if err == nil {
		err = ctx.Err()
	}
	return report, err
}

// fill makes shopper i's order.
func (s *Sale) fill(t *load.Task, i int) {
	t.Index, t.Token = i, s.tokens[i]
	t.Body = shop.AppendPlaceOrder(t.Body[:0], s.key(i), s.sku(i), 1)
}

func (s *Sale) key(i int) string { return fmt.Sprintf("demo-%s-%d", s.config.Run, i) }

func (s *Sale) sku(i int) string { return s.skus[i%len(s.skus)] }

// observe takes down what a shopper was told. Each index is written once.
func (s *Sale) observe(i int, r load.Result) {
	s.history.Attempts[i] = proof.Attempt{
		Shopper: i, Key: s.key(i), SKU: s.sku(i), Quantity: 1, Sent: r.Started, Answered: r.Answered, Answer: r.Answer,
	}
	if r.Kind == shop.Accepted {
		s.accepted.Add(1)
	}
	s.answered.Add(1)
}

// Audit asks the server what became of the sale: every acknowledged order, the
// stock, and a sample of the shoppers' keys again.
func (s *Sale) Audit(ctx context.Context) error {
	if err := s.readBack(ctx); err != nil {
		return err
	}
	if err := s.repeat(ctx); err != nil {
		return err
	}
	levels, err := s.config.Staff.Stock(ctx, s.skus)
	if err != nil {
		return err
	}
	s.history.Levels = levels
	return nil
}

// each sends one request for each of some attempts and keeps the answers, in
// order.
func (s *Sale) each(ctx context.Context, attempts []int, judge func(int, time.Duration, []byte) shop.Answer, body func(dst []byte, attempt int) []byte) ([]shop.Answer, error) {
	answers := make([]shop.Answer, len(attempts))
	var next atomic.Int64
	_, err := load.Run(ctx, load.Options{
		URL: s.config.URL, Others: s.config.Others, Concurrency: min(s.config.Concurrency, len(attempts)), Judge: judge,
		Next: func(t *load.Task) bool {
			n := int(next.Add(1)) - 1
			if n >= len(attempts) {
				return false
			}
			t.Index, t.Token, t.Body = n, s.tokens[attempts[n]], body(t.Body[:0], attempts[n])
			return true
		},
		Observe: func(t *load.Task, r load.Result) { answers[t.Index] = r.Answer },
	})
	if err == nil {
		err = ctx.Err()
	}
	return answers, err
}

// readBack reads every acknowledged order, as the shopper whose it is.
func (s *Sale) readBack(ctx context.Context) error {
	accepted := s.attempts(shop.Accepted)
	answers, err := s.each(ctx, accepted, shop.JudgeOrder, func(dst []byte, i int) []byte {
		return shop.AppendOrder(dst, s.history.Attempts[i].Answer.Order.ID)
	})
	if err != nil {
		return fmt.Errorf("read the orders back: %w", err)
	}
	for n, i := range accepted {
		switch answers[n].Kind {
		case shop.Accepted:
			s.history.ReadBack[s.history.Attempts[i].Answer.Order.ID] = *answers[n].Order
		case shop.Refused: // it is not there, which is for the proof to say
		case shop.Retry, shop.Failed:
			return fmt.Errorf("read the orders back: %s", answers[n].Reason)
		}
	}
	return nil
}

// repeat sends a sample of the keys again, accepted and refused ones.
func (s *Sale) repeat(ctx context.Context) error {
	sample := append(spread(s.attempts(shop.Accepted)), spread(s.attempts(shop.Refused))...)
	answers, err := s.each(ctx, sample, shop.JudgePlaceOrder, func(dst []byte, i int) []byte {
		return shop.AppendPlaceOrder(dst, s.key(i), s.sku(i), 1)
	})
	if err != nil {
		return fmt.Errorf("repeat orders: %w", err)
	}
	for n, i := range sample {
		s.history.Repeats = append(s.history.Repeats, proof.Repeat{Attempt: i, Answer: answers[n]})
	}
	return nil
}

// attempts lists those that ended in one way.
func (s *Sale) attempts(kind shop.Kind) []int {
	var found []int
	for i := range s.history.Attempts {
		if a := &s.history.Attempts[i]; a.Answer.Kind == kind && (kind != shop.Accepted || a.Answer.Order != nil) && !a.Sent.IsZero() {
			found = append(found, i)
		}
	}
	return found
}

// spread picks at most maxRepeats of a list, evenly.
func spread(all []int) []int {
	if len(all) <= maxRepeats {
		return all
	}
	picked := make([]int, maxRepeats)
	for i := range picked {
		picked[i] = all[i*len(all)/maxRepeats]
	}
	return picked
}
