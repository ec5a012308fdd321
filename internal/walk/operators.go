package walk

import (
	"slices"
	"strings"
	"time"
)

// apiKey is one that an operator has made.
type apiKey struct {
	id, secret string
	roles      []string
	expires    time.Time // zero: never
	revoked    bool
}

// someRoles are some of them, in their order, CUSTOMER always among them.
func (w *Walk) someRoles() []string {
	roles := []string{"CUSTOMER"}
	for _, role := range []string{"STAFF", "OPERATOR"} {
		if w.chance(40) {
			roles = append(roles, role)
		}
	}
	return roles
}

// operate is a mutation by the shop's operator.
func (w *Walk) operate(field string, input map[string]any, selection string) *move {
	return &move{token: w.shop.Operator, field: field, input: input, selection: selection}
}

func (w *Walk) setRoles() *move {
	a := w.anAccount()
	if a == nil {
		return nil
	}
	roles := w.someRoles()
	m := w.operate("setRoles", map[string]any{"userId": a.id, "roles": roles}, userFields)
	if w.chance(10) {
		m.input["userId"], m.want = person(w.name, "nobody"), codes("NOT_FOUND")
		return m
	}
	m.took = func(string, map[string]any) { a.roles = roles }
	return w.ofAccount(a, m)
}

func (w *Walk) createAPIKey() *move {
	k := &apiKey{roles: w.someRoles()}
	m := w.operate("createApiKey", map[string]any{"name": w.key(), "roles": k.roles}, `apiKey { id roles } secret`)
	if w.chance(30) {
		k.expires = w.shop.Now().Add(time.Hour).Truncate(time.Millisecond)
		m.input["expiresAt"] = moment(k.expires)
	}
	if w.chance(10) {
		m.input["expiresAt"], m.want = moment(w.shop.Now().Add(-time.Hour)), codes("INVALID")
		return m
	}
	m.took = func(_ string, payload map[string]any) {
		k.id, k.secret = text(at(payload, "apiKey", "id")), text(at(payload, "secret"))
		w.model.keys = append(w.model.keys, k)
		w.compareKeys()
	}
	return m
}

func (w *Walk) revokeAPIKey() *move {
	k := pick(w, w.model.keys)
	if k == nil {
		return nil
	}
	m := w.operate("revokeApiKey", map[string]any{"id": k.id}, `apiKey { id }`)
	if w.chance(10) {
		m.input["id"], m.want = "key_"+strings.TrimPrefix(person(w.name, "nothing"), "usr_"), codes("NOT_FOUND")
		return m
	}
	m.took = func(string, map[string]any) {
		k.revoked = true
		w.compareKeys()
	}
	return m
}

// compareKeys uses every key for what only staff may: it lets in whom it has to.
func (w *Walk) compareKeys() {
	w.t.Helper()
	for _, k := range w.model.keys {
		want := ""
		switch {
		case k.revoked || !k.expires.IsZero() && !w.shop.Now().Before(k.expires):
			want = "UNAUTHENTICATED"
		case len(k.roles) == 1:
			want = "FORBIDDEN"
		}
		var is string
		for deadline := time.Now().Add(settleWithin); ; <-time.After(10 * time.Millisecond) {
			a, err := w.shop.Ask(w.t.Context(), k.secret, `{ users(first: 1) { edges { cursor } } }`, nil)
			switch {
			case err != nil:
				is = err.Error()
			case len(a.Errors) > 0:
				is = a.Errors[0].Extensions.Code
			default:
				is = ""
			}
			if is == want {
				break
			}
			if is != "UNAVAILABLE" && err == nil || time.Now().After(deadline) {
				w.fail("a key of %v, revoked %t, is answered with %q", k.roles, k.revoked, is)
			}
		}
	}
}

// replayEvents has an order's events published again, from one of its versions on.
func (w *Walk) replayEvents() *move {
	o := pick(w, w.model.orders)
	if o == nil {
		return nil
	}
	const document = `query($id: ID!) { order(id: $id) { version } }`
	version, _ := at(w.ask(w.staff, document, map[string]any{"id": o.id}).Data, "order", "version").(float64)
	from := 1 + w.random.IntN(int(version))
	m := w.operate("replayEvents", map[string]any{"kind": "order", "key": o.id, "fromVersion": from}, `republished`)
	switch {
	case w.chance(10):
		m.input["kind"], m.want = "cart", codes("INVALID")
		return m
	case !w.shop.Publishes():
		m.want = codes("CONFLICT")
		return m
	}
	m.took = func(_ string, payload map[string]any) {
		// What is not published yet comes by itself, and is left out.
		want := version - float64(from) + 1
		for deadline := time.Now().Add(settleWithin); at(payload, "republished") != want; payload = w.mutate(m) {
			if n, _ := at(payload, "republished").(float64); n > want || time.Now().After(deadline) {
				w.fail("%v events were published again, of %v", at(payload, "republished"), want)
			}
		}
	}
	return m
}

// drainMember has a node leave: where it is alone it may not, and of others there
// has to be one more, which comes by itself.
func (w *Walk) drainMember() *move {
	var up []string
	list, _ := at(w.askAs(w.shop.Operator(), `{ members { id state } }`, nil).Data, "members").([]any)
	for _, m := range list {
		if at(m, "state") == "UP" {
			up = append(up, text(at(m, "id")))
		}
	}
	m := w.operate("drainMember", map[string]any{"id": pick(w, up)}, `member { id state }`)
	switch {
	case len(up) == 1:
		m.want = codes("CONFLICT")
	case !w.replaces() || len(up) < minMembers:
		m.input["id"], m.want = "mem_"+strings.TrimPrefix(person(w.name, "nobody"), "usr_"), codes("NOT_FOUND")
	}
	return m
}

// replaces: another node comes for one that leaves.
func (w *Walk) replaces() bool {
	s, ok := w.shop.(interface{ Replaces() bool })
	return ok && s.Replaces()
}

// minMembers are enough to let one go.
const minMembers = 3

// Mutations are the names of those that a walk makes.
func Mutations() []string {
	var names []string
	for _, c := range (&Walk{}).choices() {
		if c.field != "" {
			names = append(names, c.field)
		}
	}
	slices.Sort(names)
	return names
}
