package account

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

const (
	customer = accountpb.Role_ROLE_CUSTOMER
	staff    = accountpb.Role_ROLE_STAFF
	operator = accountpb.Role_ROLE_OPERATOR
)

func TestID(t *testing.T) {
	// base32(HMAC-SHA-256(secret, "account\0ada@example.com")[:16]), computed independently.
	const want = "usr_ydkjarjtozf7tjpaswtfxl6fe4"
	id := ID(secret, email)
	if id != want {
		t.Fatalf("ID = %s, want %s", id, want)
	}
	b, ok := IDBytes(id)
	if !ok || IDOf([16]byte(b)) != id {
		t.Fatalf("the id does not survive its bytes: %x %v", b, ok)
	}
	for _, bad := range []string{"", "usr_", "prd_" + id[4:], id + "a", id[:29], strings.ToUpper(id), "usr_" + strings.Repeat("a", 25) + "b", "usr_" + strings.Repeat("1", 26)} {
		if _, ok := IDBytes(bad); ok {
			t.Errorf("%q passes for an id", bad)
		}
	}
	if ID([]byte("other"), email) == id || ID(secret, "b@example.com") == id {
		t.Fatal("ids collide")
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"ada@example.com":                 "ada@example.com",
		" Ada.Lovelace+x@EXAMPLE.com\r\n": "ada.lovelace+x@example.com",
		"admin@localhost":                 "admin@localhost",
		"o'hara@xn--mnchen-3ya.example":   "o'hara@xn--mnchen-3ya.example",
		strings.Repeat("a", 64) + "@" + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61): strings.Repeat("a", 64) + "@" +
			strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61),
	} {
		if got, err := Normalise(in); err != nil || got != want {
			t.Errorf("Normalise(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "ada", "@example.com", "ada@", "a@b@c", "ada@exa mple.com", "ada lovelace@example.com", "ada@example..com", "ada@.example.com",
		"ada@example.com.", ".ada@example.com", "ada.@example.com", "a..b@example.com", "ada@-x.com", "ada@x-.com", "ada@[127.0.0.1]",
		`"ada"@example.com`, "ada\x00@example.com", "ada@example.com\x00", "ada\n@example.com", "jörg@example.com", "ada@exämple.com", "\xff@example.com",
		"ada@exam_ple.com", "ada,b@example.com", "<ada@example.com>", strings.Repeat("a", 65) + "@example.com",
		"a@" + strings.Repeat("b", 64) + ".com", "a@" + strings.Repeat("b.", 127) + "b", strings.Repeat("a", 10_000) + "@example.com",
	} {
		if got, err := Normalise(in); err == nil {
			t.Errorf("Normalise(%.40q) = %q, want an error", in, got)
		}
	}
}

func TestRegister(t *testing.T) {
	h := newOne(t)
	cmd := &accountpb.Register{Email: email, Name: "Ada", PasswordHash: hash1, Roles: []accountpb.Role{operator, staff, operator}, Session: sessionOf("a", 1)}
	got := h.user(cmd)
	wantEqual(t, "user", got, &accountpb.User{
		Id: ID(secret, email), Email: email, Name: "Ada", Roles: []accountpb.Role{customer, staff, operator}, CreatedAtMs: start.UnixMilli(), Version: 2,
	})
	wantEqual(t, "events", h.events, []*accountpb.Event{
		{AtMs: start.UnixMilli(), Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{
			Email: email, Name: "Ada", PasswordHash: hash1, Roles: []accountpb.Role{customer, staff, operator},
		}}},
		{AtMs: start.UnixMilli(), Event: &accountpb.Event_SessionStarted{SessionStarted: &accountpb.SessionStarted{Session: sessionOf("a", 1)}}},
		{AtMs: start.UnixMilli(), Event: &accountpb.Event_OperatorCounted{OperatorCounted: &accountpb.OperatorCounted{}}},
	})
	got.Version = 3 // counted among the operators
	wantEqual(t, "sent again", h.user(cmd), got)
	if len(h.events) != 3 {
		t.Fatalf("sent again, it wrote: %v", h.events[3:])
	}
	h.refused(&accountpb.Register{Email: email, PasswordHash: hash2}, commonpb.Reason_REASON_EMAIL_TAKEN, "email")

	without := newOne(t)
	without.user(&accountpb.Register{Email: email, PasswordHash: hash1})
	wantEqual(t, "sessions", without.families(), []string(nil))
}

func TestRegisterRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*accountpb.Register)
		field  string
	}{
		{"no e-mail", func(c *accountpb.Register) { c.Email = "" }, "email"},
		{"not normalised", func(c *accountpb.Register) { c.Email = "Ada@example.com" }, "email"},
		{"name too long", func(c *accountpb.Register) { c.Name = strings.Repeat("é", 201) }, "name"},
		{"NUL in name", func(c *accountpb.Register) { c.Name = "a\x00" }, "name"},
		{"name not UTF-8", func(c *accountpb.Register) { c.Name = "\xff" }, "name"},
		{"no hash", func(c *accountpb.Register) { c.PasswordHash = "" }, "password"},
		{"a password, not a hash", func(c *accountpb.Register) { c.PasswordHash = "secret" }, "password"},
		{"hash too long", func(c *accountpb.Register) { c.PasswordHash = hash1 + strings.Repeat("a", 512) }, "password"},
		{"unknown role", func(c *accountpb.Register) { c.Roles = []accountpb.Role{4} }, "roles"},
		{"no role", func(c *accountpb.Register) { c.Roles = []accountpb.Role{0} }, "roles"},
		{"session without family", func(c *accountpb.Register) { c.Session.FamilyId = "" }, "session familyId"},
		{"family too long", func(c *accountpb.Register) { c.Session.FamilyId = strings.Repeat("f", 65) }, "session familyId"},
		{"family not ASCII", func(c *accountpb.Register) { c.Session.FamilyId = "é" }, "session familyId"},
		{"short token hash", func(c *accountpb.Register) { c.Session.TokenHash = token(1)[1:] }, "session tokenHash"},
		{"session that is over", func(c *accountpb.Register) { c.Session.ExpiresAtMs = start.UnixMilli() }, "session expiresAt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newOne(t)
			c := &accountpb.Register{Email: email, Name: "Ada", PasswordHash: hash1, Session: sessionOf("a", 1)}
			tc.change(c)
			h.refused(c, commonpb.Reason_REASON_INVALID, strings.Split(tc.field, " ")...)
			if len(h.events) != 0 {
				t.Fatal("a refusal with events")
			}
		})
	}
}

