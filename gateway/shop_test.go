package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/events"
	"stampede/events/views"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/internal/memstore"
	"stampede/payments"
	"stampede/persistence/commitlog"
)

// realShop is the gateway over the real actors, accounts, log and views, in
// memory: only the store and the payment provider are not what a node has.
func realShop(t *testing.T) (*world, *auth.Accounts) {
	t.Helper()
	return realShopOver(t, memstore.New())
}

// realShopOver goes on with what a store has.
func realShopOver(t *testing.T, store *memstore.Store) (*world, *auth.Accounts) {
	t.Helper()
	return realShopAt(t, store, time.Now)
}

// realShopAt tells the actors and the gateway the time.
func realShopAt(t *testing.T, store *memstore.Store, clock func() time.Time) (*world, *auth.Accounts) {
	t.Helper()
	return realShopWith(t, store, payments.NewSimulator(), clock)
}

// realShopWith is a shop with the provider.
func realShopWith(t *testing.T, store *memstore.Store, provider payments.Provider, clock func() time.Time) (*world, *auth.Accounts) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	journal, err := commitlog.Open(t.Context(), store, "test", commitlog.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	project, err := views.New(views.Config{
		Log:   events.Config{Journal: store, Watermarks: store, Epoch: journal.Epoch(), Source: journal.Follow(views.ReaderName, 0), Ended: commitlog.ErrClosed, Logger: logger},
		Views: store, Streams: store, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { _ = project.Run(context.Background()) })

	caller := &lateCaller{}
	rt := &entity.Runtime{Log: journal, Store: store, Asker: caller, Clock: clock, Logger: logger, Limits: entity.DefaultLimits()}
	hosted := cluster.NewNode(logger, actors.Kinds(rt), map[string]cluster.Caller{"payment": payments.Port{Provider: provider}}, cluster.DefaultOptions())
	caller.Caller = hosted

	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tokens := auth.NewTokens(keys, auth.TokenOptions{})
	accounts := auth.NewAccounts(hosted, tokens, auth.NewPasswords(2, 64), []byte("0123456789abcdef0123456789abcdef"), time.Now)
	config := gateway.Config{
		Caller: hosted, Views: store, Accounts: accounts, Journal: store, Cluster: aCluster{}, Tokens: tokens, Keys: keys, HoldFor: 10 * time.Minute, TicketKey: []byte("0123456789abcdef0123456789abcdef"),
		Limits: gateway.Limits{HTTP: httpapi.Limits{RatePerSecond: -1}}, Logger: logger, Clock: clock,
	}
	g, err := gateway.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := hosted.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := journal.Close(ctx); err != nil {
			t.Error(err)
		}
		readers.Wait()
	})
	return &world{t: t, handler: g.Handler(), log: &syncBuffer{}, tokens: tokens}, accounts
}

type lateCaller struct{ cluster.Caller }

func (l *lateCaller) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	return l.Caller.Call(ctx, to, cmd)
}

// mutate sends a mutation and returns its payload.
func (w *world) mutate(token, field, inputType, input, selection string) map[string]any {
	w.t.Helper()
	query := fmt.Sprintf(`mutation($input: %s!) { it: %s(input: $input) { %s userErrors { __typename code message field } } }`, inputType, field, selection)
	a := w.post(token, `{"query":`+quote(query)+`,"variables":{"input":`+input+`}}`)
	payload, _ := a.Data["it"].(map[string]any)
	if payload == nil {
		w.t.Fatalf("%s: %s", field, a.text)
	}
	return payload
}

// at follows a path of names and indices through decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

func text(v any) string { return fmt.Sprint(v) }

const (
	orderFields = `order { id number state version payment { state } lines { sku name quantity unitPrice { amount currency } skuVersion } total { amount currency } rejection { __typename code } allowedTransitions }`
	mugs        = `{"idempotencyKey":"mugs","slug":"mug","name":"Mug","variants":[{"sku":"MUG-1","name":"blue","price":{"amount":"19.90","currency":"EUR"},"initialStock":5,"attributes":{"colour":"blue"}},{"sku":"MUG-2","price":{"amount":"21","currency":"EUR"},"initialStock":1}]}`
)

