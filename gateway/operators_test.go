package gateway_test

import (
	"fmt"
	"sync"
	"testing"

	"stampede/internal/memstore"
)

// Two operators demote each other at the same moment, again and again, and
// across a restart: one of the two always stays.
func TestOperatorsWhoDemoteEachOther(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	store := memstore.New()
	const password = "a long password"
	t.Run("race", func(t *testing.T) {
		w, accounts := realShopOver(t, store)
		_, root := w.admin(t, accounts)
		made := w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"`+password+`"}`, `user { id }`)
		eve := text(at(made, "user", "id"))
		roles := func(id, role string) string { return fmt.Sprintf(`{"userId":%q,"roles":[%q]}`, id, role) }
		asRoot, _ := w.admin(t, accounts)
		w.wantError(w.mutate(asRoot, "setRoles", "SetRolesInput", roles(root, "STAFF"), ``), "CONFLICT", "roles")
		for round := range rounds {
			asRoot, _ = w.admin(t, accounts) // makes root an operator again, too
			w.wantNoError(w.mutate(asRoot, "setRoles", "SetRolesInput", roles(eve, "OPERATOR"), ``))
			asEve := text(at(w.mutate("", "logIn", "LogInInput", `{"email":"eve@example.test","password":"`+password+`"}`, `tokens { accessToken }`), "tokens", "accessToken"))
			var both sync.WaitGroup
			results := make([]map[string]any, 2)
			both.Go(func() {
				results[0] = w.mutate(asRoot, "setRoles", "SetRolesInput", roles(eve, "STAFF"), `user { roles }`)
			})
			both.Go(func() {
				results[1] = w.mutate(asEve, "setRoles", "SetRolesInput", roles(root, "STAFF"), `user { roles }`)
			})
			both.Wait()
			demoted := 0
			for _, r := range results {
				if r["user"] != nil {
					demoted++
				} else if code := at(r, "userErrors", 0, "code"); code != "CONFLICT" && code != "FORBIDDEN" {
					t.Fatalf("round %d: %v", round, r)
				}
			}
			if demoted != 1 {
				t.Fatalf("round %d: %d were demoted: %v", round, demoted, results)
			}
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		w, accounts := realShopOver(t, store)
		asRoot, root := w.admin(t, accounts)
		a := w.ask(asRoot, `{ users { edges { node { id roles } } } }`, nil)
		for _, e := range at(a.Data, "users", "edges").([]any) {
			id := text(at(e, "node", "id"))
			if id != root {
				w.wantNoError(w.mutate(asRoot, "setRoles", "SetRolesInput", fmt.Sprintf(`{"userId":%q,"roles":["CUSTOMER"]}`, id), ``))
			}
		}
		w.wantError(w.mutate(asRoot, "setRoles", "SetRolesInput", fmt.Sprintf(`{"userId":%q,"roles":["STAFF"]}`, root), ``), "CONFLICT", "roles")
	})
}
