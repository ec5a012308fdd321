package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"stampede/actors/sale"
	"stampede/gateway/auth"
	"stampede/internal/memstore"
)

// salesWorld is a real shop with a clock of its own, and people in it who need
// no log-in.
type salesWorld struct {
	*world
	ahead atomic.Int64
	staff string
}

func newSalesWorld(t *testing.T) *salesWorld {
	s := &salesWorld{}
	s.world, _ = realShopAt(t, memstore.New(), s.now)
	s.staff = s.as("usr_ssssssssssssssssssssssssss", auth.Customer, auth.Staff)
	return s
}

func (s *salesWorld) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// goTo sets the clock to a moment that is to come.
func (s *salesWorld) goTo(at time.Time) { s.ahead.Add(int64(at.Sub(s.now()))) }

func (s *salesWorld) as(id string, roles ...auth.Role) string {
	s.t.Helper()
	token, _, err := s.tokens.Issue(id, roles, s.now())
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// shopper is customer n of this test.
func (s *salesWorld) shopper(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, n))
	id := strings.Map(func(r rune) rune { return 'a' + r%16 }, hex.EncodeToString(sum[:13]))
	return s.as("usr_"+id, auth.Customer)
}

func (s *salesWorld) stockUp(sku string, units int) {
	s.t.Helper()
	s.wantNoError(s.mutate(s.staff, "createProduct", "CreateProductInput",
		fmt.Sprintf(`{"idempotencyKey":%[1]q,"slug":%[2]q,"name":"Shoe","variants":[{"sku":%[1]q,"name":"red","price":{"amount":"19.90","currency":"EUR"},"initialStock":%[3]d}]}`, sku, strings.ToLower(sku), units), `product { id }`))
}

const saleFields = `sale { id state version waiting admitted admitPerSecond perCustomerLimit shuffleCommitment shuffleSecret joinedBeforeOpening items { remaining allocation salePrice { amount } variant { sku name price { amount } } } }`

func (s *salesWorld) create(starts, ends time.Time, more, items string) string {
	return fmt.Sprintf(`{"idempotencyKey":"s1","name":"Friday","startsAt":%q,"endsAt":%q,%s"items":[%s]}`, starts.UTC().Format(time.RFC3339Nano), ends.UTC().Format(time.RFC3339Nano), more, items)
}

func item(sku string, allocation int) string {
	return fmt.Sprintf(`{"sku":%q,"allocation":%d,"salePrice":{"amount":"9.90","currency":"EUR"}}`, sku, allocation)
}

func buying(key, saleID, sku string, quantity int, more string) string {
	return fmt.Sprintf(`{"idempotencyKey":%q,"saleId":%q,%s"lines":[{"sku":%q,"quantity":%d}]}`, key, saleID, more, sku, quantity)
}