// A shop's day: everything that the schema has, with the real actors behind it.
func TestShop(t *testing.T) {
	w, accounts := realShop(t)
	_, refusal, err := accounts.EnsureAdmin(t.Context(), "admin@example.test", "correct horse battery")
	if err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	admin := w.mutate("", "logIn", "LogInInput", `{"email":"Admin@Example.test","password":"correct horse battery"}`, `user { id roles } tokens { accessToken refreshToken expiresAt }`)
	asAdmin := text(at(admin, "tokens", "accessToken"))
	eve := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"a long password","name":"Eve"}`, `user { id email name roles } tokens { accessToken refreshToken }`)
	asEve, eveID := text(at(eve, "tokens", "accessToken")), text(at(eve, "user", "id"))
	mallory := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"mallory@example.test","password":"a long password"}`, `user { name } tokens { accessToken }`)
	asMallory := text(at(mallory, "tokens", "accessToken"))

	t.Run("accounts", func(t *testing.T) { w.t = t; accountsDay(w, asAdmin, asEve, eveID, eve) })
	t.Run("catalogue and stock", func(t *testing.T) { w.t = t; catalogueDay(w, asAdmin, asEve) })
	t.Run("orders", func(t *testing.T) { w.t = t; ordersDay(w, asAdmin, asEve, asMallory, eveID) })
}

func (w *world) wantError(payload map[string]any, code, field string) {
	w.t.Helper()
	if got := text(at(payload, "userErrors", 0, "code")); got != code || joined(at(payload, "userErrors", 0, "field")) != field {
		w.t.Errorf("want %s at %q: %v", code, field, payload)
	}
}

func (w *world) wantNoError(payload map[string]any) {
	w.t.Helper()
	if errs, _ := payload["userErrors"].([]any); len(errs) > 0 {
		w.t.Errorf("refused: %v", errs)
	}
}

func accountsDay(w *world, asAdmin, asEve, eveID string, eve map[string]any) {
	w.wantError(w.mutate("", "registerUser", "RegisterUserInput", `{"email":"EVE@example.test","password":"another password"}`, ``), "EMAIL_TAKEN", "email")
	w.wantError(w.mutate("", "registerUser", "RegisterUserInput", `{"email":"e@","password":"a long password"}`, ``), "INVALID", "email")
	w.wantError(w.mutate("", "logIn", "LogInInput", `{"email":"eve@example.test","password":"wrong password"}`, ``), "BAD_CREDENTIALS", "")
	a := w.ask(asEve, `{ me { id email name roles version createdAt orders { edges { node { id } } } } other: user(id: "`+eveID+`") { id } node(id: "`+eveID+`") { ... on User { email } } }`, nil)
	if at(a.Data, "me", "id") != eveID || at(a.Data, "other", "id") != eveID || at(a.Data, "node", "email") != "eve@example.test" || text(at(a.Data, "me", "roles")) != "[CUSTOMER]" {
		w.t.Errorf("me: %s", a.text)
	}
	renamed := w.mutate(asEve, "updateProfile", "UpdateProfileInput", `{"name":"Eva"}`, `user { name version }`)
	if at(renamed, "user", "name") != "Eva" {
		w.t.Errorf("renamed: %v", renamed)
	}
	conflict := w.mutate(asEve, "updateProfile", "UpdateProfileInput", `{"name":"Evi","ifVersion":1}`, `user { name }`)
	if at(conflict, "userErrors", 0, "__typename") != "VersionConflict" {
		w.t.Errorf("conflict: %v", conflict)
	}
	next := w.mutate("expired", "refreshTokens", "RefreshTokensInput", `{"refreshToken":`+mustJSON(at(eve, "tokens", "refreshToken"))+`}`, `tokens { refreshToken accessToken }`)
	w.wantNoError(next)
	w.wantError(w.mutate("", "refreshTokens", "RefreshTokensInput", `{"refreshToken":"made up"}`, ``), "BAD_CREDENTIALS", "refreshToken")
	changed := w.mutate(asEve, "changePassword", "ChangePasswordInput", `{"current":"a long password","new":"an even longer one"}`, `tokens { refreshToken }`)
	w.wantNoError(changed)
	w.wantNoError(w.mutate("", "logOut", "LogOutInput", `{"refreshToken":`+mustJSON(at(changed, "tokens", "refreshToken"))+`,"everywhere":true}`, ``))
	w.wantError(w.mutate("", "refreshTokens", "RefreshTokensInput", `{"refreshToken":`+mustJSON(at(changed, "tokens", "refreshToken"))+`}`, ``), "BAD_CREDENTIALS", "refreshToken")
	promoted := w.mutate(asAdmin, "setRoles", "SetRolesInput", `{"userId":"`+eveID+`","roles":["STAFF","STAFF"]}`, `user { roles }`)
	if text(at(promoted, "user", "roles")) != "[CUSTOMER STAFF]" {
		w.t.Errorf("promoted: %v", promoted)
	}
	w.wantNoError(w.mutate(asAdmin, "setRoles", "SetRolesInput", `{"userId":"`+eveID+`","roles":["CUSTOMER"]}`, ``))
	w.wantError(w.mutate(asAdmin, "setRoles", "SetRolesInput", `{"userId":"`+alice+`","roles":["STAFF"]}`, ``), "NOT_FOUND", "userId")
	w.eventually("three users", func() (bool, string) {
		a := w.ask(asAdmin, `{ users { edges { node { email } } pageInfo { hasNextPage } } }`, nil)
		return strings.Count(a.text, "@example.test") == 3, a.text
	})
}

