package walk

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many customers act at the same time.
const atOnce = 32

// Crowd is many people in a shop at once. Nothing predicts who wins; what there
// is at the end has to fit what they were told.
type Crowd struct {
	t    testing.TB
	shop Shop
	name string
	// hasty is the same shop, but holds units for a moment only; nil: time is advanced.
	hasty Shop
	// clock is held while somebody acts: a token must not expire meanwhile.
	clock sync.RWMutex
}

// NewCrowd is people with a name of their own. hasty is nil where time can be advanced.
func NewCrowd(t testing.TB, shop, hasty Shop, name string) *Crowd {
	return &Crowd{t: t, shop: shop, name: name, hasty: hasty}
}

const crowdFields = `order { id state expiresAt payment { state } }`

// act is one mutation, sent until its outcome is known.
func (c *Crowd) act(shop Shop, who, field string, input map[string]any, selection string) map[string]any {
	c.t.Helper()
	c.clock.RLock()
	defer c.clock.RUnlock()
	kind := strings.ToUpper(field[:1]) + field[1:] + "Input"
	document := fmt.Sprintf("mutation($input: %s!) { it: %s(input: $input) { %s userErrors { code message } } }", kind, field, selection)
	for deadline := time.Now().Add(settleWithin); ; <-time.After(10 * time.Millisecond) {
		a, err := shop.Ask(context.Background(), shop.Token(who, who == c.staff()), document, map[string]any{"input": input})
		payload, _ := at(answered(a), "it").(map[string]any)
		if code := codeOf(payload); err == nil && payload != nil && code != "IN_PROGRESS" && code != "THROTTLED" {
			return payload
		}
		if time.Now().After(deadline) {
			said, _ := json.Marshal(a)
			c.t.Errorf("%s has no outcome: %s %v", field, said, err)
			return nil
		}
	}
}

func codeOf(payload map[string]any) string {
	code, _ := at(payload, "userErrors", 0, "code").(string)
	return code
}

func (c *Crowd) staff() string { return person(c.name, "staff") }

func (c *Crowd) customer(n int) string { return person(c.name, fmt.Sprint(n)) }

// stockUp puts units of a new SKU on sale, some of them in a sale with a limit.
func (c *Crowd) stockUp(units, allocation, limit int) (sku, saleID string) {
	c.t.Helper()
	sku = c.name + "-sku"
	c.must(c.act(c.shop, c.staff(), "createProduct", map[string]any{
		"idempotencyKey": sku, "slug": strings.ToLower(sku), "name": "Shoe", "variants": []any{map[string]any{"sku": sku, "price": money(1990), "initialStock": units}},
	}, `product { id }`))
	if allocation == 0 {
		return sku, ""
	}
	now := c.shop.Now()
	made := c.act(c.shop, c.staff(), "createSale", map[string]any{
		"idempotencyKey": sku, "name": "Friday", "startsAt": moment(now.Add(-time.Minute)), "endsAt": moment(now.Add(300 * 24 * time.Hour)), "perCustomerLimit": limit,
		"items": []any{map[string]any{"sku": sku, "salePrice": money(990), "allocation": allocation}},
	}, `sale { id }`)
	c.must(made)
	return sku, text(at(made, "sale", "id"))
}

func (c *Crowd) must(payload map[string]any) {
	c.t.Helper()
	if code := codeOf(payload); payload == nil || code != "" {
		c.t.Fatalf("refused: %v", payload)
	}
}

func placing(key, sku, saleID string) map[string]any {
	input := map[string]any{"idempotencyKey": key, "lines": []any{map[string]any{"sku": sku, "quantity": 1}}}
	if saleID != "" {
		input["saleId"] = saleID
	}
	return input
}

func state(payload map[string]any) string { return text(at(payload, "order", "state")) }

// level waits until a SKU's stock is what it has to be.
func (c *Crowd) level(sku, want string) {
	c.t.Helper()
	var is string
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		a, err := c.shop.Ask(context.Background(), c.shop.Token(c.staff(), true), `query($s: [String!]!) { stock(skus: $s) { available held committed } }`, map[string]any{"s": []string{sku}})
		l := at(answered(a), "stock", 0)
		if is = fmt.Sprintf("%v %v %v %v", at(l, "available"), at(l, "held"), at(l, "committed"), err); is == want+" <nil>" {
			return
		}
	}
	c.t.Errorf("available, held, committed of %s are %s, and have to be %s", sku, is, want)
}

