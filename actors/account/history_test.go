package account

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/proto/gen/accountpb"
)

// Random commands against a small model of what a session is: a family has one
// good token, and presenting another ends it. The state is always what the
// events say, and what a snapshot and the tail after it say.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newOne(rt)
		good := map[string]byte{} // by family
		snapshotAt, snapshot := 0, []byte(nil)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 9).Draw(rt, "snapshot") == 0 {
				snapshotAt = len(h.events)
				var err error
				if snapshot, err = proto.Marshal(Snapshot(h.s)); err != nil {
					rt.Fatal(err)
				}
			}
			walk(rt, h, good)

			replayed := replay(New(h.s.id), h.events)
			requireSame(rt, replayed, h.s)
			if snapshot != nil {
				restored, err := Restore(h.s.id, snapshot)
				if err != nil {
					rt.Fatal(err)
				}
				requireSame(rt, replay(restored, h.events[snapshotAt:]), h.s)
			}
			if v := h.s.state.GetUser().GetVersion(); v != int64(len(h.events)) {
				rt.Fatalf("version %d after %d events", v, len(h.events))
			}
			requireModel(rt, h, good)
		}
	})
}

func walk(rt *rapid.T, h *one, good map[string]byte) {
	family := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "family")
	n := rapid.Byte().Draw(rt, "token")
	hash := rapid.SampledFrom([]string{hash1, hash2}).Draw(rt, "hash")
	switch rapid.SampledFrom([]string{"register", "start", "start", "fail", "rotate", "rotate", "rotate", "end", "everywhere", "password", "name", "roles"}).Draw(rt, "what") {
	case "register":
		fresh := h.s.state == nil
		if accepted(h.do(&accountpb.Register{Email: email, PasswordHash: hash, Session: sessionOf(family, n)})) && fresh {
			good[family] = n
		}
	case "start":
		if accepted(h.do(&accountpb.StartSession{PasswordHash: hash, Session: sessionOf(family, n)})) {
			good[family] = n
		}
	case "fail":
		h.do(&accountpb.RecordFailedLogIn{})
	case "rotate":
		presented := n
		if g, ok := good[family]; ok && rapid.Bool().Draw(rt, "right") {
			presented = g
		}
		next := rapid.Byte().Draw(rt, "next")
		g, open := good[family]
		before := len(h.events)
		ok := accepted(h.do(rotation(family, presented, next)))
		switch {
		case presented == next:
			if ok {
				rt.Fatal("rotated to the same token")
			}
		case open && presented == g:
			if !ok {
				rt.Fatal("the good token was refused")
			}
			good[family] = next
		case ok && len(h.events) != before:
			rt.Fatal("a token that is not good was exchanged")
		case !ok:
			delete(good, family)
		}
	case "end":
		h.do(&accountpb.EndSession{FamilyId: family, PresentedHash: token(n)})
		delete(good, family)
	case "everywhere":
		h.do(&accountpb.EndSession{Everywhere: true})
		clear(good)
	case "password":
		old := h.s.state.GetPasswordHash()
		if accepted(h.do(&accountpb.ChangePassword{OldPasswordHash: hash, NewPasswordHash: rapid.SampledFrom([]string{hash1, hash2}).Draw(rt, "new")})) &&
			old != h.s.state.PasswordHash {
			clear(good)
		}
	case "name":
		h.do(&accountpb.UpdateProfile{Name: proto.String(rapid.SampledFrom([]string{"", "Ada", "Bob"}).Draw(rt, "name"))})
	case "roles":
		h.do(&accountpb.SetRoles{Roles: rapid.SliceOf(rapid.SampledFrom([]accountpb.Role{1, 2, 3})).Draw(rt, "roles")})
	}
}

func accepted(reply proto.Message) bool { return reply.(*accountpb.UserReply).Refusal == nil }

func requireModel(rt *rapid.T, h *one, good map[string]byte) {
	st := h.s.state
	if st == nil {
		return
	}
	open := map[string]byte{}
	for _, s := range st.Sessions {
		open[s.FamilyId] = s.TokenHash[0]
	}
	if len(open) != len(st.Sessions) || len(open) != len(good) {
		rt.Fatalf("open %v, the model says %v", open, good)
	}
	for f, n := range good {
		if open[f] != n {
			rt.Fatalf("open %v, the model says %v", open, good)
		}
	}
	if !slices.Contains(st.User.Roles, accountpb.Role_ROLE_CUSTOMER) || !slices.IsSorted(st.User.Roles) {
		rt.Fatalf("roles %v", st.User.Roles)
	}
	if left := st.LockedUntilMs - h.now.UnixMilli(); left > LongestLock.Milliseconds() {
		rt.Fatalf("locked for %d ms", left)
	}
}

func replay(s *State, events []*accountpb.Event) *State {
	for _, e := range events {
		Evolve(s, e)
	}
	return s
}