func catalogueDay(w *world, asAdmin, asEve string) {
	created := w.mutate(asAdmin, "createProduct", "CreateProductInput", mugs, `product { id slug version published variants { sku name price { amount currency } attributes stock { onHand available version } } }`)
	w.wantNoError(created)
	id := text(at(created, "product", "id"))
	if text(at(created, "product", "variants", 0, "stock", "onHand")) != "5" || at(created, "product", "variants", 1, "price", "amount") != "21.00" || at(created, "product", "variants", 0, "attributes", "colour") != "blue" {
		w.t.Errorf("created: %v", created)
	}
	if again := w.mutate(asAdmin, "createProduct", "CreateProductInput", mugs, `product { id }`); at(again, "product", "id") != id {
		w.t.Errorf("created again: %v", again)
	}
	w.wantError(w.mutate(asAdmin, "createProduct", "CreateProductInput", strings.Replace(mugs, "blue", "red", 1), ``), "IDEMPOTENCY_MISMATCH", "idempotencyKey")
	w.wantError(w.mutate(asAdmin, "createProduct", "CreateProductInput", strings.Replace(mugs, `"mugs"`, `"other"`, 1), ``), "CONFLICT", "slug")
	w.wantError(w.mutate(asAdmin, "updateProduct", "UpdateProductInput", `{"id":"`+aProduct+`","name":"x"}`, ``), "NOT_FOUND", "id")
	hidden := w.mutate(asAdmin, "updateProduct", "UpdateProductInput", `{"id":"`+id+`","published":false,"description":"A mug."}`, `product { published description version }`)
	w.wantNoError(hidden)
	for token, want := range map[string]any{"": nil, asEve: nil, asAdmin: id} {
		a := w.ask(token, `{ product(slug: "mug") { id } node(id: "`+id+`") { id } products { edges { node { id } } } }`, nil)
		if at(a.Data, "product", "id") != want || at(a.Data, "node", "id") != want || at(a.Data, "products", "edges", 0, "node", "id") != want {
			w.t.Errorf("unpublished: %s", a.text)
		}
	}
	w.wantNoError(w.mutate(asAdmin, "updateProduct", "UpdateProductInput", `{"id":"`+id+`","published":true}`, ``))

	adjust := `{"idempotencyKey":"a1","sku":"MUG-1","delta":3,"reason":"delivery"}`
	for range 2 { // the same key: once
		if got := w.mutate(asAdmin, "adjustStock", "AdjustStockInput", adjust, `stock { onHand }`); text(at(got, "stock", "onHand")) != "8" {
			w.t.Errorf("adjusted: %v", got)
		}
	}
	w.wantError(w.mutate(asAdmin, "adjustStock", "AdjustStockInput", `{"idempotencyKey":"a1","sku":"MUG-1","delta":4,"reason":"delivery"}`, ``), "IDEMPOTENCY_MISMATCH", "idempotencyKey")
	w.wantError(w.mutate(asAdmin, "adjustStock", "AdjustStockInput", `{"idempotencyKey":"a2","sku":"NONE","delta":4,"reason":"delivery"}`, ``), "NOT_FOUND", "sku")
	w.wantError(w.mutate(asAdmin, "adjustStock", "AdjustStockInput", `{"idempotencyKey":"a3","sku":"MUG-1","delta":-9,"reason":"theft"}`, ``), "INSUFFICIENT_STOCK", "delta")
	if got := w.mutate(asAdmin, "markUnavailable", "MarkUnavailableInput", `{"idempotencyKey":"m1","sku":"MUG-1","quantity":2,"reason":"chipped"}`, `stock { available unavailable onHand }`); text(at(got, "stock", "available")) != "6" {
		w.t.Errorf("set aside: %v", got)
	}
	if got := w.mutate(asAdmin, "setStock", "SetStockInput", `{"idempotencyKey":"s1","sku":"MUG-1","onHand":6,"reason":"count"}`, `stock { available unavailable onHand }`); text(at(got, "stock", "onHand")) != "6" {
		w.t.Errorf("counted: %v", got)
	}
	pastOfMug(w, asAdmin)
	a := w.ask("", `{ stock(skus: ["MUG-1", "NONE", "MUG-2"]) { sku onHand available held committed unavailable version asOf } }`, nil)
	if at(a.Data, "stock", 0, "sku") != "MUG-1" || at(a.Data, "stock", 1) != nil || text(at(a.Data, "stock", 2, "available")) != "1" {
		w.t.Errorf("stock: %s", a.text)
	}
	w.eventually("the mug is found", func() (bool, string) {
		a := w.ask("", `{ products(search: "MUG a") { edges { node { slug variants { stock { available } } } } } }`, nil)
		return at(a.Data, "products", "edges", 0, "node", "slug") == "mug", a.text
	})
}