// A sale from its making to its end, over two SKUs.
func TestASalesDay(t *testing.T) {
	s := newSalesWorld(t)
	s.stockUp("A", 10)
	s.stockUp("B", 2)
	eve, bob := s.shopper(1), s.shopper(2)
	starts := s.now().Add(time.Minute).Truncate(time.Millisecond)
	ends := starts.Add(10 * time.Minute)

	s.wantError(s.mutate(s.staff, "createSale", "CreateSaleInput", strings.Replace(s.create(starts, ends, "", item("A", 4)+","+item("B", 3)), "s1", "s0", 1), saleFields), "INSUFFICIENT_STOCK", "items.1.allocation")
	input := s.create(starts, ends, `"perCustomerLimit":2,`, item("A", 4)+","+item("B", 2))
	made := s.mutate(s.staff, "createSale", "CreateSaleInput", input, saleFields)
	s.wantNoError(made) // A takes part: the one that was refused has let go of it
	id := text(at(made, "sale", "id"))
	if at(made, "sale", "state") != "SCHEDULED" || text(at(made, "sale", "items", 0, "remaining")) != "4" || at(made, "sale", "items", 0, "variant", "name") != "red" || at(made, "sale", "items", 0, "variant", "price", "amount") != "19.90" {
		t.Errorf("made: %v", made)
	}
	if again := s.mutate(s.staff, "createSale", "CreateSaleInput", input, saleFields); text(again) != text(made) {
		t.Errorf("made again: %v, first %v", again, made)
	}
	s.wantError(s.mutate(s.staff, "createSale", "CreateSaleInput", strings.Replace(input, "Friday", "Sunday", 1), saleFields), "IDEMPOTENCY_MISMATCH", "idempotencyKey")
	s.wantError(s.mutate(s.staff, "createSale", "CreateSaleInput", strings.Replace(input, "s1", "s2", 1), saleFields), "CONFLICT", "items.0.sku")
	s.wantError(s.mutate(s.staff, "controlSale", "ControlSaleInput", `{"id":"`+id+`","pause":true}`, saleFields), "ILLEGAL_TRANSITION", "pause")

	early := s.mutate(eve, "placeOrder", "PlaceOrderInput", buying("e1", id, "A", 1, ""), orderFields)
	s.wantError(early, "SALE_NOT_OPEN", "saleId")
	s.wantError(s.mutate(bob, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"b1","lines":[{"sku":"A","quantity":7}]}`, orderFields), "INSUFFICIENT_STOCK", "lines.0.quantity")
	s.goTo(starts)
	placed := s.mutate(eve, "placeOrder", "PlaceOrderInput", buying("e1", id, "A", 1, ""), orderFields+` order { saleId }`) // the same key
	s.wantNoError(placed)
	if at(placed, "order", "total", "amount") != "9.90" || at(placed, "order", "saleId") != id {
		t.Errorf("in the sale: %v", placed)
	}
	over := s.mutate(eve, "placeOrder", "PlaceOrderInput", buying("e2", id, "A", 2, ""), `order { rejection { ... on CustomerLimit { sku limit used } } }`)
	if s.wantError(over, "CUSTOMER_LIMIT", "lines.0.quantity"); text(at(over, "order", "rejection")) != "map[limit:2 sku:A used:1]" {
		t.Errorf("over the limit: %v", over)
	}
	s.wantNoError(s.mutate(eve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+text(at(placed, "order", "id"))+`"}`, orderFields))
	s.wantNoError(s.mutate(eve, "placeOrder", "PlaceOrderInput", buying("e3", id, "A", 2, `"paymentToken":"tok_ok",`), orderFields))
	ordinary := s.mutate(eve, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"e4","lines":[{"sku":"A","quantity":6}]}`, orderFields)
	if s.wantNoError(ordinary); at(ordinary, "order", "total", "amount") != "119.40" {
		t.Errorf("without the sale: %v", ordinary)
	}

	// Sold out with the last unit of the last SKU, and back when one is let go of.
	last := s.mutate(bob, "placeOrder", "PlaceOrderInput", fmt.Sprintf(`{"idempotencyKey":"b2","saleId":%q,"lines":[{"sku":"A","quantity":2},{"sku":"B","quantity":2}]}`, id), orderFields)
	s.wantNoError(last)
	s.wantSale(id, "SOLD_OUT", "0")
	s.wantNoError(s.mutate(bob, "cancelOrder", "CancelOrderInput", `{"orderId":"`+text(at(last, "order", "id"))+`"}`, orderFields))
	s.wantSale(id, "OPEN", "2")

	paused := s.mutate(s.staff, "controlSale", "ControlSaleInput", `{"id":"`+id+`","pause":true}`, saleFields)
	if s.wantNoError(paused); at(paused, "sale", "state") != "PAUSED" {
		t.Errorf("paused: %v", paused)
	}
	s.wantError(s.mutate(bob, "placeOrder", "PlaceOrderInput", buying("b3", id, "A", 1, ""), orderFields), "SALE_PAUSED", "saleId")
	stale := s.mutate(s.staff, "controlSale", "ControlSaleInput", `{"id":"`+id+`","pause":false,"ifVersion":1}`, saleFields)
	if at(stale, "userErrors", 0, "__typename") != "VersionConflict" {
		t.Errorf("on an old version: %v", stale)
	}
	s.wantNoError(s.mutate(s.staff, "controlSale", "ControlSaleInput", `{"id":"`+id+`","pause":false}`, saleFields))
	s.wantNoError(s.mutate(bob, "placeOrder", "PlaceOrderInput", buying("b3", id, "A", 1, ""), orderFields)) // the same key

	s.goTo(ends)
	s.wantError(s.mutate(bob, "placeOrder", "PlaceOrderInput", buying("b4", id, "A", 1, ""), orderFields), "SALE_ENDED", "saleId")
	s.wantNoError(s.mutate(s.shopper(3), "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"c1","lines":[{"sku":"B","quantity":2}]}`, orderFields)) // ordinary again
	s.wantSale(id, "ENDED", "0")
	s.eventually("the sale is listed", func() (bool, string) {
		a := s.ask("", `{ sales(state: ENDED) { id name } none: sales(state: OPEN) { id } node(id: "`+id+`") { ... on Sale { name } } }`, nil)
		none, _ := at(a.Data, "none").([]any)
		return at(a.Data, "sales", 0, "id") == id && len(none) == 0 && at(a.Data, "node", "name") == "Friday", a.text
	})
}

func (s *salesWorld) wantSale(id, state, remaining string) {
	s.t.Helper()
	s.eventually("the sale is "+state, func() (bool, string) {
		a := s.ask("", `{ sale(id: "`+id+`") { state items { remaining } } }`, nil)
		return at(a.Data, "sale", "state") == state && text(at(a.Data, "sale", "items", 0, "remaining")) == remaining, a.text
	})
}

