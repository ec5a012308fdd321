package exchange

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"stampede/cmd/stampede/internal/shop"
)

// Importer makes the shop's products what a file says. What is so already is
// left alone, so the same file again changes nothing.
type Importer struct {
	Caller Caller
	// Run names this run in the keys of what it sends. No two runs have the same.
	Run string
	// Concurrency is how many requests are sent at once.
	Concurrency int
	// DryRun only counts what would be done.
	DryRun bool
	// SetStock also sets the stock of SKUs that are there.
	SetStock bool

	done atomic.Int64
	// fresh: the shop had none of the products that were looked up last.
	fresh atomic.Bool

	mu      sync.Mutex
	summary Summary
}

// Summary is what came of an import. Refused counts products; Wrong lists the
// first of them.
type Summary struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	StockSet  int `json:"stockSet"`
	Refused   int `json:"refused"`
	Wrong     []*LineError
}

// Done is how many products have been dealt with so far.
func (m *Importer) Done() int { return int(m.done.Load()) }

// Import deals with all records. Its error is for what keeps it from going on;
// what the shop refuses is in the summary.
func (m *Importer) Import(ctx context.Context, records []*Record) (*Summary, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(m.Concurrency)
	for batch := range slices.Chunk(records, batchProducts) {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := m.batch(ctx, batch)
			m.done.Add(int64(len(batch)))
			return err
		})
	}
	err := group.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.summary.Wrong, func(a, b *LineError) int { return a.Line - b.Line })
	return &m.summary, err
}

// item is one record and what the shop has of it.
type item struct {
	record *Record
	there  *stored
	change *change
	// again: it was made by somebody else while we were making it.
	again bool
}

func (m *Importer) batch(ctx context.Context, records []*Record) error {
	items := make([]*item, len(records))
	for i, r := range records {
		items[i] = &item{record: r}
	}
	if m.guessed(records) {
		if err := m.apply(ctx, items, false); err != nil {
			return err
		}
		items = slices.DeleteFunc(items, func(it *item) bool { return !it.again })
		if len(items) > 0 {
			m.fresh.Store(false)
		}
	}
	for try := 0; try < looks && len(items) > 0; try++ {
		if err := m.look(ctx, items); err != nil {
			return err
		}
		if try == 0 {
			m.fresh.Store(!slices.ContainsFunc(items, func(it *item) bool { return it.there != nil }))
		}
		if err := m.apply(ctx, items, try == looks-1); err != nil {
			return err
		}
		items = slices.DeleteFunc(items, func(it *item) bool { return !it.again })
	}
	return nil
}

// looks is how often a product is looked up at most, because others make or
// change it at the same time.
const looks = 3

// guessed reports that the records are taken for new without a look: those
// before them were new, and they say all that a new product needs. Those that
// are there all the same are refused as taken, and looked up then.
func (m *Importer) guessed(records []*Record) bool {
	return m.fresh.Load() && !m.DryRun && !slices.ContainsFunc(records, func(r *Record) bool { return r.incomplete() != nil })
}

func (m *Importer) look(ctx context.Context, items []*item) error {
	slugs := make([]string, len(items))
	for i, it := range items {
		slugs[i] = it.record.Slug
	}
	fields := withoutStock
	if m.SetStock {
		fields = withStock
	}
	there, err := lookUp(ctx, m.Caller, slugs, fields)
	if err != nil {
		return err
	}
	for i, it := range items {
		it.there, it.change, it.again = there[i], nil, false
	}
	return nil
}

func (m *Importer) apply(ctx context.Context, items []*item, last bool) error {
	var creates, updates, settled []*item
	for _, it := range items {
		if it.there == nil {
			if wrong := it.record.incomplete(); wrong != nil {
				m.refuse(wrong)
				continue
			}
			it.change = &change{input: it.record.creation(m.Run)}
			creates = append(creates, it)
			continue
		}
		input, wrong, err := it.record.update(it.there)
		switch {
		case err != nil:
			return err
		case wrong != nil:
			m.refuse(wrong)
		case input == nil:
			m.count(func(s *Summary) { s.Unchanged++ })
			settled = append(settled, it)
		default:
			it.change = &change{input: input}
			updates = append(updates, it)
		}
	}
	if err := m.change(ctx, "createProduct", "CreateProductInput", creates, last, func(s *Summary) { s.Created++ }); err != nil {
		return err
	}
	if err := m.change(ctx, "updateProduct", "UpdateProductInput", updates, last, func(s *Summary) { s.Updated++ }); err != nil {
		return err
	}
	if !m.SetStock {
		return nil
	}
	return m.setStock(ctx, append(settled, updates...))
}

// change sends the items' changes and counts those that were done.
func (m *Importer) change(ctx context.Context, field, inputType string, items []*item, last bool, done func(*Summary)) error {
	if !m.DryRun {
		changes := make([]*change, len(items))
		for i, it := range items {
			changes[i] = it.change
		}
		if err := send(ctx, m.Caller, field, inputType, changes); err != nil {
			return err
		}
	}
	for _, it := range items {
		switch refusals := it.change.refusals; {
		case len(refusals) == 0:
			m.count(done)
		case !last && overtaken(refusals[0]):
			it.again = true
		default:
			m.refuse(it.record.refused(refusals[0].Field, refusals[0].Message))
		}
	}
	return nil
}

// overtaken reports that the product was made or changed by somebody else since
// it was looked up: looking again shows what is still to be done.
func overtaken(e shop.UserError) bool {
	if len(e.Field) != 1 {
		return false
	}
	switch e.Field[0] {
	case "slug", "ifVersion":
		return e.Code == "CONFLICT"
	case "idempotencyKey":
		return e.Code == "IDEMPOTENCY_MISMATCH"
	}
	return false
}

// setStock sets the stock of SKUs whose units on hand are not what the file says.
func (m *Importer) setStock(ctx context.Context, items []*item) error {
	type of struct {
		it      *item
		variant int
	}
	var changes []*change
	var whose []of
	for _, it := range items {
		if it.again || it.change != nil && len(it.change.refusals) > 0 {
			continue
		}
		for i := range it.record.Variants {
			v := &it.record.Variants[i]
			onHand, there := it.there.onHand(v.SKU)
			if v.Stock == nil || !there || onHand == *v.Stock {
				continue
			}
			changes = append(changes, &change{input: map[string]any{
				"idempotencyKey": "import/" + m.Run + "/" + v.SKU, "sku": v.SKU, "onHand": *v.Stock, "reason": "import",
			}})
			whose = append(whose, of{it, i})
		}
	}
	if !m.DryRun {
		if err := send(ctx, m.Caller, "setStock", "SetStockInput", changes); err != nil {
			return err
		}
	}
	for i, one := range changes {
		if len(one.refusals) == 0 {
			m.count(func(s *Summary) { s.StockSet++ })
			continue
		}
		m.refuse(whose[i].it.record.wrong(whose[i].variant, "stock of %s: %s", one.input["sku"], one.refusals[0].Message))
	}
	return nil
}

func (m *Importer) count(add func(*Summary)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(&m.summary)
}

func (m *Importer) refuse(e *LineError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.summary.Refused++
	if len(m.summary.Wrong) < maxListed {
		m.summary.Wrong = append(m.summary.Wrong, e)
	}
}

func (s *stored) onHand(sku string) (int64, bool) {
	for i := range s.Variants {
		if s.Variants[i].SKU == sku && s.Variants[i].Stock != nil {
			return s.Variants[i].Stock.OnHand, true
		}
	}
	return 0, false
}