// pastOfMug: the ledger has what was just answered, its deltas add up to the
// stock, and every version of the past is there.
func pastOfMug(w *world, asAdmin string) {
	a := w.ask(asAdmin, `{ stock(skus: ["MUG-1"]) { available held committed unavailable version } stockLedger(sku: "MUG-1", first: 100) { edges { node { version type available held committed unavailable reference } } pageInfo { hasNextPage } } }`, nil)
	edges, _ := at(a.Data, "stockLedger", "edges").([]any)
	if len(edges) < 4 || at(edges, 0, "node", "reference") != "count" || at(edges, 0, "node", "type") != "StockAdjusted" || at(edges, 0, "node", "version") != at(a.Data, "stock", 0, "version") {
		w.t.Fatalf("ledger: %s", a.text)
	}
	for _, state := range []string{"available", "held", "committed", "unavailable"} {
		sum := 0.0
		for i := range edges {
			sum += at(edges, i, "node", state).(float64)
		}
		if sum != at(a.Data, "stock", 0, state) {
			w.t.Errorf("%s adds up to %v: %s", state, sum, a.text)
		}
	}
	then := w.ask(asAdmin, `{ stockAt(sku: "MUG-1", version: `+text(at(edges, 1, "node", "version"))+`) { onHand available unavailable } }`, nil)
	if text(at(then.Data, "stockAt", "onHand")) != "8" || text(at(then.Data, "stockAt", "unavailable")) != "2" {
		w.t.Errorf("before the count: %s", then.text)
	}
}

