package gateway_test

// What an idempotency key promises, for every mutation that takes one: the same
// input again is the same answer and changes nothing, another input under the
// key is refused and changes nothing. The schema says which mutations and which
// fields there are: one without its place in the table fails.

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/gateway/auth"
	"stampede/internal/memstore"
	"stampede/payments"
)

const (
	mismatch  = "IDEMPOTENCY_MISMATCH"
	theSame   = "the same answer"
	theirOwn  = "their own"
	keyedSale = `sale { id name startsAt endsAt perCustomerLimit admission admitPerSecond items { allocation salePrice { amount } } version }`
	// What is taken of the money follows after the answer.
	placedOrder = `order { id number state lines { sku quantity unitPrice { amount } skuVersion } total { amount } history { state reason } }`
	stockOf     = `stock { sku onHand available held committed unavailable version asOf }`
)

// values are JSON values by the paths of an input's fields, as userErrors name them.
type values map[string]string

// keyedMutation is one of them. Names in capitals in the input stand for what
// keyedShop has; every field has its place in other, free or elsewhere.
type keyedMutation struct {
	field, selection, input string
	byCustomer              bool
	// other values of each field make another input.
	other values
	// free fields are not part of what the key stands for.
	free values
	// elsewhere is a change of something else, that the key is new to.
	elsewhere values
	// somebodyElse is what another of the same role gets for the same input;
	// with theirOwn the key is remembered by the person, and elsewhere is what they send.
	somebodyElse string
}

// Every mutation with a key is here.
var keyed = []keyedMutation{
	{
		field: "placeOrder", selection: placedOrder, byCustomer: true, somebodyElse: theirOwn,
		input: `{"idempotencyKey":"k","saleId":"SALE","lines":[{"sku":"A","quantity":2,"expectedPrice":{"amount":"9.90","currency":"EUR"}}],"paymentToken":"tok_ok"}`,
		other: values{
			"lines": `[{"sku":"A","quantity":2,"expectedPrice":{"amount":"9.90","currency":"EUR"}},{"sku":"B","quantity":1}]`, "lines.0.sku": `"B"`, "lines.0.quantity": `1`,
			"lines.0.expectedPrice": `null`, "lines.0.expectedPrice.amount": `"9.91"`, "lines.0.expectedPrice.currency": `"USD"`,
			"saleId": `"` + aSale + `"`, "paymentToken": `"tok_decline"`,
		},
		free: values{"admissionToken": `"of another admission"`},
	},
	{
		field: "payOrder", selection: placedOrder, byCustomer: true, somebodyElse: "NOT_FOUND",
		input:     `{"idempotencyKey":"k","orderId":"UNPAID","paymentToken":"tok_ok"}`,
		other:     values{"paymentToken": `"tok_decline"`},
		elsewhere: values{"orderId": `"ALSO_UNPAID"`},
	},
	{
		field: "fulfilOrder", selection: stateFields, somebodyElse: theSame,
		input:     `{"idempotencyKey":"k","orderId":"PAID","lines":[{"sku":"A","quantity":1}],"tracking":"T-1"}`,
		other:     values{"lines": `null`, "lines.0.sku": `"B"`, "lines.0.quantity": `2`, "tracking": `"T-2"`},
		elsewhere: values{"orderId": `"ALSO_PAID"`},
	},
	{
		field: "refundOrder", selection: stateFields, somebodyElse: theSame,
		input:     `{"idempotencyKey":"k","orderId":"PAID","lines":[{"sku":"A","quantity":1}],"restock":true,"reason":"too small"}`,
		other:     values{"lines": `null`, "lines.0.sku": `"B"`, "lines.0.quantity": `2`, "restock": `false`, "reason": `"too large"`},
		elsewhere: values{"orderId": `"ALSO_PAID"`},
	},
	{
		field: "adjustStock", selection: stockOf, somebodyElse: mismatch,
		input:     `{"idempotencyKey":"k","sku":"B","delta":5,"reason":"delivery"}`,
		other:     values{"delta": `6`, "reason": `"another"`, "ifVersion": `1`},
		elsewhere: values{"sku": `"C"`},
	},
	{
		field: "setStock", selection: stockOf, somebodyElse: mismatch,
		input:     `{"idempotencyKey":"k","sku":"B","onHand":70,"reason":"count"}`,
		other:     values{"onHand": `71`, "reason": `"another"`, "ifVersion": `1`, "allowShortfall": `true`},
		elsewhere: values{"sku": `"C"`},
	},
	{
		field: "markUnavailable", selection: stockOf, somebodyElse: mismatch,
		input:     `{"idempotencyKey":"k","sku":"B","quantity":3,"reason":"damaged"}`,
		other:     values{"quantity": `4`, "reason": `"another"`},
		elsewhere: values{"sku": `"C"`},
	},
	{
		field: "createProduct", selection: `product { id slug name version variants { sku stock { onHand } } }`, somebodyElse: theSame,
		input: `{"idempotencyKey":"k","slug":"q","name":"Q","description":"A Q.","imageUrl":"/q.png","published":true,"variants":[{"sku":"Q","name":"red","price":{"amount":"1","currency":"EUR"},"attributes":{"a":1},"initialStock":5}]}`,
		other: values{
			"name": `"R"`, "description": `"An R."`, "imageUrl": `"/r.png"`, "published": `false`,
			"variants": `[{"sku":"Q","name":"red","price":{"amount":"1","currency":"EUR"},"attributes":{"a":1},"initialStock":5},{"sku":"Q2","price":{"amount":"1","currency":"EUR"}}]`, "variants.0.sku": `"Q3"`, "variants.0.name": `"blue"`,
			"variants.0.price.amount": `"2"`, "variants.0.price.currency": `"USD"`, "variants.0.attributes": `{"a":2}`, "variants.0.initialStock": `6`,
		},
		elsewhere: values{"slug": `"r"`, "variants.0.sku": `"R"`},
	},
	{
		field: "createSale", selection: keyedSale, somebodyElse: theirOwn,
		input: `{"idempotencyKey":"k","name":"Sunday","startsAt":"SOON","endsAt":"LATER","perCustomerLimit":2,"admission":"FIRST_COME","admitPerSecond":5,"items":[{"sku":"B","allocation":4,"salePrice":{"amount":"4","currency":"EUR"}}]}`,
		other: values{
			"name": `"Monday"`, "startsAt": `"LATER"`, "endsAt": `"LATEST"`, "perCustomerLimit": `3`, "admission": `"SHUFFLED_AT_OPENING"`, "admitPerSecond": `6`,
			"items": `[{"sku":"B","allocation":4,"salePrice":{"amount":"4","currency":"EUR"}},{"sku":"C","allocation":1,"salePrice":{"amount":"4","currency":"EUR"}}]`, "items.0.sku": `"C"`, "items.0.allocation": `5`,
			"items.0.salePrice.amount": `"3"`, "items.0.salePrice.currency": `"USD"`,
		},
		elsewhere: values{"items.0.sku": `"C"`},
	},
}

