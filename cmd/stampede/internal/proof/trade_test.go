package proof

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	actor "stampede/actors/sale"
	"stampede/cmd/stampede/internal/shop"
)

// bazaar makes the history of a trade that went right, an order at a time.
type bazaar struct {
	h     *Trade
	level publishedLevel
	at    int64
	price int64
}

const (
	rug       = "RUG"
	rugPrice  = "299.00"
	rugStock  = 20
	rugsSold  = 12
	rugSaleID = "sal_rugs"
)

var (
	rugOpening = time.Date(2030, 11, 29, 9, 0, 0, 0, time.UTC)
	rugSecret  = []byte("0123456789abcdef0123456789abcdef")
)

func newBazaar() *bazaar {
	b := &bazaar{price: 29900, h: &Trade{
		Stock: map[string]int{rug: rugStock}, Price: shop.Money{Amount: rugPrice, Currency: "EUR"}, Settles: true,
		Final: map[string]shop.Trade{}, Levels: map[string]shop.Level{}, Nodes: 1,
	}}
	b.level = publishedLevel{OnHand: rugStock, Available: rugStock}
	b.publish("SkuConfigured", Facts{})
	return b
}

// publish adds a stock event; the level is as it is by now.
func (b *bazaar) publish(kind string, f Facts) {
	b.at++
	b.level.OnHand = b.level.Available + b.level.Held + b.level.Committed + b.level.Unavailable
	level := b.level
	f.Level = &level
	b.h.Events = append(b.h.Events, Event{Topic: StockTopic, Key: rug, ID: fmt.Sprintf("sku/%d", b.at), Type: kind, Sequence: b.at, Facts: &f, OrderID: f.OrderID})
}

// parcel is one order of the bazaar.
type parcel struct {
	b     *bazaar
	id    string
	n     count
	index int
	order shop.Trade
}

func (p *parcel) publish(kind, state string, f Facts) {
	p.order.Version++
	if state != "" && state != p.order.State {
		p.order.State = state
		p.order.History = append(p.order.History, shop.OrderChange{Version: p.order.Version, State: state})
	}
	p.b.h.Events = append(p.b.h.Events, Event{
		Topic: OrdersTopic, Key: p.id, ID: fmt.Sprintf("%s/%d", p.id, p.order.Version), Type: kind, Sequence: p.order.Version, Facts: &f,
	})
	p.b.h.Final[p.id] = p.order
}

func (b *bazaar) money(minor int64) *minorUnits {
	return &minorUnits{MinorUnits: count(minor), Currency: "EUR"}
}

// place orders n rugs.
func (b *bazaar) place(shopper int, n count) *parcel {
	p := &parcel{b: b, n: n, index: len(b.h.Placed)}
	p.id = fmt.Sprintf("ord_%d", p.index)
	p.order = shop.Trade{
		ID: p.id, Total: shop.Money{Amount: decimal(int64(n) * b.price), Currency: "EUR"},
		Lines: []shop.TradeLine{{SKU: rug, Quantity: int(n), UnitPrice: b.h.Price}},
	}
	p.publish("OrderPlaced", "RESERVING", Facts{CustomerID: fmt.Sprint("usr_", shopper)})
	b.level.Available, b.level.Held = b.level.Available-n, b.level.Held+n
	b.publish(stockReserved, Facts{OrderID: p.id, Quantity: n})
	p.publish(orderReserved, stateReserved, Facts{})
	b.h.Placed = append(b.h.Placed, Placed{
		Shopper: shopper, Key: "key-" + p.id, Lines: []shop.LineQuantity{{SKU: rug, Quantity: int(n)}}, Kind: shop.Accepted, ID: p.id,
		Told: []Told{{Version: p.order.Version, State: stateReserved}},
	})
	return p
}

func (p *parcel) tell() *parcel {
	placed := &p.b.h.Placed[p.index]
	placed.Told = append(placed.Told, Told{Version: p.order.Version, State: p.order.State})
	return p
}