func ordersDay(w *world, asAdmin, asEve, asMallory, eveID string) {
	one := `{"idempotencyKey":"o1","lines":[{"sku":"MUG-1","quantity":2,"expectedPrice":{"amount":"19.90","currency":"EUR"}},{"sku":"MUG-2","quantity":1}]}`
	placed := w.mutate(asEve, "placeOrder", "PlaceOrderInput", one, orderFields)
	w.wantNoError(placed)
	id := text(at(placed, "order", "id"))
	if at(placed, "order", "state") != "RESERVED" || at(placed, "order", "total", "amount") != "60.80" || at(placed, "order", "lines", 0, "name") == "MUG-1" {
		w.t.Errorf("placed: %v", placed)
	}
	if again := w.mutate(asEve, "placeOrder", "PlaceOrderInput", one, orderFields); text(again) != text(placed) {
		w.t.Errorf("placed again: %v, first %v", again, placed)
	}
	w.wantError(w.mutate(asEve, "placeOrder", "PlaceOrderInput", strings.Replace(one, `"quantity":2`, `"quantity":3`, 1), ``), "IDEMPOTENCY_MISMATCH", "idempotencyKey")
	mine := w.mutate(asMallory, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"o1","lines":[{"sku":"MUG-2","quantity":1}]}`, orderFields)
	if at(mine, "userErrors", 0, "__typename") != "InsufficientStock" || at(mine, "order", "state") != "REJECTED" || at(mine, "order", "id") == id || at(mine, "order", "rejection", "code") != "INSUFFICIENT_STOCK" || at(mine, "order", "lines", 0, "name") != "MUG-2" {
		w.t.Errorf("sold out: %v", mine)
	}
	w.wantError(mine, "INSUFFICIENT_STOCK", "lines.0.quantity")
	w.wantError(w.mutate(asEve, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"o2","lines":[{"sku":"MUG-1","quantity":1},{"sku":"NONE","quantity":1}]}`, ``), "NOT_FOUND", "lines.1.sku")
	w.wantError(w.mutate(asEve, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"o3","lines":[{"sku":"MUG-1","quantity":1,"expectedPrice":{"amount":"9.90","currency":"EUR"}}]}`, ``), "PRICE_CHANGED", "lines.0.expectedPrice")

	w.eventually("the units of the refused orders are back", func() (bool, string) {
		a := w.ask("", `{ stock(skus: ["MUG-1"]) { available held } }`, nil)
		return text(at(a.Data, "stock", 0)) == "map[available:2 held:2]", a.text
	})

	pay := func(key, token string) string {
		return `{"idempotencyKey":"` + key + `","orderId":"` + id + `","paymentToken":"` + token + `"}`
	}
	w.wantError(w.mutate(asMallory, "payOrder", "PayOrderInput", pay("p0", "tok_ok"), orderFields), "NOT_FOUND", "orderId")
	w.wantError(w.mutate(asMallory, "cancelOrder", "CancelOrderInput", `{"orderId":"`+id+`"}`, orderFields), "NOT_FOUND", "orderId")
	if a := w.ask(asMallory, `{ order(id: "`+id+`") { id } node(id: "`+id+`") { id } }`, nil); at(a.Data, "order") != nil || at(a.Data, "node") != nil || len(a.Errors) > 0 {
		w.t.Errorf("Mallory sees %s", a.text)
	}
	declined := w.mutate(asEve, "payOrder", "PayOrderInput", pay("p1", "tok_decline"), orderFields)
	if at(declined, "order", "state") != "RESERVED" || at(declined, "userErrors", 0, "code") != "PAYMENT_DECLINED" {
		w.t.Errorf("declined: %v", declined)
	}
	paid := w.mutate(asEve, "payOrder", "PayOrderInput", pay("p2", "tok_ok"), orderFields)
	if at(paid, "order", "state") != "CONFIRMED" || text(at(paid, "order", "allowedTransitions")) != "[PARTIALLY_FULFILLED FULFILLED CANCELLED]" {
		w.t.Errorf("paid: %v", paid)
	}
	w.wantError(w.mutate(asEve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+id+`"}`, orderFields), "ILLEGAL_TRANSITION", "")
	inOne := w.mutate(asEve, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"o4","paymentToken":"tok_ok","lines":[{"sku":"MUG-1","quantity":1}]}`, orderFields)
	if at(inOne, "order", "state") != "CONFIRMED" {
		w.t.Errorf("placed and paid: %v", inOne)
	}
	other := w.mutate(asEve, "placeOrder", "PlaceOrderInput", `{"idempotencyKey":"o5","lines":[{"sku":"MUG-1","quantity":1}]}`, orderFields)
	cancelled := w.mutate(asEve, "cancelOrder", "CancelOrderInput", `{"orderId":"`+text(at(other, "order", "id"))+`","reason":"changed my mind"}`, orderFields)
	if at(cancelled, "order", "state") != "CANCELLED" {
		w.t.Errorf("cancelled: %v", cancelled)
	}
	// A cancellation is answered when the SKUs have their units.
	a := w.ask("", `{ stock(skus: ["MUG-1"]) { onHand available held committed unavailable } }`, nil)
	if stock := at(a.Data, "stock", 0); text(stock) != "map[available:1 committed:3 held:0 onHand:6 unavailable:2]" {
		w.t.Errorf("stock at last: %v", stock)
	}
	w.eventually("Eve's orders are listed", func() (bool, string) {
		a := w.ask(asEve, `{ me { orders(state: CONFIRMED) { edges { node { id customer { id email } } } } } }`, nil)
		first, second := at(a.Data, "me", "orders", "edges", 0, "node", "customer", "id"), at(a.Data, "me", "orders", "edges", 1, "node", "id")
		return first == eveID && second == id, a.text
	})
	w.eventually("staff sees all orders", func() (bool, string) {
		a := w.ask(asAdmin, `{ orders { edges { node { id state } } } }`, nil)
		edges, _ := at(a.Data, "orders", "edges").([]any)
		return len(edges) >= 6, a.text
	})
}

// eventually waits for what follows an answer by a moment: the views, and units
// that a refused order gives back.
func (w *world) eventually(what string, ok func() (bool, string)) {
	w.t.Helper()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		var done bool
		if done, last = ok(); done {
			return
		}
	}
	w.t.Errorf("%s: not within a minute: %s", what, last)
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
