package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/proto/gen/commonpb"
)

func logInAs(alias, email string) string {
	return alias + `: logIn(input: {email: "` + email + `", password: "a wrong password"}) { userErrors { __typename code } }`
}

// Each alias is a try: one request with many guesses is as many guesses, for
// the address and for the account, however the account's address is spelled.
func TestEveryAliasCounts(t *testing.T) {
	w := newWorld(t)
	w.accounts.refusal = &commonpb.Refusal{Reason: commonpb.Reason_REASON_BAD_CREDENTIALS, Message: "no"}
	var b strings.Builder
	for i := range 10 {
		b.WriteString(logInAs(fmt.Sprint("a", i), fmt.Sprintf("user%d@example.test", i)) + " ")
	}
	body := `{"query":` + quote("mutation { "+b.String()+"}") + `}`
	from := func(address string, headers ...string) *answer {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		r.RemoteAddr = address + ":1234"
		return w.do(r)
	}
	for range auth.FailedLogInsPerAddress / 10 {
		if a := from("192.0.2.1"); strings.Count(a.text, "BAD_CREDENTIALS") != 10 {
			t.Fatalf("%s", a.text)
		}
	}
	if a := from("192.0.2.1"); strings.Count(a.text, "RetryLater") != 10 || strings.Count(a.text, "THROTTLED") != 10 {
		t.Errorf("one more request: %s", a.text)
	}
	if n := len(w.accounts.called); n != auth.FailedLogInsPerAddress {
		t.Errorf("%d passwords were looked at", n)
	}
	// Who is no trusted proxy speaks for nobody; another address is another one.
	if a := from("192.0.2.1", "X-Forwarded-For", "198.51.100.7"); strings.Count(a.text, "THROTTLED") != 10 {
		t.Errorf("as somebody else: %s", a.text)
	}
	if a := from("192.0.2.2"); strings.Count(a.text, "BAD_CREDENTIALS") != 10 {
		t.Errorf("from another address: %s", a.text)
	}
	// A token does not get around it.
	if a := from("192.0.2.1", "Authorization", "Bearer "+asAlice); strings.Count(a.text, "THROTTLED") != 10 {
		t.Errorf("with a token: %s", a.text)
	}
}

func TestLogInLimitsBehindAProxy(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	w.accounts.refusal = &commonpb.Refusal{Reason: commonpb.Reason_REASON_BAD_CREDENTIALS, Message: "no"}
	try := func(client string) string {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":`+quote("mutation { "+logInAs("it", "a@example.test")+" }")+`}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", "203.0.113.9, "+client)
		r.RemoteAddr = "10.1.2.3:80"
		return text(w.do(r).userErrors()[0]["code"])
	}
	for i := range auth.FailedLogInsPerAddress {
		if code := try(fmt.Sprintf("2001:db8::%x", i)); code != "BAD_CREDENTIALS" { // one /64 is one caller
			t.Fatalf("try %d: %s", i, code)
		}
	}
	if code := try("2001:db8::ffff"); code != "THROTTLED" {
		t.Errorf("one more from the same network: %s", code)
	}
	if code := try("2001:db8:0:1::1"); code != "BAD_CREDENTIALS" {
		t.Errorf("from another network: %s", code)
	}
}

// An account's lock counts all spellings of its address, all aliases of a
// request, and every network address.
func TestAnAccountLocksForAllSpellings(t *testing.T) {
	w, _ := realShop(t)
	w.wantNoError(w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"a long password"}`, ``))
	spellings := []string{"eve@example.test", "EVE@example.test", " Eve@Example.Test ", "eVe@EXAMPLE.TEST", "  Eve@example.TEST"}
	var b strings.Builder
	for i := range 10 {
		b.WriteString(logInAs(fmt.Sprint("a", i), spellings[i%len(spellings)]) + " ")
	}
	a := w.post("", `{"query":`+quote("mutation { "+b.String()+"}")+`}`)
	if strings.Count(a.text, "BAD_CREDENTIALS") != 10 {
		t.Fatalf("%s", a.text)
	}
	right := w.mutate("", "logIn", "LogInInput", `{"email":"eve@example.test","password":"a long password"}`, `tokens { accessToken }`)
	if at(right, "userErrors", 0, "code") != "THROTTLED" || at(right, "userErrors", 0, "__typename") != "RetryLater" {
		t.Errorf("the right password of a locked account: %v", right)
	}
	// Another mailbox, as far as anybody but its server knows, is another account.
	other := w.mutate("", "logIn", "LogInInput", `{"email":"eve+shop@example.test","password":"a long password"}`, ``)
	w.wantError(other, "BAD_CREDENTIALS", "")
}