func (p *parcel) pay() *parcel {
	b, total := p.b, int64(p.n)*p.b.price
	p.publish("PaymentRequested", statePaying, Facts{Amount: b.money(total)})
	b.level.Held, b.level.Committed = b.level.Held-p.n, b.level.Committed+p.n
	b.publish("ReservationConfirmed", Facts{OrderID: p.id, Quantity: p.n})
	p.publish("OrderConfirmed", stateConfirmed, Facts{})
	p.order.Payment.Captured = &shop.Money{Amount: decimal(total), Currency: "EUR"}
	p.publish("PaymentCaptured", "", Facts{Amount: b.money(total)})
	return p.tell()
}

func (p *parcel) end(kind, stockKind, state string) {
	b := p.b
	b.level.Held, b.level.Available = b.level.Held-p.n, b.level.Available+p.n
	b.publish(stockKind, Facts{OrderID: p.id, Quantity: p.n})
	p.publish(kind, state, Facts{})
	p.tell()
}

func (p *parcel) fulfil(n count, state string) *parcel {
	p.b.level.Committed -= n
	p.b.publish("ReservationFulfilled", Facts{OrderID: p.id, Quantity: n})
	p.order.Lines = slices.Clone(p.order.Lines)
	p.order.Lines[0].Fulfilled += int(n)
	p.publish("OrderFulfilled", state, Facts{})
	return p.moved(Move{Lines: []shop.LineQuantity{{SKU: rug, Quantity: int(n)}}})
}

func (p *parcel) moved(m Move) *parcel {
	placed := &p.b.h.Placed[p.index]
	placed.Moves = append(placed.Moves, m)
	return p.tell()
}

// refund gives back units that were committed and units that had left.
func (p *parcel) refund(committed, left count, restock bool, state string) *parcel {
	b, n := p.b, committed+left
	p.order.Lines = slices.Clone(p.order.Lines)
	p.order.Lines[0].Refunded += int(n)
	p.order.Payment.Refunded = &shop.Money{Amount: decimal(int64(p.order.Lines[0].Refunded) * b.price), Currency: "EUR"}
	p.publish("OrderRefunded", state, Facts{Amount: b.money(int64(n) * b.price)})
	b.level.Committed -= committed
	if restock {
		b.level.Available += n
	} else {
		b.level.Unavailable += committed
	}
	b.publish("ReservationReturned", Facts{OrderID: p.id, Committed: committed, Fulfilled: left, Restocked: restock})
	return p.moved(Move{Refund: true, Restock: restock, Lines: []shop.LineQuantity{{SKU: rug, Quantity: int(n)}}})
}

// honestTrade is a trade in which everything happens once.
func honestTrade() *Trade {
	b := newBazaar()
	b.place(0, 2).pay().fulfil(1, statePartially).fulfil(1, stateFulfilled)
	b.place(1, 2).pay().fulfil(2, stateFulfilled).refund(0, 1, true, "")
	b.place(2, 1).pay().fulfil(1, stateFulfilled).refund(0, 1, false, "")
	b.place(3, 2).pay().refund(1, 0, false, "").refund(1, 0, true, stateCancelled)
	b.place(4, 1).end("OrderCancelled", "ReservationReleased", stateCancelled)
	b.place(5, 1).end("OrderExpired", "ReservationExpired", stateExpired)
	b.place(6, 2).pay()
	b.h.Placed = append(b.h.Placed, Placed{Shopper: 7, Key: "late", Kind: shop.Refused, Reason: insufficientStock})
	b.h.Shoppers = 8
	b.h.Repeats = []PlacedAgain{{Placed: 0, ID: "ord_0"}, {Placed: 7, Kind: shop.Refused, Reason: insufficientStock}}
	l := b.level
	b.h.Levels[rug] = shop.Level{
		SKU: rug, OnHand: int(l.OnHand), Available: int(l.Available), Held: int(l.Held), Committed: int(l.Committed), Unavailable: int(l.Unavailable), Version: b.at,
	}
	return b.h
}