// Through the waiting room: the order of joining means nothing until the
// opening, everybody can verify it after, and only who is in can buy.
func TestTheWaitingRoom(t *testing.T) {
	s := newSalesWorld(t)
	s.stockUp("A", 50)
	starts := s.now().Add(time.Minute).Truncate(time.Millisecond)
	made := s.mutate(s.staff, "createSale", "CreateSaleInput", s.create(starts, starts.Add(time.Hour), `"admission":"SHUFFLED_AT_OPENING","admitPerSecond":1,`, item("A", 50)), saleFields)
	s.wantNoError(made)
	id, commitment := text(at(made, "sale", "id")), text(at(made, "sale", "shuffleCommitment"))
	if at(made, "sale", "shuffleSecret") != nil || len(commitment) != 64 {
		t.Errorf("made: %v", made)
	}
	const ticketFields = `ticket { id saleId position estimatedWaitMs pollAfterMs admissionToken admissionExpiresAt }`
	joined := func(n int) map[string]any {
		t.Helper()
		payload := s.mutate(s.shopper(n), "joinSale", "JoinSaleInput", `{"saleId":"`+id+`"}`, ticketFields)
		s.wantNoError(payload)
		return payload
	}
	const people = 10
	tickets := make([]string, people)
	for n := range people {
		tickets[n] = text(at(joined(n), "ticket", "id"))
		if again := joined(n); at(again, "ticket", "id") != tickets[n] || at(again, "ticket", "admissionToken") != nil {
			t.Errorf("joined again: %v", again)
		}
	}
	s.wantError(s.mutate(s.shopper(0), "placeOrder", "PlaceOrderInput", buying("k", id, "A", 1, ""), orderFields), "SALE_NOT_OPEN", "saleId")

	s.goTo(starts.Add(3500 * time.Millisecond)) // three are in
	a := s.ask("", `{ sale(id: "`+id+`") { state waiting admitted shuffleCommitment shuffleSecret joinedBeforeOpening } }`, nil)
	secret, err := hex.DecodeString(text(at(a.Data, "sale", "shuffleSecret")))
	if sum := sha256.Sum256(secret); err != nil || hex.EncodeToString(sum[:]) != commitment || text(at(a.Data, "sale", "admitted")) != "3" || text(at(a.Data, "sale", "waiting")) != "7" {
		t.Fatalf("after the opening: %s", a.text)
	}
	in, token := -1, ""
	out := -1
	for n := range people {
		ask := s.ask(s.shopper(n), `{ ticket(id: "`+tickets[n]+`") { position estimatedWaitMs pollAfterMs admissionToken } }`, nil)
		position := int64(sale.Permute(secret, uint64(n), people)) + 1
		if text(at(ask.Data, "ticket", "position")) != fmt.Sprint(position) || (at(ask.Data, "ticket", "admissionToken") != nil) != (position <= 3) {
			t.Errorf("customer %d has position %d by the secret: %s", n, position, ask.text)
		}
		if position == 1 {
			in, token = n, text(at(ask.Data, "ticket", "admissionToken"))
		} else if position == people {
			out = n
		}
	}
	if other := s.ask(s.shopper(out), `{ ticket(id: "`+tickets[in]+`") { position } }`, nil); at(other.Data, "ticket") != nil || len(other.Errors) > 0 {
		t.Errorf("somebody else's ticket: %s", other.text)
	}
	with := `"admissionToken":"` + token + `",`
	s.wantError(s.mutate(s.shopper(out), "placeOrder", "PlaceOrderInput", buying("k", id, "A", 1, ""), orderFields), "ADMISSION_REQUIRED", "admissionToken")
	s.wantError(s.mutate(s.shopper(out), "placeOrder", "PlaceOrderInput", buying("k", id, "A", 1, with), orderFields), "ADMISSION_REQUIRED", "admissionToken")
	placed := s.mutate(s.shopper(in), "placeOrder", "PlaceOrderInput", buying("k", id, "A", 1, with), orderFields)
	s.wantNoError(placed)
	s.goTo(s.now().Add(6 * time.Minute))
	if again := s.mutate(s.shopper(in), "placeOrder", "PlaceOrderInput", buying("k", id, "A", 1, with), orderFields); at(again, "order", "id") != at(placed, "order", "id") {
		t.Errorf("the same order again, with a token that has expired: %v", again)
	}
	expired := s.mutate(s.shopper(in), "placeOrder", "PlaceOrderInput", buying("k2", id, "A", 1, with), orderFields)
	if s.wantError(expired, "ADMISSION_REQUIRED", "admissionToken"); !strings.Contains(text(at(expired, "userErrors", 0, "message")), "expired") {
		t.Errorf("with a token that has expired: %v", expired)
	}
	s.wantNoError(s.mutate(s.staff, "controlSale", "ControlSaleInput", `{"id":"`+id+`","end":true}`, saleFields))
	s.wantError(s.mutate(s.shopper(99), "joinSale", "JoinSaleInput", `{"saleId":"`+id+`"}`, ticketFields), "SALE_ENDED", "saleId")
	s.wantError(s.mutate(s.shopper(99), "joinSale", "JoinSaleInput", `{"saleId":"`+aSale+`"}`, ticketFields), "NOT_FOUND", "saleId")
}

