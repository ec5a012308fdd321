package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/internal/memstore"
	"stampede/proto/gen/skupb"
)

// byKey asks with an API key.
func (w *world) byKey(secret, query string) *answer {
	w.t.Helper()
	return w.post("", `{"query":`+quote(query)+`}`, "x-api-key", secret)
}

const (
	adjustByKey = `mutation { it: adjustStock(input: {idempotencyKey: "%s", sku: "MUG-1", delta: 1, reason: "delivery"}) { stock { onHand } userErrors { code } } }`
	operatorPW  = "correct horse battery"
)

func (w *world) admin(t *testing.T, accounts *auth.Accounts) (token, id string) {
	t.Helper()
	if _, refusal, err := accounts.EnsureAdmin(t.Context(), "admin@example.test", operatorPW); err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	in := w.mutate("", "logIn", "LogInInput", `{"email":"admin@example.test","password":"`+operatorPW+`"}`, `user { id } tokens { accessToken }`)
	return text(at(in, "tokens", "accessToken")), text(at(in, "user", "id"))
}

// A machine's key from its making to its end, with real actors, across a
// restart: what it may do, who it is, and that it is over at once.
func TestAPIKeys(t *testing.T) {
	store := memstore.New()
	var secret, id, operatorKey string
	t.Run("before the restart", func(t *testing.T) {
		w, accounts := realShopOver(t, store)
		asAdmin, _ := w.admin(t, accounts)
		w.wantNoError(w.mutate(asAdmin, "createProduct", "CreateProductInput", mugs, ``))
		made := w.mutate(asAdmin, "createApiKey", "CreateApiKeyInput", `{"name":"warehouse","roles":["STAFF"]}`, `apiKey { id name roles createdAt expiresAt lastUsedAt } secret`)
		w.wantNoError(made)
		secret, id = text(at(made, "secret")), text(at(made, "apiKey", "id"))
		if !strings.HasPrefix(secret, id+".") || text(at(made, "apiKey", "roles")) != "[STAFF]" || at(made, "apiKey", "lastUsedAt") != nil || at(made, "apiKey", "expiresAt") != nil {
			t.Fatalf("made: %v", made)
		}
		if a := w.byKey(secret, fmt.Sprintf(adjustByKey, "k1")); text(at(a.Data, "it", "stock", "onHand")) != "6" {
			t.Errorf("adjusted: %s", a.text)
		}
		// It is staff, no user, and no operator.
		if a := w.byKey(secret, `{ me { id } orders { edges { node { id } } } }`); len(a.Errors) > 0 || at(a.Data, "me") != nil {
			t.Errorf("it is %s", a.text)
		}
		if a := w.byKey(secret, `{ apiKeys { id } }`); a.code() != "FORBIDDEN" {
			t.Errorf("it lists keys: %s", a.text)
		}
		w.eventually("the key is listed with its last use", func() (bool, string) {
			a := w.ask(asAdmin, `{ apiKeys { id name lastUsedAt } }`, nil)
			return at(a.Data, "apiKeys", 0, "id") == id && at(a.Data, "apiKeys", 0, "lastUsedAt") != nil, a.text
		})
		if strings.Contains(w.ask(asAdmin, `{ apiKeys { id name roles } }`, nil).text, secret[len(id)+1:]) {
			t.Error("the list has the secret")
		}
		ops := w.mutate(asAdmin, "createApiKey", "CreateApiKeyInput", `{"name":"ops","roles":["OPERATOR"],"expiresAt":"2999-01-01T00:00:00Z"}`, `secret`)
		w.wantError(ops, "INVALID", "expiresAt")
		ops = w.mutate(asAdmin, "createApiKey", "CreateApiKeyInput", `{"name":"ops","roles":["OPERATOR"]}`, `secret`)
		operatorKey = text(at(ops, "secret"))
	})
	t.Run("after the restart", func(t *testing.T) {
		w, accounts := realShopOver(t, store)
		asAdmin, _ := w.admin(t, accounts)
		if a := w.byKey(secret, fmt.Sprintf(adjustByKey, "k2")); text(at(a.Data, "it", "stock", "onHand")) != "7" {
			t.Errorf("adjusted: %s", a.text)
		}
		// An operator's key makes keys, and revokes them.
		a := w.byKey(operatorKey, `mutation { it: createApiKey(input: {name: "second", roles: [STAFF, CUSTOMER]}) { secret apiKey { id roles } userErrors { code } } }`)
		second := text(at(a.Data, "it", "secret"))
		if text(at(a.Data, "it", "apiKey", "roles")) != "[CUSTOMER STAFF]" {
			t.Errorf("by a key: %s", a.text)
		}
		revoked := w.byKey(operatorKey, `mutation { it: revokeApiKey(input: {id: "`+id+`"}) { apiKey { id name } userErrors { code } } }`)
		if at(revoked.Data, "it", "apiKey", "id") != id {
			t.Errorf("revoked: %s", revoked.text)
		}
		for _, made := range []string{secret, second[:len(second)-1] + "A", id + "." + second[len(id)+1:], second + "x", id, "", "made up"} {
			if a := w.byKey(made, `{ me { id } }`); a.code() != "UNAUTHENTICATED" {
				t.Errorf("%q is taken: %s", made, a.text)
			}
		}
		if a := w.byKey(second, `{ orders { edges { node { id } } } }`); len(a.Errors) > 0 {
			t.Errorf("the other key: %s", a.text)
		}
		w.wantNoError(w.mutate(asAdmin, "revokeApiKey", "RevokeApiKeyInput", `{"id":"`+id+`"}`, ``)) // again
		w.wantError(w.mutate(asAdmin, "revokeApiKey", "RevokeApiKeyInput", `{"id":"`+aKey+`"}`, ``), "NOT_FOUND", "id")
		w.wantError(w.mutate(asAdmin, "revokeApiKey", "RevokeApiKeyInput", `{"id":"key_1"}`, ``), "INVALID", "id")
		w.wantError(w.mutate(asAdmin, "createApiKey", "CreateApiKeyInput", `{"name":" ","roles":["STAFF"]}`, ``), "INVALID", "name")
		w.eventually("the revoked key is gone from the list", func() (bool, string) {
			a := w.ask(asAdmin, `{ apiKeys { id } }`, nil)
			return !strings.Contains(a.text, id) && strings.Count(a.text, "key_") == 2, a.text
		})
	})
	t.Run("after a second restart", func(t *testing.T) {
		w, _ := realShopOver(t, store)
		if a := w.byKey(secret, `{ me { id } }`); a.code() != "UNAUTHENTICATED" {
			t.Errorf("revoked, and taken: %s", a.text)
		}
	})
}