// honestSale is the same in a sale that people waited for.
func honestSale() *Trade {
	h := honestTrade()
	commitment := sha256.Sum256(rugSecret)
	early := 6
	s := &SaleSeen{
		ID: rugSaleID, Allocation: map[string]int{rug: rugsSold}, Limit: 2, PerSecond: 10, Shuffled: true,
		Commitment: hex.EncodeToString(commitment[:]), Waited: map[int]*Waited{},
		Intruders: []Intruder{{Shopper: 1, How: "no token", Kind: shop.Refused, Reason: admissionRequired}},
	}
	s.Final = shop.Sale{
		ID: rugSaleID, State: "OPEN", StartsAt: rugOpening, ShuffleCommitment: s.Commitment, ShuffleSecret: hex.EncodeToString(rugSecret), JoinedBeforeOpening: &early,
	}
	item := shop.SaleItem{Allocation: rugsSold, Remaining: rugsSold - 7} // 9 were sold, 2 of them restocked
	item.Variant.SKU = rug
	s.Final.Items = []shop.SaleItem{item}
	for shopper := range 8 {
		w := &Waited{Number: shopper + 1, Early: shopper < early, Position: shopper + 1}
		if w.Early {
			w.Position = 1 + int(permuted(rugSecret, uint64(shopper), uint64(early)))
		}
		w.AdmittedAt = rugOpening.Add(time.Duration(w.Position) * 100 * time.Millisecond)
		s.Waited[shopper] = w
	}
	h.Sale = s
	h.Events = append(h.Events, Event{
		Topic: SalesTopic, Key: rugSaleID, ID: "sale/1", Type: "SaleOpened", Sequence: 1, Facts: &Facts{Joined: count(early), ShuffleSecret: s.Final.ShuffleSecret},
	})
	return h
}

func TestAnHonestTradeHolds(t *testing.T) {
	v := ProveTrade(honestTrade())
	if !v.Holds() {
		t.Fatal(strings.Join(v.Violations, "\n"))
	}
	want := &TradeVerdict{
		Verdict: Verdict{
			Units: rugStock, Shoppers: 8, Accepted: 7, Refused: map[string]int{insufficientStock: 1}, Conserved: true, Nodes: 1, EventsSeen: len(honestTrade().Events),
		},
		Paid: true, Currency: "EUR", CapturedMinor: 9 * 29900, RefundedMinor: 4 * 29900, Confirmed: 5, Cancelled: 2, Expired: 1, Fulfilled: 3,
		UnitsFulfilled: 5, UnitsRefunded: 4, MoneyConserved: true, Rebuilt: true, SaleSettled: true,
	}
	if d := cmp.Diff(want, v); d != "" {
		t.Error(d)
	}
}

func TestAnHonestSaleWithAWaitingRoomHolds(t *testing.T) {
	v := ProveTrade(honestSale())
	if !v.Holds() || !v.ShuffleProved || !v.Positions || v.Intruders != 1 || v.Remaining != rugsSold-7 {
		t.Fatalf("%+v\n%s", v, strings.Join(v.Violations, "\n"))
	}
}

// doctored is a history in which one thing is not as it should be.
type doctored struct {
	name   string
	doctor func(h *Trade)
	says   string
	figure func(v *TradeVerdict) bool // the figure that must show it; nil: none has to
}

func (h *Trade) event(kind string) *Event {
	i := slices.IndexFunc(h.Events, func(e Event) bool { return e.Type == kind })
	return &h.Events[i]
}

func (h *Trade) change(id string, f func(o *shop.Trade)) {
	o := h.Final[id]
	o.History, o.Lines = slices.Clone(o.History), slices.Clone(o.Lines)
	f(&o)
	h.Final[id] = o
}