func TestNobodyRegistered(t *testing.T) {
	h := newOne(t)
	h.refused(&accountpb.Get{}, commonpb.Reason_REASON_NOT_FOUND, "userId")
	h.refused(&accountpb.UpdateProfile{}, commonpb.Reason_REASON_NOT_FOUND, "userId")
	h.refused(&accountpb.SetRoles{}, commonpb.Reason_REASON_NOT_FOUND, "userId")
	h.refused(&accountpb.ChangePassword{}, commonpb.Reason_REASON_NOT_FOUND, "userId")
	h.refused(&accountpb.StartSession{Session: sessionOf("a", 1)}, commonpb.Reason_REASON_BAD_CREDENTIALS)
	h.refused(rotation("a", 1, 2), commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
	h.refused(&accountpb.EndSession{Everywhere: true}, commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
	for _, cmd := range []proto.Message{&accountpb.GetCredentials{}, &accountpb.RecordFailedLogIn{}} {
		c := h.do(cmd).(*accountpb.Credentials)
		if c.Refusal.GetReason() != commonpb.Reason_REASON_BAD_CREDENTIALS || c.PasswordHash != "" {
			t.Fatalf("%T: %v", cmd, c)
		}
	}
	if len(h.events) != 0 {
		t.Fatal("an address that nobody registered got events")
	}
}

func TestUpdateProfile(t *testing.T) {
	h := registeredOne(t)
	u := h.user(&accountpb.UpdateProfile{Name: proto.String("Countess"), IfVersion: 1})
	if u.Name != "Countess" || u.Version != 3 {
		t.Fatalf("user %v", u)
	}
	h.user(rotation("a", 1, 2)) // version 4, which changes nothing that was read at 3
	n := len(h.events)
	h.user(&accountpb.UpdateProfile{})
	h.user(&accountpb.UpdateProfile{Name: proto.String("Countess"), IfVersion: 1}) // sent again
	if len(h.events) != n {
		t.Fatal("wrote without a change")
	}
	for _, v := range []int64{1, 2, 5} {
		r := h.refused(&accountpb.UpdateProfile{Name: proto.String("x"), IfVersion: v}, commonpb.Reason_REASON_VERSION_CONFLICT, "ifVersion")
		if r.CurrentVersion != 4 {
			t.Fatalf("current version %d, want 4", r.CurrentVersion)
		}
	}
	h.refused(&accountpb.UpdateProfile{Name: proto.String("x"), IfVersion: -1}, commonpb.Reason_REASON_INVALID, "ifVersion")
	h.refused(&accountpb.UpdateProfile{Name: proto.String("\x00")}, commonpb.Reason_REASON_INVALID, "name")
	if u := h.user(&accountpb.UpdateProfile{Name: proto.String(""), IfVersion: 3}); u.Name != "" || u.Version != 5 {
		t.Fatalf("user %v", u)
	}
}

func TestSetRoles(t *testing.T) {
	h := registeredOne(t)
	u := h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}, Actor: &commonpb.Actor{UserId: "usr_root"}})
	wantEqual(t, "roles", u.Roles, []accountpb.Role{customer, operator})
	wantEqual(t, "event", h.events[2].GetRolesChanged(), &accountpb.RolesChanged{Roles: u.Roles, ActorId: "usr_root"})
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator, customer}})
	if len(h.events) != 4 {
		t.Fatal("wrote without a change")
	}
	h.refused(&accountpb.SetRoles{Roles: []accountpb.Role{9}}, commonpb.Reason_REASON_INVALID, "roles")
	wantEqual(t, "roles", h.user(&accountpb.SetRoles{}).Roles, []accountpb.Role{customer})
}

func TestChangePassword(t *testing.T) {
	h := registeredOne(t)
	h.user(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 2)})
	h.refused(&accountpb.ChangePassword{OldPasswordHash: hash2, NewPasswordHash: hash1 + "x"}, commonpb.Reason_REASON_BAD_CREDENTIALS, "current")
	h.refused(&accountpb.ChangePassword{OldPasswordHash: hash1, NewPasswordHash: "x"}, commonpb.Reason_REASON_INVALID, "new")
	h.refused(&accountpb.ChangePassword{OldPasswordHash: hash1, NewPasswordHash: hash2, Session: &accountpb.Session{}}, commonpb.Reason_REASON_INVALID, "session", "familyId")
	cmd := &accountpb.ChangePassword{OldPasswordHash: hash1, NewPasswordHash: hash2, Session: sessionOf("c", 3)}
	u := h.user(cmd)
	wantEqual(t, "sessions", h.families(), []string{"c"})
	if u.Version != 5 {
		t.Fatalf("version %d", u.Version)
	}
	h.user(cmd) // sent again
	if len(h.events) != 5 {
		t.Fatal("sent again, it wrote")
	}
	h.refused(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("d", 4)}, commonpb.Reason_REASON_BAD_CREDENTIALS)
	h.user(&accountpb.ChangePassword{OldPasswordHash: hash2, NewPasswordHash: hash1})
	wantEqual(t, "sessions", h.families(), []string(nil))
}

func TestRepliesAreCopies(t *testing.T) {
	h := registeredOne(t)
	want := proto.CloneOf(h.s.state)
	for _, cmd := range []proto.Message{&accountpb.Get{}, &accountpb.UpdateProfile{}, &accountpb.SetRoles{}} {
		u := h.user(cmd)
		u.Name, u.Roles[0] = "changed", operator
		wantEqual(t, "state", h.s.state, want)
	}
}

func TestCommandsOfOthers(t *testing.T) {
	h := registeredOne(t)
	h.refused(&skupb.GetLevel{}, commonpb.Reason_REASON_INVALID)
	for _, cmd := range []proto.Message{&commonpb.Tick{}, &commonpb.Continue{}} {
		if d := h.decide(cmd, nil); d.Reply != nil || d.Asks != nil || len(h.events) != 2 {
			t.Fatalf("%T: %v", cmd, d)
		}
	}
}
