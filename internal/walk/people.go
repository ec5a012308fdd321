package walk

import (
	"fmt"
	"slices"
	"strings"
)

const (
	userFields    = `user { id email name roles version }`
	sessionFields = userFields + ` tokens { accessToken refreshToken }`
	// maxAccounts a walk makes, and fails to log in to in a row: below what locks one.
	maxAccounts = 3
	maxFailures = 4
	// maxSessions is how many an account has: a new one ends the oldest.
	maxSessions = 20
)

// account is what somebody who has registered knows of themselves.
type account struct {
	id, email, password, name string
	roles                     []string
	version                   float64
	sessions                  []*session // the oldest first
	over                      []string   // refresh tokens of sessions that have ended
	failures                  int        // to log in, since the last time that it worked
}

// session is a family of refresh tokens; the last one is good.
type session struct{ tokens []string }

func (s *session) newest() string { return s.tokens[len(s.tokens)-1] }

func (a *account) begin(payload map[string]any) {
	a.failures = 0
	a.sessions = append(a.sessions, &session{[]string{text(at(payload, "tokens", "refreshToken"))}})
	for len(a.sessions) > maxSessions {
		a.end(a.sessions[0])
	}
}

func (a *account) end(s *session) {
	a.over = append(a.over, s.tokens...)
	a.sessions = slices.DeleteFunc(a.sessions, func(other *session) bool { return other == s })
}

func (a *account) endAll() {
	for len(a.sessions) > 0 {
		a.end(a.sessions[0])
	}
}

// ofAccount is a mutation of somebody's own account. Not all of them can be told
// apart from the same again: where an answer was lost, the account is given up.
func (w *Walk) ofAccount(a *account, m *move) *move {
	m.unsure = func() {
		w.model.accounts = slices.DeleteFunc(w.model.accounts, func(other *account) bool { return other == a })
	}
	took := m.took
	m.took = func(code string, payload map[string]any) {
		if took != nil {
			took(code, payload)
		}
		w.compareAccount(a, payload)
	}
	return m
}

// compareAccount: it is what it has to be, to its owner and to operators, and to
// nobody else; and what its owner was given lets them in.
func (w *Walk) compareAccount(a *account, payload map[string]any) {
	w.t.Helper()
	if a.id == "" {
		return
	}
	const document = `query($id: ID!) { user(id: $id) { id email name roles version } }`
	own := w.shop.Token(a.id, false)
	who := pick(w, []string{own, w.shop.Operator()})
	if token, given := at(payload, "tokens", "accessToken").(string); given {
		who = token
	}
	got := at(w.askAs(who, document, map[string]any{"id": a.id}).Data, "user")
	want := fmt.Sprint(a.id, a.email, a.name, a.roles)
	if is := fmt.Sprint(text(at(got, "id")), text(at(got, "email")), text(at(got, "name")), at(got, "roles")); is != want {
		w.fail("the account is %s and has to be %s", is, want)
	}
	version, _ := at(got, "version").(float64)
	if version < a.version {
		w.fail("the account's version went from %v to %v", a.version, version)
	}
	a.version = version
	if w.chance(20) {
		if seen := at(w.ask(w.person(), document, map[string]any{"id": a.id}).Data, "user"); seen != nil {
			w.fail("somebody else sees the account: %v", seen)
		}
	}
}

func (w *Walk) anAccount() *account { return pick(w, w.model.accounts) }

func (w *Walk) password() string {
	w.named++
	return fmt.Sprintf("correct horse %d", w.named)
}

func (w *Walk) registerUser() *move {
	if known := w.anAccount(); known != nil && (len(w.model.accounts) >= maxAccounts || w.chance(20)) {
		input := map[string]any{"email": strings.ToUpper(known.email), "password": w.password()}
		return &move{field: "registerUser", input: input, selection: sessionFields, want: codes("EMAIL_TAKEN")}
	}
	a := &account{email: strings.ToLower(w.key()) + "@example.test", password: w.password(), name: "Somebody", roles: []string{"CUSTOMER"}}
	m := &move{field: "registerUser", input: map[string]any{"email": a.email, "password": a.password, "name": a.name}, selection: sessionFields}
	if w.chance(10) {
		m.input["password"], m.want = "short", codes("WEAK_PASSWORD")
		return m
	}
	m.took = func(_ string, payload map[string]any) {
		a.id = text(at(payload, "user", "id"))
		a.begin(payload)
		w.model.accounts = append(w.model.accounts, a)
	}
	return w.ofAccount(a, m)
}