func doctoredTrades() []doctored {
	return []doctored{
		{"an order is gone", func(h *Trade) { delete(h.Final, "ord_6") }, "is not there", func(v *TradeVerdict) bool { return v.Lost > 0 }},
		{"an order went back", func(h *Trade) {
			h.change("ord_6", func(o *shop.Trade) { o.State, o.History = stateReserved, o.History[:2] })
		}, "was acknowledged as CONFIRMED", func(v *TradeVerdict) bool { return v.Lost > 0 }},
		{"an order is stuck", func(h *Trade) {
			h.change("ord_5", func(o *shop.Trade) { o.State = statePaying; o.History[len(o.History)-1].State = statePaying })
		}, "long after its hold has ended", nil},
		{"an illegal step", func(h *Trade) {
			h.change("ord_5", func(o *shop.Trade) {
				o.State = stateFulfilled
				o.History[len(o.History)-1].State = stateFulfilled
			})
		}, "went from RESERVED", func(v *TradeVerdict) bool { return v.Illegal > 0 }},
		{"a wrong price", func(h *Trade) { h.change("ord_6", func(o *shop.Trade) { o.Lines[0].UnitPrice.Amount = "1.00" }) }, "which costs", nil},
		{"a wrong total", func(h *Trade) { h.change("ord_5", func(o *shop.Trade) { o.Total.Amount = "1.00" }) }, "its lines add up to", nil},
		{"units lost on the way", func(h *Trade) { h.change("ord_6", func(o *shop.Trade) { o.Lines[0].Quantity = 1 }) }, "less than was asked for", func(v *TradeVerdict) bool { return v.Lost > 0 }},
		{"not captured", func(h *Trade) { h.change("ord_6", func(o *shop.Trade) { o.Payment.Captured = nil }) }, "0.00 was captured", func(v *TradeVerdict) bool { return !v.MoneyConserved }},
		{"captured and cancelled", func(h *Trade) {
			h.change("ord_4", func(o *shop.Trade) { o.Payment.Captured = &shop.Money{Amount: "299.00", Currency: "EUR"} })
		}, "0.00 is due", func(v *TradeVerdict) bool { return !v.MoneyConserved }},
		{"refunded too much", func(h *Trade) {
			h.change("ord_1", func(o *shop.Trade) { o.Payment.Refunded = &shop.Money{Amount: "598.00", Currency: "EUR"} })
		}, "the staff gave 299.00 back", func(v *TradeVerdict) bool { return !v.MoneyConserved }},
		{"a fulfilment is forgotten", func(h *Trade) { h.change("ord_0", func(o *shop.Trade) { o.Lines[0].Fulfilled = 1 }) }, "the staff was acknowledged 2", func(v *TradeVerdict) bool { return v.Lost > 0 }},
		{"a unit is gone", func(h *Trade) {
			l := h.Levels[rug]
			l.Available, l.OnHand = l.Available-1, l.OnHand-1
			h.Levels[rug] = l
		}, "the orders make its stock", func(v *TradeVerdict) bool { return !v.Conserved && !v.Rebuilt }},
		{"no level", func(h *Trade) { delete(h.Levels, rug) }, "stock level is not there", func(v *TradeVerdict) bool { return !v.Conserved }},
		{"a key makes a second order", func(h *Trade) { h.Repeats[0].ID = "ord_9" }, "and again as", func(v *TradeVerdict) bool { return v.Duplicates > 0 }},
		{"a refused key is accepted", func(h *Trade) { h.Repeats[1].Kind = shop.Accepted }, "and again as", func(v *TradeVerdict) bool { return v.Duplicates > 0 }},
		{"two keys, one order", func(h *Trade) { h.Placed[1].ID = "ord_0" }, "the same order", func(v *TradeVerdict) bool { return v.Duplicates > 0 }},
		{"refused for no reason", func(h *Trade) { h.Placed[7].Reason = "INTERNAL" }, "for no reason", nil},
		{"at a limit that is not the shopper's", func(h *Trade) { h.Placed[7].Reason = customerLimit }, "for no reason", nil},
		{"no decision", func(h *Trade) { h.Placed[7].Kind = shop.Retry }, "got no decision", func(v *TradeVerdict) bool { return v.Unanswered > 0 }},
		{"a broken step", func(h *Trade) { h.Broken = []string{"the door is stuck"} }, "the door is stuck", nil},
		{"an event is missing", func(h *Trade) {
			h.Events = slices.DeleteFunc(h.Events, func(e Event) bool { return e.Type == "ReservationFulfilled" && e.Sequence < 6 })
		}, "came after", func(v *TradeVerdict) bool { return v.EventsMissing > 0 }},
		{"the last event is missing", func(h *Trade) {
			h.Events = slices.DeleteFunc(h.Events, func(e Event) bool { return e.Key == "ord_6" && e.Type == "PaymentCaptured" })
		}, "came only up to", func(v *TradeVerdict) bool { return v.EventsMissing > 0 }},
		{"two ids for one event", func(h *Trade) {
			twice := *h.event("OrderConfirmed")
			twice.ID = "another"
			h.Events = append(h.Events, twice)
		}, "was published as", nil},
		{"the topic captures less", func(h *Trade) { h.event("PaymentCaptured").Facts.Amount.MinorUnits-- }, "the topics say", func(v *TradeVerdict) bool { return !v.MoneyConserved && !v.Rebuilt }},
		{"the topic refunds more", func(h *Trade) { h.event("OrderRefunded").Facts.Amount.MinorUnits++ }, "the topics say", func(v *TradeVerdict) bool { return !v.MoneyConserved }},
		{"the topic confirms nothing", func(h *Trade) { h.event("OrderConfirmed").Type = "OrderNoticed" }, "the topics say confirmed", func(v *TradeVerdict) bool { return !v.Rebuilt }},
		{"the topic's units do not add up", func(h *Trade) { h.event(stockReserved).Facts.Quantity++ }, "the events add up to", func(v *TradeVerdict) bool { return !v.Rebuilt }},
		{"an event without a level", func(h *Trade) { h.event(stockReserved).Facts.Level = nil }, "has no level", func(v *TradeVerdict) bool { return !v.Rebuilt }},
		{"oversold for a moment", func(h *Trade) {
			for i := range h.Events { // consistently: the levels know of fewer units, too
				if f := h.Events[i].Facts; f.Level != nil {
					f.Level.Available, f.Level.OnHand = f.Level.Available-19, f.Level.OnHand-19
				}
			}
		}, "a state is negative", func(v *TradeVerdict) bool { return v.Oversold > 0 }},
		{"an order that nobody was told of", func(h *Trade) {
			h.event("ReservationFulfilled").Facts.OrderID = "ord_99"
			h.event(stockReserved).Facts.OrderID = "ord_99"
		}, "nobody was told of it", func(v *TradeVerdict) bool { return v.Phantoms > 0 }},
	}
}