// Whose roles were taken can still send the token that names them, but not use
// it to get them back, by themselves or by a key, nor see who has which key.
func TestTakenRolesGiveNoPower(t *testing.T) {
	w, accounts := realShop(t)
	asAdmin, _ := w.admin(t, accounts)
	made := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"a long password"}`, `user { id }`)
	eve := text(at(made, "user", "id"))
	roles := func(list string) string { return `{"userId":"` + eve + `","roles":[` + list + `]}` }
	w.wantNoError(w.mutate(asAdmin, "setRoles", "SetRolesInput", roles(`"OPERATOR"`), ``))
	asEve := text(at(w.mutate("", "logIn", "LogInInput", `{"email":"eve@example.test","password":"a long password"}`, `tokens { accessToken }`), "tokens", "accessToken"))
	w.wantNoError(w.mutate(asEve, "createApiKey", "CreateApiKeyInput", `{"name":"k","roles":["STAFF"]}`, ``))
	w.wantNoError(w.mutate(asAdmin, "setRoles", "SetRolesInput", roles(`"STAFF"`), ``))

	w.wantError(w.mutate(asEve, "setRoles", "SetRolesInput", roles(`"OPERATOR"`), ``), "FORBIDDEN", "")
	w.wantError(w.mutate(asEve, "createApiKey", "CreateApiKeyInput", `{"name":"k","roles":["STAFF"]}`, ``), "FORBIDDEN", "")
	w.wantError(w.mutate(asEve, "revokeApiKey", "RevokeApiKeyInput", `{"id":"`+aKey+`"}`, ``), "FORBIDDEN", "")
	if a := w.ask(asEve, `{ apiKeys { id } }`, nil); a.code() != "FORBIDDEN" {
		t.Errorf("keys: %s", a.text)
	}
}

func TestAPIKeyHeader(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.Limits.HTTP.RatePerSecond, c.Limits.HTTP.RateBurst = 1, 20_000 })
	ask := func(headers ...string) *answer { return w.post("", `{"query":"{ me { id } }"}`, headers...) }
	if a := ask("x-api-key", asBob, "Authorization", "Bearer "+asAlice); a.code() != "UNAUTHENTICATED" || !strings.Contains(a.text, "not both") {
		t.Errorf("both: %s", a.text)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{ me { id } }"}`))
	r.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {asBob, asAlice}}
	if a := w.do(r); a.code() != "UNAUTHENTICATED" {
		t.Errorf("two keys: %s", a.text)
	}
	// Whether a key is good cannot be found out: that is no reason to say it is not.
	w.accounts.keyErr = fmt.Errorf("ask: %w", entity.ErrUnavailable)
	if a := ask("x-api-key", asBob); a.code() != "UNAVAILABLE" || a.Errors[0].Extensions.RetryAfterMs == 0 {
		t.Errorf("with the key's actor away: %s", a.text)
	}
	if a := w.post("", `{"query":"mutation { logIn(input: {email: \"a@b.test\", password: \"12345678\"}) { userErrors { code } } }"}`, "x-api-key", asBob); len(a.Errors) > 0 {
		t.Errorf("log-in does not look at it: %s", a.text)
	}
	w.accounts.keyErr = nil

	// A key has a budget of its own, wherever it is used from.
	w.caller.reply(&skupb.StockReply{})
	dear := `{"query":"{ ` + aliasesOf(`products(first: 100) { edges { node { variants { sku } } } }`, 3) + `}"}`
	spend := func(key, from string) int {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(dear))
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {key}}
		r.RemoteAddr = from
		return w.do(r).status
	}
	status := 0
	for i := 0; i < 10_000 && status != http.StatusTooManyRequests; i++ {
		status = spend(asBob, fmt.Sprintf("192.0.2.%d:1", i%250))
	}
	if status != http.StatusTooManyRequests {
		t.Fatalf("its budget never ends: %d", status)
	}
	if status := spend(asAlice, "192.0.2.1:1"); status != http.StatusOK {
		t.Errorf("another key at the same address: %d", status)
	}
}
