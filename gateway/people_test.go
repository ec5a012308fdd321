package gateway_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
)

// Sessions, as somebody with three devices sees them.
func TestSessionsOfOneUser(t *testing.T) {
	w, _ := realShop(t)
	const first, second = "a long password", "an even longer one"
	open := func(password string) map[string]any {
		t.Helper()
		return w.mutate("", "logIn", "LogInInput", `{"email":"eve@example.test","password":"`+password+`"}`, `tokens { accessToken refreshToken }`)
	}
	refresh := func(session map[string]any) map[string]any {
		t.Helper()
		return w.mutate("", "refreshTokens", "RefreshTokensInput", `{"refreshToken":`+mustJSON(at(session, "tokens", "refreshToken"))+`}`, `tokens { accessToken refreshToken }`)
	}
	w.wantNoError(w.mutate("", "registerUser", "RegisterUserInput", `{"email":"eve@example.test","password":"`+first+`"}`, ``))
	phone, laptop := open(first), open(first)

	// Changing the password ends the others, and the answer's tokens go on.
	change := `{"current":"` + first + `","new":"` + second + `"}`
	w.wantError(w.mutate(text(at(phone, "tokens", "accessToken")), "changePassword", "ChangePasswordInput", `{"current":"wrong","new":"`+second+`"}`, ``), "BAD_CREDENTIALS", "current")
	changed := w.mutate(text(at(phone, "tokens", "accessToken")), "changePassword", "ChangePasswordInput", change, `user { id } tokens { accessToken refreshToken }`)
	w.wantNoError(changed)
	for _, ended := range []map[string]any{phone, laptop} {
		w.wantError(refresh(ended), "BAD_CREDENTIALS", "refreshToken")
	}
	next := refresh(changed)
	w.wantNoError(next)
	w.wantError(open(first), "BAD_CREDENTIALS", "")

	// A refresh token's second use ends its session, whoever has the newer one.
	w.wantError(refresh(changed), "BAD_CREDENTIALS", "refreshToken")
	w.wantError(refresh(next), "BAD_CREDENTIALS", "refreshToken")

	// Logging out ends one session, and everywhere all.
	out := func(session map[string]any, everywhere bool) map[string]any {
		t.Helper()
		return w.mutate("", "logOut", "LogOutInput", fmt.Sprintf(`{"refreshToken":%s,"everywhere":%v}`, mustJSON(at(session, "tokens", "refreshToken")), everywhere), ``)
	}
	phone, laptop = open(second), open(second)
	tablet := open(second)
	w.wantNoError(out(tablet, false))
	w.wantError(refresh(tablet), "BAD_CREDENTIALS", "refreshToken")
	phone = refresh(phone)
	w.wantNoError(phone)
	w.wantNoError(out(phone, true))
	for _, ended := range []map[string]any{phone, laptop, tablet} {
		w.wantError(refresh(ended), "BAD_CREDENTIALS", "refreshToken")
	}
	w.wantNoError(open(second))

	// ifVersion: of two who read the same, one changes it.
	asEve := text(at(open(second), "tokens", "accessToken"))
	a := w.ask(asEve, `{ me { version } }`, nil)
	version := text(at(a.Data, "me", "version"))
	w.wantNoError(w.mutate(asEve, "updateProfile", "UpdateProfileInput", `{"name":"Eve","ifVersion":`+version+`}`, ``))
	late := w.mutate(asEve, "updateProfile", "UpdateProfileInput", `{"name":"Eva","ifVersion":`+version+`}`, `user { id }`)
	if at(late, "userErrors", 0, "__typename") != "VersionConflict" || at(late, "user") != nil {
		t.Errorf("late: %v", late)
	}
}

// Staff pages through users and orders while new ones come: each that was there
// at the beginning is shown once, newest first.
func TestStaffListsWhileTheyGrow(t *testing.T) {
	for list, row := range map[string]func(w *world, i int, ms int64) string{
		"users": func(w *world, i int, ms int64) string {
			id := "usr_" + letters(i)
			w.views.put(t, persistence.Row{Kind: "account", ID: id, Version: 1, SortMs: ms}, &accountpb.User{Id: id, Email: "a@example.test", CreatedAtMs: ms})
			return id
		},
		"orders": func(w *world, i int, ms int64) string {
			id := "ord_" + letters(i)
			w.views.put(t, persistence.Row{Kind: "order", ID: id, Version: 1, SortMs: ms}, &orderpb.Order{Id: id, PlacedAtMs: ms})
			return id
		},
	} {
		t.Run(list, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t)
				first := map[string]bool{}
				n := rapid.IntRange(0, 25).Draw(rt, "rows")
				for i := range n {
					first[row(w, i, int64(rapid.IntRange(1, 4).Draw(rt, "ms")))] = true // ties
				}
				var after any
				var got []string
				for {
					a := w.ask(asStaff, `query($first: Int, $after: String) { it: `+list+`(first: $first, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } } }`,
						map[string]any{"first": rapid.IntRange(1, 7).Draw(rt, "first"), "after": after})
					edges, _ := at(a.Data, "it", "edges").([]any)
					for _, e := range edges {
						got = append(got, text(at(e, "node", "id")))
					}
					if at(a.Data, "it", "pageInfo", "hasNextPage") != true {
						break
					}
					after = at(a.Data, "it", "pageInfo", "endCursor")
					row(w, 1_000+len(got), 5) // newer than all
				}
				once := slices.Compact(slices.Sorted(slices.Values(got)))
				if len(once) != len(got) {
					rt.Fatalf("twice: %v", got)
				}
				for id := range first {
					if !slices.Contains(got, id) {
						rt.Fatalf("%s is left out of %v", id, got)
					}
				}
			})
		})
	}
}