// LastUnit has many want the one unit that a sale has, and place, pay, cancel
// and let expire as it comes. In the end it is sold, once.
func (c *Crowd) LastUnit(customers int, seed uint64) {
	c.t.Helper()
	const units = 5
	sku, saleID := c.stockUp(units, 1, 1)
	var sold, held atomic.Int64
	var group errgroup.Group
	group.SetLimit(atOnce)
	for n := range customers {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		group.Go(func() error {
			if c.wantOne(n, random, sku, saleID, &held) {
				sold.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait() // nobody returns an error
	if sold.Load() == 0 {
		c.lastBuyer(customers, sku, saleID)
		sold.Add(1)
	}
	if sold.Load() != 1 {
		c.t.Errorf("seed %d: held %d times, sold %d times", seed, held.Load(), sold.Load())
	}
	c.level(sku, fmt.Sprintf("%d 0 1", units-1))
}

// wantOne is one of them; it reports whether they have bought it.
func (c *Crowd) wantOne(n int, random *rand.Rand, sku, saleID string, held *atomic.Int64) bool {
	who, shop, expires := c.customer(n), c.shop, random.IntN(20) < 4
	if expires && c.hasty != nil {
		shop = c.hasty
	}
	placed := c.act(shop, who, "placeOrder", placing(fmt.Sprint("k", n), sku, saleID), crowdFields)
	if state(placed) != "RESERVED" {
		if code := codeOf(placed); code != "INSUFFICIENT_STOCK" {
			c.t.Errorf("customer %d: %v", n, placed)
		}
		return false
	}
	held.Add(1)
	order := text(at(placed, "order", "id"))
	switch {
	case random.IntN(20) == 0: // also when it expires meanwhile
		paid := c.act(c.shop, who, "payOrder", map[string]any{"idempotencyKey": "p", "orderId": order, "paymentToken": "tok_ok"}, crowdFields)
		return state(paid) == "CONFIRMED"
	case expires && c.hasty == nil:
		c.clock.Lock()
		c.shop.Advance(HoldFor + time.Minute)
		c.clock.Unlock()
	case expires:
	default:
		c.act(c.shop, who, "cancelOrder", map[string]any{"orderId": order}, crowdFields)
	}
	return false
}

// lastBuyer comes when all who had it let go of it.
func (c *Crowd) lastBuyer(n int, sku, saleID string) {
	c.t.Helper()
	c.shop.Advance(HoldFor + time.Minute)
	c.level(sku, "5 0 0")
	input := placing("last", sku, saleID)
	input["paymentToken"] = "tok_ok"
	if paid := c.act(c.shop, c.customer(n), "placeOrder", input, crowdFields); state(paid) != "CONFIRMED" {
		c.t.Errorf("nobody had it, and the last one cannot: %v", paid)
	}
}

// Limit has one customer order under many keys at once: they get their limit.
func (c *Crowd) Limit(keys int) {
	c.t.Helper()
	const limit = 3
	sku, saleID := c.stockUp(keys, keys, limit)
	who := c.customer(0)
	var held atomic.Int64
	var group errgroup.Group
	group.SetLimit(atOnce)
	for n := range keys {
		group.Go(func() error {
			placed := c.act(c.shop, who, "placeOrder", placing(fmt.Sprint("k", n), sku, saleID), crowdFields)
			switch {
			case state(placed) == "RESERVED":
				held.Add(1)
			case codeOf(placed) != "CUSTOMER_LIMIT":
				c.t.Errorf("key %d: %v", n, placed)
			}
			return nil
		})
	}
	_ = group.Wait() // nobody returns an error
	if held.Load() != limit {
		c.t.Errorf("%d orders hold, with a limit of %d", held.Load(), limit)
	}
	c.level(sku, fmt.Sprintf("%d %d 0", keys-limit, limit))
}

// PayRacingExpiry has everybody pay at the moment their hold ends. Each order is
// sold or it is not, and its customer is told so.
func (c *Crowd) PayRacingExpiry(orders int, seed uint64) {
	c.t.Helper()
	sku, _ := c.stockUp(orders, 0, 0)
	var sold atomic.Int64
	var group sync.WaitGroup
	for n := range orders {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		group.Go(func() {
			id, expires := c.holdOne(n, sku)
			<-time.After(time.Until(expires) + time.Duration(random.IntN(400)-370)*time.Millisecond)
			if id != "" && c.payLate(n, id) {
				sold.Add(1)
			}
		})
	}
	group.Wait()
	c.t.Logf("of %d orders %d were paid in time", orders, sold.Load())
	c.level(sku, fmt.Sprintf("%d 0 %d", int64(orders)-sold.Load(), sold.Load()))
}

// holdOne places an order whose hold has not ended when its customer hears of it.
func (c *Crowd) holdOne(n int, sku string) (id string, expires time.Time) {
	const tries = 20 // a machine that does much else
	for try := range tries {
		placed := c.act(c.hasty, c.customer(n), "placeOrder", placing(fmt.Sprint("k", try), sku, ""), crowdFields)
		expires, err := time.Parse(time.RFC3339, text(at(placed, "order", "expiresAt")))
		ended := codeOf(placed) == "HOLD_EXPIRED" || state(placed) == "EXPIRED"
		switch {
		case err == nil:
			return text(at(placed, "order", "id")), expires
		case !ended:
			c.t.Errorf("placed: %v", placed)
			return "", expires
		}
	}
	c.t.Errorf("customer %d did not hear of any order in time", n)
	return "", expires
}

// payLate reports whether it was in time. What is said then stays so.
func (c *Crowd) payLate(n int, order string) bool {
	paid := c.act(c.shop, c.customer(n), "payOrder", map[string]any{"idempotencyKey": "p", "orderId": order, "paymentToken": "tok_ok"}, crowdFields)
	told := state(paid) + " " + codeOf(paid)
	if told != "CONFIRMED " && told != "EXPIRED HOLD_EXPIRED" && told != "CANCELLED HOLD_EXPIRED" {
		c.t.Errorf("told %s: %v", told, paid)
	}
	want := map[string]string{"CONFIRMED": "CONFIRMED CAPTURED", "EXPIRED": "EXPIRED NONE", "CANCELLED": "CANCELLED VOIDED"}[state(paid)]
	var is string
	for deadline := time.Now().Add(settleWithin); is != want && time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		a, err := c.shop.Ask(context.Background(), c.shop.Token(c.customer(n), false), `query($id: ID!) { order(id: $id) { state payment { state } } }`, map[string]any{"id": order})
		is = fmt.Sprint(at(answered(a), "order", "state"), " ", at(answered(a), "order", "payment", "state"))
		if err != nil {
			is = err.Error()
		}
	}
	if is != want {
		c.t.Errorf("told %s, and it is %s", told, is)
	}
	return told == "CONFIRMED "
}