// mayFail reports whether the account can take another wrong password.
func (w *Walk) mayFail(a *account) bool { return a.failures < maxFailures && w.chance(25) }

func (w *Walk) logIn() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	m := &move{field: "logIn", input: map[string]any{"email": pick(w, []string{a.email, strings.ToUpper(a.email)}), "password": a.password}, selection: sessionFields}
	switch {
	case w.chance(5):
		m.input["email"], m.want = w.key()+"@example.test", codes("BAD_CREDENTIALS")
		return m
	case w.mayFail(a):
		m.input["password"], m.want = "wrong horse", codes("BAD_CREDENTIALS")
		m.took = func(string, map[string]any) { a.failures++ }
	default:
		m.took = func(_ string, payload map[string]any) { a.begin(payload) }
	}
	return w.ofAccount(a, m)
}

// aToken is a refresh token of an account: mostly one that is good, else one that was
// used, whose session then ends, one of a session that is over, or none at all.
func (w *Walk) aToken(a *account) (token string, of *session, good bool) {
	of = pick(w, a.sessions)
	switch {
	case of != nil && len(of.tokens) > 1 && w.chance(25):
		return of.tokens[w.random.IntN(len(of.tokens)-1)], of, false
	case len(a.over) > 0 && (of == nil || w.chance(15)):
		return pick(w, a.over), nil, false
	case of == nil || w.chance(5):
		return "rt_nothing", nil, false
	}
	return of.newest(), of, true
}

func (w *Walk) refreshTokens() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	token, of, good := w.aToken(a)
	m := &move{field: "refreshTokens", input: map[string]any{"refreshToken": token}, selection: sessionFields}
	switch {
	case good:
		m.took = func(_ string, payload map[string]any) {
			of.tokens = append(of.tokens, text(at(payload, "tokens", "refreshToken")))
		}
	case of != nil:
		m.want = codes("BAD_CREDENTIALS")
		m.took = func(string, map[string]any) { a.end(of) }
	default:
		m.want = codes("BAD_CREDENTIALS")
	}
	return w.ofAccount(a, m)
}

func (w *Walk) logOut() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	token, of, good := w.aToken(a)
	everywhere := w.chance(40)
	m := &move{field: "logOut", input: map[string]any{"refreshToken": token, "everywhere": everywhere}}
	switch {
	case good && everywhere:
		m.took = func(string, map[string]any) { a.endAll() }
	case good:
		m.took = func(string, map[string]any) { a.end(of) }
	case of != nil:
		m.want = codes("BAD_CREDENTIALS")
		m.took = func(string, map[string]any) { a.end(of) }
	case token == "rt_nothing" || everywhere && len(a.sessions) > 0:
		m.want = codes("BAD_CREDENTIALS") // what is over proves nothing about the others
	}
	return w.ofAccount(a, m)
}

func (w *Walk) updateProfile() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	name := w.key()
	m := &move{who: a.id, field: "updateProfile", input: map[string]any{"name": name}, selection: userFields}
	switch w.random.IntN(3) {
	case 0:
		m.input["ifVersion"] = a.version
	case 1:
		m.input["ifVersion"], m.want = a.version+5, codes("CONFLICT")
		return w.ofAccount(a, m)
	}
	m.took = func(string, map[string]any) { a.name = name }
	return w.ofAccount(a, m)
}

func (w *Walk) changePassword() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	next := w.password()
	m := &move{who: a.id, field: "changePassword", input: map[string]any{"current": a.password, "new": next}, selection: sessionFields}
	switch {
	case w.chance(15):
		m.input["new"], m.want = "short", codes("WEAK_PASSWORD")
	case w.mayFail(a):
		m.input["current"], m.want = "wrong horse", codes("BAD_CREDENTIALS")
		m.took = func(string, map[string]any) { a.failures++ }
	default:
		m.took = func(_ string, payload map[string]any) {
			a.password = next
			a.endAll()
			a.begin(payload)
		}
	}
	return w.ofAccount(a, m)
}
