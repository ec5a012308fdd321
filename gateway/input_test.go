package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	errorFields = ` userErrors { __typename code message field } `
	placeOrder  = `mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id }` + errorFields + `} }`
	create      = `mutation($input: CreateProductInput!) { createProduct(input: $input) { product { id }` + errorFields + `} }`
	adjust      = `mutation($input: AdjustStockInput!) { adjustStock(input: $input) { stock { sku }` + errorFields + `} }`
	setStock    = `mutation($input: SetStockInput!) { setStock(input: $input) { stock { sku }` + errorFields + `} }`
	mark        = `mutation($input: MarkUnavailableInput!) { markUnavailable(input: $input) { stock { sku }` + errorFields + `} }`
	update      = `mutation($input: UpdateProductInput!) { updateProduct(input: $input) { product { id }` + errorFields + `} }`
	pay         = `mutation($input: PayOrderInput!) { payOrder(input: $input) { order { id }` + errorFields + `} }`
	cancel      = `mutation($input: CancelOrderInput!) { cancelOrder(input: $input) { order { id }` + errorFields + `} }`
	register    = `mutation($input: RegisterUserInput!) { registerUser(input: $input) { user { id }` + errorFields + `} }`
	logIn       = `mutation($input: LogInInput!) { logIn(input: $input) { user { id }` + errorFields + `} }`
	changePass  = `mutation($input: ChangePasswordInput!) { changePassword(input: $input) { user { id }` + errorFields + `} }`
	setRoles    = `mutation($input: SetRolesInput!) { setRoles(input: $input) { user { id }` + errorFields + `} }`
	refresh     = `mutation($input: RefreshTokensInput!) { refreshTokens(input: $input) { user { id }` + errorFields + `} }`
)

// variant is a good variant with changes in JSON.
func variant(price, more string) string {
	return fmt.Sprintf(`{"sku":"A-1","price":%s%s}`, price, more)
}