func doctoredSales() []doctored {
	return []doctored{
		{"an intruder is served", func(h *Trade) { h.Sale.Intruders[0].Kind, h.Sale.Intruders[0].Reason = shop.Accepted, "" }, "ordered with no token", func(v *TradeVerdict) bool { return v.Intruded > 0 }},
		{"an intruder is refused for something else", func(h *Trade) { h.Sale.Intruders[0].Reason = insufficientStock }, "not ADMISSION_REQUIRED", func(v *TradeVerdict) bool { return v.Intruded > 0 }},
		{"an order of one who was not let in", func(h *Trade) { h.Sale.Waited[3].AdmittedAt = time.Time{} }, "was never let in", func(v *TradeVerdict) bool { return v.Intruded > 0 }},
		{"two at one place", func(h *Trade) { h.Sale.Waited[7].Position = h.Sale.Waited[6].Position }, "both have the position", func(v *TradeVerdict) bool { return !v.Positions }},
		{"a place beyond all", func(h *Trade) { h.Sale.Waited[7].Position = 100 }, "the position 100 of 8", func(v *TradeVerdict) bool { return !v.Positions }},
		{"one number twice", func(h *Trade) { h.Sale.Waited[7].Number = 7 }, "both have the number", func(v *TradeVerdict) bool { return !v.Positions }},
		{"let in early", func(h *Trade) { h.Sale.Waited[7].AdmittedAt = rugOpening }, "before its turn", func(v *TradeVerdict) bool { return v.AdmittedEarly > 0 }},
		{"the lots are swapped", func(h *Trade) {
			h.Sale.Waited[0].Position, h.Sale.Waited[1].Position = h.Sale.Waited[1].Position, h.Sale.Waited[0].Position
			h.Sale.Waited[0].AdmittedAt, h.Sale.Waited[1].AdmittedAt = h.Sale.Waited[1].AdmittedAt, h.Sale.Waited[0].AdmittedAt
		}, "the secret makes it", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"another secret", func(h *Trade) { h.Sale.Final.ShuffleSecret = strings.Repeat("ab", 32) }, "is not what", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"another commitment later on", func(h *Trade) { h.Sale.Final.ShuffleCommitment = strings.Repeat("ab", 32) }, "is not what", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"late ones among the early", func(h *Trade) { n := 7; h.Sale.Final.JoinedBeforeOpening = &n }, "joined before the opening", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"another secret in the topic", func(h *Trade) { h.event("SaleOpened").Facts.ShuffleSecret = "ab" }, "SaleOpened says", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"no secret in the topic", func(h *Trade) { h.event("SaleOpened").Type = "SaleStarted" }, "was not published", func(v *TradeVerdict) bool { return !v.ShuffleProved }},
		{"over the limit", func(h *Trade) { h.Placed[6].Shopper = 0; h.Placed[5].Shopper = 0 }, "the limit is 2", func(v *TradeVerdict) bool { return v.LimitExceeded > 0 }},
		{"over the allocation", func(h *Trade) { h.Sale.Allocation[rug] = 6 }, "the sale has taken", func(v *TradeVerdict) bool { return v.AllocationExceeded > 0 }},
		{"the sale has too many left", func(h *Trade) { h.Sale.Final.Items[0].Remaining++ }, "but the orders leave it", func(v *TradeVerdict) bool { return !v.SaleSettled }},
		{"the sale lacks a SKU", func(h *Trade) { h.Sale.Final.Items = nil; h.Sale.Final.State = "SOLD_OUT" }, "does not have it", func(v *TradeVerdict) bool { return !v.SaleSettled }},
		{"sold out with units left", func(h *Trade) { h.Sale.Final.State = "SOLD_OUT" }, "units left and is SOLD_OUT", func(v *TradeVerdict) bool { return !v.SaleSettled }},
		{"refused with units left", func(h *Trade) {
			h.Settles = false
			h.Placed[7].Lines = h.Placed[6].Lines
		}, "were refused for want of stock", func(v *TradeVerdict) bool { return v.Unsold > 0 }},
	}
}

