package sale_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/sale"
	"stampede/cmd/stampede/internal/shop"
)

// fakeShop is a shop in a map: it knows just the calls that a sale makes. Its
// faults are switched on by tests.
type fakeShop struct {
	mu      sync.Mutex
	levels  map[string]*shop.Level
	orders  map[string]*shop.Order // by order id, which is its key and customer
	refused map[string]bool
	events  []proof.Event
	tokens  map[string]bool
	down    bool     // answers nothing
	dropped chan int // tells of each request that was not answered
	// gate, if set, keeps what comes after gateAt orders waiting until it is closed.
	gate   chan struct{}
	gateAt int

	oversell   bool // sells on when nothing is left
	forgetful  bool // does not remember keys
	losesOrder bool // acknowledges one order that it does not keep
}

func newFakeShop() *fakeShop {
	return &fakeShop{levels: map[string]*shop.Level{}, orders: map[string]*shop.Order{}, refused: map[string]bool{}, tokens: map[string]bool{}}
}

type call struct {
	Query     string
	Variables struct {
		ID    string
		SKUs  []string
		Input struct {
			IdempotencyKey string
			Lines          []struct{ SKU string }
			Variants       []struct {
				SKU          string
				InitialStock int
			}
		}
	}
}

func (f *fakeShop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var c call
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.gate != nil && len(f.orders) >= f.gateAt {
		gate := f.gate
		f.mu.Unlock()
		<-gate
		f.mu.Lock()
	}
	if f.down {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		select {
		case f.dropped <- 1:
		default:
		}
		return
	}
	token := r.Header.Get("authorization")
	f.tokens[token] = true
	switch {
	case strings.Contains(c.Query, "createProduct("):
		for _, v := range c.Variables.Input.Variants {
			f.levels[v.SKU] = &shop.Level{SKU: v.SKU, OnHand: v.InitialStock, Available: v.InitialStock, Version: 1}
			f.publish(proof.StockTopic, v.SKU, "SkuConfigured", 1, "", f.levels[v.SKU])
		}
		io.WriteString(w, `{"data":{"payload":{"product":{"id":"p"},"userErrors":[]}}}`)
	case strings.Contains(c.Query, "stock("):
		var levels []*shop.Level
		for _, sku := range c.Variables.SKUs {
			levels = append(levels, f.levels[sku])
		}
		reply(w, map[string]any{"stock": levels})
	case strings.Contains(c.Query, "order("):
		reply(w, map[string]any{"order": f.orders[c.Variables.ID]})
	default:
		f.place(w, c, token)
	}
}

func (f *fakeShop) place(w http.ResponseWriter, c call, token string) {
	id := token + "/" + c.Variables.Input.IdempotencyKey
	sku := c.Variables.Input.Lines[0].SKU
	level := f.levels[sku]
	order := f.orders[id]
	if f.forgetful {
		order = nil
		id = fmt.Sprintf("%s#%d", id, len(f.orders))
	}
	switch {
	case order != nil:
	case f.refused[id] || level.Available == 0 && !(f.oversell && level.Held == level.OnHand):
		f.refused[id] = true
		io.WriteString(w, `{"data":{"placeOrder":{"order":null,"userErrors":[{"code":"INSUFFICIENT_STOCK","message":"sold out"}]}}}`)
		return
	default:
		level.Available--
		level.Held++
		level.Version++
		order = &shop.Order{
			ID: id, State: "RESERVED", Total: shop.Money{Amount: "499.00", Currency: "EUR"},
			Lines: []shop.Line{{SKU: sku, Quantity: 1, SKUVersion: level.Version}},
		}
		if !f.losesOrder || len(f.orders) > 0 {
			f.orders[id] = order
		}
		f.losesOrder = false
		f.publish(proof.StockTopic, sku, "StockReserved", level.Version, id, level)
		f.publish(proof.OrdersTopic, id, "OrderPlaced", 1, "", nil)
		f.publish(proof.OrdersTopic, id, "OrderReserved", 2, "", nil)
	}
	reply(w, map[string]any{"placeOrder": map[string]any{"order": order, "userErrors": []any{}}})
}

func (f *fakeShop) publish(topic, key, kind string, version int64, order string, level *shop.Level) {
	e := proof.Event{Topic: topic, Key: key, Type: kind, Sequence: version, ID: fmt.Sprintf("%s/%d", key, version), OrderID: order, Quantity: 1}
	if level != nil {
		copied := *level
		e.Level = &copied
	}
	f.events = append(f.events, e)
}

