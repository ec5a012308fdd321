package sku

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

const saleLasts = 5 * time.Minute

// inSale is a sale that is open from t0 on.
func inSale(allocation, limit int64) *skupb.ConfigureSale {
	return &skupb.ConfigureSale{
		SaleId: "sal_1", SaleVersion: 1, StartsAtMs: t0.UnixMilli(), EndsAtMs: t0.Add(saleLasts).UnixMilli(), Price: eur(990),
		Allocation: allocation, PerCustomerLimit: limit,
	}
}

func with(c *skupb.ConfigureSale, change func(*skupb.ConfigureSale)) *skupb.ConfigureSale {
	c = proto.CloneOf(c)
	change(c)
	return c
}

func buy(order, customer string, quantity int64) *skupb.Reserve {
	c := reserve(order, quantity)
	c.CustomerId, c.SaleId = customer, "sal_1"
	return c
}

func buyAdmitted(order, customer string, quantity int64) *skupb.Reserve {
	c := buy(order, customer, quantity)
	c.Admitted = true
	return c
}

func pay(order, customer string, quantity int64) *skupb.Confirm {
	return &skupb.Confirm{OrderId: order, CustomerId: customer, Quantity: quantity, SaleId: "sal_1"}
}

func TestWhatASaleSells(t *testing.T) {
	room := func(c *skupb.ConfigureSale) { c.AdmissionRequired = true }
	later := func(c *skupb.ConfigureSale) { c.StartsAtMs = t0.Add(time.Minute).UnixMilli() }
	expensive := buy("o1", "eve", 1)
	expensive.ExpectedPrice = eur(1990)
	cases := []struct {
		name  string
		given []step
		after time.Duration
		cmd   proto.Message
		want  string // reason, or price and what is left of the sale
	}{
		{"at the sale price", at0(onSale(10), inSale(4, 0)), 0, buy("o1", "eve", 3), "990 1"},
		{"no more than its allocation", at0(onSale(10), inSale(4, 0)), 0, buy("o1", "eve", 5), "INSUFFICIENT_STOCK 4"},
		{"ordinary orders leave it alone", at0(onSale(10), inSale(4, 0)), 0, reserve("o1", 7), "INSUFFICIENT_STOCK 6"},
		{"ordinary orders pay the ordinary price", at0(onSale(10), inSale(4, 0)), 0, reserve("o1", 6), "1990 4"},
		{"set aside before it opens", at0(onSale(10), with(inSale(4, 0), later)), 0, reserve("o1", 7), "INSUFFICIENT_STOCK 6"},
		{"not before its moment", at0(onSale(10), with(inSale(4, 0), later)), time.Minute - time.Millisecond, buy("o1", "eve", 1), "SALE_NOT_OPEN"},
		{"at its moment", at0(onSale(10), with(inSale(4, 0), later)), time.Minute, buy("o1", "eve", 1), "990 3"},
		{"up to its last moment", at0(onSale(10), inSale(4, 0)), saleLasts - time.Millisecond, buy("o1", "eve", 1), "990 3"},
		{"not from its end on", at0(onSale(10), inSale(4, 0)), saleLasts, buy("o1", "eve", 1), "SALE_ENDED"},
		{"ordinary stock has the rest after its end", at0(onSale(10), inSale(4, 0)), saleLasts, reserve("o1", 10), "1990 -"},
		{"paused", at0(onSale(10), inSale(4, 0), with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.SaleVersion, c.Paused = 2, true })), 0, buy("o1", "eve", 1), "SALE_PAUSED"},
		{"ended before its time", at0(onSale(10), inSale(4, 0), with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.SaleVersion, c.Ended = 2, true })), 0, buy("o1", "eve", 1), "SALE_ENDED"},
		{"nobody who was not let in", at0(onSale(10), with(inSale(4, 0), room)), 0, buy("o1", "eve", 1), "ADMISSION_REQUIRED"},
		{"who was let in", at0(onSale(10), with(inSale(4, 0), room)), 0, buyAdmitted("o1", "eve", 1), "990 3"},
		{"another sale", at0(onSale(10)), 0, buy("o1", "eve", 1), "INVALID"},
		{"the price that is expected", at0(onSale(10), inSale(4, 0)), 0, expensive, "PRICE_CHANGED"},
		{"no more than the limit", at0(onSale(10), inSale(4, 2)), 0, buy("o1", "eve", 3), "CUSTOMER_LIMIT 2 0"},
		{"the limit over all orders", at0(onSale(10), inSale(4, 2), buy("o1", "eve", 1), pay("o1", "eve", 1)), 0, buy("o2", "eve", 2), "CUSTOMER_LIMIT 2 1"},
		{"the limit is each one's own", at0(onSale(10), inSale(4, 2), buy("o1", "eve", 2)), 0, buy("o2", "bob", 2), "990 0"},
		{"given back with a release", at0(onSale(10), inSale(4, 2), buy("o1", "eve", 2), release("o1")), 0, buy("o2", "eve", 2), "990 2"},
		{"given back with a take-back", at0(onSale(10), inSale(4, 2), buy("o1", "eve", 2), pay("o1", "eve", 2), takeBack("o1")), 0, buy("o2", "eve", 2), "990 2"},
		{"ordinary orders have no limit", at0(onSale(10), inSale(4, 2), buy("o1", "eve", 2)), 0, reserve("o2", 6), "1990 2"},
		{"staff takes what is there", at0(onSale(10), inSale(4, 0), adjust("k", -8)), 0, buy("o1", "eve", 3), "INSUFFICIENT_STOCK 2"},
		{"paused, and paid all the same", at0(onSale(10), inSale(4, 0), buy("o1", "eve", 3), with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.SaleVersion, c.Paused = 2, true })), 0, pay("o1", "eve", 3), "ok 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := given(t, c.given)
			_, reply := decide(t, s, c.cmd, t0.Add(c.after))
			if got := outcome(s, reply, t0.Add(c.after)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// outcome is a reply in few words.
func outcome(s *State, reply proto.Message, now time.Time) string {
	if r := refusalOf(reply); r != nil {
		words := strings.TrimPrefix(r.GetReason().String(), "REASON_")
		switch r.GetReason() {
		case commonpb.Reason_REASON_INSUFFICIENT_STOCK:
			words += fmt.Sprint(" ", r.GetAvailable())
		case commonpb.Reason_REASON_CUSTOMER_LIMIT:
			words += fmt.Sprint(" ", r.GetLimit(), " ", r.GetUsed())
		default:
		}
		return words
	}
	words := "ok"
	if r, ok := reply.(*skupb.ReserveReply); ok {
		words = fmt.Sprint(r.GetUnitPrice().GetMinorUnits())
	}
	_, level := Decide(s, &skupb.GetLevel{}, now)
	sale := level.(*skupb.StockReply).GetLevel().GetSale()
	if sale == nil {
		return words + " -"
	}
	return words + fmt.Sprint(" ", sale.GetRemaining())
}

func TestConfiguringASale(t *testing.T) {
	second := with(inSale(2, 0), func(c *skupb.ConfigureSale) { c.SaleId = "sal_2" })
	ended := with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.SaleVersion, c.Ended = 2, true })
	cases := []struct {
		name   string
		given  []step
		after  time.Duration
		cmd    *skupb.ConfigureSale
		want   string
		events int
	}{
		{"a SKU of nobody", nil, 0, inSale(4, 0), "NOT_FOUND", 0},
		{"more than there is", at0(onSale(3)), 0, inSale(4, 0), "INSUFFICIENT_STOCK 3", 0},
		{"another currency", at0(onSale(9)), 0, with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.Price = &commonpb.Money{Currency: "USD"} }), "INVALID", 0},
		{"over already", at0(onSale(9)), saleLasts, inSale(4, 0), "INVALID", 0},
		{"a second one at a time", at0(onSale(9), inSale(4, 0)), 0, second, "CONFLICT", 0},
		{"a second one after the first", at0(onSale(9), inSale(4, 0), ended), 0, second, "ok 2", 1},
		{"the same again", at0(onSale(9), inSale(4, 0)), 0, inSale(4, 0), "ok 4", 0},
		{"a late one of a sale that is over", at0(onSale(9), inSale(4, 0), ended), 0, with(inSale(4, 0), func(c *skupb.ConfigureSale) { c.SaleVersion = 3 }), "SALE_ENDED", 0},
		{"a late one of a sale before the last", at0(onSale(9), inSale(4, 0), ended, second), 0, inSale(4, 0), "SALE_ENDED", 0},
		{"the end of an unknown one", at0(onSale(9)), 0, ended, "ok -", 1},
		{"a late one after the end came first", at0(onSale(9), ended), 0, inSale(4, 0), "SALE_ENDED", 0},
		{"its end twice", at0(onSale(9), inSale(4, 0), ended), 0, ended, "ok -", 0},
		{"what was promised stays", at0(onSale(9), inSale(4, 0)), 0, with(inSale(9, 1), func(c *skupb.ConfigureSale) { c.SaleVersion = 2 }), "ok 4", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := given(t, c.given)
			events, reply := decide(t, s, c.cmd, t0.Add(c.after))
			if got := outcome(s, reply, t0.Add(c.after)); got != c.want || len(events) != c.events {
				t.Errorf("%s with %d events, want %s with %d", got, len(events), c.want, c.events)
			}
		})
	}
}