func TestDoctoredTradesDoNotHold(t *testing.T) {
	check := func(t *testing.T, d doctored, h *Trade) {
		t.Helper()
		d.doctor(h)
		v := ProveTrade(h)
		if v.Holds() || !strings.Contains(strings.Join(v.Violations, "\n"), d.says) {
			t.Errorf("want %q, got %d violations:\n%s", d.says, len(v.Violations), strings.Join(v.Violations, "\n"))
		}
		if d.figure != nil && !d.figure(v) {
			t.Errorf("no figure shows it: %+v", v)
		}
	}
	for _, d := range doctoredTrades() {
		t.Run(d.name, func(t *testing.T) { check(t, d, honestTrade()) })
	}
	for _, d := range doctoredSales() {
		t.Run(d.name, func(t *testing.T) { check(t, d, honestSale()) })
	}
}

// A repetition is no violation.
func TestRepeatedEventsOfATradeAreAllowed(t *testing.T) {
	h := honestSale()
	h.Events = append(h.Events, h.Events...)
	if v := ProveTrade(h); !v.Holds() || v.EventsRepeated != len(h.Events)/2 {
		t.Errorf("%d repetitions: %v", v.EventsRepeated, v.Violations)
	}
}

// The description that is published is what the shop does.
func TestPlacesFollowTheDescription(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 16, 17, 255, 256, 257, 5000} {
		seen := map[uint64]bool{}
		for x := range min(n, 400) {
			got := permuted(rugSecret, x, n)
			if want := actor.Permute(rugSecret, x, n); got != want || got >= n || seen[got] {
				t.Fatalf("%d of %d goes to %d, the shop says %d", x, n, got, want)
			}
			seen[got] = true
		}
	}
}

func TestFactsInEveryForm(t *testing.T) {
	for _, text := range []string{
		`{"orderId":"o","quantity":3,"committed":true,"level":{"onHand":7},"amount":{"minorUnits":100,"currency":"EUR"}}`,
		`{"orderId":"o","quantity":"3","committed":"1","level":{"onHand":"7"},"amount":{"minorUnits":"100","currency":"EUR"}}`,
	} {
		var f Facts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		want := Facts{OrderID: "o", Quantity: 3, Committed: 1, Level: &publishedLevel{OnHand: 7}, Amount: &minorUnits{100, "EUR"}}
		if d := cmp.Diff(want, f); d != "" {
			t.Error(d)
		}
	}
	if err := json.Unmarshal([]byte(`{"quantity":"many"}`), &Facts{}); err == nil {
		t.Error("many is a number")
	}
}
