package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"stampede/actors/entity"
	"stampede/gateway/auth"
	"stampede/gateway/operation"
)

// An order that is placed without gqlgen is the one that would be placed with
// it: the same command to the same actor and the same answer, or the same
// refusal, whatever the input and whoever asks.
func TestOrdersArePlacedAsGqlgenDoes(t *testing.T) {
	straight, through := &noting{}, &noting{}
	plain, gqlgen := shopOf(t, types(), straight), shopOf(t, operation.Types{}, through)
	const document = `mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id state } userErrors { code message field } } }`
	rapid.Check(t, func(rt *rapid.T) {
		variables := map[string]any{"input": drawnInput(rt)}
		if rapid.IntRange(0, 30).Draw(rt, "no input") == 0 {
			variables = nil
		}
		query := document
		if rapid.Bool().Draw(rt, "literal") {
			query = `mutation { placeOrder(input: ` + literal(variables["input"]) + `) { order { id } userErrors { code message field } } }`
		}
		body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
		if err != nil {
			rt.Fatal(err)
		}
		token := rapid.SampledFrom([]string{"customer", "customer", "staff", "nobody", "bad", ""}).Draw(rt, "token")
		*straight, *through = noting{}, noting{}
		a, b := post(plain, token, string(body)), post(gqlgen, token, string(body))
		if a != b {
			rt.Fatalf("%q %s\nplain  %s\ngqlgen %s", token, body, a, b)
		}
		if straight.to != through.to {
			rt.Fatalf("%q %s\nplain asks %s, gqlgen %s", token, body, straight.to, through.to)
		}
		if diff := cmp.Diff(through.cmd, straight.cmd, protocmp.Transform()); diff != "" {
			rt.Fatalf("%q %s (-gqlgen +plain)\n%s", token, body, diff)
		}
	})
	// That the two ways are two, at all.
	order := map[string]any{"idempotencyKey": "key-1234-5678", "lines": []any{map[string]any{"sku": "A", "quantity": 1}}}
	for _, body := range []string{
		`{"query": ` + strconv.Quote(document) + `, "variables": {"input": {"idempotencyKey": "key-1234-5678", "lines": [{"sku": "A", "quantity": 1}]}}}`,
		`{"query": ` + strconv.Quote(`mutation { placeOrder(input: `+literal(order)+`) { order { id } userErrors { code } } }`) + `}`,
	} {
		*straight, *through = noting{}, noting{}
		post(plain, "customer", body)
		post(gqlgen, "customer", body)
		if straight.cmd == nil || straight.gqlgen || !through.gqlgen {
			t.Errorf("%s: placed without gqlgen %v, and with it %v", body, straight.cmd != nil && !straight.gqlgen, through.gqlgen)
		}
	}
}

// An order and oneself are read without gqlgen as with it, whoever asks for what.
func TestReadsAreAsGqlgens(t *testing.T) {
	straight, through := &noting{}, &noting{}
	plain, gqlgen := shopOf(t, types(), straight), shopOf(t, operation.Types{}, through)
	directly := 0
	for _, field := range []string{
		`order(id: "` + theOrder + `")`, `order(id: "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa")`, `order(id: "` + theProduct + `")`, `order(id: "")`, `order(id: 7)`, `order(id: null)`, `order`, `me`,
	} {
		for _, token := range []string{"customer", "staff", "nobody", "bad", ""} {
			for _, selection := range []string{"{ id version }", "{ __typename more: id }", "{ id ...F } fragment F on Nothing { id }"} {
				body, err := json.Marshal(map[string]any{"query": "query { other: " + field + " " + selection + " }"})
				if err != nil {
					t.Fatal(err)
				}
				*straight, *through = noting{}, noting{}
				if a, b := post(plain, token, string(body)), post(gqlgen, token, string(body)); a != b {
					t.Errorf("%q %s\nplain  %s\ngqlgen %s", token, body, a, b)
				}
				if straight.to != through.to {
					t.Errorf("%q %s: plain asks %s, gqlgen %s", token, body, straight.to, through.to)
				}
				if straight.cmd != nil && !straight.gqlgen {
					directly++
				}
			}
		}
	}
	if directly == 0 {
		t.Error("nothing was read without gqlgen")
	}
}

// noting is a shop that keeps what it was asked last, and whether gqlgen asked.
type noting struct {
	shop
	to     entity.Address
	cmd    proto.Message
	gqlgen bool
}

func (n *noting) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	n.to, n.cmd, n.gqlgen = to, cmd, graphql.HasOperationContext(ctx)
	return n.shop.Call(ctx, to, cmd)
}

func (n *noting) Verify(token string, now time.Time) (auth.Claims, error) {
	switch token {
	case "customer":
		return auth.Claims{UserID: theUser, Roles: []auth.Role{auth.Customer}}, nil
	case "staff":
		return n.shop.Verify(token, now)
	case "nobody":
		return auth.Claims{UserID: theUser}, nil
	}
	return auth.Claims{}, auth.ErrToken
}

func drawnInput(rt *rapid.T) map[string]any {
	var lines []any
	for _, sku := range rapid.SampledFrom([][]string{{"A"}, {"A", "B"}, {"C", "B", "A"}, {"A", "A"}, {"not a sku!"}, {}}).Draw(rt, "skus") {
		line := map[string]any{"sku": sku, "quantity": rapid.SampledFrom([]int{1, 2, 3, 0}).Draw(rt, "quantity")}
		if rapid.Bool().Draw(rt, "expected") {
			line["expectedPrice"] = spoilt(rt, map[string]any{"amount": "19.90", "currency": "EUR"})
		}
		lines = append(lines, spoilt(rt, line))
	}
	in := map[string]any{"idempotencyKey": rapid.SampledFrom([]string{"key-1234-5678", "key-1234-5679", "key-1234-5670", ""}).Draw(rt, "key"), "lines": lines}
	for _, name := range []string{"saleId", "admissionToken", "paymentToken"} {
		if rapid.IntRange(0, 3).Draw(rt, name) == 0 {
			in[name] = rapid.SampledFrom([]any{nil, "", "tok_visa", theProduct, 7}).Draw(rt, name+" value")
		}
	}
	return spoilt(rt, in)
}

// spoilt makes an input object mostly what it was.
func spoilt(rt *rapid.T, o map[string]any) map[string]any {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(o))).Draw(rt, "field")
	switch rapid.IntRange(0, 20).Draw(rt, "spoil") {
	case 0:
		o["another"] = 1
	case 1:
		delete(o, name)
	case 2:
		o[name] = rapid.SampledFrom([]any{nil, 1, 1.5, "x", true, []any{}, map[string]any{}, 1 << 40}).Draw(rt, "value")
	}
	return o
}

// literal is a value as a document has it.
func literal(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			fields = append(fields, name+": "+literal(v[name]))
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, literal(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func post(h http.Handler, token, body string) string {
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Request-Id", "same")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Body.String()
}