func product(variants string) string {
	return `{"idempotencyKey":"k","slug":"mug","name":"Mug","variants":` + variants + `}`
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"A-%d","quantity":1}`, i)
	}
	return "[" + b.String() + "]"
}

// What bad input gets: each a typed error that names the field and says what
// would be right, and nothing is sent to anyone.
func TestBadInput(t *testing.T) {
	const good = `{"amount":"19.90","currency":"EUR"}`
	long := strings.Repeat("x", 10<<10)
	place := func(key, lines string) string { return `{"idempotencyKey":` + key + `,"lines":` + lines + `}` }
	line := func(quantity string) string { return `[{"sku":"A-1","quantity":` + quantity + `}]` }
	price := func(amount, currency string) string {
		return product(`[` + variant(`{"amount":`+amount+`,"currency":`+currency+`}`, "") + `]`)
	}
	for _, c := range []struct {
		name, query, input string
		field              string // joined by dots
		want               string // a part of the message
	}{
		{"quantity 0", placeOrder, place(`"k"`, line("0")), "lines.0.quantity", "1 to 10000"},
		{"quantity -1", placeOrder, place(`"k"`, line("-1")), "lines.0.quantity", "1 to 10000"},
		{"quantity 10001", placeOrder, place(`"k"`, line("10001")), "lines.0.quantity", "1 to 10000"},
		{"quantity 2^31", placeOrder, place(`"k"`, line("2147483648")), "lines.0.quantity", "2147483647"},
		{"quantity 1e400", placeOrder, place(`"k"`, line("1e400")), "lines.0.quantity", "whole number"},
		{"quantity 1e2", placeOrder, place(`"k"`, line("1e2")), "lines.0.quantity", "whole number"},
		{"quantity 1.5", placeOrder, place(`"k"`, line("1.5")), "lines.0.quantity", "whole number"},
		{"quantity text", placeOrder, place(`"k"`, line(`"5"`)), "lines.0.quantity", "whole number"},
		{"quantity null", placeOrder, place(`"k"`, line(`null`)), "lines.0.quantity", "given"},
		{"quantity missing", placeOrder, place(`"k"`, `[{"sku":"A-1"}]`), "lines.0.quantity", "given"},
		{"unknown field", placeOrder, place(`"k"`, `[{"sku":"A-1","quantity":1,"price":1}]`), "lines.0.price", "not a field"},
		{"no lines", placeOrder, place(`"k"`, `[]`), "lines", "1 to 100"},
		{"101 lines", placeOrder, place(`"k"`, lines(101)), "lines", "1 to 100"},
		{"same SKU twice", placeOrder, place(`"k"`, `[{"sku":"A-1","quantity":1},{"sku":"B","quantity":1},{"sku":"A-1","quantity":2}]`), "lines.2.sku", "line 0"},
		{"SKU with a dot", placeOrder, place(`"k"`, `[{"sku":"A.1","quantity":1}]`), "lines.0.sku", "1 to 64"},
		{"SKU with a dollar", placeOrder, place(`"k"`, `[{"sku":"$where","quantity":1}]`), "lines.0.sku", "1 to 64"},
		{"SKU with a slash", placeOrder, place(`"k"`, `[{"sku":"../x","quantity":1}]`), "lines.0.sku", "1 to 64"},
		{"SKU with NUL", placeOrder, place(`"k"`, `[{"sku":"A\u0000","quantity":1}]`), "lines.0.sku", "1 to 64"},
		{"SKU of 10 KB", placeOrder, place(`"k"`, `[{"sku":"`+long+`","quantity":1}]`), "lines.0.sku", "1 to 64"},
		{"SKU is a number", placeOrder, place(`"k"`, `[{"sku":5,"quantity":1}]`), "lines.0.sku", "string"},
		{"empty key", placeOrder, place(`""`, line("1")), "idempotencyKey", "1 to 255"},
		{"key of 1 KB", placeOrder, place(`"`+long[:1024]+`"`, line("1")), "idempotencyKey", "1 to 255"},
		{"key with NUL", placeOrder, place(`"a\u0000b"`, line("1")), "idempotencyKey", "control"},
		{"key with a line break", placeOrder, place(`"a\nb"`, line("1")), "idempotencyKey", "control"},
		{"expected price negative", placeOrder, place(`"k"`, `[{"sku":"A","quantity":1,"expectedPrice":{"amount":"-1.00","currency":"EUR"}}]`), "lines.0.expectedPrice.amount", "negative"},
		{"empty payment token", placeOrder, `{"idempotencyKey":"k","lines":[{"sku":"A","quantity":1}],"paymentToken":""}`, "paymentToken", "1 to 255"},

		{"price negative", create, price(`"-19.90"`, `"EUR"`), "variants.0.price.amount", "negative"},
		{"price with three decimals", create, price(`"19.901"`, `"EUR"`), "variants.0.price.amount", "2 decimals"},
		{"price with decimals in yen", create, price(`"19.9"`, `"JPY"`), "variants.0.price.amount", "no decimals"},
		{"price in an unknown currency", create, price(`"19.90"`, `"XYZ"`), "variants.0.price.currency", "ISO 4217"},
		{"price in a small currency", create, price(`"19.90"`, `"eur"`), "variants.0.price.currency", "ISO 4217"},
		{"price 1e400", create, price(`"1e400"`, `"EUR"`), "variants.0.price.amount", "decimal string"},
		{"price 1e400 as a number", create, price(`1e400`, `"EUR"`), "variants.0.price.amount", "decimal string"},
		{"price as a number", create, price(`19.9`, `"EUR"`), "variants.0.price.amount", "decimal string"},
		{"price too high", create, price(`"10000000000.01"`, `"EUR"`), "variants.0.price.amount", "at most 10000000000.00"},
		{"price of 10 KB", create, price(`"`+strings.Repeat("9", 10<<10)+`"`, `"EUR"`), "variants.0.price.amount", "at most"},
		{"price empty", create, price(`""`, `"EUR"`), "variants.0.price.amount", "decimal string"},
		{"price of a point", create, price(`"."`, `"EUR"`), "variants.0.price.amount", "decimal string"},
		{"no variants", create, product(`[]`), "variants", "1 to 50"},
		{"51 variants", create, product(`[` + strings.TrimSuffix(strings.Repeat(variant(good, "")+",", 51), ",") + `]`), "variants", "1 to 50"},
		{"two variants of one SKU", create, product(`[` + variant(good, "") + `,` + variant(good, "") + `]`), "variants.1.sku", "different"},
		{"attributes a list", create, product(`[` + variant(good, `,"attributes":[1]`) + `]`), "variants.0.attributes", "JSON object"},
		{"attributes of 10 KB", create, product(`[` + variant(good, `,"attributes":{"x":"`+long+`"}`) + `]`), "variants.0.attributes", "4096"},
		{"initial stock negative", create, product(`[` + variant(good, `,"initialStock":-1`) + `]`), "variants.0.initialStock", "0 to"},
		{"slug with capitals", create, strings.Replace(product(`[`+variant(good, "")+`]`), `"mug"`, `"Mug"`, 1), "slug", "lower-case"},
		{"slug of 101", create, strings.Replace(product(`[`+variant(good, "")+`]`), `"mug"`, `"`+long[:101]+`"`, 1), "slug", "100"},
		{"name blank", create, strings.Replace(product(`[`+variant(good, "")+`]`), `"Mug"`, `" "`, 1), "name", "1 to 200"},
		{"image of another scheme", create, strings.Replace(product(`[`+variant(good, "")+`]`), `"name"`, `"imageUrl":"javascript:alert(1)","name"`, 1), "imageUrl", "http"},
		{"product id with a slash", update, `{"id":"prd_../../etc"}`, "id", "prd_"},
		{"product version 0", update, `{"id":"` + aProduct + `","ifVersion":0}`, "ifVersion", "at least 1"},

		{"delta 0", adjust, `{"idempotencyKey":"k","sku":"A","delta":0,"reason":"r"}`, "delta", "not be 0"},
		{"delta 2^31", adjust, `{"idempotencyKey":"k","sku":"A","delta":2147483648,"reason":"r"}`, "delta", "whole number"},
		{"blank reason", adjust, `{"idempotencyKey":"k","sku":"A","delta":1,"reason":" "}`, "reason", "1 to 500"},
		{"reason of 10 KB", adjust, `{"idempotencyKey":"k","sku":"A","delta":1,"reason":"` + long + `"}`, "reason", "500"},
		{"adjust a bad SKU", adjust, `{"idempotencyKey":"k","sku":"a/b","delta":1,"reason":"r"}`, "sku", "1 to 64"},
		{"onHand negative", setStock, `{"idempotencyKey":"k","sku":"A","onHand":-1,"reason":"r"}`, "onHand", "at least 0"},
		{"mark none", mark, `{"idempotencyKey":"k","sku":"A","quantity":0,"reason":"r"}`, "quantity", "at least 1"},

		{"order id with a dot", pay, `{"idempotencyKey":"k","orderId":"ord.x","paymentToken":"t"}`, "orderId", "ord_"},
		{"order id with a dollar", pay, `{"idempotencyKey":"k","orderId":"ord_$gt","paymentToken":"t"}`, "orderId", "ord_"},
		{"order id with NUL", cancel, `{"orderId":"ord_aaaaaaaaaaaaaaaaaaaaaaaaa\u0000"}`, "orderId", "ord_"},
		{"order id of 10 KB", cancel, `{"orderId":"` + long + `"}`, "orderId", "ord_"},
		{"order id of a product", cancel, `{"orderId":"` + aProduct + `"}`, "orderId", "ord_"},
		{"order id a number", cancel, `{"orderId":5}`, "orderId", "ord_"},

		{"password of 73 bytes", register, `{"email":"a@b.test","password":"` + long[:73] + `"}`, "password", "72"},
		{"password of 10 KB", register, `{"email":"a@b.test","password":"` + long + `"}`, "password", "72"},
		{"password of 7 bytes", register, `{"email":"a@b.test","password":"1234567"}`, "password", "8"},
		{"log in with 10 KB", logIn, `{"email":"a@b.test","password":"` + long + `"}`, "password", "72"},
		{"e-mail of 255 bytes", register, `{"email":"` + long[:248] + `@b.test","password":"12345678"}`, "email", "254"},
		{"e-mail without @", register, `{"email":"a.test","password":"12345678"}`, "email", "e-mail"},
		{"e-mail with NUL", register, `{"email":"a\u0000@b.test","password":"12345678"}`, "email", "e-mail"},
		{"new password of 73 bytes", changePass, `{"current":"12345678","new":"` + long[:73] + `"}`, "new", "72"},
		{"roles empty", setRoles, `{"userId":"` + alice + `","roles":[]}`, "roles", "at least one"},
		{"role unknown", setRoles, `{"userId":"` + alice + `","roles":["ROOT"]}`, "roles.0", "one of CUSTOMER"},
		{"role in small letters", setRoles, `{"userId":"` + alice + `","roles":["staff"]}`, "roles.0", "one of CUSTOMER"},
		{"user id malformed", setRoles, `{"userId":"usr_","roles":["STAFF"]}`, "userId", "usr_"},
		{"refresh token empty", refresh, `{"refreshToken":""}`, "refreshToken", "refresh token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.post(asOp, `{"query":`+quote(c.query)+`,"variables":{"input":`+c.input+`}}`)
			field, message := firstProblem(a)
			if field != c.field || !strings.Contains(message, c.want) {
				t.Errorf("field %q, message %q; want %q and %q\n%s", field, message, c.field, c.want, shorten(a.text))
			}
			if n := len(w.caller.sent()); n > 0 || len(w.accounts.called) > 0 {
				t.Errorf("%d commands were sent, accounts were asked %v", n, w.accounts.called)
			}
			if len(a.text) > 4096 {
				t.Errorf("the answer has %d bytes", len(a.text))
			}
		})
	}
}

// The same when the values are literals in the document.
func TestBadLiterals(t *testing.T) {
	for _, c := range []struct{ name, query, field, want string }{
		{"2^31", `mutation { placeOrder(input: {idempotencyKey: "k", lines: [{sku: "A", quantity: 2147483648}]}) { order { id } } }`, "lines.0.quantity", "2147483647"},
		{"1e400", `mutation { placeOrder(input: {idempotencyKey: "k", lines: [{sku: "B", quantity: 1}, {sku: "A", quantity: 1e400}]}) { order { id } } }`, "lines.1.quantity", "whole number"},
		{"huge", `mutation { placeOrder(input: {idempotencyKey: "k", lines: [{sku: "A", quantity: ` + strings.Repeat("9", 400) + `}]}) { order { id } } }`, "lines.0.quantity", "whole number"},
		{"text", `mutation { placeOrder(input: {idempotencyKey: "k", lines: [{sku: "A", quantity: "1"}]}) { order { id } } }`, "lines.0.quantity", "whole number"},
		{"float price", `mutation { createProduct(input: {idempotencyKey: "k", slug: "s", name: "n", variants: [{sku: "A", price: {amount: 1e400, currency: "EUR"}}]}) { product { id } } }`, "variants.0.price.amount", "decimal string"},
		{"int price", `mutation { createProduct(input: {idempotencyKey: "k", slug: "s", name: "n", variants: [{sku: "A", price: {amount: 1, currency: "EUR"}}]}) { product { id } } }`, "variants.0.price.amount", "decimal string"},
		{"huge JSON", `mutation { createProduct(input: {idempotencyKey: "k", slug: "s", name: "n", variants: [{sku: "A", price: {amount: "1", currency: "EUR"}, attributes: {x: 1e400}}]}) { product { id } } }`, "variants.0.attributes.x", "out of range"},
		{"id", `{ order(id: "ord_$") { id } }`, "id", "ord_"},
		{"node id", `{ node(id: "../../etc/passwd") { id } }`, "id", "prd_"},
		{"user id", `{ user(id: "1") { id } }`, "id", "usr_"},
		{"product neither", `{ product { id } }`, "id", "exactly one"},
		{"product both", `{ product(id: "` + aProduct + `", slug: "s") { id } }`, "id", "exactly one"},
		{"product slug", `{ product(slug: "a--b") { id } }`, "slug", "lower-case"},
		{"no SKUs", `{ stock(skus: []) { sku } }`, "skus", "1 to 100"},
		{"bad SKU", `{ stock(skus: ["A", "b c"]) { sku } }`, "skus.1", "1 to 64"},
		{"first 0", `{ products(first: 0) { pageInfo { hasNextPage } } }`, "first", "1 to 100"},
		{"first 101", `{ products(first: 101) { pageInfo { hasNextPage } } }`, "first", "1 to 100"},
		{"cursor", `{ products(after: "AAAA") { pageInfo { hasNextPage } } }`, "after", "cursor"},
		{"cursor of another list", `{ users(after: "` + cursorOfAnOrder + `") { pageInfo { hasNextPage } } }`, "after", "cursor"},
		{"search too long", `{ products(search: "` + strings.Repeat("x", 101) + `") { pageInfo { hasNextPage } } }`, "search", "100 characters"},
		{"search of many words", `{ products(search: "a b c d e f g h i") { pageInfo { hasNextPage } } }`, "search", "8 words"},
		{"enum", `{ orders(state: OPEN) { pageInfo { hasNextPage } } }`, "state", "one of RESERVING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.ask(asStaff, c.query, nil)
			field, message := firstProblem(a)
			if field != c.field || !strings.Contains(message, c.want) {
				t.Errorf("field %q, message %q; want %q and %q\n%s", field, message, c.field, c.want, shorten(a.text))
			}
			if len(a.Errors) == 0 || a.Errors[0].Extensions.Code != "INVALID" {
				t.Errorf("not an INVALID: %s", shorten(a.text))
			}
			if n := len(w.caller.sent()); n > 0 {
				t.Errorf("%d commands were sent", n)
			}
		})
	}
}

const cursorOfAnOrder = "AQAAAaMd6tgAb3JkX2FhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"

// Everything that is wrong is said at once, in the input's order.
func TestAllProblemsAreTold(t *testing.T) {
	w := newWorld(t)
	a := w.post(asAlice, `{"query":`+quote(placeOrder)+`,"variables":{"input":{"idempotencyKey":"","lines":[{"sku":"a b","quantity":0},{"sku":"B","quantity":-5}]}}}`)
	var fields []string
	for _, e := range a.userErrors() {
		fields = append(fields, joined(e["field"]))
	}
	if want := []string{"idempotencyKey", "lines.0.sku", "lines.0.quantity", "lines.1.quantity"}; !slices.Equal(fields, want) {
		t.Errorf("fields %v, want %v", fields, want)
	}
}

// firstProblem is the field and message of the first user error or top-level error.
func firstProblem(a *answer) (field, message string) {
	if errs := a.userErrors(); len(errs) > 0 {
		message, _ = errs[0]["message"].(string)
		return joined(errs[0]["field"]), message
	}
	if len(a.Errors) > 0 {
		return strings.Join(a.Errors[0].Extensions.Field, "."), a.Errors[0].Message
	}
	return "", ""
}

func joined(field any) string {
	list, _ := field.([]any)
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i], _ = p.(string)
	}
	return strings.Join(parts, ".")
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

func shorten(s string) string { return s[:min(len(s), 600)] }