// keyedShop is a shop at rest: three SKUs, a sale that is open, orders before
// and after their payment.
type keyedShop struct {
	*salesWorld
	store *memstore.Store
	bank  *payments.Simulator
	names *strings.Replacer
	other string
}

func newKeyedShop(t *testing.T) *keyedShop {
	t.Helper()
	s := &keyedShop{salesWorld: &salesWorld{}, store: memstore.New(), bank: payments.NewSimulator()}
	s.world, _ = realShopWith(t, s.store, s.bank, s.now)
	s.staff, s.other = s.as("usr_ssssssssssssssssssssssssss", auth.Customer, auth.Staff), s.as("usr_tttttttttttttttttttttttttt", auth.Customer, auth.Staff)
	for _, sku := range []string{"A", "B", "C"} {
		s.stockUp(sku, 100)
	}
	starts := time.Now().Add(time.Second)
	sale := s.mutate(s.staff, "createSale", "CreateSaleInput", s.create(starts, starts.Add(time.Hour), "", item("A", 20)), saleFields)
	s.wantNoError(sale)
	time.Sleep(2 * time.Second)
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	s.names = strings.NewReplacer(
		"SALE", text(at(sale, "sale", "id")), "ALSO_UNPAID", s.place("o1", ``), "UNPAID", s.place("o2", ``),
		"ALSO_PAID", s.place("o3", `,"paymentToken":"tok_ok"`), "PAID", s.place("o4", `,"paymentToken":"tok_ok"`),
		"SOON", in(time.Minute), "LATER", in(time.Hour), "LATEST", in(2*time.Hour),
	)
	return s
}

