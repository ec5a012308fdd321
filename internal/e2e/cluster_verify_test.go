package e2e

// At the end of a scenario: everything is read back, from every node and from
// Kafka, and judged.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// readAtOnce is how many orders one request asks for.
	readAtOnce = 10
	// readers is how many requests are under way while orders are read back.
	readers = 6
)

// verify stops the load and judges all of it.
func (l *load) verify() {
	l.t.Helper()
	l.stop()
	l.f.settled()
	if err := checkAcknowledged(l.entries, l.stock); err != nil {
		l.t.Error(err)
	}
	for _, one := range l.failed[:min(len(l.failed), 10)] {
		l.t.Errorf("an error after all retries, of %d: %s", len(l.failed), one)
	}
	for _, url := range l.f.urls() {
		l.verifyAt(url)
	}
	began := time.Now()
	l.verifyTopics()
	l.f.checkPublished()
	l.t.Logf("the topics had everything %s later", time.Since(began).Round(time.Millisecond))
	l.summarise()
}

// recovered ends all nodes and judges what a new one reads out of the journal.
func (l *load) recovered() {
	l.t.Helper()
	l.f.stop()
	l.f.start("afterwards")
	l.f.settled()
	l.verifyAt(l.f.urls()[0])
	l.f.stop()
}

func (l *load) summarise() {
	l.t.Helper()
	counts, again := map[string]int{}, 0
	for _, e := range l.entries {
		counts[e.action.String()+" "+e.outcome.String()]++
		if e.attempts > 1 {
			again++
		}
	}
	if counts["reserve done"] < 20 {
		l.t.Errorf("%d orders show little", counts["reserve done"])
	}
	l.t.Logf("%v; %d needed more than one attempt (%d answers said later, %d attempts were lost)", counts, again, l.shed.Load(), l.lost.Load())
}

// verifyAt reads everything back from one node.
func (l *load) verifyAt(url string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	orders, err := l.readBack(ctx, url)
	if err == nil {
		err = checkReadBack(l.entries, orders)
	}
	if err != nil {
		l.t.Errorf("as %s has it: %v", url, err)
	}
	// What a request left behind that was given up may still be on its way.
	eventually(l.t, soon, "stock is conserved at "+url, func() error {
		levels, err := settle(ctx, func() ([]*level, error) { return l.f.asOperator(url).stock(ctx, l.skus...) })
		if err != nil {
			return err
		}
		bySKU := map[string]*level{}
		for _, one := range levels {
			if one != nil {
				bySKU[one.SKU] = one
			}
		}
		return checkConserved(l.entries, bySKU, l.stock)
	})
}

// readBack reads all acknowledged orders from one node.
func (l *load) readBack(ctx context.Context, url string) (map[string]*order, error) {
	var ids []string
	for _, e := range l.entries {
		if e.order != "" {
			ids = append(ids, e.order)
		}
	}
	found := map[string]*order{}
	var mu sync.Mutex
	var wrong []error
	batches := slices.Collect(slices.Chunk(ids, readAtOnce))
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := r; i < len(batches); i += readers {
				some, err := settle(ctx, func() (map[string]*order, error) { return l.f.asOperator(url).ordersOf(ctx, batches[i]) })
				mu.Lock()
				maps.Copy(found, some)
				if err != nil {
					wrong = append(wrong, err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return found, errors.Join(wrong...)
}

// ordersOf reads some orders in one request.
func (c *client) ordersOf(ctx context.Context, ids []string) (map[string]*order, error) {
	var document strings.Builder
	document.WriteString("{")
	for i, id := range ids {
		fmt.Fprintf(&document, "o%d:order(id:%q){id state lines{sku quantity skuVersion}} ", i, id)
	}
	document.WriteString("}")
	var data map[string]*order
	if err := c.ask(ctx, document.String(), nil, &data); err != nil {
		return nil, err
	}
	found := map[string]*order{}
	for _, o := range data {
		if o != nil {
			found[o.ID] = o
		}
	}
	return found, nil
}

// verifyTopics reads the topics from the beginning, until they tell of all that
// was acknowledged.
func (l *load) verifyTopics() {
	l.t.Helper()
	newest := map[string]int64{}
	var some []entry
	for _, e := range l.entries {
		newest[e.sku] = max(newest[e.sku], e.version)
		if e.order != "" {
			some = append(some, e)
		}
	}
	orders := consumeAll(l.t, l.f.kafka, "stampede.orders.v1", func(seen map[string][]published) error {
		for len(some) > 0 {
			if lack := lacks(seen[some[0].order], some[0].paid); lack != "" {
				return fmt.Errorf("no %s of %s yet: %v; %d orders to go", lack, some[0].order, seen[some[0].order], len(some))
			}
			some = some[1:]
		}
		return nil
	})
	stock := consumeAll(l.t, l.f.kafka, "stampede.stock.v1", func(seen map[string][]published) error {
		for sku, version := range newest {
			want := fmt.Sprintf("%020d", version)
			if !slices.ContainsFunc(seen[sku], func(p published) bool { return p.sequence == want }) {
				return fmt.Errorf("no event %d of %s yet, of %d", version, sku, len(seen[sku]))
			}
			delete(newest, sku)
		}
		return nil
	})
	maps.DeleteFunc(stock, func(sku string, _ []published) bool { return l.stock[sku] == 0 })
	if err := checkPublished(l.entries, orders, stock); err != nil {
		l.t.Errorf("as the topics have it: %v", err)
	}
}

// consumeAll is consume for as long as a killed node's log takes to be adopted.
func consumeAll(t testing.TB, bootstrap, topic string, enough func(map[string][]published) error) map[string][]published {
	t.Helper()
	return consume(t, bootstrap, topic, time.Minute, enough)
}