// A paid order whose hold has ended gets units of the sale, or of ordinary
// stock when the sale is over; never over the limit while it is under way.
func TestPayingLateInASale(t *testing.T) {
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	short := func(order, customer string, quantity int64) *skupb.Reserve {
		c := buy(order, customer, quantity)
		c.ExpiresAtMs = t0.Add(minutes(1)).UnixMilli()
		return c
	}
	cases := []struct {
		name  string
		given []step
		after time.Duration
		want  string
	}{
		{"there is more", at0(onSale(5), inSale(4, 2), short("o1", "eve", 2)), minutes(2), "ok 2"},
		{"somebody else has them", append(at0(onSale(5), inSale(4, 2), short("o1", "eve", 2)), step{minutes(2), buy("o2", "bob", 2)}, step{minutes(2), buy("o3", "tom", 2)}), minutes(3), "HOLD_EXPIRED"},
		{"the limit was used meanwhile", append(at0(onSale(5), inSale(4, 2), short("o1", "eve", 2)), step{minutes(2), buy("o2", "eve", 1)}), minutes(3), "HOLD_EXPIRED"},
		{"the sale is over", at0(onSale(5), inSale(4, 2), short("o1", "eve", 2)), minutes(6), "ok -"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := given(t, c.given)
			_, reply := decide(t, s, pay("o1", "eve", 2), t0.Add(c.after))
			if got := outcome(s, reply, t0.Add(c.after)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// The sale is told of the last unit, and that there is one again; what it was
// told already is not told twice, and nothing is told of a sale that is over.
func TestTellingTheSale(t *testing.T) {
	s := given(t, at0(onSale(10), inSale(2, 0)))
	told := func() string {
		asks := Pending(s)
		if len(asks) == 0 {
			return "nothing"
		}
		r := asks[0].Command.(*salepb.Report)
		if asks[0].Kind != "sale" || asks[0].ID != "sal_1" || r.GetSku() != "SHOE-42" || r.GetSkuVersion() != s.version {
			t.Errorf("asked %v", asks[0])
		}
		return fmt.Sprint(r.GetSoldOut())
	}
	hear := func(key string) {
		for _, e := range Heard(s, map[string]proto.Message{key: &salepb.ReportReply{}}, t0) {
			Evolve(s, e)
		}
		if err := check(s); err != nil {
			t.Fatal(err)
		}
	}
	want := func(state string) {
		t.Helper()
		if got := told(); got != state {
			t.Errorf("to be told: %s, want %s", got, state)
		}
	}
	want("nothing")
	decide(t, s, buy("o1", "eve", 2), t0)
	want("true")
	first := Pending(s)[0].Key
	decide(t, s, release("o1"), t0)
	want("false") // the first may have arrived: it is taken back whatever became of it
	hear(first)
	want("false")
	hear(Pending(s)[0].Key)
	want("nothing")
	hear("report/sal_1/2")
	want("nothing")
	decide(t, s, buy("o2", "eve", 2), t0)
	want("true")
	decide(t, s, &commonpb.Tick{}, t0.Add(saleLasts))
	want("nothing")
}

func TestASaleClosesByItself(t *testing.T) {
	s := given(t, at0(onSale(10), inSale(2, 1)))
	if got := WakeAt(s); !got.Equal(t0.Add(saleLasts)) {
		t.Fatalf("wakes at %s", got)
	}
	decide(t, s, buy("o1", "eve", 1), t0) // held for longer than the sale lasts
	if got := WakeAt(s); !got.Equal(t0.Add(saleLasts)) {
		t.Errorf("with a hold it wakes at %s", got)
	}
	events, _ := decide(t, s, &commonpb.Tick{}, t0.Add(saleLasts))
	if len(events) != 1 || events[0].GetSaleClosed().GetSaleId() != "sal_1" || len(s.sale.used) != 0 {
		t.Errorf("closed with %v", events)
	}
	if got := WakeAt(s); !got.Equal(t0.Add(10 * time.Minute)) {
		t.Errorf("after its end it wakes at %s", got)
	}
	decide(t, s, release("o1"), t0.Add(saleLasts)) // of a sale that is over there is nothing to count
	if s.stock.available != 10 {
		t.Errorf("stock %+v", s.stock)
	}
}

// A refund gives the limit back, of units that have left the building too; what
// did not come back stays taken.
func TestRefundsInASale(t *testing.T) {
	s := given(t, at0(onSale(10), inSale(6, 6), buy("o1", "eve", 6), pay("o1", "eve", 6)))
	steps := []struct {
		cmd         proto.Message
		taken, used int64
		remaining   int64
	}{
		{&skupb.Return{OrderId: "o1", CustomerId: "eve", Move: 1, Committed: 1, Restock: true, SaleId: "sal_1"}, 5, 5, 1},
		{&skupb.Return{OrderId: "o1", CustomerId: "eve", Move: 1, Committed: 1, Restock: true, SaleId: "sal_1"}, 5, 5, 1}, // again
		{&skupb.Return{OrderId: "o1", CustomerId: "eve", Move: 2, Committed: 2, SaleId: "sal_1"}, 5, 3, 1},
		{&skupb.Fulfil{OrderId: "o1", CustomerId: "eve", Move: 3, Quantity: 3}, 5, 3, 1},
		{&skupb.Return{OrderId: "o1", CustomerId: "eve", Move: 4, Fulfilled: 3, Restock: true, SaleId: "sal_1"}, 2, 0, 4},
	}
	for i, step := range steps {
		_, reply := decide(t, s, step.cmd, t0)
		_, level := Decide(s, &skupb.GetLevel{}, t0)
		left := level.(*skupb.StockReply).GetLevel().GetSale().GetRemaining()
		if refusalOf(reply) != nil || s.sale.taken != step.taken || s.sale.used["eve"] != step.used || left != step.remaining {
			t.Errorf("step %d: %v; taken %d, used %v, %d left", i, reply, s.sale.taken, s.sale.used, left)
		}
	}
}

// saleModel is what a sale promises: from a pile of its own, never more than
// the limit to anybody, and nothing of it to others.
type saleModel struct {
	ordinary, pile int64
	limit          int64
	orders         map[string]*saleOrder
}

type saleOrder struct {
	customer string
	quantity int64
	sale     bool
	sold     bool
	until    time.Time
}

func (m *saleModel) used(customer string) (n int64) {
	for _, o := range m.orders {
		if o.sale && o.customer == customer {
			n += o.quantity
		}
	}
	return n
}

func (m *saleModel) expire(now time.Time) {
	for id, o := range m.orders {
		if !o.sold && !o.until.After(now) {
			m.end(id)
		}
	}
}

func (m *saleModel) end(id string) {
	o := m.orders[id]
	if o == nil {
		return
	}
	if o.sale {
		m.pile += o.quantity
	} else {
		m.ordinary += o.quantity
	}
	delete(m.orders, id)
}

func (m *saleModel) reserve(c *skupb.Reserve) string {
	switch {
	case c.GetSaleId() == "" && m.ordinary < c.GetQuantity():
		return "INSUFFICIENT_STOCK"
	case c.GetSaleId() != "" && m.used(c.GetCustomerId())+c.GetQuantity() > m.limit:
		return "CUSTOMER_LIMIT"
	case c.GetSaleId() != "" && m.pile < c.GetQuantity():
		return "INSUFFICIENT_STOCK"
	case c.GetSaleId() == "":
		m.ordinary -= c.GetQuantity()
	default:
		m.pile -= c.GetQuantity()
	}
	m.orders[c.GetOrderId()] = &saleOrder{c.GetCustomerId(), c.GetQuantity(), c.GetSaleId() != "", false, time.UnixMilli(c.GetExpiresAtMs())}
	return "UNSPECIFIED"
}

// Every order id is used once here: what a used one gets is the SKU model's.
func TestModelOfASale(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stock, allocation := rapid.Int64Range(1, 30).Draw(rt, "stock"), rapid.Int64Range(1, 30).Draw(rt, "allocation")
		allocation = min(stock, allocation)
		limit := rapid.Int64Range(1, 5).Draw(rt, "limit")
		s := given(t, at0(onSale(stock), with(inSale(allocation, limit), func(c *skupb.ConfigureSale) { c.EndsAtMs = t0.Add(24 * time.Hour).UnixMilli() })))
		m := &saleModel{ordinary: stock - allocation, pile: allocation, limit: limit, orders: map[string]*saleOrder{}}
		now, orders := t0, 0
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "seconds")) * time.Second)
			m.expire(now)
			var cmd proto.Message
			want := "UNSPECIFIED"
			id := fmt.Sprint("o", rapid.IntRange(0, max(0, orders-1)).Draw(rt, "order"))
			switch o := m.orders[id]; {
			case o == nil || rapid.IntRange(0, 3).Draw(rt, "new") > 0:
				c := reserve(fmt.Sprint("o", orders), rapid.Int64Range(1, 4).Draw(rt, "quantity"))
				c.CustomerId = rapid.SampledFrom([]string{"eve", "bob", "tom"}).Draw(rt, "customer")
				c.ExpiresAtMs = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(rt, "hold")) * time.Second).UnixMilli()
				if rapid.Bool().Draw(rt, "in the sale") {
					c.SaleId = "sal_1"
				}
				orders++
				cmd, want = c, m.reserve(c)
			case rapid.Bool().Draw(rt, "pay"):
				c := &skupb.Confirm{OrderId: id, CustomerId: o.customer, Quantity: o.quantity}
				if o.sale {
					c.SaleId = "sal_1"
				}
				o.sold = true
				cmd = c
			default:
				m.end(id)
				cmd = takeBack(id)
			}
			_, reply := decide(t, s, cmd, now)
			got := strings.TrimPrefix(refusalOf(reply).GetReason().String(), "REASON_")
			_, level := Decide(s, &skupb.GetLevel{}, now)
			l := level.(*skupb.StockReply).GetLevel()
			if got != want || l.GetSale().GetRemaining() != m.pile || l.GetStock().GetAvailable() != m.pile+m.ordinary {
				rt.Fatalf("%T %v: %s, want %s; level %v, the model has %d for the sale and %d besides", cmd, cmd, got, want, l, m.pile, m.ordinary)
			}
			for _, customer := range []string{"eve", "bob", "tom"} {
				if u := m.used(customer); u > limit {
					rt.Fatalf("%s has %d of %d", customer, u, limit)
				}
			}
			restored, err := Restore(s.id, []byte(mustMarshal(t, Snapshot(s))))
			if err != nil || !proto.Equal(Snapshot(restored), Snapshot(s)) {
				rt.Fatalf("restored: %v", err)
			}
		}
	})
}