func requireSame(rt *rapid.T, got, want *State) {
	if !proto.Equal(Snapshot(got), Snapshot(want)) {
		rt.Fatalf("state differs:\n got %v\nwant %v", Snapshot(got), Snapshot(want))
	}
}

func TestRestore(t *testing.T) {
	s, err := Restore("usr_x", nil)
	if err != nil || s.state != nil || s.id != "usr_x" || s.User() != nil {
		t.Fatalf("an empty snapshot: %+v, %v", s, err)
	}
	if _, err := Restore("usr_x", []byte{0xff}); err == nil {
		t.Fatal("took a broken snapshot")
	}
	b, err := proto.Marshal(Snapshot(registeredOne(t).s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("usr_x", b); err == nil {
		t.Fatal("took another account's snapshot")
	}
}

func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	ended := &accountpb.Event{Event: &accountpb.Event_SessionEnded{SessionEnded: &accountpb.SessionEnded{FamilyId: "?"}}}
	for _, tc := range []struct {
		name  string
		state *State
		event *accountpb.Event
	}{
		{"registered twice", registeredOne(t).s, &accountpb.Event{Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{}}}},
		{"before registration", New("x"), ended},
		{"ended what is not open", registeredOne(t).s, ended},
		{"revoked what is not open", registeredOne(t).s, &accountpb.Event{Event: &accountpb.Event_FamilyRevoked{FamilyRevoked: &accountpb.FamilyRevoked{FamilyId: "?"}}}},
		{"rotated what is not open", registeredOne(t).s, &accountpb.Event{Event: &accountpb.Event_SessionRotated{SessionRotated: &accountpb.SessionRotated{FamilyId: "?"}}}},
		{"counted without being an operator", registeredOne(t).s, &accountpb.Event{Event: &accountpb.Event_OperatorCounted{OperatorCounted: &accountpb.OperatorCounted{}}}},
		{"nothing", registeredOne(t).s, &accountpb.Event{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("applied")
				}
			}()
			Evolve(tc.state, tc.event)
		})
	}
}

// golden is one of every event as it has been stored. Their bytes are in
// testdata and stay there for ever: journals hold them. A new field gets a new
// entry with a new name.
func golden() map[string]*accountpb.Event {
	const ms = 1_700_000_000_000
	return map[string]*accountpb.Event{
		"registered-1": {AtMs: ms, Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{
			Email: email, Name: "Ada", PasswordHash: hash1, Roles: []accountpb.Role{1, 2, 3},
		}}},
		"session-started-1": {AtMs: ms, Event: &accountpb.Event_SessionStarted{SessionStarted: &accountpb.SessionStarted{Session: sessionOf("a", 1)}}},
		"session-rotated-1": {AtMs: ms, Event: &accountpb.Event_SessionRotated{SessionRotated: &accountpb.SessionRotated{FamilyId: "a", TokenHash: token(2), ExpiresAtMs: ms + 1}}},
		"session-ended-1":   {AtMs: ms, Event: &accountpb.Event_SessionEnded{SessionEnded: &accountpb.SessionEnded{FamilyId: "a", Everywhere: true}}},
		"family-revoked-1":  {AtMs: ms, Event: &accountpb.Event_FamilyRevoked{FamilyRevoked: &accountpb.FamilyRevoked{FamilyId: "a"}}},
		"log-in-failed-1":   {AtMs: ms, Event: &accountpb.Event_LogInFailed{LogInFailed: &accountpb.LogInFailed{LockedUntilMs: ms + 30_000}}},
		"profile-updated-1": {AtMs: ms, Event: &accountpb.Event_ProfileUpdated{ProfileUpdated: &accountpb.ProfileUpdated{Name: "Countess"}}},
		"password-changed-1": {AtMs: ms, Event: &accountpb.Event_PasswordChanged{
			PasswordChanged: &accountpb.PasswordChanged{PasswordHash: hash2},
		}},
		"roles-changed-1": {AtMs: ms, Event: &accountpb.Event_RolesChanged{RolesChanged: &accountpb.RolesChanged{
			Roles: []accountpb.Role{1, 3}, ActorId: "usr_root",
		}}},
		"operator-counted-1": {AtMs: ms, Event: &accountpb.Event_OperatorCounted{OperatorCounted: &accountpb.OperatorCounted{}}},
	}
}

func TestGoldenEvents(t *testing.T) {
	for name, want := range golden() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".hex")
			stored, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) && os.Getenv("GOLDEN") == "add" {
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				stored = []byte(hex.EncodeToString(b) + "\n")
				if err := os.WriteFile(path, stored, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatalf("%v (GOLDEN=add writes files that are missing)", err)
			}
			b, err := hex.DecodeString(strings.TrimSpace(string(stored)))
			if err != nil {
				t.Fatal(err)
			}
			got := &accountpb.Event{}
			if err := proto.Unmarshal(b, got); err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "event", got, want)
		})
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != len(golden()) {
		t.Fatalf("%d files for %d events: %v", len(files), len(golden()), err)
	}
}