// The last unit, a thousand customers who place, pay, cancel and let expire in
// any order: it is sold once, and nobody has it who should not.
func TestTheLastUnitOfASale(t *testing.T) {
	customers := 1000
	if testing.Short() {
		customers = 100
	}
	s := newSalesWorld(t)
	s.stockUp("A", 5)
	now := s.now()
	made := s.mutate(s.staff, "createSale", "CreateSaleInput", s.create(now, now.Add(1000*time.Hour), `"perCustomerLimit":1,`, item("A", 1)), saleFields)
	s.wantNoError(made)
	id := text(at(made, "sale", "id"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var sold, held atomic.Int64
	var clock sync.RWMutex // an access token must not expire while it is used
	act := func(n int, field, inputType, input string) map[string]any {
		clock.RLock()
		defer clock.RUnlock()
		return s.mutate(s.shopper(n), field, inputType, input, orderFields)
	}
	var group errgroup.Group
	group.SetLimit(32)
	for n := range customers {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		group.Go(func() error {
			placed := act(n, "placeOrder", "PlaceOrderInput", buying(fmt.Sprint("k", n), id, "A", 1, ""))
			if at(placed, "order", "state") != "RESERVED" {
				return nil
			}
			held.Add(1)
			order := text(at(placed, "order", "id"))
			switch random.IntN(20) {
			case 0:
				paid := act(n, "payOrder", "PayOrderInput", `{"idempotencyKey":"p","orderId":"`+order+`","paymentToken":"tok_ok"}`)
				if at(paid, "order", "state") == "CONFIRMED" {
					sold.Add(1)
				}
			case 1, 2, 3, 4:
				clock.Lock()
				s.goTo(s.now().Add(11 * time.Minute)) // everybody's hold ends
				clock.Unlock()
			default:
				act(n, "cancelOrder", "CancelOrderInput", `{"orderId":"`+order+`"}`)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if sold.Load() == 0 { // all who had it let go of it: then the next one has it
		s.goTo(s.now().Add(11 * time.Minute))
		s.staff = s.as("usr_ssssssssssssssssssssssssss", auth.Customer, auth.Staff)
		s.wantNoError(s.mutate(s.shopper(customers), "placeOrder", "PlaceOrderInput", buying("last", id, "A", 1, `"paymentToken":"tok_ok",`), orderFields))
		sold.Add(1)
	}
	a := s.ask("", `{ stock(skus: ["A"]) { available held committed } }`, nil)
	if got := text(at(a.Data, "stock", 0)); sold.Load() != 1 || got != "map[available:4 committed:1 held:0]" {
		t.Errorf("seed %d: held %d times, sold %d times, stock %s", seed, held.Load(), sold.Load(), got)
	}
	s.wantSale(id, "SOLD_OUT", "0")
}

// One customer, many keys at the same time: no more than the limit.
func TestTheLimitUnderARace(t *testing.T) {
	s := newSalesWorld(t)
	s.stockUp("A", 100)
	now := s.now()
	made := s.mutate(s.staff, "createSale", "CreateSaleInput", s.create(now, now.Add(time.Hour), `"perCustomerLimit":3,`, item("A", 100)), saleFields)
	s.wantNoError(made)
	id, eve := text(at(made, "sale", "id")), s.shopper(1)
	var held atomic.Int64
	var group sync.WaitGroup
	for n := range 100 {
		group.Go(func() {
			placed := s.mutate(eve, "placeOrder", "PlaceOrderInput", buying(fmt.Sprint("k", n), id, "A", 1, ""), orderFields)
			switch {
			case at(placed, "order", "state") == "RESERVED":
				held.Add(1)
			case at(placed, "userErrors", 0, "code") != "CUSTOMER_LIMIT":
				t.Errorf("order %d: %v", n, placed)
			}
		})
	}
	group.Wait()
	a := s.ask("", `{ stock(skus: ["A"]) { held } sale(id: "`+id+`") { items { remaining } } }`, nil)
	if held.Load() != 3 || text(at(a.Data, "stock", 0, "held")) != "3" || text(at(a.Data, "sale", "items", 0, "remaining")) != "97" {
		t.Errorf("%d orders hold: %s", held.Load(), a.text)
	}
}