func reply(w io.Writer, data any) {
	if err := json.NewEncoder(w).Encode(map[string]any{"data": data}); err != nil {
		panic(err)
	}
}

// run runs a whole sale against the fake and returns the verdict.
func run(t *testing.T, f *fakeShop, c sale.Config) *proof.Verdict {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c.URL, c.Run, c.Staff = server.URL, "run", shop.NewClient(server.URL, "staff")
	c.Token = func(i int) (string, error) { return fmt.Sprintf("shopper-%d", i), nil }
	c.Concurrency = 16
	s := sale.New(c)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Answered() != c.Shoppers {
		t.Errorf("%d shoppers were answered, want %d", s.Answered(), c.Shoppers)
	}
	if err := s.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.History().Events = f.events
	return proof.Prove(s.History())
}

func TestASaleIsTakenDownAsItWas(t *testing.T) {
	for _, c := range []struct{ units, shoppers, skus, accepted int }{
		{50, 300, 1, 50}, {10, 4, 1, 4}, {7, 100, 3, 7}, {120, 120, 60, 120}, {5, 20, 10, 5},
	} {
		f := newFakeShop()
		v := run(t, f, sale.Config{Units: c.units, Shoppers: c.shoppers, SKUs: c.skus})
		if !v.Holds() || v.Accepted != c.accepted || v.Units != c.units || v.Shoppers != c.shoppers {
			t.Errorf("%+v: %+v", c, v)
		}
		if want := c.shoppers + 1; len(f.tokens) != want {
			t.Errorf("%+v: %d tokens were used, want one a shopper and the staff's", c, len(f.tokens))
		}
	}
}

// The server goes down in mid-sale and comes back: shoppers try again with
// their keys, and the proof still holds.
func TestASaleGoesOnAfterAnOutage(t *testing.T) {
	f := newFakeShop()
	f.dropped = make(chan int)
	f.gate, f.gateAt = make(chan struct{}), 45 // so that the sale is not over before it is half way
	var called atomic.Int64
	v := run(t, f, sale.Config{Units: 60, Shoppers: 400, SKUs: 1, Steps: []func() error{func() error {
		called.Add(1)
		f.mu.Lock()
		f.down = true
		sold := len(f.orders)
		close(f.gate)
		f.gate = nil
		f.mu.Unlock()
		if sold < 30 || sold > 45 {
			t.Errorf("%d of 60 units were sold at half way", sold)
		}
		for range 10 { // shoppers find nobody there
			<-f.dropped
		}
		f.mu.Lock()
		f.down = false
		f.mu.Unlock()
		return nil
	}}})
	if called.Load() != 1 || !v.Holds() {
		t.Errorf("half way came %d times; %v", called.Load(), v.Violations)
	}
}

func TestAFailureHalfWayFailsTheSale(t *testing.T) {
	server := httptest.NewServer(newFakeShop())
	defer server.Close()
	s := sale.New(sale.Config{
		URL: server.URL, Run: "run", Staff: shop.NewClient(server.URL, "staff"), Units: 4, Shoppers: 8, SKUs: 1, Concurrency: 2,
		Token: func(int) (string, error) { return "shopper", nil },
		Steps: []func() error{func() error { return fmt.Errorf("no second server") }},
	})
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no second server") {
		t.Errorf("error %v", err)
	}
}

// A shop that breaks a promise is found out, end to end.
func TestBadShopsAreFoundOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		breaks func(f *fakeShop)
		found  func(v *proof.Verdict) bool
	}{
		{"oversells", func(f *fakeShop) { f.oversell = true }, func(v *proof.Verdict) bool { return v.Oversold > 0 }},
		{"forgets keys", func(f *fakeShop) { f.forgetful = true }, func(v *proof.Verdict) bool { return v.Duplicates > 0 }},
		{"loses an order", func(f *fakeShop) { f.losesOrder = true }, func(v *proof.Verdict) bool { return v.Lost == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeShop()
			c.breaks(f)
			if v := run(t, f, sale.Config{Units: 20, Shoppers: 100, SKUs: 1}); v.Holds() || !c.found(v) {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestPrepareWantsTheStock(t *testing.T) {
	f := newFakeShop()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r)
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, level := range f.levels {
			level.Available = 1
		}
	}))
	defer server.Close()
	s := sale.New(sale.Config{
		URL: server.URL, Run: "run", Staff: shop.NewClient(server.URL, "staff"), Units: 4, Shoppers: 8, SKUs: 1,
		Token: func(int) (string, error) { return "shopper", nil },
	})
	if err := s.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "want 4 available") {
		t.Errorf("error %v", err)
	}
}