func (s *keyedShop) place(key, more string) string {
	s.t.Helper()
	p := s.mutate(s.shopper(1), "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"`+key+`","lines":[{"sku":"A","quantity":3},{"sku":"B","quantity":3}]`+more+`}`, stateFields)
	s.wantNoError(p)
	return text(at(p, "order", "id"))
}

// past is all that was ever decided, and what the provider has on its books.
func (s *keyedShop) past() []string {
	s.t.Helper()
	synctest.Wait()
	var lines []string
	epochs, err := s.store.Epochs(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range epochs {
		for record, err := range s.store.ReadEpoch(s.t.Context(), e.Epoch, 0) {
			if err != nil {
				s.t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%s %d to %d", record.Stream(), record.FirstVersion, record.LastVersion))
		}
	}
	return append(lines, fmt.Sprint(s.bank.Books()))
}

func TestKeys(t *testing.T) {
	for _, c := range keyed {
		inBubble(t, c.field, func(t *testing.T) {
			s := newKeyedShop(t)
			mine, theirs := s.people(c)
			before := s.past()
			k := &kept{keyedShop: s, first: s.send(mine, c, nil)}
			s.wantNoError(k.first)
			if k.then = s.past(); cmp.Equal(before, k.then) {
				t.Fatalf("nothing was changed: %v", k.first)
			}
			k.check("again", s.send(mine, c, nil), theSame)
			for _, path := range slices.Sorted(maps.Keys(c.other)) {
				k.check("another "+path, s.send(mine, c, values{path: c.other[path]}), mismatch)
			}
			for _, path := range slices.Sorted(maps.Keys(c.free)) {
				k.check("another "+path, s.send(mine, c, values{path: c.free[path]}), theSame)
			}
			k.check("after all that", s.send(mine, c, nil), theSame)
			who := theirs
			if c.somebodyElse != theirOwn {
				who = mine
				k.check("by somebody else", s.send(theirs, c, nil), c.somebodyElse)
			}
			elsewhere := s.send(who, c, c.elsewhere)
			s.wantNoError(elsewhere)
			if cmp.Equal(k.then, s.past()) {
				t.Errorf("elsewhere nothing was changed: %v", elsewhere)
			}
		})
	}
}

// Mutations that change the same thing share its keys.
func TestKeysOfOneThing(t *testing.T) {
	for _, fields := range [][]string{{"adjustStock", "setStock", "markUnavailable"}, {"fulfilOrder", "refundOrder"}} {
		for _, first := range fields {
			inBubble(t, first, func(t *testing.T) {
				s := newKeyedShop(t)
				k := &kept{keyedShop: s, first: s.send(s.staff, rowOf(first), nil)}
				s.wantNoError(k.first)
				k.then = s.past()
				for _, other := range fields {
					if other != first {
						k.check("then "+other, s.send(s.staff, rowOf(other), nil), mismatch)
					}
				}
			})
		}
	}
}

func rowOf(field string) keyedMutation {
	return keyed[slices.IndexFunc(keyed, func(c keyedMutation) bool { return c.field == field })]
}

// people are who sends the mutation, and another who may.
func (s *keyedShop) people(c keyedMutation) (one, other string) {
	if c.byCustomer {
		return s.shopper(1), s.shopper(2)
	}
	return s.staff, s.other
}

func (s *keyedShop) send(token string, c keyedMutation, changes values) map[string]any {
	s.t.Helper()
	return s.mutate(token, c.field, strings.ToUpper(c.field[:1])+c.field[1:]+"Input", s.names.Replace(with(s.t, c.input, changes)), c.selection)
}

// kept is what a key stands for: the first answer, and all that had happened by then.
type kept struct {
	*keyedShop
	first map[string]any
	then  []string
}

// check wants an answer, and that nothing was changed by it.
func (k *kept) check(what string, got map[string]any, want string) {
	k.t.Helper()
	switch code := text(at(got, "userErrors", 0, "code")); {
	case want == theSame:
		if text(got) != text(k.first) {
			k.t.Errorf("%s: answered %v, at first %v", what, got, k.first)
		}
	case code != want, want == mismatch && joined(at(got, "userErrors", 0, "field")) != "idempotencyKey":
		k.t.Errorf("%s: want %s: %v", what, want, got)
	}
	if diff := cmp.Diff(k.then, k.past()); diff != "" {
		k.t.Errorf("%s: something was changed:\n%s", what, diff)
	}
}

// with is an input with other values in some of its fields.
func with(t *testing.T, input string, changes values) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(input), &v); err != nil {
		t.Fatal(err)
	}
	for path, value := range changes {
		steps := strings.Split(path, ".")
		within := v
		for _, step := range steps[:len(steps)-1] {
			if i, err := strconv.Atoi(step); err == nil {
				within = at(within, i)
				continue
			}
			within = at(within, step)
		}
		fields, ok := within.(map[string]any)
		if !ok {
			t.Fatalf("the input has no %s: %s", path, input)
		}
		fields[steps[len(steps)-1]] = json.RawMessage(value)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
